//! The stocks of a watch list, found by name or code in the vendor's list of stocks.

use std::collections::BTreeSet;

use heqis_quant::{Date, Span, Symbol};

use crate::error::FetchError;
use crate::reply::Cell;
use heqis_data::watch_list::WatchList;

/// A stock with its first and last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StockListing {
    /// The stock.
    pub code: Symbol,
    /// Its first day, if known.
    pub list_date: Option<Date>,
    /// The day of its delisting, from which it does not trade.
    pub delist_date: Option<Date>,
}

impl StockListing {
    /// Reads a row of `stock_basic`.
    fn of_row(row: &[Cell]) -> Option<Self> {
        let day = |cell: &Cell| match cell {
            Cell::Day(day) => Some(*day),
            _ => None,
        };
        let Cell::Code(code) = row[0] else {
            return None;
        };
        Some(Self {
            code,
            list_date: day(&row[6]),
            delist_date: day(&row[7]),
        })
    }

    /// Returns whether the stock is listed on a day.
    #[must_use]
    pub(crate) fn trades_on(&self, day: Date) -> bool {
        self.trades_in(Span { from: day, to: day })
    }

    /// Returns whether the stock is listed on some day of a span.
    #[must_use]
    pub(crate) fn trades_in(&self, span: Span) -> bool {
        self.list_date.is_none_or(|first| first <= span.to)
            && self.delist_date.is_none_or(|end| span.from < end)
    }
}

/// Returns the stocks of all sectors of a list without repetition, resolved with rows of `stock_basic`.
///
/// # Errors
///
/// As [`resolve`].
pub fn stocks(
    list: &WatchList,
    stocks: &[Vec<Cell>],
) -> Result<BTreeSet<StockListing>, FetchError> {
    list.sector
        .iter()
        .flat_map(|sector| sector.stocks.iter().map(move |text| (sector, text)))
        .map(|(sector, text)| resolve(text, &sector.name, stocks))
        .collect()
}

/// Finds the stock with a name, a code, or a code without exchange, in rows of `stock_basic`.
///
/// The vendor writes some names with spaces and full-width letters (`万  科Ａ`); the comparison ignores both.
///
/// # Errors
///
/// [`FetchError::Setting`] with the nearest names, or with the codes of an ambiguous name.
pub fn resolve(text: &str, sector: &str, stocks: &[Vec<Cell>]) -> Result<StockListing, FetchError> {
    let code = Symbol::parse(text).ok();
    let name = plain(text);
    let name_of = |row: &[Cell]| row[1].to_text();
    let found: Vec<StockListing> = stocks
        .iter()
        .filter_map(|row| Some((StockListing::of_row(row)?, row)))
        .filter(|(listing, row)| {
            Some(listing.code) == code
                || plain(&name_of(row)) == name
                || listing.code.as_str().split('.').next() == Some(name.as_str())
        })
        .map(|(listing, _)| listing)
        .collect();
    let found = merge_rows(found);
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
            let codes: Vec<&str> = many.iter().map(|listing| listing.code.as_str()).collect();
            refuse(format!("{text} is ambiguous: {}", codes.join(", ")))
        }
    }
}

/// Merges the rows of each stock: the vendor lists some twice, once without the day of delisting.
fn merge_rows(mut found: Vec<StockListing>) -> Vec<StockListing> {
    found.sort();
    found.dedup_by(|row, kept| {
        let same = row.code == kept.code;
        if same {
            kept.list_date = kept.list_date.or(row.list_date);
            kept.delist_date = kept.delist_date.or(row.delist_date);
        }
        same
    });
    found
}

/// Replaces full-width letters by ASCII and removes white space.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_whitespace())
        .map(|letter| match letter {
            // Full-width forms have a fixed offset from their ASCII letters.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(letter as u32 - 0xfee0).unwrap_or(letter),
            other => other,
        })
        .collect()
}
