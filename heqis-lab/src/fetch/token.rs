//! The account's secret.

use std::fmt;

/// A token that no formatter shows.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Keeps a token, without the white space around it, or returns `None` when nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Returns the secret, for the body of a request and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns `text` with the token, which a server may echo, taken out.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "<token>")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<token>)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<token>")
    }
}
