//! What a journal of decisions says, line by line: the one place that knows its bytes.
//!
//! Each line is a JSON object whose last field `crc` is the CRC-32 (IEEE) of everything before `,"crc"`, as eight hex
//! digits. The first line says the format, the last one of a finished journal says how many decisions it holds. A number
//! that is not finite stands as null. There is no wall-clock time in it: the same bars give the same bytes.
//!
//! Not here: files. Who opens one says where the text came from.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Carry, Prediction, Side, Stance, Verdict, VerdictReason};
use crate::path::Decided;
use crate::{Date, QuantError, Symbol};

/// Version of the format.
pub const FORMAT: u32 = 1;

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

/// The first field of a record, at which its place ends.
const RECORD: &str = ",\"symbol\":";

/// One line of a journal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line {
    /// The first line: a journal of [`FORMAT`].
    Header,
    /// A decision at its place.
    Decision(Place, Record),
    /// The last line of a journal that was finished on purpose.
    Closing {
        /// Decisions before it.
        decisions: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    heqis_journal: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closing {
    decisions: u64,
}

impl Line {
    /// Appends the line with its checksum and its end.
    pub fn write(&self, out: &mut String) {
        let start = out.len();
        match self {
            Self::Header => out.push_str(&object(&Header {
                heqis_journal: FORMAT,
            })),
            Self::Decision(place, record) => {
                out.push_str(&object(place));
                out.pop();
                out.push(',');
                out.push_str(&object(record)[1..]);
            }
            Self::Closing { decisions } => out.push_str(&object(&Closing {
                decisions: *decisions,
            })),
        }
        out.pop();
        let crc = crc32fast::hash(&out.as_bytes()[start..]);
        out.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    /// Returns the rule that the line breaks.
    fn parse(line: &str) -> Result<Self, String> {
        let body = checked(line)?;
        let fault = |error: serde_json::Error| error.to_string();
        if body.starts_with("{\"heqis_journal\"") {
            let header: Header = serde_json::from_str(&format!("{body}}}")).map_err(fault)?;
            return match header.heqis_journal {
                FORMAT => Ok(Self::Header),
                other => Err(format!("format {other} is not {FORMAT}")),
            };
        }
        if body.starts_with("{\"decisions\"") {
            let closing: Closing = serde_json::from_str(&format!("{body}}}")).map_err(fault)?;
            return Ok(Self::Closing {
                decisions: closing.decisions,
            });
        }
        let (place, record) = body
            .find(RECORD)
            .map(|at| (&body[..at], &body[at + 1..]))
            .ok_or_else(|| "holds no decision".to_owned())?;
        Ok(Self::Decision(
            serde_json::from_str(&format!("{place}}}")).map_err(fault)?,
            serde_json::from_str(&format!("{{{record}}}")).map_err(fault)?,
        ))
    }
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

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    /// Decisions in order.
    pub records: Vec<(Place, Record)>,
    /// Whether the closing line is there; without it the writer was killed or still runs.
    pub closed: bool,
    /// Bytes of whole lines; what is behind them is a torn write.
    pub whole_bytes: u64,
}

impl Contents {
    /// Reads the text of a journal and checks every line. A torn last line is left out. `source_name` is told in errors.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the line and the rule.
    pub fn parse(text: &[u8], source_name: &str) -> Result<Self, QuantError> {
        let mut contents = Self {
            records: Vec::new(),
            closed: false,
            whole_bytes: 0,
        };
        let mut number = 0;
        let fault = |number, rule| QuantError::Journal {
            source_name: source_name.to_owned(),
            line: number,
            rule,
        };
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else {
                break;
            };
            number += 1;
            contents
                .take(number == 1, line)
                .map_err(|rule| fault(number, rule))?;
        }
        let mut header = String::new();
        Line::Header.write(&mut header);
        if number == 0 && !header.as_bytes().starts_with(text) {
            // Not a header that was cut off: somebody else's file, which must not be taken for a torn one and emptied.
            return Err(fault(1, "is not the header of a journal".into()));
        }
        Ok(contents)
    }

    fn take(&mut self, first: bool, line: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
        let held = self.records.len() as u64;
        match Line::parse(text)? {
            _ if self.closed => return Err("stands behind the closing record".into()),
            Line::Header if first => {}
            Line::Header => return Err("is a second header".into()),
            _ if first => return Err("is not the header of a journal".into()),
            Line::Closing { decisions } if decisions == held => self.closed = true,
            Line::Closing { decisions } => {
                return Err(format!("closes {decisions} decisions, {held} are there"));
            }
            Line::Decision(place, _) if place.n != held + 1 => {
                return Err(format!("decision {} stands at {}", place.n, held + 1));
            }
            Line::Decision(place, record) => self.records.push((place, record)),
        }
        self.whole_bytes += line.len() as u64 + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksums are those of Python's `zlib.crc32`.
    const GOLDEN: &str = include_str!("../../tests/golden/journal.jsonl");

    /// Every byte of a journal is covered by a rule, except that without its last byte the last line is a torn one.
    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let golden = GOLDEN.as_bytes();
        let last = golden.len() - 1;
        for at in 0..=last {
            for changed in (0..8)
                .map(|bit| golden[at] ^ (1 << bit))
                .chain([b'\n', b'0', b'f'])
            {
                if changed == golden[at] {
                    continue;
                }
                let mut bytes = golden.to_vec();
                bytes[at] = changed;
                match Contents::parse(&bytes, "changed.jsonl") {
                    Err(QuantError::Journal { line, .. }) => {
                        let expected =
                            1 + golden[..at].iter().filter(|&&byte| byte == b'\n').count();
                        assert_eq!(line, expected, "byte {at} is now {changed:#04x}");
                    }
                    Ok(contents) if at == last => {
                        assert!(!contents.closed && contents.records.len() == 2);
                    }
                    other => panic!("byte {at} is now {changed:#04x}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_was_read_is_written_with_the_same_bytes() -> Result<(), QuantError> {
        let contents = Contents::parse(GOLDEN.as_bytes(), "golden.jsonl")?;
        assert!(contents.closed);
        assert_eq!(contents.whole_bytes, GOLDEN.len() as u64);
        assert!(contents.records[1].1.predicted_return.is_nan());
        let mut text = String::new();
        Line::Header.write(&mut text);
        for (place, record) in contents.records {
            assert_eq!((place.stream, place.position), (0xab, 6 + place.n));
            Line::Decision(place, record).write(&mut text);
            let part = record.text();
            assert!(text.contains(&part[1..part.len() - 1]));
        }
        Line::Closing { decisions: 2 }.write(&mut text);
        assert_eq!(text, GOLDEN);
        Ok(())
    }

    #[test]
    fn a_refused_order_is_known_by_its_side_and_its_reason() -> Result<(), QuantError> {
        let [(_, bought), (_, invalid)] =
            Contents::parse(GOLDEN.as_bytes(), "golden.jsonl")?.records[..]
        else {
            panic!("two decisions")
        };
        assert_eq!((bought.refused(), invalid.refused()), (None, None));
        let refused = |reason, stance| Record {
            side: Side::Hold,
            reason,
            stance,
            ..bought
        };
        let buy = refused(VerdictReason::CoolDown, Stance::Out);
        let sale = refused(VerdictReason::LimitUp, Stance::In);
        assert_eq!(buy.refused(), Some(Side::Buy));
        assert_eq!(sale.refused(), Some(Side::Sell));
        Ok(())
    }

    #[test]
    fn lines_that_break_a_rule_are_named() {
        let lines: Vec<&str> = GOLDEN.lines().collect();
        for (kept, line, rule) in [
            (&[1][..], 1, "is not the header"),
            (&[0, 0], 2, "is a second header"),
            (&[0, 2], 2, "decision 2 stands at 1"),
            (&[0, 1, 3], 3, "closes 2 decisions, 1 are there"),
            (&[0, 1, 2, 3, 1], 5, "stands behind the closing record"),
        ] {
            let text: String = kept.iter().flat_map(|&at| [lines[at], "\n"]).collect();
            let error = Contents::parse(text.as_bytes(), "a.jsonl").map_err(|e| e.to_string());
            let expected = format!("journal a.jsonl, line {line}: {rule}");
            assert!(
                error
                    .as_ref()
                    .is_err_and(|told| told.starts_with(&expected)),
                "{error:?}"
            );
        }
    }
}
