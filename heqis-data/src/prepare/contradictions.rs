//! Contradictions among the bars of a series, and between its bars and the reference data.

use std::collections::BTreeSet;

use heqis_quant::adjust::Evidence;
use heqis_quant::clean::is_free_day;
use heqis_quant::instrument::check_suspensions;
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Board, Date, Span};

use super::findings::Finding;
use super::reference::ReferenceTables;
use crate::error::DataError;

/// Returns the contradictions in the bars and the reference data of one series.
///
/// `rejected` are the days and reasons of the rejected rows. The reference price and the limits of a bar after a rejected
/// row are no evidence, since they refer to that row and not to the bar before.
///
/// # Errors
///
/// [`DataError::Table`] when the bars are not a single series in the order of time.
pub fn of_series(
    reference: &ReferenceTables,
    markets: &Markets,
    bars: &[Bar],
    rejected: &[(Date, &str)],
) -> Result<Vec<Finding>, DataError> {
    let Some(symbol) = bars.first().map(|bar| bar.symbol) else {
        return Ok(Vec::new());
    };
    let (days, unsure) = by_day(bars, rejected);
    let mut findings = match reference.ex_rights.findings(&days, markets) {
        Ok(found) => found
            .into_iter()
            .filter(|found| {
                let unlimited = || is_free(reference, &days, found.date);
                found.evidence != Evidence::Prices || !(unsure.contains(&found.date) || unlimited())
            })
            .map(|found| Finding {
                expected: Some(found.expected),
                got: Some(found.got),
                ..Finding::of_day(found.evidence.name(), symbol, found.date)
            })
            .collect(),
        Err(error) => vec![Finding::of_table("price_left", Some(symbol), &error)],
    };
    if let (Some(suspended), Some(calendar)) = (&reference.suspended, &reference.calendar)
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

/// Returns whether a day of a series has no price limits, so that its prices are no evidence.
fn is_free(reference: &ReferenceTables, days: &[Bar], date: Date) -> bool {
    let at = days.partition_point(|bar| bar.date < date);
    let before = at.checked_sub(1).map(|before| days[before].date);
    let free = reference.free_days.get(&days[0].symbol);
    free.is_some_and(|free| is_free_day(free, before, date))
}

/// Merges bars into days, each with the first reference price and the last close, and returns them with the days after a
/// rejected row.
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
