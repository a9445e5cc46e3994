//! What a journal of decisions says, line by line: the one place that knows its bytes.
//!
//! Each line is a JSON object whose last field `crc` is the CRC-32 (IEEE) of everything before `,"crc"`, as eight hex
//! digits. A journal is one segment or several; each begins with a [`Header`], which says the format, who writes, and how
//! many decisions stand in the segments before. Lines then name streams, hold decisions, or close the journal: a closing
//! line says how many decisions there are up to it, and decisions may follow it. A number that is not finite stands as
//! null. There is no wall-clock time in it: the same bars give the same bytes.
//!
//! | module | what it is |
//! |---|---|
//! | `line` | one line: [`Line`], [`Header`], [`Identity`], [`StreamName`] |
//! | `scan` | line after line, with the rules between them: [`Scanner`], [`Contents`] |
//! | `state` | what has to be known to go on: [`State`] |
//! | `index` | that, beside a segment that is finished: [`Index`] |
//!
//! Not here: files. Who opens one says where the text came from; `heqis_data::journal` reads them.

mod index;
mod line;
mod scan;
mod state;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Carry, Prediction, Side, Stance, Verdict, VerdictReason};
use crate::path::Decided;
use crate::{Date, Symbol};

pub use index::Index;
pub use line::{Difference, Header, Identity, Line, StreamName};
pub use scan::{Contents, MAX_LINE, Scanner};
pub use state::State;

/// Version of the format that is written. Version 1, whose header says nothing else, is read too.
pub const FORMAT: u32 = 2;

/// Where a decision stands: in the journal, and in the stream that it derives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Number in the journal, from 1.
    pub n: u64,
    /// Stream of the source; 16 hexadecimal digits in the text.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub stream: u64,
    /// Position in the stream.
    pub position: u64,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn to_hex<S: Serializer>(stream: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{stream:016x}"))
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    u64::from_str_radix(&text, 16)
        .map_err(|_| serde::de::Error::custom(format!("stream '{text}' is not hexadecimal")))
}

/// One decision as it stands in a journal, and all that has to be known to go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
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
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 3], D::Error> {
    <[Option<f64>; 3]>::deserialize(from)
        .map(|numbers| numbers.map(|number| number.unwrap_or(f64::NAN)))
}

impl From<&Decided> for Record {
    fn from(decided: &Decided) -> Self {
        let bar = &decided.bar;
        Self::new(
            (bar.symbol, bar.date, bar.time_ns, bar.close),
            &decided.verdict,
            &decided.prediction,
        )
    }
}

impl Record {
    /// Makes the record of a verdict on a bar, which is given as symbol, date, close time and close.
    #[must_use]
    pub fn new(
        (symbol, date, time_ns, close): (Symbol, Date, i64, f64),
        verdict: &Verdict,
        prediction: &Prediction,
    ) -> Self {
        Self {
            symbol,
            date,
            time_ns,
            close,
            side: verdict.side,
            confidence: verdict.confidence,
            reason: verdict.reason,
            stance: verdict.stance,
            carry: verdict.carry,
            predicted_return: prediction.predicted_return,
            probabilities: prediction.probabilities,
        }
    }

    /// Returns what was decided.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            side: self.side,
            confidence: self.confidence,
            reason: self.reason,
            stance: self.stance,
            carry: self.carry,
        }
    }

    /// Returns what the model said.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        Prediction {
            predicted_return: self.predicted_return,
            probabilities: self.probabilities,
        }
    }

    /// Returns the order that a filter or the kill state refused; [`Record::reason`] says which. `None` when nothing was
    /// refused.
    #[must_use]
    pub fn refused(&self) -> Option<Side> {
        self.reason.is_refusal().then(|| self.verdict().wanted())
    }

    /// Returns the bytes that stand in a journal, without place and checksum, as an object of their own.
    #[must_use]
    pub fn text(&self) -> String {
        object(self)
    }
}

/// These structs hold numbers, names and dates only, which always serialise.
fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Replaces the last brace of the object that begins at `start` by its checksum and the end of the line.
fn seal(out: &mut String, start: usize) {
    out.pop();
    let crc = crc32fast::hash(&out.as_bytes()[start..]);
    out.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
}

/// Checks a line's checksum and returns what it covers: the object without its last brace.
fn checked(line: &str) -> Result<&str, String> {
    let (body, crc) = line
        .strip_suffix("\"}")
        .and_then(|line| line.rsplit_once(",\"crc\":\""))
        .ok_or_else(|| "no checksum at the end".to_owned())?;
    let got = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    match got == crc {
        true => Ok(body),
        false => Err(format!("checksum is {got}, the line says {crc}")),
    }
}

#[cfg(test)]
mod tests;
