//! The time column of minute bars.

use crate::Date;

/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
/// Daily bars carry the close at 15:00; the day at UTC+08:00 began so long before.
const CLOSE_SECONDS: i64 = 15 * 3600;

pub(super) const RULE: &str =
    "must be written HH:MM, HH:MM:SS, YYYY-MM-DD HH:MM:SS, YYYYMMDDHHMM or YYYYMMDDHHMMSS";

/// A time of day, with its day where the cell has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) date: Option<Date>,
    /// Seconds since midnight at UTC+08:00.
    seconds: i64,
}

impl Clock {
    /// Parses a time. Fractions of a second must be zero: baostock writes three digits of them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix(".0").unwrap_or(text);
        if text.bytes().all(|b| b.is_ascii_digit()) {
            let (date, clock) = match text.len() {
                12 | 14 => text.split_at_checked(8)?,
                17 => text.strip_suffix("000")?.split_at_checked(8)?,
                _ => return None,
            };
            return Some(Self {
                date: Some(Date::parse(date).ok()?),
                seconds: seconds(
                    clock.get(..2)?,
                    clock.get(2..4)?,
                    clock.get(4..).filter(|s| !s.is_empty()),
                )?,
            });
        }
        let (date, clock) = match text.split_once([' ', 'T']) {
            Some((date, clock)) => (Some(Date::parse(date).ok()?), clock.trim()),
            None => (None, text),
        };
        let mut parts = clock.split(':');
        let (hours, minutes) = (parts.next()?, parts.next()?);
        let rest = parts.next();
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            date,
            seconds: seconds(hours, minutes, rest)?,
        })
    }

    /// Returns the time on a day in UTC nanoseconds. Midnight stands for the whole day, as data frames write it, and
    /// becomes the close.
    pub(super) fn time_ns(self, date: Date) -> i64 {
        match self.seconds {
            0 => date.close_time_ns(),
            // Less than a day away from a time of the years 1900 to 2199.
            seconds => date.close_time_ns() + (seconds - CLOSE_SECONDS) * SECOND_NS,
        }
    }
}

fn seconds(hours: &str, minutes: &str, seconds: Option<&str>) -> Option<i64> {
    let part = |text: &str, limit: i64| -> Option<i64> {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let value = plain.then(|| text.parse::<i64>().ok()).flatten()?;
        (value < limit).then_some(value)
    };
    Some(part(hours, 24)? * 3600 + part(minutes, 60)? * 60 + part(seconds.unwrap_or("0"), 60)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_vendors_spelling_of_a_minute_is_the_same_time() {
        let day = Date::parse("2024-01-02").unwrap();
        // 09:35 at UTC+08:00, computed apart from this crate.
        let expected = 1_704_159_300_000_000_000;
        for text in [
            "2024-01-02 09:35:00",
            "2024-01-02T09:35:00",
            "2024/1/2 9:35",
            "20240102093500000",
            "20240102093500",
            "202401020935",
            "09:35",
            "09:35:00",
        ] {
            let clock = Clock::parse(text).unwrap();
            assert_eq!(clock.time_ns(day), expected, "{text}");
            assert!(clock.date.is_none_or(|date| date == day), "{text}");
        }
        let midnight = Clock::parse("2024-01-02 00:00:00").unwrap();
        assert_eq!(midnight.time_ns(day), day.close_time_ns());
        assert_eq!(
            Clock::parse("15:00").unwrap().time_ns(day),
            day.close_time_ns()
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "9",
            "0935",
            "24:00",
            "09:60",
            "09:35:60",
            "09:35:00:00",
            "2024-13-02 09:35",
            "20240102093500123",
            "20240102",
            "+9:35",
            "09:35:00.5",
            "九点",
        ] {
            assert_eq!(Clock::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,24}|[0-9: T.-]{0,24}") {
            if let Some(clock) = Clock::parse(&text) {
                prop_assert!((0..86_400).contains(&clock.seconds));
            }
        }
    }
}
