//! Lines of a journal.
//!
//! Each line is a JSON object whose last field `crc` is the CRC-32 (IEEE) of everything before `,"crc"`, as eight hex
//! digits. The first line says the format, the last one of a finished journal says how many decisions it holds. A number
//! that is not finite stands as null. There is no wall-clock time in it: the same bars give the same bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use heqis_actors::{Head, Origin};
use heqis_messages::{BarRef, Decision};
use heqis_quant::decision::{Carry, Stance, VerdictReason};
use heqis_quant::{Date, Prediction, Side, Symbol, Verdict};
use serde::{Deserialize, Deserializer, Serialize};

/// Version of the journal format.
pub(super) const FORMAT: u32 = 1;

/// One decision as it stands in a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number in the journal, from 1.
    pub n: u64,
    /// Stream of the source, hexadecimal.
    pub stream: String,
    /// Position in the stream.
    pub position: u64,
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price, CNY.
    #[serde(deserialize_with = "number")]
    pub close: f64,
    /// What to do.
    pub side: Side,
    /// How sure.
    #[serde(deserialize_with = "number")]
    pub confidence: f64,
    /// Why.
    pub reason: VerdictReason,
    /// Whether the instrument is in hand afterwards.
    pub stance: Stance,
    /// What filters remember; left out where there is nothing.
    #[serde(default, skip_serializing_if = "Carry::is_empty")]
    pub carry: Carry,
    /// Expected return to the next close.
    #[serde(deserialize_with = "number")]
    pub predicted_return: f64,
    /// Probabilities of down, flat, up.
    #[serde(deserialize_with = "numbers")]
    pub probabilities: [f64; 3],
}

/// Reads a number; what was not finite, as in a decision on an invalid prediction, stands as null.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    <[Option<f64>; 3]>::deserialize(deserializer)
        .map(|numbers| numbers.map(|number| number.unwrap_or(f64::NAN)))
}

/// First line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) heqis_journal: u32,
}

/// Last line of a finished journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    pub(super) decisions: u64,
}

impl Record {
    pub(super) fn new(n: u64, origin: Origin, decision: &Decision) -> Self {
        let Decision {
            bar,
            verdict,
            prediction,
        } = decision;
        Self {
            n,
            stream: format!("{:016x}", origin.stream),
            position: origin.position,
            symbol: bar.symbol,
            date: bar.date,
            time_ns: bar.time_ns,
            close: bar.close,
            side: verdict.side,
            confidence: verdict.confidence,
            reason: verdict.reason,
            stance: verdict.stance,
            carry: verdict.carry,
            predicted_return: prediction.predicted_return,
            probabilities: prediction.probabilities,
        }
    }

    /// The source item that the decision derives from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        // Checked when the line was read.
        Origin {
            stream: u64::from_str_radix(&self.stream, 16).unwrap_or(0),
            position: self.position,
        }
    }

    /// The decision that was recorded.
    #[must_use]
    pub fn into_decision(self) -> Decision {
        Decision {
            bar: BarRef {
                symbol: self.symbol,
                date: self.date,
                time_ns: self.time_ns,
                close: self.close,
            },
            verdict: Verdict {
                side: self.side,
                confidence: self.confidence,
                reason: self.reason,
                stance: self.stance,
                carry: self.carry,
            },
            prediction: Prediction {
                predicted_return: self.predicted_return,
                probabilities: self.probabilities,
            },
        }
    }

    pub(super) fn write_line(&self, out: &mut String) {
        write_line(self, out);
    }
}

/// Appends `value` as a checksummed line.
pub(super) fn write_line(value: &impl Serialize, out: &mut String) {
    // These structs hold numbers, names and dates only, which always serialise.
    let mut body = serde_json::to_string(value).unwrap_or_default();
    body.pop();
    let crc = crc32fast::hash(body.as_bytes());
    let _ = writeln!(out, "{body},\"crc\":\"{crc:08x}\"}}");
}

/// Checks a line's checksum and gives back the object before it.
pub(super) fn checked(line: &str) -> Result<String, String> {
    let (body, crc) = line
        .strip_suffix("\"}")
        .and_then(|line| line.rsplit_once(",\"crc\":\""))
        .ok_or_else(|| "no checksum at the end".to_owned())?;
    let got = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    if got != crc {
        return Err(format!("checksum is {got}, the line says {crc}"));
    }
    Ok(format!("{body}}}"))
}

#[derive(Serialize)]
struct Timings<'a> {
    n: u64,
    /// Microseconds since the bar was born at its source.
    stages: Vec<StageTiming<'a>>,
}

#[derive(Serialize)]
struct StageTiming<'a> {
    stage: &'a str,
    enter_us: f64,
    leave_us: f64,
}

/// Appends the time stamps of decision `n`, without a checksum: they are for looking at.
pub(super) fn timings_line(n: u64, head: &Head, names: &Arc<[String]>, out: &mut String) {
    // The birth time may come from another machine and be anything.
    let since_birth = |ns: i64| ns.saturating_sub(head.born_ns) as f64 / 1e3;
    let stages = head
        .stamps
        .iter()
        .map(|stamp| StageTiming {
            stage: names
                .get(usize::from(stamp.stage))
                .map_or("?", String::as_str),
            enter_us: since_birth(stamp.enter_ns),
            leave_us: since_birth(stamp.leave_ns),
        })
        .collect();
    let _ = writeln!(
        out,
        "{}",
        serde_json::to_string(&Timings { n, stages }).unwrap_or_default()
    );
}
