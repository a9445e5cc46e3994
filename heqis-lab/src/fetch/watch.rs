//! The watch list: sectors with stocks by name or code, indices and funds by code.

use heqis_quant::Symbol;
use serde::Deserialize;

use super::error::FetchError;
use super::reply::Cell;

/// A watch list as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchList {
    /// The sectors.
    pub sector: Vec<Sector>,
}

/// One sector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sector {
    /// Its name.
    pub name: String,
    /// A-shares, by name or code.
    #[serde(default)]
    pub stocks: Vec<String>,
    /// Indices, by code.
    #[serde(default)]
    pub indices: Vec<Symbol>,
    /// Funds, by code.
    #[serde(default)]
    pub funds: Vec<Symbol>,
}

/// Finds the one stock of a name, of a code, or of a code without its exchange, in rows of `stock_basic`.
///
/// # Errors
///
/// [`FetchError::Setting`] with the nearest names, or with the codes among which the name does not choose.
pub fn resolve(text: &str, sector: &str, stocks: &[Vec<Cell>]) -> Result<Symbol, FetchError> {
    let code = Symbol::parse(text).ok();
    let name_of = |row: &[Cell]| row[1].to_text();
    let found: Vec<Symbol> = stocks
        .iter()
        .filter_map(|row| match row[0] {
            Cell::Code(symbol) => Some((symbol, row)),
            _ => None,
        })
        .filter(|(symbol, row)| {
            Some(*symbol) == code
                || name_of(row) == text
                || symbol.as_str().split('.').next() == Some(text)
        })
        .map(|(symbol, _)| symbol)
        .collect();
    let refuse = |rule| {
        Err(FetchError::Setting {
            place: format!("watch list, sector {sector}"),
            rule,
        })
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let mut near: Vec<(f64, String)> = stocks
                .iter()
                .map(|row| {
                    let (code, name) = (row[0].to_text(), name_of(row));
                    let likeness = strsim::jaro(text, &name).max(strsim::jaro(text, &code));
                    (likeness, format!("{name} {code}"))
                })
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            let near: Vec<String> = near.into_iter().take(3).map(|(_, name)| name).collect();
            refuse(format!(
                "no stock is called {text}; nearest: {}",
                near.join(", ")
            ))
        }
        many => {
            let codes: Vec<&str> = many.iter().map(Symbol::as_str).collect();
            refuse(format!("{text} is ambiguous: {}", codes.join(", ")))
        }
    }
}
