//! A span of time among the parameters of a source, written as everywhere in a topology.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// A span of time such as `"500ms"`, `"60s"` or `"5m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    fn parse(text: &str) -> Option<Duration> {
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let (number, unit) = text.split_at(text.find(|c| !digits(c))?);
        let unit_s = match unit {
            "ns" => 1e-9,
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        Duration::try_from_secs_f64(number * unit_s).ok()
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "\"{text}\" is no span of time: a number directly followed by ns, us, ms, s, m or h"
            ))
        })
    }
}

/// The format's name is the one by which the check of a topology knows a span of time.
impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "heqis-time",
            "pattern": r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_span_and_nothing_else_is() {
        for (text, span) in [
            ("60s", Some(Duration::from_secs(60))),
            ("1.5ms", Some(Duration::from_micros(1500))),
            ("5m", Some(Duration::from_secs(300))),
            ("250ns", Some(Duration::from_nanos(250))),
            ("60", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1..5s", None),
            ("1d", None),
        ] {
            assert_eq!(Span::parse(text), span, "{text}");
        }
    }
}
