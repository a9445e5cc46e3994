//! Symbols of instruments, their exchanges and boards.

mod code;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::QuantError;
use code::{canonical, chinese, is_almost_chinese, is_digits, rule_against, rule_of_digits};

/// The symbol of one instrument: 1 to 16 ASCII bytes, padded with zeros, so that it copies and compares like a number.
///
/// A Chinese code in any spelling (`sz.002032`, `SZ002032`, `002032.XSHE`, `SZSE.002032`, `SZSE.STK.002032`, `0.002032`,
/// `'002032.SZ`) becomes `002032.SZ`. Any other name, such as `AAPL`, is kept as written, with `-` for `/`. Digits alone are
/// refused, since `000001` is a bank in Shenzhen and an index in Shanghai. A code on an exchange that does not have it is
/// refused too.
///
/// ```
/// use heqis_quant::{Board, Exchange, QuantError, Symbol};
///
/// let symbol = Symbol::parse("sz002032")?;
/// assert_eq!(symbol.as_str(), "002032.SZ");
/// assert_eq!((symbol.exchange(), symbol.board()), (Exchange::Shenzhen, Board::Main));
/// let error = Symbol::parse("002032.SH").unwrap_err().to_string();
/// assert!(error.contains("the nearest is 002032.SZ"), "{error}");
/// # Ok::<(), QuantError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol([u8; 16]);

/// The exchange of a [`Symbol`], by its suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
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

/// The market segment whose trading rules a stock follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
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
    /// Returns the name, such as `chinext`.
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

    /// Returns the board of a name, or `None` if there is no such board.
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
    /// Returns [`QuantError::Symbol`] if the text is empty, has more than 16 bytes or other characters than ASCII letters,
    /// digits and `. _ - ^ =`, is digits alone, or is a Chinese code without six digits or on an exchange that does not
    /// have it. The rule names the nearest valid spelling, if any.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        let text = text.trim();
        let refuse = |rule: String| {
            Err(QuantError::Symbol {
                got: text.chars().take(64).collect(),
                rule,
            })
        };
        if text.is_empty() {
            return refuse("must not be empty".into());
        }
        // A leading apostrophe keeps a spreadsheet from reading a code as a number. A slash is replaced first, so that a
        // symbol parses to itself.
        let bare = text.trim_start_matches('\'').trim().replace('/', "-");
        if let Some((code, suffix)) = chinese(&bare) {
            return match rule_against(code, suffix) {
                Some(rule) => refuse(rule),
                None => Ok(Self::pack(&format!("{code}.{suffix}"))),
            };
        }
        let whole = bare.strip_suffix(".0").unwrap_or(&bare);
        if is_digits(whole) {
            return refuse(rule_of_digits(whole));
        }
        if is_almost_chinese(&bare) {
            return refuse("must be a code of six digits and its exchange, as in 600000.SH".into());
        }
        if bare.len() > 16 {
            return refuse("must have at most 16 bytes".into());
        }
        if bare.is_empty()
            || !bare
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-^=".contains(&b))
        {
            return refuse("may hold only ASCII letters, digits and . _ - ^ =".into());
        }
        Ok(Self::pack(&bare))
    }

    /// Returns the stock of a code without an exchange, for tables of Chinese stocks only, in which `000001` is the bank. A
    /// code with its exchange is parsed as by [`Symbol::parse`].
    ///
    /// # Errors
    /// Returns [`QuantError::Symbol`] when no stock has such a code.
    pub fn parse_stock(text: &str) -> Result<Self, QuantError> {
        let code = text.trim().trim_start_matches('\'').trim();
        let code = code.strip_suffix(".0").unwrap_or(code);
        if !is_digits(code) {
            return Self::parse(text);
        }
        let refuse = |rule: String| QuantError::Symbol {
            got: text.chars().take(64).collect(),
            rule,
        };
        if code.len() != 6 {
            return Err(refuse(rule_of_digits(code)));
        }
        let suffix = match code.get(..2) {
            Some("60" | "68" | "90") => "SH",
            Some("00" | "20" | "30") => "SZ",
            Some("43" | "82" | "83" | "87" | "88" | "92") => "BJ",
            _ => return Err(refuse("must be a stock code of six digits".into())),
        };
        Ok(Self::pack(&format!("{code}.{suffix}")))
    }

    /// Returns the instrument in a file name: the whole stem, or a Chinese code that separators set off, such as in
    /// `SH#600000`, `600000.SH-daily` or `sz002032_qfq`.
    ///
    /// # Errors
    /// Returns [`QuantError::Symbol`] if the name is no symbol and contains none, or contains two.
    pub fn of_file_stem(stem: &str) -> Result<Self, QuantError> {
        let whole = Self::parse(stem);
        if whole
            .as_ref()
            .is_ok_and(|symbol| symbol.exchange() != Exchange::Other)
        {
            return whole;
        }
        let mut found: Vec<Self> = Vec::new();
        let pieces: Vec<&str> = stem
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|piece| !piece.is_empty())
            .collect();
        let mut at = 0;
        while at < pieces.len() {
            // Two pieces are a code and its exchange in either order; one piece is both.
            let pair = pieces.get(at..at + 2).map(|pair| pair.join("."));
            let pair = pair.filter(|_| !pieces[at + 1].eq("0"));
            let of_pair = pair.as_deref().and_then(chinese).and_then(code_symbol);
            let of_one = chinese(pieces[at]).and_then(code_symbol);
            at += if of_pair.is_some() { 2 } else { 1 };
            found.extend(of_pair.or(of_one));
        }
        found.dedup();
        match found[..] {
            [symbol] => Ok(symbol),
            [] => whole,
            [..] => Err(QuantError::Symbol {
                got: stem.chars().take(64).collect(),
                rule: "must name one instrument, and names several".into(),
            }),
        }
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
        // The constructors accept only ASCII.
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }

    /// Returns the 16 bytes as one big-endian number, so that keys sort like names.
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
                rule: "is the key of no symbol".into(),
            }),
        }
    }

    /// Returns the exchange.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        match canonical(self.as_str()) {
            Some((_, "SH")) => Exchange::Shanghai,
            Some((_, "SZ")) => Exchange::Shenzhen,
            Some((_, "BJ")) => Exchange::Beijing,
            _ => Exchange::Other,
        }
    }

    /// Returns the board by code prefix and exchange: `000001.SZ` is a main-board stock, `000001.SH` an index.
    #[must_use]
    pub fn board(&self) -> Board {
        let Some((code, suffix)) = canonical(self.as_str()) else {
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

/// Returns the symbol of a valid code.
fn code_symbol((code, suffix): (&str, &str)) -> Option<Symbol> {
    rule_against(code, suffix)
        .is_none()
        .then(|| Symbol::pack(&format!("{code}.{suffix}")))
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
            "600000.XSHG",
            "XSHG.600000",
            "SHSE.600000",
            "SSE.600000",
            "600000.SSE",
            "SSE.STK.600000",
            "sse.stk.600000",
            "SH#600000",
            "SH_600000",
            "600000SH",
            "1.600000",
            "'600000.SH",
        ] {
            assert_eq!(
                Symbol::parse(text).unwrap().to_string(),
                "600000.SH",
                "{text}"
            );
        }
    }

    #[test]
    fn a_code_with_a_slash_parses_to_itself() {
        for text in ["600000/SH", "sh/600000", "SSE/STK/600000", "0/600000"] {
            let symbol = Symbol::parse(text).unwrap();
            assert_eq!(symbol.as_str(), "600000.SH", "{text}");
            assert_eq!(Symbol::from_key(symbol.as_key()).unwrap(), symbol);
        }
        assert!(Symbol::parse("600000/SZ").is_err());
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
    fn texts_that_are_no_symbol_are_refused_with_the_rule() {
        for (text, rule) in [
            ("", "must not be empty"),
            ("600000", "as in 600000.SH"),
            ("000001", "000001.SH for an index"),
            ("'600101", "as in 600101.SH"),
            ("600101.0", "as in 600101.SH"),
            ("2101", "it is 002101.SZ"),
            ("1", "it is 000001.SZ"),
            ("2101.SZ", "it is 002101.SZ"),
            ("6001011", "and this has 7"),
            ("6001011.SH", "six digits, and has 7"),
            ("600101.SZ", "the nearest is 600101.SH"),
            ("sh.002032", "the nearest is 002032.SZ"),
            ("002032.XSHG", "the nearest is 002032.SZ"),
            ("300750.BJ", "the nearest is 300750.SZ"),
            ("830799.SH", "the nearest is 830799.BJ"),
            ("510300.SZ", "the nearest is 510300.SH"),
            ("399001.SH", "the nearest is 399001.SZ"),
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

    #[test]
    fn a_file_name_gives_one_instrument() {
        for (stem, expected) in [
            ("600000.SH", "600000.SH"),
            ("sh600000", "600000.SH"),
            ("SH#600000", "600000.SH"),
            ("600000.SH-daily", "600000.SH"),
            ("sz002032_qfq", "002032.SZ"),
            ("daily_002032.SZ_2004", "002032.SZ"),
            ("SSE.STK.600101", "600101.SH"),
            ("AAPL", "AAPL"),
        ] {
            assert_eq!(
                Symbol::of_file_stem(stem).unwrap().as_str(),
                expected,
                "{stem}"
            );
        }
        for (stem, rule) in [
            ("600000", "as in 600000.SH"),
            ("600000.SH-000001.SZ", "names several"),
            ("600101.SZ", "the nearest is 600101.SH"),
        ] {
            let message = Symbol::of_file_stem(stem).unwrap_err().to_string();
            assert!(message.contains(rule), "{message}");
        }
        assert_eq!(Symbol::parse_stock("000001").unwrap().as_str(), "000001.SZ");
        assert_eq!(Symbol::parse("BTC/USDT").unwrap().as_str(), "BTC-USDT");
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_and_a_symbol_survives_every_round_trip(
            text in "\\PC{0,18}|[a-zA-Z0-9.]{1,16}|'?[sS0-2][hH]?[/._#-]?[06]0000[01][/._#-]?(SH|\\.0)?"
        ) {
            if let Ok(symbol) = Symbol::parse(&text) {
                prop_assert_eq!(Symbol::parse(symbol.as_str()).unwrap(), symbol);
                prop_assert_eq!(Symbol::from_key(symbol.as_key()).unwrap(), symbol);
                let json = serde_json::to_string(&symbol).unwrap();
                prop_assert_eq!(serde_json::from_str::<Symbol>(&json).unwrap(), symbol);
            }
        }

        #[test]
        fn keys_sort_like_names(a in "[A-Z]{1,5}", b in "[A-Z]{1,5}") {
            let (x, y) = (Symbol::parse(&a).unwrap(), Symbol::parse(&b).unwrap());
            prop_assert_eq!(x.as_key().cmp(&y.as_key()), a.cmp(&b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }
}
