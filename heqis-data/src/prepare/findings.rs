//! Where what is known of a stock disagrees with its bars. Nothing is repaired and no row is turned down for it: a
//! finding is told in `findings.csv` and counted in the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use heqis_quant::adjust::Evidence;
use heqis_quant::clean::is_free_day;
use heqis_quant::instrument::check_suspensions;
use heqis_quant::rules::Markets;
use heqis_quant::{BadRow, Bar, Board, Date, Span, Symbol};
use serde::{Deserialize, Serialize};

use super::known::Known;
use super::report::Lines;
use crate::error::DataError;

/// The file's name in a version.
pub const FILE: &str = "findings.csv";
/// What is found in tables alone, whatever the bars.
const OF_TABLES: [&str; 6] = [EVENT, "names", "listing", "suspend_d", "factors", "limits"];
/// A row of an event that cannot be used, so that the event is missing.
pub const EVENT: &str = "unreadable";

/// One line of `findings.csv`. What does not apply is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The instrument.
    pub symbol: String,
    /// The day.
    pub date: String,
    /// What speaks against it: `sign`, `events`, `reference` or `prices`, as in
    /// [`heqis_quant::adjust::Evidence`]; `price_left` when an event leaves no price; `not_recorded` for a trading day
    /// without a row that is no recorded suspension; `traded` for a bar on a day of suspension; `limits` for the
    /// first day whose published limits are not those of the rules; and for rows of a table that cannot be used, or that
    /// contradict each other, `names`, `listing`, `suspend_d` and `factors`, and `unreadable` for an event.
    pub evidence: String,
    /// The step of the factor, or the limit in CNY, that the evidence asks for.
    pub expected: Option<f64>,
    /// The step, or the limit in CNY, that the vendor or the events gave.
    pub got: Option<f64>,
    /// What was said, where two numbers do not say it.
    pub detail: String,
}

impl Finding {
    /// A finding in a table that is not of one bar.
    #[must_use]
    pub fn of_table(evidence: &str, symbol: Option<Symbol>, error: &dyn ToString) -> Self {
        Self {
            symbol: symbol.map(|symbol| symbol.to_string()).unwrap_or_default(),
            date: String::new(),
            evidence: evidence.to_owned(),
            expected: None,
            got: None,
            detail: error.to_string(),
        }
    }

    /// A row of a table that cannot be used.
    #[must_use]
    pub fn of_row(evidence: &str, row: &BadRow) -> Self {
        Self {
            date: row.date.map(|date| date.to_string()).unwrap_or_default(),
            ..Self::of_table(evidence, row.symbol, &row.error)
        }
    }

    pub(super) fn of_day(evidence: &str, symbol: Symbol, date: Date) -> Self {
        Self {
            symbol: symbol.to_string(),
            date: date.to_string(),
            evidence: evidence.to_owned(),
            expected: None,
            got: None,
            detail: String::new(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.evidence.as_str() {
            EVENT => "an ex-right event cannot be used",
            "names" => "names are unclear",
            "listing" => "its listing is unclear",
            "suspend_d" => "a suspension cannot be used",
            "factors" => "its factors cannot be used",
            other => other,
        };
        let symbol = match self.symbol.as_str() {
            "" => "a stock that cannot be read",
            symbol => symbol,
        };
        write!(f, "{symbol}: {what}: {}", self.detail)
    }
}

/// Returns everything that speaks against the bars of one series, or against what is known of it.
///
/// `rejected` are the days and reasons of the rows that were turned down. Behind one of them a bar's reference and limits
/// are no evidence, since they refer to that row and not to the bar before.
///
/// # Errors
///
/// [`DataError::Table`] when bars are not one series in order.
pub fn of_series(
    known: &Known,
    markets: &Markets,
    bars: &[Bar],
    rejected: &[(Date, &str)],
) -> Result<Vec<Finding>, DataError> {
    let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
        return Ok(Vec::new());
    };
    let (days, unsure) = by_day(bars, rejected);
    let mut findings = match known.ex_rights.findings(&days, markets) {
        Ok(found) => found
            .into_iter()
            .filter(|found| {
                let unlimited = || is_free(known, &days, found.date);
                found.evidence != Evidence::Prices || !(unsure.contains(&found.date) || unlimited())
            })
            .map(|found| Finding {
                expected: Some(found.expected),
                got: Some(found.got),
                ..Finding::of_day(name(found.evidence), symbol, found.date)
            })
            .collect(),
        Err(error) => vec![Finding::of_table("price_left", Some(symbol), &error)],
    };
    if let (Some(suspended), Some(calendar)) = (&known.suspended, &known.calendar)
        && symbol.board() != Board::Other
        && let (Some(first), Some(last)) = (calendar.days().first(), calendar.days().last())
        && let (from, to) = (
            (*first).max(days[0].date),
            (*last).min(days[days.len() - 1].date),
        )
        && from <= to
    {
        let none = Default::default();
        let recorded = suspended.get(&symbol).unwrap_or(&none);
        let check = check_suspensions(bars, calendar, Span::new(from, to)?, recorded)?;
        let read = |day: &Date| rejected.iter().any(|(rejected, _)| rejected == day);
        let missing = check.missing.iter().filter(|day| !read(day));
        findings.extend(missing.map(|day| Finding::of_day("not_recorded", symbol, *day)));
        let traded = check.contradicted.iter();
        findings.extend(traded.map(|day| Finding::of_day("traded", symbol, *day)));
    }
    Ok(findings)
}

/// Returns whether a day of one series has no limits, so that its prices are no evidence.
fn is_free(known: &Known, days: &[Bar], date: Date) -> bool {
    let at = days.partition_point(|bar| bar.date < date);
    let before = at.checked_sub(1).map(|before| days[before].date);
    let free = known.free_days.get(&days[0].symbol);
    free.is_some_and(|free| is_free_day(free, before, date))
}

/// Returns the bars of days, of several bars of one day the first reference and the last close; and the days behind a row
/// that was turned down.
fn by_day(bars: &[Bar], rejected: &[(Date, &str)]) -> (Vec<Bar>, BTreeSet<Date>) {
    let (mut days, mut after_rejects) = (Vec::<Bar>::new(), BTreeSet::new());
    for bar in bars {
        match days.last_mut() {
            Some(day) if day.date == bar.date => {
                day.high = day.high.max(bar.high);
                day.low = day.low.min(bar.low);
                day.close = bar.close;
            }
            last => {
                let after = last.map(|day| day.date);
                // These rows had no close of their own.
                let moved = |reason| !["no_trade", "duplicate", "closed_market"].contains(&reason);
                let unsure = rejected.iter().any(|(day, reason)| {
                    after.is_none_or(|after| after < *day) && *day < bar.date && moved(reason)
                });
                if unsure {
                    after_rejects.insert(bar.date);
                }
                days.push(Bar {
                    pre_close: bar.pre_close.filter(|_| !unsure),
                    ..*bar
                });
            }
        }
    }
    (days, after_rejects)
}

fn name(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Sign => "sign",
        Evidence::Events => "events",
        Evidence::Reference => "reference",
        Evidence::Prices => "prices",
    }
}

/// Creates `findings.csv` in a directory.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be written.
pub fn create(dir: &Path) -> Result<Lines<Finding>, DataError> {
    let header = ["symbol", "date", "evidence", "expected", "got", "detail"];
    Lines::create(dir.join(FILE), &header, |finding| &finding.evidence)
}

/// Reads what was found in the bars of a version, by symbol; what was found in tables alone is left out.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be read or a line has another shape.
pub fn of_bars(dir: &Path) -> Result<BTreeMap<String, Vec<Finding>>, DataError> {
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for line in super::report::read_lines::<Finding>(&dir.join(FILE))? {
        if !OF_TABLES.contains(&line.evidence.as_str()) {
            found.entry(line.symbol.clone()).or_default().push(line);
        }
    }
    Ok(found)
}
