//! Names of instruments, and finding one by what people type.

use std::collections::BTreeMap;

use heqis_quant::Symbol;

/// What an instrument is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Its name.
    pub name: String,
    /// Its sector.
    pub sector: Option<String>,
    /// For each letter of the name what it may begin with when it is spoken, in capitals: `["S", "B", "E"]`. A letter
    /// that is read in several ways has several: `["Y", "XH"]`.
    pub initials: Vec<String>,
}

/// Names by instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<Symbol, Name>);

impl FromIterator<(Symbol, Name)> for Names {
    fn from_iter<I: IntoIterator<Item = (Symbol, Name)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Names {
    /// Whether there is no name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `symbol` is called.
    #[must_use]
    pub fn get(&self, symbol: Symbol) -> Option<&Name> {
        self.0.get(&symbol)
    }

    /// How well `symbol` fits what was typed, the less the better: 0 the beginning of its code, 1 of its initials, 2 a part
    /// of its name, 3 a part of its sector; `None` when it does not fit.
    #[must_use]
    pub fn rank(&self, symbol: Symbol, typed: &str) -> Option<u8> {
        let typed = typed.trim();
        if symbol.as_str().starts_with(&typed.to_ascii_uppercase()) {
            return Some(0);
        }
        let name = self.get(symbol)?;
        let letters = typed.to_ascii_uppercase();
        let begins = letters.len() <= name.initials.len()
            && letters
                .chars()
                .zip(&name.initials)
                .all(|(letter, may)| may.contains(letter));
        let holds = |text: &str| text.to_lowercase().contains(&typed.to_lowercase());
        match () {
            () if begins => Some(1),
            () if holds(&name.name) => Some(2),
            () if name.sector.as_deref().is_some_and(holds) => Some(3),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names() -> (Names, Symbol, Symbol) {
        let (bank, supor) = (
            Symbol::parse("600000.SH").unwrap(),
            Symbol::parse("002032.SZ").unwrap(),
        );
        let name = |name: &str, sector: &str, initials: &[&str]| Name {
            name: name.into(),
            sector: Some(sector.into()),
            initials: initials.iter().map(|&may| may.to_owned()).collect(),
        };
        let names = [
            (bank, name("浦发银行", "银行", &["P", "F", "Y", "XH"])),
            (supor, name("苏泊尔", "家用电器", &["S", "B", "E"])),
        ];
        (names.into_iter().collect(), bank, supor)
    }

    #[test]
    fn code_comes_before_initials_before_name_before_sector() {
        let (names, bank, supor) = names();
        for (typed, rank) in [
            ("600", Some(0)),
            ("600000.sh", Some(0)),
            (" pfyh ", Some(1)),
            ("PFYX", Some(1)),
            ("pf", Some(1)),
            ("浦发", Some(2)),
            ("银行", Some(2)),
            ("pfyhx", None),
            ("yh", None),
            ("000", None),
        ] {
            assert_eq!(names.rank(bank, typed), rank, "{typed}");
        }
        assert_eq!(names.rank(supor, "电器"), Some(3));
        assert_eq!(Names::default().rank(supor, "sbe"), None);
    }
}
