//! Values with a unit, as parameters and topologies write them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Name of the format in the JSON schema of a [`Time`].
pub const TIME_FORMAT: &str = "heqis-time";

/// A span of time such as `"200us"`, `"1.5s"` or `"5m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// Reads a span of time: a decimal number directly followed by `ns`, `us`, `ms`, `s`, `m` or `h`.
///
/// # Errors
/// The rule that the text breaks.
pub fn parse_time(text: &str) -> Result<Duration, &'static str> {
    let number = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number);
    let unit_ns: u128 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err("the unit is missing"),
        _ => return Err("the unit must be ns, us, ms, s, m or h"),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.contains('.') || number.ends_with('.') {
        return Err("a number must stand before the unit");
    }
    // Twelve digits on either side keep the products far below u128::MAX.
    if whole.len() > 12 || part.len() > 12 {
        return Err("the number has too many digits");
    }
    let whole: u128 = whole
        .parse()
        .map_err(|_| "a number must stand before the unit")?;
    let scale = 10_u128.pow(part.len() as u32);
    let part: u128 = if part.is_empty() {
        0
    } else {
        part.parse()
            .map_err(|_| "a number must stand before the unit")?
    };
    if !(part * unit_ns).is_multiple_of(scale) {
        return Err("the number is finer than a nanosecond");
    }
    match u64::try_from(whole * unit_ns + part * unit_ns / scale) {
        Ok(ns) if ns <= i64::MAX as u64 => Ok(Duration::from_nanos(ns)),
        _ => Err("the span is longer than 292 years"),
    }
}

/// Writes the shortest form that [`parse_time`] reads, in seconds or a smaller unit: `60s`, `1.5s`, `200us`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ns) = (self.0.as_secs(), self.0.subsec_nanos());
        match (seconds, ns) {
            (_, 0) => write!(f, "{seconds}s"),
            (0, _) if ns % 1_000_000 == 0 => write!(f, "{}ms", ns / 1_000_000),
            (0, _) if ns % 1_000 == 0 => write!(f, "{}us", ns / 1_000),
            (0, _) => write!(f, "{ns}ns"),
            _ => write!(f, "{}s", format!("{seconds}.{ns:09}").trim_end_matches('0')),
        }
    }
}

/// As text. Schemas need it for the defaults of parameters.
impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": TIME_FORMAT,
            "pattern": r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$",
            "description": "A span of time such as \"200us\", \"1.5s\" or \"5m\".",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, ns) in [
            ("0s", 0),
            ("7ns", 7),
            ("200us", 200_000),
            ("1.5ms", 1_500_000),
            ("5s", 5_000_000_000),
            ("5m", 300_000_000_000),
            ("2h", 7_200_000_000_000),
        ] {
            assert_eq!(
                parse_time(text).unwrap(),
                Duration::from_nanos(ns),
                "{text}"
            );
        }
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for text in [
            "0s",
            "7ns",
            "200us",
            "300ms",
            "60s",
            "1.5s",
            "1000000000.000000001s",
        ] {
            assert_eq!(Time(parse_time(text).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_span_of_time_is_refused_with_the_rule() {
        for (text, rule) in [
            ("5", "unit is missing"),
            ("5 s", "unit must be"),
            ("5d", "unit must be"),
            ("s", "number must stand"),
            (".5s", "number must stand"),
            ("5.s", "number must stand"),
            ("1.2.3s", "number must stand"),
            ("0.5ns", "finer"),
            ("-1s", "unit must be"),
            ("999999999999h", "292 years"),
            ("9999999999999s", "too many digits"),
        ] {
            let got = parse_time(text).unwrap_err();
            assert!(got.contains(rule), "{text}: {got}");
        }
    }
}
