//! Damaged tables of predictions: any bytes are read or refused without a panic. The test serves as a fuzz target outside
//! of `fuzz/`; `PROPTEST_CASES=1000000` makes it a long run.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use heqis_data::predictions::Predictions;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Ordinary tables, and tables that are hard to read.
const TABLES: [&str; 6] = [
    "symbol,date,predicted_return,p_down,p_flat,p_up,fitted_to\n\
     002032.SZ,2010-01-04,0.01,0.2,0.3,0.5,2009-12-31\n\
     002032.SZ,2010-01-05,-0.02,0.5,0.3,0.2,\n\
     600000.SH,2010-01-05,0,,,,2009-12-31\n",
    "ts_code,trade_date,time,predicted_return\n\
     600000.SH,20240102,09:35,0.001\n\
     600000.SH,20240102,0940,-1e-3\n",
    "ticker;datetime;predicted_return\n",
    "\u{feff}code,timestamp,predicted_return,note\r\n\
     BTCUSDT,1704159300,0.1,\"a \"\"b\"\", c\"\r\n\
     AAPL,2024-07-02T02:00:00Z,0.1,\"two\nlines\"\r\n",
    "symbol,date,predicted_return\nsh.600000,2024-01-02 00:00:00+08:00,0.5,\nAAPL,2024-01-03 00:00,0.5\n",
    "",
];
const BETWEEN: &str = ",;\t\"\n\r ";
const NASTY: [&str; 24] = [
    "",
    "0",
    "-0",
    "1",
    "0.5",
    "1e308",
    "1e999",
    "NaN",
    "inf",
    "\"",
    "\"\"",
    ",",
    "\n",
    "\r",
    "\0",
    "\u{feff}",
    "2023-02-29",
    "2199-12-31",
    "31/12/2024",
    "24:00",
    "9999999999999999999",
    "600000.SH",
    "p_up",
    "fitted_to",
];

/// Replaces the word at a position, or the separator after it.
fn damage(text: &mut String, at: Index, word: &str, separates: bool) {
    let mut at = at.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let is_between = |c: char| BETWEEN.contains(c);
    let start = text[..at].rfind(is_between).map_or(0, |end| end + 1);
    let end = text[at..]
        .find(is_between)
        .map_or(text.len(), |end| at + end);
    let range = match separates && end < text.len() {
        true => end..end + 1,
        false => start..end,
    };
    text.replace_range(range, word);
}

proptest! {
    #[test]
    fn a_damaged_table_is_read_or_refused(
        table in select(TABLES.to_vec()),
        faults in prop::collection::vec((any::<Index>(), select(NASTY.to_vec()), any::<bool>()), 0..6),
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..3),
    ) {
        let mut text = table.to_owned();
        for (at, word, separates) in faults {
            damage(&mut text, at, word, separates);
        }
        let mut text = text.into_bytes();
        for (at, byte) in bytes {
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
        }
        let read = |bytes: &[u8]| Predictions::from_csv(Path::new("p.csv"), bytes);
        match read(&text) {
            Ok(table) => {
                prop_assert!(!table.is_empty());
                // No row is invented: each has at least two commas.
                let commas = text.iter().filter(|byte| **byte == b',').count();
                prop_assert!(table.len() * 2 <= commas);
                // A blank line changes nothing.
                let longer = [&text[..], b"\n"].concat();
                prop_assert_eq!(read(&longer).map(|more| more.len()).ok(), Some(table.len()));
            }
            Err(error) => prop_assert!(error.to_string().contains("p.csv"), "{error}"),
        }
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        at in any::<Index>(), byte in any::<u8>(), cut in any::<Option<Index>>(), packed in any::<bool>()
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let mut bytes = TABLES[0].as_bytes().to_vec();
        if packed {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&bytes).unwrap();
            bytes = gzip.finish().unwrap();
        }
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = Predictions::read(&path) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
