//! Trading days of an exchange.

use std::collections::BTreeMap;
use std::io::Read;

use crate::date::{Date, Span};
use crate::error::QuantError;
use crate::records::Records;

/// A sorted list of trading days, usually those of an index series or of the vendor's calendar, by which missing days are
/// counted. It covers the days from its first to its last trading day and none outside.
///
/// ```
/// use heqis_quant::{Calendar, Date, QuantError};
///
/// let day = Date::parse;
/// let calendar = Calendar::new([day("2024-02-08")?, day("2024-02-19")?, day("2024-02-20")?])?;
/// assert_eq!(calendar.next(day("2024-02-08")?), Some(day("2024-02-19")?));
/// assert_eq!(calendar.between(day("2024-02-08")?, day("2024-02-20")?), Some(1));
/// assert_eq!(calendar.between(day("2024-02-08")?, day("2024-02-21")?), None, "not covered");
/// # Ok::<(), QuantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    days: Vec<Date>,
}

impl Calendar {
    /// Makes a calendar from days in any order; a repeated day counts once.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when there is no day at all.
    pub fn new(days: impl IntoIterator<Item = Date>) -> Result<Self, QuantError> {
        let mut days: Vec<Date> = days.into_iter().collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            return Err(QuantError::value(
                "calendar",
                "days",
                "must hold at least one day",
                0,
            ));
        }
        Ok(Self { days })
    }

    /// Reads Tushare's `trade_cal` table: `cal_date`, `is_open` and, optionally, `pretrade_date`, in any order of rows.
    /// Closed days are omitted.
    ///
    /// # Errors
    /// Returns [`QuantError::Header`], [`QuantError::Row`] or [`QuantError::Io`] if the table cannot be read,
    /// [`QuantError::Row`] if a day is both open and closed, if `exchange` changes within the table, or if the vendor's
    /// previous trading day differs from that of the table, and [`QuantError::Value`] if no day is open.
    pub fn from_trade_cal(
        read: impl Read,
        source_name: impl Into<String>,
    ) -> Result<Self, QuantError> {
        let mut records = Records::new(read, source_name)?;
        let date_column = records.column("cal_date")?;
        let open_column = records.column("is_open")?;
        let previous_column = records.optional_column("pretrade_date")?;
        let exchange_column = records.optional_column("exchange")?;
        let mut seen = BTreeMap::new();
        let mut claims = Vec::new();
        let mut exchange: Option<String> = None;
        while let Some(record) = records.next_record()? {
            if let Some(column) = exchange_column {
                let name = record.text(column)?;
                if let Some(first) = exchange.as_ref().filter(|first| **first != name) {
                    let rule = format!("must be {first} like the rows before");
                    return Err(record.refuse(column, rule));
                }
                exchange = Some(name);
            }
            let date = record.date(date_column)?;
            let is_open = match record.text(open_column)?.as_str() {
                "1" | "1.0" => true,
                "0" | "0.0" => false,
                _ => return Err(record.refuse(open_column, "must be 0 or 1")),
            };
            if seen.insert(date, is_open).is_some_and(|was| was != is_open) {
                return Err(record.refuse(date_column, "must not be both open and closed"));
            }
            if let Some(column) = previous_column
                && let Some(previous) = record.optional_date(column)?
            {
                claims.push((date, previous, record.clone(), column));
            }
        }
        let calendar = Self::new(seen.iter().filter(|(_, open)| **open).map(|(day, _)| *day))?;
        let first_known = seen.keys().next().copied();
        for (date, claimed, record, column) in claims {
            // The table cannot contradict a previous day before its first row.
            let ours = calendar.previous(date);
            let known = first_known.is_some_and(|first| first <= claimed);
            if (known || ours.is_some()) && ours != Some(claimed) {
                let rule = match ours {
                    Some(ours) => format!("must be {ours}, the last open day before {date}"),
                    None => format!("must be an open day of the table before {date}"),
                };
                return Err(record.refuse(column, rule));
            }
        }
        Ok(calendar)
    }

    /// Returns the number of trading days strictly between two dates, or `None` if the calendar does not cover both.
    #[must_use]
    pub fn between(&self, from: Date, to: Date) -> Option<usize> {
        let covered = *self.days.first()? <= from && to <= *self.days.last()?;
        let after = self.days.partition_point(|day| *day <= from);
        let before = self.days.partition_point(|day| *day < to);
        covered.then(|| before.saturating_sub(after))
    }

    /// Returns whether the exchange traded on a day.
    #[must_use]
    pub fn contains(&self, date: Date) -> bool {
        self.days.binary_search(&date).is_ok()
    }

    /// Returns the last trading day before a date, or `None` if the calendar does not reach that far back. The date itself
    /// may be closed or after the end of the calendar.
    #[must_use]
    pub fn previous(&self, date: Date) -> Option<Date> {
        let before = self.days.partition_point(|day| *day < date);
        self.days.get(before.checked_sub(1)?).copied()
    }

    /// Returns the first trading day after a date, or `None` beyond the end of the calendar.
    #[must_use]
    pub fn next(&self, date: Date) -> Option<Date> {
        let after = self.days.partition_point(|day| *day <= date);
        self.days.get(after).copied()
    }

    /// Returns the trading days of a span, both ends included.
    #[must_use]
    pub fn within(&self, span: Span) -> &[Date] {
        let start = self.days.partition_point(|day| *day < span.from);
        let end = self.days.partition_point(|day| *day <= span.to);
        self.days.get(start..end).unwrap_or_default()
    }

    /// Returns the days in order.
    #[must_use]
    pub fn days(&self) -> &[Date] {
        &self.days
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn days_between_are_counted_only_where_the_calendar_knows() {
        let calendar =
            Calendar::new(["20240108", "20240105", "20240109", "20240110", "20240110"].map(day))
                .unwrap();
        assert_eq!(calendar.days().len(), 4);
        assert_eq!(calendar.between(day("20240105"), day("20240110")), Some(2));
        assert_eq!(calendar.between(day("20240105"), day("20240108")), Some(0));
        assert_eq!(calendar.between(day("20240110"), day("20240105")), Some(0));
        assert_eq!(calendar.between(day("20240104"), day("20240108")), None);
        assert_eq!(calendar.between(day("20240109"), day("20240111")), None);
        assert!(Calendar::new([]).is_err());
    }

    #[test]
    fn neighbours_and_spans_are_found_from_open_and_closed_days() {
        let calendar = Calendar::new(["20240105", "20240108", "20240109"].map(day)).unwrap();
        for (date, previous, next) in [
            ("20240104", None, Some("20240105")),
            ("20240105", None, Some("20240108")),
            ("20240107", Some("20240105"), Some("20240108")),
            ("20240108", Some("20240105"), Some("20240109")),
            ("20240109", Some("20240108"), None),
            ("20240120", Some("20240109"), None),
        ] {
            assert_eq!(calendar.previous(day(date)), previous.map(day), "{date}");
            assert_eq!(calendar.next(day(date)), next.map(day), "{date}");
        }
        let span = |from, to| Span::new(day(from), day(to)).unwrap();
        assert_eq!(
            calendar.within(span("20240106", "20240109")),
            ["20240108", "20240109"].map(day)
        );
        assert!(calendar.within(span("20240110", "20240111")).is_empty());
    }

    const TRADE_CAL: &str = "exchange,cal_date,is_open,pretrade_date\n\
        SSE,20240109,1,20240108\n\
        SSE,20240108,1,20240105\n\
        SSE,20240107,0,20240105\n\
        SSE,20240106,0,20240105\n\
        SSE,20240105,1,20240104\n";

    #[test]
    fn the_vendors_calendar_is_read_newest_first_and_closed_days_are_left_out() {
        let calendar = Calendar::from_trade_cal(TRADE_CAL.as_bytes(), "cal.csv").unwrap();
        assert_eq!(
            calendar.days(),
            ["20240105", "20240108", "20240109"].map(day)
        );
    }

    #[test]
    fn a_calendar_that_contradicts_itself_is_refused_with_its_line() {
        for (from, to, reason) in [
            (
                "20240109,1,20240108",
                "20240109,1,20240105",
                "line 2, column pretrade_date: must be 2024-01-08",
            ),
            (
                "20240108,1,20240105",
                "20240108,1,20240107",
                "line 3, column pretrade_date: must be 2024-01-05",
            ),
            ("20240108,1", "20240108,yes", "line 3, column is_open"),
            ("20240108,1", "20240109,0", "both open and closed"),
            ("20240108,1", "today,1", "line 3, column cal_date"),
            ("SSE,20240107", "SZSE,20240107", "must be SSE like the rows"),
            ("is_open", "isopen?", "lacks the column is_open"),
        ] {
            let text = TRADE_CAL.replacen(from, to, 1);
            let message = Calendar::from_trade_cal(text.as_bytes(), "cal.csv")
                .unwrap_err()
                .to_string();
            assert!(
                message.starts_with("cal.csv") && message.contains(reason),
                "{message}"
            );
        }
        let closed = "cal_date,is_open\n20240106,0\n";
        assert!(Calendar::from_trade_cal(closed.as_bytes(), "cal.csv").is_err());
    }
}
