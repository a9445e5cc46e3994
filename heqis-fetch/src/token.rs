//! The secret token of the account.

use std::fmt;
use std::path::Path;

use crate::error::FetchError;
use heqis_data::DataError;

/// A token that is hidden by its formatters.
#[derive(Clone)]
pub struct Token(String);

/// Shortest token. A shorter text could occur in ordinary replies, and redacting it would garble messages.
const MIN_LEN: usize = 8;

impl Token {
    /// Parses a token, without surrounding white space. `place` names its origin.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] when the text is empty, shorter than 8 characters, or contains other characters than ASCII
    /// letters, digits, `-` and `_`. The message does not quote it.
    pub fn parse(text: &str, place: &str) -> Result<Self, FetchError> {
        let text = text.trim();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let rule = if text.is_empty() {
            "contains no token"
        } else if !text.bytes().all(plain) {
            "a token is one word of ASCII letters, digits, - and _"
        } else if text.len() < MIN_LEN {
            "a token has at least 8 characters"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(FetchError::Setting {
            place: place.to_owned(),
            rule: rule.to_owned(),
        })
    }

    /// Reads a token from a file. The second value is a warning if other users may read the file.
    ///
    /// # Errors
    ///
    /// [`FetchError::Data`] when the file cannot be read, and as [`Token::parse`].
    pub fn read(path: &Path) -> Result<(Self, Option<String>), FetchError> {
        let text = std::fs::read_to_string(path).map_err(|error| DataError::file(path, error))?;
        let place = path.display().to_string();
        let token = Self::parse(&text, &place)?;
        Ok((token, readable_by_others(path, &place)))
    }

    /// Returns the secret, only for the body of a request.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns `text` with the token, which a server may echo, replaced.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "<token>")
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path, place: &str) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0)
        .then(|| format!("warning: {place} can be read by others (mode {mode:o}); chmod 600 it"))
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path, _place: &str) -> Option<String> {
    None
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
