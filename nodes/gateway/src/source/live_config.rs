//! The parameters that every live source has.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::past::Past;
use super::symbols::SymbolsFile;

/// Limits of the parameters.
const SYMBOLS: (usize, usize) = (1, 1_000_000);
const SYMBOL_DAYS: (u32, u32) = (1, 36_500);

/// Parameters of every live source. Serde flattens them into those of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct LiveConfig {
    /// Most symbols at once; bars of further symbols are rejected, because every stage keeps state for each symbol.
    #[serde(default = "max_symbols")]
    #[schemars(range(min = SYMBOLS.0, max = SYMBOLS.1))]
    pub max_symbols: usize,
    /// Days by the node's clock after which a symbol without a bar no longer counts towards `max_symbols`.
    #[serde(default = "symbol_days")]
    #[schemars(range(min = SYMBOL_DAYS.0, max = SYMBOL_DAYS.1))]
    pub symbol_days: u32,
    /// A text file of the accepted codes, one a line, `#` before comments; without it every code is accepted. It is read again
    /// within a second after it has changed.
    #[serde(default)]
    pub symbols_file: Option<PathBuf>,
    /// Files of bars from before this source, as `csv-replay` reads them: they fill indicators and windows at a start without
    /// a saved state, and nothing is decided from them.
    #[serde(default)]
    pub warm_up: Vec<PathBuf>,
}

fn max_symbols() -> usize {
    10_000
}

fn symbol_days() -> u32 {
    7
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            max_symbols: max_symbols(),
            symbol_days: symbol_days(),
            symbols_file: None,
            warm_up: Vec::new(),
        }
    }
}

impl LiveConfig {
    /// Returns what is wrong with the parameters, for the check of a source. Relative paths start at `base`.
    pub(super) fn faults(&self, base: &Path) -> Vec<String> {
        let list = self.symbols_file.as_ref().and_then(|path| {
            SymbolsFile::open(base.join(path), self.max_symbols)
                .map_err(|fault| format!("symbols_file: {fault}"))
                .err()
        });
        outside("max_symbols", self.max_symbols, SYMBOLS)
            .into_iter()
            .chain(outside("symbol_days", self.symbol_days, SYMBOL_DAYS))
            .chain(list)
            .chain(Past::faults(&self.warm_up, base))
            .collect()
    }
}

/// Returns the fault of a number that does not lie within its limits.
pub(super) fn outside<N: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    value: N,
    (min, max): (N, N),
) -> Option<String> {
    (!(min..=max).contains(&value))
        .then(|| format!("{name} is {value}, it must lie in {min}..={max}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_and_lists_that_cannot_be_used_are_faults() {
        let directory = tempfile::tempdir().unwrap();
        let faults = |max_symbols, symbol_days, list: Option<&str>| {
            let config = LiveConfig {
                max_symbols,
                symbol_days,
                symbols_file: list.map(PathBuf::from),
                warm_up: Vec::new(),
            };
            config.faults(directory.path())
        };
        assert_eq!(faults(1, 1, None), [""; 0]);
        let ranges = faults(0, 0, Some("."));
        assert_eq!(ranges.len(), 3, "{ranges:?}");
        assert!(ranges[2].ends_with("and is a directory"), "{ranges:?}");
    }

    #[test]
    fn unknown_parameters_are_refused_next_to_flattened_ones() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Config {
            #[serde(flatten)]
            live: LiveConfig,
        }
        let read = serde_json::from_str::<Config>;
        assert_eq!(read(r#"{"max_symbols": 5}"#).unwrap().live.max_symbols, 5);
        let error = read(r#"{"max_symbol": 5}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `max_symbol`"), "{error}");
    }
}
