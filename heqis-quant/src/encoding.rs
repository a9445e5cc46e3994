//! Encodings of text files. Chinese vendors write UTF-8 with or without a byte-order mark, or GBK.

use std::borrow::Cow;

use serde::Serialize;

/// The encoding of a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// UTF-8, ASCII included.
    Utf8,
    /// GBK, in the form of the WHATWG encoding standard, which reads GB 18030 too.
    Gbk,
}

const UTF_16: &str = "must be UTF-8 or GBK, and the byte-order mark is that of UTF-16";
const NEITHER: &str = "must be UTF-8 or GBK, and the bytes are neither";

impl Encoding {
    /// Returns the encoding of a text. A few bytes of GBK can be valid UTF-8 by chance; a whole line practically never is.
    ///
    /// # Errors
    /// Returns the rule that the bytes break.
    pub fn of(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(UTF_16);
        }
        [Self::Utf8, Self::Gbk]
            .into_iter()
            .find(|encoding| encoding.decode(bytes).is_some())
            .ok_or(NEITHER)
    }

    /// Returns the text, or `None` when the bytes are not in this encoding.
    ///
    /// Commas, quotes and line ends are the same bytes in both and never part of a character, so cells may be decoded
    /// one by one.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Gbk => {
                encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes)
            }
        }
    }

    /// Returns the name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Gbk => "GBK",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_recognized_in_both_encodings() {
        let text = "日期,股票代码,开盘,收盘";
        assert_eq!(Encoding::of(text.as_bytes()), Ok(Encoding::Utf8));
        // 日期 in GBK, from the code chart.
        assert_eq!(Encoding::Gbk.decode(b"\xc8\xd5\xc6\xda").unwrap(), "日期");
        let (gbk, _, _) = encoding_rs::GBK.encode(text);
        assert_eq!(Encoding::of(&gbk), Ok(Encoding::Gbk));
        assert_eq!(Encoding::of(b"date,open"), Ok(Encoding::Utf8));
        assert_eq!(Encoding::of(b"\xff\xfed\0a\0"), Err(UTF_16));
        assert_eq!(Encoding::of(b"\xff\xff\xff"), Err(NEITHER));
    }

    proptest! {
        #[test]
        fn text_is_the_same_after_a_round_trip_through_gbk(text in "[a-z,\u{4e00}-\u{9fa5}]{0,40}") {
            let (bytes, _, unmappable) = encoding_rs::GBK.encode(&text);
            prop_assert!(!unmappable);
            prop_assert_eq!(Encoding::Gbk.decode(&bytes).unwrap(), text.clone());
            // The separators are where they were.
            let cells: Vec<_> = bytes.split(|byte| *byte == b',').map(|cell| Encoding::Gbk.decode(cell).unwrap()).collect();
            prop_assert_eq!(cells, text.split(',').collect::<Vec<_>>());
        }
    }
}
