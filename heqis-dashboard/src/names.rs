//! Names of instruments, and search by them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use heqis_quant::{Instrument, Symbol};

use crate::error::DashboardError;

/// Names and sectors by instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<Symbol, Instrument>);

impl FromIterator<Instrument> for Names {
    fn from_iter<I: IntoIterator<Item = Instrument>>(instruments: I) -> Self {
        let named = |instrument: Instrument| (instrument.symbol(), instrument);
        Self(instruments.into_iter().map(named).collect())
    }
}

impl Names {
    /// Reads a list of stocks in the format of [`Instrument::from_stock_basic`].
    ///
    /// # Errors
    /// [`DashboardError::File`] when the file cannot be opened, [`DashboardError::Quant`] when it has another format.
    pub fn read(path: &Path) -> Result<Self, DashboardError> {
        let shown = path.display().to_string();
        let fault = |source| DashboardError::File {
            path: shown.clone(),
            source,
        };
        // Checked before it is opened: opening a pipe waits for a writer, and a device may never end.
        if !std::fs::metadata(path).map_err(fault)?.is_file() {
            let rule = "must be a regular file";
            return Err(fault(std::io::Error::new(ErrorKind::InvalidInput, rule)));
        }
        let file = File::open(path).map_err(fault)?;
        let (stocks, bad) = Instrument::from_stock_basic(file, shown)?;
        // A stock with an invalid listing date still has a name; a row without a symbol is an error.
        match bad.into_iter().find(|row| row.symbol.is_none()) {
            Some(row) => Err(row.error.into()),
            None => Ok(Self(stocks)),
        }
    }

    /// Returns whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns name, sector and listing date of `symbol`.
    #[must_use]
    pub fn get(&self, symbol: Symbol) -> Option<&Instrument> {
        self.0.get(&symbol)
    }

    /// Returns how well `symbol` matches the typed text, lower is better: 0 for a prefix of its code, 1 for a prefix of its
    /// initials, 2 for a part of its name, 3 for a part of its sector; `None` without a match.
    #[must_use]
    pub fn rank(&self, symbol: Symbol, typed: &str) -> Option<u8> {
        let typed = typed.trim().to_lowercase();
        if symbol.as_str().to_lowercase().starts_with(&typed) {
            return Some(0);
        }
        let known = self.get(symbol)?;
        let initials = known.initials().unwrap_or_default().to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&typed);
        match () {
            () if initials.starts_with(&typed) => Some(1),
            () if holds(known.name()) => Some(2),
            () if known.industry().is_some_and(holds) => Some(3),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_code_ranks_before_initials_before_a_name_before_a_sector() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/stock_basic.csv");
        let names = Names::read(&shipped).unwrap();
        let (bank, supor) = (
            Symbol::parse("600000.SH").unwrap(),
            Symbol::parse("002032.SZ").unwrap(),
        );
        for (typed, rank) in [
            ("600", Some(0)),
            ("600000.sh", Some(0)),
            (" pfyh ", Some(1)),
            ("PFYH", Some(1)),
            ("pf", Some(1)),
            ("浦发", Some(2)),
            ("银行", Some(2)),
            ("pfyhx", None),
            ("yh", None),
            ("000", None),
        ] {
            assert_eq!(names.rank(bank, typed), rank, "{typed}");
        }
        assert_eq!(names.rank(supor, "SBE"), Some(1));
        assert_eq!(names.rank(supor, "电器"), Some(3));
        assert_eq!(Names::default().rank(supor, "sbe"), None);
    }
}
