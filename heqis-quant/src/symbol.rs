//! Instruments: a small copyable name, its exchange and its board.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::QuantError;

/// The name of one instrument: 1 to 16 ASCII bytes, padded with zeros, so that it copies and compares like a number.
///
/// A Chinese code is kept as `002032.SZ`, whatever spelling it came in (`sz.002032`, `SZ002032`, `600000.SS`).
/// Any other name, such as `AAPL`, is kept as written. A bare six-digit code is refused, since `000001` is a bank in
/// Shenzhen and an index in Shanghai.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol([u8; 16]);

/// The exchange behind the suffix of a [`Symbol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    /// Shanghai, suffix `.SH`.
    Shanghai,
    /// Shenzhen, suffix `.SZ`.
    Shenzhen,
    /// Beijing, suffix `.BJ`.
    Beijing,
    /// Anything else.
    Other,
}

/// The part of the market whose trading rules a stock follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Board {
    /// The main boards of Shanghai and Shenzhen.
    Main,
    /// ChiNext in Shenzhen, codes 300 to 302.
    ChiNext,
    /// The STAR market in Shanghai, codes 688 and 689.
    Star,
    /// The Beijing exchange.
    Bse,
    /// Indices, funds, B shares and foreign names: no A-share rule applies.
    Other,
}

impl Board {
    /// Returns the name that the rule table uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::ChiNext => "chinext",
            Self::Star => "star",
            Self::Bse => "bse",
            Self::Other => "other",
        }
    }

    /// Returns the board of a rule-table name, or `None` when there is no such board.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Main,
            Self::ChiNext,
            Self::Star,
            Self::Bse,
            Self::Other,
        ]
        .into_iter()
        .find(|board| board.name() == name)
    }
}

impl Symbol {
    /// Parses a symbol.
    ///
    /// # Errors
    /// Returns [`QuantError::Symbol`] when the text is empty, longer than 16 bytes, holds anything but ASCII letters,
    /// digits and `. _ - ^ =`, or is a bare six-digit code.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        let text = text.trim();
        let refuse = |rule| {
            Err(QuantError::Symbol {
                got: text.chars().take(64).collect(),
                rule,
            })
        };
        if text.is_empty() {
            return refuse("must not be empty");
        }
        if text.len() > 16 {
            return refuse("must have at most 16 bytes");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-^=".contains(&b))
        {
            return refuse("may hold only ASCII letters, digits and . _ - ^ =");
        }
        if is_code(text) {
            return refuse(
                "a six-digit code needs its exchange, as in 600000.SH, 002032.SZ or 920001.BJ",
            );
        }
        Ok(match chinese(text) {
            Some((code, suffix)) => Self::pack(&format!("{code}.{suffix}")),
            None => Self::pack(text),
        })
    }

    /// Packs a text that is known to be ASCII and at most 16 bytes long.
    fn pack(text: &str) -> Self {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(bytes)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(16);
        // The constructors let only ASCII through.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }

    /// Returns the 16 bytes as one big-endian number, so that keys sort as names do.
    #[must_use]
    pub fn as_key(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Restores a symbol from [`Symbol::as_key`].
    ///
    /// # Errors
    /// Returns [`QuantError::Symbol`] when no symbol has this key.
    pub fn from_key(key: u128) -> Result<Self, QuantError> {
        let packed = Self(key.to_be_bytes());
        match Self::parse(packed.as_str()) {
            Ok(symbol) if symbol == packed => Ok(symbol),
            _ => Err(QuantError::Symbol {
                got: format!("{key:#034x}"),
                rule: "is the key of no symbol",
            }),
        }
    }

    /// Returns the exchange that the suffix names.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        match chinese(self.as_str()) {
            Some((_, "SH")) => Exchange::Shanghai,
            Some((_, "SZ")) => Exchange::Shenzhen,
            Some((_, "BJ")) => Exchange::Beijing,
            _ => Exchange::Other,
        }
    }

    /// Returns the board by code prefix and exchange: `000001.SZ` is a main-board stock, `000001.SH` an index.
    #[must_use]
    pub fn board(&self) -> Board {
        let Some((code, suffix)) = chinese(self.as_str()) else {
            return Board::Other;
        };
        match (suffix, &code[..3], &code[..2]) {
            ("SH", "600" | "601" | "603" | "605", _) | ("SZ", "000" | "001" | "002" | "003", _) => {
                Board::Main
            }
            ("SZ", "300" | "301" | "302", _) => Board::ChiNext,
            ("SH", "688" | "689", _) => Board::Star,
            ("BJ", _, "43" | "82" | "83" | "87" | "88" | "92") => Board::Bse,
            _ => Board::Other,
        }
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Splits any known spelling of a Chinese code into its six digits and its exchange suffix.
fn chinese(text: &str) -> Option<(&str, &'static str)> {
    // Lengths are checked before each cut, and the text is ASCII by then or the cut fails softly.
    let (code, exchange) = match text.len() {
        9 if text.get(6..7) == Some(".") => (text.get(..6)?, text.get(7..)?),
        9 if text.get(2..3) == Some(".") => (text.get(3..)?, text.get(..2)?),
        8 => (text.get(2..)?, text.get(..2)?),
        _ => return None,
    };
    let suffix = ["SH", "SZ", "BJ"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(exchange))
        .or_else(|| exchange.eq_ignore_ascii_case("SS").then_some("SH"))?;
    is_code(code).then_some((code, suffix))
}

impl FromStr for Symbol {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        Self::parse(text)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({})", self.as_str())
    }
}

impl Serialize for Symbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Symbol {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Symbol".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 16,
            "description": "An instrument such as 002032.SZ, 600000.SH or AAPL."
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_a_chinese_code_becomes_the_same_symbol() {
        for text in [
            "600000.SH",
            "sh.600000",
            "SH600000",
            "600000.ss",
            " 600000.sh ",
        ] {
            assert_eq!(
                Symbol::parse(text).unwrap().to_string(),
                "600000.SH",
                "{text}"
            );
        }
    }

    #[test]
    fn the_board_follows_prefix_and_exchange() {
        for (text, board, exchange) in [
            ("002032.SZ", Board::Main, Exchange::Shenzhen),
            ("605001.SH", Board::Main, Exchange::Shanghai),
            ("301001.SZ", Board::ChiNext, Exchange::Shenzhen),
            ("689009.SH", Board::Star, Exchange::Shanghai),
            ("920001.BJ", Board::Bse, Exchange::Beijing),
            ("000001.SH", Board::Other, Exchange::Shanghai),
            ("000001.SZ", Board::Main, Exchange::Shenzhen),
            ("900901.SH", Board::Other, Exchange::Shanghai),
            ("AAPL", Board::Other, Exchange::Other),
        ] {
            let symbol = Symbol::parse(text).unwrap();
            assert_eq!(
                (symbol.board(), symbol.exchange()),
                (board, exchange),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_symbol_is_refused_with_its_rule() {
        for (text, rule) in [
            ("", "must not be empty"),
            ("600000", "needs its exchange"),
            ("a name that is much too long", "at most 16"),
            ("贵州茅台", "ASCII"),
            ("A B", "ASCII"),
        ] {
            let message = Symbol::parse(text).unwrap_err().to_string();
            assert!(message.contains(rule), "{message}");
        }
        assert!(Symbol::from_key(0).is_err());
        assert!(Symbol::from_key(u128::MAX).is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_a_symbol_survives_every_round_trip(text in "\\PC{0,18}|[a-zA-Z0-9.]{1,16}") {
            if let Ok(symbol) = Symbol::parse(&text) {
                prop_assert_eq!(Symbol::parse(symbol.as_str()).unwrap(), symbol);
                prop_assert_eq!(Symbol::from_key(symbol.as_key()).unwrap(), symbol);
                let json = serde_json::to_string(&symbol).unwrap();
                prop_assert_eq!(serde_json::from_str::<Symbol>(&json).unwrap(), symbol);
            }
        }

        #[test]
        fn keys_sort_as_names_do(a in "[A-Z]{1,5}", b in "[A-Z]{1,5}") {
            let (x, y) = (Symbol::parse(&a).unwrap(), Symbol::parse(&b).unwrap());
            prop_assert_eq!(x.as_key().cmp(&y.as_key()), a.cmp(&b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }
}
