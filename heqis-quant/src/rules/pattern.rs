//! Patterns of symbols in market files.

use crate::symbol::Symbol;

/// A pattern of symbols: `#` stands for one digit, `@` for one letter, `?` for one letter or digit, `*` for one or more
/// letters or digits; every other character is literal. Case does not matter, and the whole name must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Makes a pattern, or returns the rule that the text breaks.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-^=#@?*".contains(&b);
        match text.len() {
            1..=16 if text.bytes().all(allowed) => Ok(Self(text.into())),
            1..=16 => Err("may hold only ASCII letters, digits and . _ - ^ = # @ ? *"),
            _ => Err("must have 1 to 16 bytes"),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a symbol matches.
    #[must_use]
    pub fn matches(&self, symbol: Symbol) -> bool {
        matches(self.0.as_bytes(), symbol.as_str().as_bytes())
    }

    /// Returns the number of literal characters. Of two matching patterns, the one with more takes precedence.
    pub(super) fn literals(&self) -> usize {
        let is_literal = |b: &u8| !b"#@?*".contains(b);
        self.0.bytes().filter(is_literal).count()
    }

    /// Returns whether any symbol matches both patterns.
    pub(super) fn meets(&self, other: &Self) -> bool {
        meet(self.0.as_bytes(), other.0.as_bytes())
    }
}

/// Returns whether one character of a pattern matches a byte.
fn matches_byte(pattern: u8, byte: u8) -> bool {
    match pattern {
        b'#' => byte.is_ascii_digit(),
        b'@' => byte.is_ascii_alphabetic(),
        b'?' | b'*' => byte.is_ascii_alphanumeric(),
        literal => literal.eq_ignore_ascii_case(&byte),
    }
}

fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([p, rest @ ..], [byte, more @ ..]) if matches_byte(*p, *byte) => {
            matches(rest, more) || (*p == b'*' && matches(pattern, more))
        }
        _ => false,
    }
}

fn meet(a: &[u8], b: &[u8]) -> bool {
    let ([p, a_rest @ ..], [q, b_rest @ ..]) = (a, b) else {
        return a.is_empty() && b.is_empty();
    };
    let shared = (0..=127).any(|byte: u8| matches_byte(*p, byte) && matches_byte(*q, byte));
    shared
        && (meet(a_rest, b_rest)
            || (*p == b'*' && meet(a, b_rest))
            || (*q == b'*' && meet(a_rest, b)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn a_pattern_matches_whole_names_only() {
        for (text, symbol, expected) in [
            ("600###.SH", "600000.SH", true),
            ("600###.SH", "601000.SH", false),
            ("@@@", "AAPL", false),
            ("@@@@", "aapl", true),
            ("*USDT", "btcusdt", true),
            ("*USDT", "USDT", false),
            ("*-USDT", "1000PEPE-USDT", true),
            ("???*USD", "BTCUSD", false),
            ("???USD", "BTCUSD", true),
            ("^*", "^GSPC", true),
        ] {
            let symbol = Symbol::parse(symbol).unwrap();
            assert_eq!(pattern(text).matches(symbol), expected, "{text} {symbol}");
        }
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("A B").is_err());
    }

    proptest! {
        #[test]
        fn patterns_that_match_one_name_meet(
            a in "[AB0#@?*]{1,5}", b in "[AB0#@?*]{1,5}", name in "[AB][AB01]{0,4}"
        ) {
            let symbol = Symbol::parse(&name).unwrap();
            let (a, b) = (pattern(&a), pattern(&b));
            prop_assert_eq!(a.meets(&b), b.meets(&a));
            if a.matches(symbol) && b.matches(symbol) {
                prop_assert!(a.meets(&b), "{:?} {:?} {}", a, b, symbol);
            }
        }
    }
}
