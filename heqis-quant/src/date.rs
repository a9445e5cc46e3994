//! Calendar days, and spans of them.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::QuantError;

const EPOCH: civil::Date = civil::Date::constant(1970, 1, 1);
const DAY_NS: i64 = 86_400_000_000_000;
/// 15:00 at UTC+08:00 is 07:00 UTC. China has kept one offset without daylight saving since 1991.
const CLOSE_NS: i64 = 7 * 3_600_000_000_000;

/// A calendar day of an exchange in the years 1900 to 2199, so that every day has an epoch time in nanoseconds.
///
/// ```
/// use heqis_quant::{Date, DayOrder, QuantError};
///
/// let date = Date::parse("2024年1月5日")?;
/// assert_eq!(date.to_string(), "2024-01-05");
/// assert_eq!(date, Date::parse_in("5/1/2024", Some(DayOrder::DayFirst))?);
/// assert!(Date::parse("5/1/2024").is_err(), "day and month are ambiguous");
/// // A Friday; no weekday is between it and the next Monday.
/// assert_eq!(date.weekdays_until(Date::parse("20240108")?), 0);
/// # Ok::<(), QuantError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

impl Date {
    /// Makes a date from its parts.
    ///
    /// # Errors
    /// Returns [`QuantError::Date`] when the calendar has no such day, or the year is outside 1900 to 2199.
    pub fn new(year: i16, month: i8, day: i8) -> Result<Self, QuantError> {
        match civil::Date::new(year, month, day) {
            Ok(date) if (1900..=2199).contains(&year) => Ok(Self(date)),
            _ => Err(QuantError::Date {
                got: format!("{year:04}-{month:02}-{day:02}"),
                rule: "must be a calendar day of the years 1900 to 2199",
            }),
        }
    }

    /// Parses `YYYYMMDD`, `YYYY-MM-DD`, `YYYY/M/D`, `YYYY.M.D`, `YYYY年M月D日` and the float spelling `19991110.0`.
    /// A day with the year last is refused, since the order of day and month is ambiguous: see [`DayOrder`].
    ///
    /// # Errors
    /// Returns [`QuantError::Date`] if the text has none of these forms or is no calendar day.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        Self::parse_in(text, None)
    }

    /// Parses the forms of [`Date::parse`] and, given the order, days with the year last, such as `31/12/2024`.
    ///
    /// # Errors
    /// As [`Date::parse`].
    pub fn parse_in(text: &str, order: Option<DayOrder>) -> Result<Self, QuantError> {
        let text = text.trim();
        let last = year_last(text).and_then(|(a, b, year)| match order? {
            DayOrder::MonthFirst => Some((year, a, b)),
            DayOrder::DayFirst => Some((year, b, a)),
        });
        let parts = split(text).or(last).ok_or_else(|| QuantError::Date {
            got: text.chars().take(64).collect(),
            rule: "must be written YYYYMMDD, YYYY-MM-DD, YYYY/M/D or YYYY年M月D日",
        })?;
        Self::new(parts.0, parts.1, parts.2).map_err(|_| QuantError::Date {
            got: text.to_owned(),
            rule: "must be a calendar day of the years 1900 to 2199",
        })
    }

    /// Returns the time of the afternoon close, 15:00 at UTC+08:00, in nanoseconds since the Unix epoch.
    ///
    /// Every daily bar has this time, that of a foreign instrument too, so that the order of bars is free of time zones.
    #[must_use]
    pub fn close_time_ns(self) -> i64 {
        // The years 1900 to 2199 are well within the ±292 years of an i64.
        i64::from(self.days()) * DAY_NS + CLOSE_NS
    }

    /// Returns the beginning of the day at UTC, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn midnight_ns(self) -> i64 {
        i64::from(self.days()) * DAY_NS
    }

    /// Returns the day of a time at UTC+08:00.
    ///
    /// # Errors
    /// Returns [`QuantError::Date`] when the time is outside the years 1900 to 2199.
    pub fn of_time_ns(time_ns: i64) -> Result<Self, QuantError> {
        let days = time_ns
            .saturating_add(8 * 3_600_000_000_000)
            .div_euclid(DAY_NS);
        i32::try_from(days)
            .ok()
            .and_then(Self::from_days)
            .ok_or_else(|| QuantError::Date {
                got: format!("{time_ns} ns"),
                rule: "must be a time of the years 1900 to 2199",
            })
    }

    /// Returns the number of days since 1970-01-01, negative before it.
    #[must_use]
    pub fn days(self) -> i32 {
        self.0.since(EPOCH).map_or(0, |span| span.get_days())
    }

    /// Returns the date `days` after 1970-01-01, or `None` outside the years 1900 to 2199.
    #[must_use]
    pub fn from_days(days: i32) -> Option<Self> {
        let span = jiff::Span::new().try_days(days).ok()?;
        let date = EPOCH.checked_add(span).ok()?;
        (1900..=2199).contains(&date.year()).then_some(Self(date))
    }

    /// Returns the number of Mondays to Fridays strictly between `self` and a `later` date.
    #[must_use]
    pub fn weekdays_until(self, later: Self) -> u32 {
        // Weekdays in the days (-inf, d], up to a constant: 1970-01-01 was a Thursday, so day 4 is a Monday.
        let upto = |day: i32| {
            let from_monday = i64::from(day) - 4;
            from_monday.div_euclid(7) * 5 + (from_monday.rem_euclid(7) + 1).min(5)
        };
        let between = upto(later.days() - 1) - upto(self.days());
        u32::try_from(between).unwrap_or(0)
    }

    /// Returns whether the day is a Saturday or a Sunday.
    #[must_use]
    pub fn is_weekend(self) -> bool {
        // 1970-01-01 was a Thursday.
        matches!(self.days().rem_euclid(7), 2 | 3)
    }

    /// Returns the year.
    #[must_use]
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// Returns the month, from 1.
    #[must_use]
    pub fn month(self) -> i8 {
        self.0.month()
    }
}

/// The order of day and month before the year. A single cell often leaves it open; a whole table rarely does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DayOrder {
    /// `12/31/2024`
    MonthFirst,
    /// `31/12/2024`
    DayFirst,
}

/// The days from `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first day.
    pub from: Date,
    /// The last day, not before `from`.
    pub to: Date,
}

impl Span {
    /// Makes a span.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if `to` is before `from`.
    pub fn new(from: Date, to: Date) -> Result<Self, QuantError> {
        if to < from {
            return Err(QuantError::value(
                "span",
                "to",
                format!("must not lie before {from}"),
                to,
            ));
        }
        Ok(Self { from, to })
    }

    /// Returns whether a day is in the span.
    #[must_use]
    pub fn contains(self, date: Date) -> bool {
        self.from <= date && date <= self.to
    }
}

/// Splits a text that begins with the year into year, month and day without validating them.
fn split(text: &str) -> Option<(i16, i8, i8)> {
    let compact = text.strip_suffix(".0").unwrap_or(text);
    if compact.len() == 8 && compact.bytes().all(|b| b.is_ascii_digit()) {
        return Some((
            number(&compact[..4])?,
            small(&compact[4..6])?,
            small(&compact[6..])?,
        ));
    }
    let (year, month, day) = match text.strip_suffix('日') {
        Some(chinese) => {
            let (year, rest) = chinese.split_once('年')?;
            let (month, day) = rest.split_once('月')?;
            (year, month, day)
        }
        None => three(text)?,
    };
    (year.len() == 4).then_some(())?;
    Some((number(year)?, small(month)?, small(day)?))
}

/// Splits a text that ends with the year into its first and second number and the year.
#[must_use]
pub fn year_last(text: &str) -> Option<(i8, i8, i16)> {
    let (a, b, year) = three(text)?;
    (year.len() == 4).then_some(())?;
    Some((small(a)?, small(b)?, number(year)?))
}

/// Splits at one kind of separator, twice.
fn three(text: &str) -> Option<(&str, &str, &str)> {
    let separator = ['-', '/', '.'].into_iter().find(|s| text.contains(*s))?;
    let mut parts = text.split(separator);
    let three = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some(three)
}

fn number(part: &str) -> Option<i16> {
    let plain = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| part.parse().ok()).flatten()
}

fn small(part: &str) -> Option<i8> {
    let two = part.len() <= 2;
    two.then(|| number(part)).flatten()?.try_into().ok()
}

impl FromStr for Date {
    type Err = QuantError;

    fn from_str(text: &str) -> Result<Self, QuantError> {
        Self::parse(text)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:04}-{:02}-{:02}",
            self.0.year(),
            self.0.month(),
            self.0.day()
        )
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Date {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Date".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date",
            "description": "A calendar day, written YYYY-MM-DD."
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_vendor_spelling_names_the_same_day() {
        for text in [
            "19991110",
            "1999-11-10",
            "1999/11/10",
            "1999.11.10",
            "1999年11月10日",
            "19991110.0",
            "1999-11-10 ",
        ] {
            assert_eq!(
                Date::parse(text).unwrap().to_string(),
                "1999-11-10",
                "{text}"
            );
        }
        for (order, expected) in [
            (DayOrder::MonthFirst, "1999-01-04"),
            (DayOrder::DayFirst, "1999-04-01"),
        ] {
            let date = Date::parse_in("1/4/1999", Some(order)).unwrap();
            assert_eq!(date.to_string(), expected);
        }
    }

    #[test]
    fn texts_that_are_no_day_are_refused() {
        for text in [
            "",
            "2023-02-29",
            "20231301",
            "1899-12-31",
            "4/1999/1",
            "1/4/1999",
            "10-11-1999",
            "2023-1-1-1",
            "+2023-1-1",
            "20230229.5",
        ] {
            assert!(Date::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_close_is_at_seven_utc() {
        // 2004-08-17T15:00:00+08:00, from `date -d ... +%s`.
        let date = Date::parse("20040817").unwrap();
        assert_eq!(date.close_time_ns(), 1_092_726_000 * 1_000_000_000);
        assert_eq!(Date::of_time_ns(date.close_time_ns()).unwrap(), date);
        assert!(Date::of_time_ns(i64::MAX).is_err());
        assert!(Date::of_time_ns(i64::MIN).is_err());
    }

    #[test]
    fn weekdays_between_skip_weekends() {
        let day = |text| Date::parse(text).unwrap();
        // 2024-01-05 is a Friday.
        assert_eq!(day("2024-01-05").weekdays_until(day("2024-01-08")), 0);
        assert_eq!(day("2024-01-05").weekdays_until(day("2024-01-09")), 1);
        assert_eq!(day("2024-01-05").weekdays_until(day("2024-01-15")), 5);
        assert_eq!(day("2024-01-09").weekdays_until(day("2024-01-05")), 0);
        assert!(day("2024-01-06").is_weekend() && day("2024-01-07").is_weekend());
        assert!(!day("2024-01-05").is_weekend() && !day("1969-12-31").is_weekend());
        // The same across the epoch, where day numbers change sign. 1969-12-31 is a Wednesday.
        assert_eq!(day("1969-12-26").weekdays_until(day("1970-01-05")), 5);
        assert_eq!(day("1969-12-26").weekdays_until(day("1970-01-13")), 11);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_without_a_panic(text in "\\PC{0,14}|[0-9/.-]{0,12}") {
            let _ = Date::parse(&text);
        }

        #[test]
        fn a_day_survives_every_round_trip(days in -25_000i32..80_000) {
            let date = Date::from_days(days).unwrap();
            prop_assert_eq!(date.days(), days);
            prop_assert_eq!(Date::parse(&date.to_string()).unwrap(), date);
            prop_assert_eq!(Date::of_time_ns(date.close_time_ns()).unwrap(), date);
        }
    }
}
