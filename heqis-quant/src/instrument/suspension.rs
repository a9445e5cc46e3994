//! Days on which a stock did not trade, according to its bars and to the vendor's record.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::PLACE;
use crate::bar::Bar;
use crate::calendar::Calendar;
use crate::date::{Date, Span};
use crate::error::QuantError;
use crate::records::{ByStock, Records};
use crate::symbol::Symbol;

/// Reads Tushare's `suspend_d` table: `ts_code`, `trade_date`, `suspend_type` and, optionally, `suspend_timing`.
/// Returns the days on which each stock did not trade at all; a suspension of some hours (with a timing) and a
/// resumption (type `R`) are no such day. A row that cannot be read, or of a type other than `S` and `R`, becomes a bad row.
///
/// # Errors
/// Returns [`QuantError::Header`] or [`QuantError::Io`] when the table cannot be read at all.
pub fn read_suspended_days(
    read: impl Read,
    source_name: impl Into<String>,
) -> Result<ByStock<BTreeSet<Date>>, QuantError> {
    let mut records = Records::new(read, source_name)?;
    let code = records.column("ts_code")?;
    let day = records.column("trade_date")?;
    let kind = records.column("suspend_type")?;
    let timing = records.optional_column("suspend_timing")?;
    let mut found: BTreeMap<Symbol, BTreeSet<Date>> = BTreeMap::new();
    let bad = records.each(code, Some(day), |record| {
        let (symbol, date) = (record.symbol(code)?, record.date(day)?);
        let whole_day = timing.is_none_or(|column| record.optional_text(column).is_none());
        match record.text(kind)?.as_str() {
            "S" if whole_day => {
                found.entry(symbol).or_default().insert(date);
            }
            "S" | "R" => {}
            _ => return Err(record.refuse(kind, "must be S or R")),
        }
        Ok(())
    })?;
    Ok((found, bad))
}

/// Consecutive trading days without a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The first and the last of the days.
    pub span: Span,
    /// The number of trading days.
    pub trading_days: usize,
}

/// Returns the suspensions of a stock within a span: runs of trading days without a bar that traded.
///
/// `bars` are of one stock in order; a bar without volume does not count, since some vendors fill suspensions with
/// such bars. The caller limits `span` to the days on which the stock was listed and the bars are complete.
///
/// # Errors
/// Returns [`QuantError::Value`] if bars are of several stocks, if one is on a day of the span that is not in the calendar,
/// or if the calendar does not cover the span.
pub fn suspensions(
    bars: &[Bar],
    calendar: &Calendar,
    span: Span,
) -> Result<Vec<Suspension>, QuantError> {
    let (first, last) = (calendar.days().first(), calendar.days().last());
    if first.is_none_or(|first| span.from < *first) || last.is_none_or(|last| *last < span.to) {
        return Err(QuantError::value(
            PLACE,
            "calendar",
            format!("must reach from {} to {}", span.from, span.to),
            format!("{first:?} to {last:?}"),
        ));
    }
    let mut traded = BTreeSet::new();
    for bar in bars.iter().filter(|bar| span.contains(bar.date)) {
        if bar.symbol != bars[0].symbol {
            let rule = format!("must be of {}", bars[0].symbol);
            return Err(QuantError::value(PLACE, "bars", rule, bar.symbol));
        }
        if bar.volume_shares > 0.0 {
            if !calendar.contains(bar.date) {
                return Err(QuantError::value(
                    PLACE,
                    format!("bars of {}", bar.symbol),
                    "must lie on trading days",
                    bar.date,
                ));
            }
            traded.insert(bar.date);
        }
    }
    let mut found: Vec<Suspension> = Vec::new();
    let mut running = false;
    for day in calendar.within(span) {
        if traded.contains(day) {
            running = false;
        } else if let Some(last) = found.last_mut().filter(|_| running) {
            last.span.to = *day;
            last.trading_days += 1;
        } else {
            running = true;
            found.push(Suspension {
                span: Span {
                    from: *day,
                    to: *day,
                },
                trading_days: 1,
            });
        }
    }
    Ok(found)
}

/// Disagreements of bars and the vendor's record of suspensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuspensionCheck {
    /// Trading days without a bar that the record does not explain: the bars have a hole.
    pub missing: Vec<Date>,
    /// Days on which the stock traded although the record lists a suspension.
    pub contradicted: Vec<Date>,
}

/// Compares the suspensions that bars show with the vendor's record: see [`suspensions`] and [`read_suspended_days`].
///
/// # Errors
/// Returns what [`suspensions`] returns.
pub fn check_suspensions(
    bars: &[Bar],
    calendar: &Calendar,
    span: Span,
    recorded: &BTreeSet<Date>,
) -> Result<SuspensionCheck, QuantError> {
    let found = suspensions(bars, calendar, span)?;
    let is_suspended = |date: Date| found.iter().any(|s| s.span.contains(date));
    let days = calendar.within(span).iter().copied();
    Ok(SuspensionCheck {
        missing: days
            .clone()
            .filter(|day| is_suspended(*day) && !recorded.contains(day))
            .collect(),
        contradicted: days
            .filter(|day| !is_suspended(*day) && recorded.contains(day))
            .collect(),
    })
}
