//! What instruments are called: from the vendor's list of stocks.

use std::path::Path;

use heqis_dashboard::Names;
use heqis_dashboard::names::Name;
use heqis_quant::Symbol;
use pinyin::ToPinyinMulti as _;
use serde::Deserialize;

use crate::error::LabError;

#[derive(Deserialize)]
struct StockRow {
    ts_code: Symbol,
    name: String,
    #[serde(default)]
    industry: String,
}

/// Reads a `stock_basic.csv`: `ts_code`, `name` and, where it is there, `industry`.
pub(super) fn read(path: &Path) -> Result<Names, LabError> {
    let fault = |error: csv::Error| LabError::data_set(path, error.to_string());
    let mut reader = csv::Reader::from_path(path).map_err(fault)?;
    reader
        .deserialize()
        .map(|row| {
            let StockRow {
                ts_code,
                name,
                industry,
            } = row.map_err(fault)?;
            let named = Name {
                initials: initials(&name),
                sector: (!industry.is_empty()).then_some(industry),
                name,
            };
            Ok((ts_code, named))
        })
        .collect()
}

/// What each letter of a name may begin with when it is spoken; every reading counts, since which one is meant depends on
/// the word. White space is left out.
fn initials(name: &str) -> Vec<String> {
    name.chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| {
            let Some(readings) = letter.to_pinyin_multi() else {
                return letter.to_uppercase().collect();
            };
            let mut may: Vec<char> = readings
                .into_iter()
                .filter_map(|reading| reading.plain().chars().next())
                .map(|first| first.to_ascii_uppercase())
                .collect();
            may.sort_unstable();
            may.dedup();
            may.into_iter().collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_read_in_several_ways_has_each_of_them() {
        assert_eq!(initials("苏泊尔")[0], "S");
        assert_eq!(initials("苏泊尔")[2], "E");
        let bank = initials("浦发银行");
        assert!(bank[3].contains('H') && bank[3].contains('X'), "{bank:?}");
        assert_eq!(initials("*ST 长生")[..3], ["*", "S", "T"]);
    }
}
