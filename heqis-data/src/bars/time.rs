//! Cells with a day, a time of day, or both, with or without an offset from UTC, and epoch numbers.

use heqis_quant::date::year_last;
use heqis_quant::{Date, DayOrder, QuantError};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;
/// The offset of times of Chinese vendors, which they do not write.
const CHINA_S: i32 = 8 * 3600;

pub(super) const RULE: &str = "must be written as a day, HH:MM[:SS], both, YYYYMMDDHHMM[SS], or seconds, milli-, micro- or \
                               nanoseconds since 1970";
pub(super) const ORDER_RULE: &str =
    "must show by some row whether the day or the month comes first, or be written YYYY-MM-DD";

/// A cell as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The day; that of UTC for an epoch number.
    pub(super) day: Option<Date>,
    /// Nanoseconds since midnight.
    pub(super) clock_ns: Option<i64>,
    /// Seconds to the east of UTC.
    pub(super) offset_s: Option<i32>,
}

/// The time zone of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// Unknown: times without an offset are read as Chinese ones.
    Unknown,
    /// One offset, in seconds to the east of UTC.
    Fixed(i32),
    /// A zone of the IANA database.
    Named(TimeZone),
}

/// The time of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// The day at the instrument's exchange.
    pub(super) date: Date,
    /// UTC nanoseconds since 1970.
    pub(super) time_ns: i64,
}

impl Written {
    /// Parses a cell. Days with the year last need the `order` of the table.
    ///
    /// `has_day_column` means that another column has the day, so that `935` and `093500` are times of day.
    pub(super) fn parse(
        text: &str,
        order: Option<DayOrder>,
        has_day_column: bool,
    ) -> Result<Self, &'static str> {
        let text = text.trim();
        if let Some(found) = compact(text, has_day_column) {
            return Ok(found);
        }
        let (day, clock) = match split_clock(text) {
            ("", clock) => (None, clock),
            (day, clock) => (Some(parse_day(day, order)?), clock),
        };
        let mut written = Self {
            day,
            ..Self::default()
        };
        if !clock.is_empty() {
            let (clock_ns, offset_s) = parse_clock(clock).ok_or(RULE)?;
            (written.clock_ns, written.offset_s) = (Some(clock_ns), offset_s);
        }
        match (written.day, written.clock_ns) {
            (None, None) => Err(RULE),
            _ => Ok(written),
        }
    }

    /// Joins the cells of a column of days and a column of times.
    pub(super) fn with_time(self, time: Self) -> Result<Self, String> {
        match (self.day, time.day) {
            (Some(day), Some(other)) if day != other => {
                Err(format!("must lie on {day} like the date"))
            }
            // Data frames write a day with midnight, which has no meaning.
            _ if self.clock_ns.is_some_and(|clock| clock != 0) && time.clock_ns.is_some() => {
                Err("must have its time of day in one column".into())
            }
            (day, other) => Ok(Self {
                day: day.or(other),
                clock_ns: time.clock_ns.or(self.clock_ns),
                offset_s: time.offset_s.or(self.offset_s),
            }),
        }
    }

    /// Returns whether the clock, as written, is midnight or missing.
    pub(super) fn is_midnight(self) -> bool {
        self.clock_ns.is_none_or(|clock| clock == 0)
    }

    /// Returns the time of a bar, with midnight as a time; `after_ns` is the time of the row before in the same series, which
    /// separates the two equal hours at the end of summer time.
    pub(super) fn moment(self, zone: &Zone, after_ns: Option<i64>) -> Result<Moment, &'static str> {
        let day = self
            .day
            .ok_or("must have a date, since there is no date column")?;
        // The years 1900 to 2199 are far within an i64 of nanoseconds.
        let local_ns = day.midnight_ns() + self.clock_ns.unwrap_or(0);
        if let Some(offset_s) = self.offset_s {
            let time_ns = local_ns - i64::from(offset_s) * SECOND_NS;
            of_local(time_ns, 0)?;
            let date = match zone {
                Zone::Unknown => day,
                Zone::Fixed(east_s) => of_local(time_ns, *east_s)?,
                Zone::Named(zone) => {
                    let at = jiff::Timestamp::from_nanosecond(time_ns.into()).map_err(|_| RULE)?;
                    of_local(time_ns, zone.to_offset(at).seconds())?
                }
            };
            return Ok(Moment { date, time_ns });
        }
        let east_s = match zone {
            Zone::Unknown => CHINA_S,
            Zone::Fixed(east_s) => *east_s,
            Zone::Named(zone) => {
                let east = |east_s: i32| local_ns - i64::from(east_s) * SECOND_NS;
                match zone.to_ambiguous_timestamp(civil_time(local_ns)?).offset() {
                    AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
                    AmbiguousOffset::Gap { .. } => {
                        return Err("must be a time that exists: summer time begins and skips it");
                    }
                    AmbiguousOffset::Fold { before, after } => {
                        match after_ns.is_some_and(|last| east(before.seconds()) <= last) {
                            true => after.seconds(),
                            false => before.seconds(),
                        }
                    }
                }
            }
        };
        let time_ns = local_ns - i64::from(east_s) * SECOND_NS;
        // The day by UTC must be in the supported years too.
        of_local(time_ns, 0)?;
        Ok(Moment { date: day, time_ns })
    }

    /// Returns the day that begins at this time at the exchange, if it is midnight there.
    pub(super) fn midnight_at(self, zone: &Zone) -> Option<Date> {
        let moment = self.moment(zone, None).ok()?;
        let east_s = match zone {
            Zone::Unknown => self.offset_s.unwrap_or(CHINA_S),
            Zone::Fixed(east_s) => *east_s,
            Zone::Named(zone) => {
                let at = jiff::Timestamp::from_nanosecond(moment.time_ns.into()).ok()?;
                zone.to_offset(at).seconds()
            }
        };
        let local_ns = moment.time_ns.checked_add(i64::from(east_s) * SECOND_NS)?;
        (local_ns.rem_euclid(DAY_S * SECOND_NS) == 0).then_some(moment.date)
    }
}

fn of_local(time_ns: i64, east_s: i32) -> Result<Date, &'static str> {
    let local_s = time_ns.div_euclid(SECOND_NS) + i64::from(east_s);
    i32::try_from(local_s.div_euclid(DAY_S))
        .ok()
        .and_then(Date::from_days)
        .ok_or(RULE)
}

fn civil_time(local_ns: i64) -> Result<civil::DateTime, &'static str> {
    jiff::Timestamp::from_nanosecond(local_ns.into())
        .map(|at| TimeZone::UTC.to_datetime(at))
        .map_err(|_| RULE)
}

/// Parses digits alone: days and times without separators, and epoch numbers.
fn compact(text: &str, has_day_column: bool) -> Option<Written> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) {
        return None;
    }
    let whole = fraction.bytes().all(|b| b == b'0');
    let day_and = |clock: &str| {
        let day = Date::parse(digits.get(..8)?).ok()?;
        Some(Written {
            day: Some(day),
            clock_ns: Some(clock_of(
                clock.get(..2)?,
                clock.get(2..4)?,
                clock.get(4..6).unwrap_or("0"),
                clock.get(6..).unwrap_or(""),
            )?),
            offset_s: None,
        })
    };
    match digits.len() {
        3..=6 if has_day_column && whole => {
            let four = digits.len() <= 4;
            let padded = format!("{digits:0>width$}", width = if four { 4 } else { 6 });
            let seconds = padded.get(4..).filter(|s| !s.is_empty()).unwrap_or("0");
            let clock_ns = clock_of(padded.get(..2)?, padded.get(2..4)?, seconds, "")?;
            Some(Written {
                clock_ns: Some(clock_ns),
                ..Written::default()
            })
        }
        8 if whole => Some(Written {
            day: Some(Date::parse(digits).ok()?),
            ..Written::default()
        }),
        12 | 14 | 17 if whole => day_and(digits.get(8..)?),
        10 | 13 | 16 | 19 => {
            let scale = 10i64.pow(19 - u32::try_from(digits.len()).ok()?);
            let mut time_ns = digits.parse::<i64>().ok()?.checked_mul(scale)?;
            if digits.len() == 10 {
                time_ns = time_ns.checked_add(fraction_ns(fraction)?)?;
            } else if !whole {
                return None;
            }
            Some(Written {
                day: Some(of_local(time_ns, 0).ok()?),
                clock_ns: Some(time_ns.rem_euclid(DAY_S * SECOND_NS)),
                offset_s: Some(0),
            })
        }
        _ => None,
    }
}

/// Cuts a cell before its time of day; either part may be empty.
fn split_clock(text: &str) -> (&str, &str) {
    if let Some(at) = text.find(['T', 't', ' ']) {
        let (day, clock) = text.split_at(at);
        // `9:35 AM` has a blank and no day.
        if !day.contains(':') {
            return (day, clock[1..].trim());
        }
    }
    match text.contains(':') {
        true => ("", text),
        false => (text, ""),
    }
}

fn parse_day(text: &str, order: Option<DayOrder>) -> Result<Date, &'static str> {
    let year_last = year_last(text).is_some();
    Date::parse_in(text, order).map_err(|error| match error {
        _ if year_last && order.is_none() => ORDER_RULE,
        QuantError::Date { rule, .. } => rule,
        _ => RULE,
    })
}

/// Parses `HH:MM[:SS[.fraction]]`, `AM` or `PM`, and an offset.
fn parse_clock(text: &str) -> Option<(i64, Option<i32>)> {
    let (clock, offset_s) = split_offset(text)?;
    let clock = clock.trim();
    let upper = clock.to_ascii_uppercase();
    let (clock, shift) = match (upper.strip_suffix("AM"), upper.strip_suffix("PM")) {
        (Some(clock), _) => (clock.trim(), Some(0)),
        (_, Some(clock)) => (clock.trim(), Some(12)),
        _ => (clock, None),
    };
    let mut parts = clock.split(':');
    let (hours, minutes) = (parts.next()?, parts.next()?);
    let (seconds, fraction) = match parts.next() {
        Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "")),
        None => ("0", ""),
    };
    if parts.next().is_some() {
        return None;
    }
    let hours = match shift {
        None => hours.to_owned(),
        Some(shift) => {
            let hour: u32 = hours.parse().ok().filter(|h| (1..=12).contains(h))?;
            (hour % 12 + shift).to_string()
        }
    };
    Some((clock_of(&hours, minutes, seconds, fraction)?, offset_s))
}

/// Cuts off `Z`, `UTC`, `+08:00`, `+0800` or `+08`.
fn split_offset(text: &str) -> Option<(&str, Option<i32>)> {
    for utc in ["Z", "z", "UTC", "GMT"] {
        if let Some(clock) = text.strip_suffix(utc) {
            return Some((clock, Some(0)));
        }
    }
    let Some(at) = text.rfind(['+', '-']) else {
        return Some((text, None));
    };
    let (clock, offset) = text.split_at(at);
    let (sign, digits) = offset.split_at(1);
    let digits: String = digits.split(':').collect();
    if !digits.is_ascii() {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "00"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let part = |text: &str, limit: i32| -> Option<i32> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse().ok())
            .flatten()
            .filter(|v| *v < limit)
    };
    let east_s = part(hours, 15)? * 3600 + part(minutes, 60)? * 60;
    Some((clock, Some(if sign == "-" { -east_s } else { east_s })))
}

/// Returns nanoseconds since midnight.
fn clock_of(hours: &str, minutes: &str, seconds: &str, fraction: &str) -> Option<i64> {
    let part = |text: &str, limit: i64| -> Option<i64> {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let value = plain.then(|| text.parse::<i64>().ok()).flatten()?;
        (value < limit).then_some(value)
    };
    let seconds = part(hours, 24)? * 3600 + part(minutes, 60)? * 60 + part(seconds, 60)?;
    Some(seconds * SECOND_NS + fraction_ns(fraction)?)
}

/// Returns the nanoseconds of the digits after a point; more than nine are too fine to be kept and refused.
fn fraction_ns(digits: &str) -> Option<i64> {
    let plain = digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    plain
        .then(|| format!("{digits:0<9}").parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, zone: &Zone) -> Moment {
        let day = Written {
            day: Some(Date::parse("2024-01-02").unwrap()),
            ..Written::default()
        };
        let written = Written::parse(text, Some(DayOrder::DayFirst), true).unwrap();
        day.with_time(written)
            .unwrap_or(written)
            .moment(zone, None)
            .unwrap()
    }

    #[test]
    fn every_spelling_of_a_minute_is_the_same_time() {
        // 09:35 at UTC+08:00 on 2024-01-02, computed apart from this crate.
        let expected = 1_704_159_300_000_000_000;
        let china = Zone::Fixed(CHINA_S);
        for text in [
            "2024-01-02 09:35:00",
            "2024-01-02T09:35:00",
            "2024/1/2 9:35",
            "2024年1月2日 9:35",
            "2/1/2024 9:35",
            "20240102093500000",
            "20240102093500",
            "202401020935",
            "09:35",
            "9:35:00 AM",
            "0935",
            "935",
            "93500",
            "093500.0",
            "2024-01-02 09:35:00.000",
            "2024-01-02 09:35:00+08:00",
            "2024-01-02T09:35:00+0800",
            "2024-01-02T01:35:00Z",
            "2024-01-02 01:35:00 UTC",
            "2024-01-01T20:35:00-05:00",
            "1704159300",
            "1704159300.0",
            "1704159300000",
            "1704159300000000",
            "1704159300000000000",
        ] {
            let moment = read(text, &china);
            assert_eq!(moment.time_ns, expected, "{text}");
            assert_eq!(moment.date.to_string(), "2024-01-02", "{text}");
        }
        assert_eq!(
            read("09:35:00.25", &china).time_ns,
            expected + SECOND_NS / 4
        );
        assert_eq!(
            read("12:05 AM", &china).time_ns,
            expected - 34_200 * SECOND_NS
        );
    }

    #[test]
    fn midnight_is_midnight_and_the_day_that_it_begins() {
        let china = Zone::Fixed(CHINA_S);
        let written = |text: &str| Written::parse(text, None, false).unwrap();
        let midnight = written("2024-01-02 00:00:00");
        assert!(midnight.is_midnight());
        assert_eq!(
            midnight.midnight_at(&china).unwrap().to_string(),
            "2024-01-02"
        );
        // The same instant, as a program in UTC writes it.
        let utc = written("2024-01-01T16:00:00Z");
        assert!(!utc.is_midnight());
        assert_eq!(utc.midnight_at(&china).unwrap().to_string(), "2024-01-02");
        assert_eq!(written("2024-01-02 00:01").midnight_at(&china), None);
    }

    #[test]
    fn summer_time_is_kept_apart_from_winter_time() {
        let york = Zone::Named(TimeZone::get("America/New_York").unwrap());
        let at = |text: &str, after_ns: Option<i64>| {
            let written = Written::parse(text, None, false).unwrap();
            written.moment(&york, after_ns)
        };
        let hour = 3600 * SECOND_NS;
        // 2024-11-03: 01:30 comes twice, first at UTC-4.
        let first = at("2024-11-03 01:30", None).unwrap().time_ns;
        assert_eq!(first, 1_730_611_800 * SECOND_NS);
        let second = at("2024-11-03 01:30", Some(first)).unwrap().time_ns;
        assert_eq!(second - first, hour);
        assert_eq!(
            at("2024-11-03 02:30", None).unwrap().time_ns - first,
            2 * hour
        );
        // 2024-03-10: 02:30 does not exist.
        assert!(at("2024-03-10 02:30", None).unwrap_err().contains("exists"));
        // The day of an instant is that of New York.
        assert_eq!(
            at("2024-07-02T02:00:00Z", None).unwrap().date.to_string(),
            "2024-07-01"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "9",
            "24:00",
            "09:60",
            "09:35:60",
            "09:35:00:00",
            "2024-13-02 09:35",
            "20241302",
            "20240102093500123.5",
            "+9:35",
            "13:00 PM",
            "09:35+8",
            "09:35+16:00",
            "09:35:00.0123456789",
            "123456789",
            "九点",
            "99999999999999999999",
        ] {
            assert!(Written::parse(text, None, true).is_err(), "{text}");
        }
        assert_eq!(Written::parse("3/4/2024", None, false), Err(ORDER_RULE));
        assert!(Written::parse("935", None, false).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(
            text in "\\PC{0,24}|[0-9: TZAPM.+/-]{0,28}", has_day_column in any::<bool>()
        ) {
            if let Ok(written) = Written::parse(&text, Some(DayOrder::MonthFirst), has_day_column) {
                prop_assert!(written.clock_ns.is_none_or(|c| (0..DAY_S * SECOND_NS).contains(&c)));
                for zone in [Zone::Unknown, Zone::Fixed(CHINA_S), Zone::Named(TimeZone::UTC)] {
                    let _ = (written.moment(&zone, None), written.midnight_at(&zone));
                }
            }
        }
    }
}
