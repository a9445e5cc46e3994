//! Reading a journal for review: decisions, and the timings beside them where the run wrote any.
//!
//! The format is the one of the `journal` stage: a JSON object a line whose last field `crc` is the CRC-32 of what stands
//! before it. A torn last line is what a killed writer leaves, and is passed over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_quant::decision::{Stance, VerdictReason};
use heqis_quant::{Date, Side, Symbol};
use serde::Deserialize;

use crate::DashboardError;
use crate::decisions::{Decision, StageTime};

/// Version of the format that is read.
const FORMAT: u32 = 1;

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Decisions in order.
    pub decisions: Vec<Decision>,
    /// Whether the closing record is there: the run ended on purpose.
    pub closed: bool,
}

#[derive(Deserialize)]
struct Header {
    heqis_journal: u32,
}

#[derive(Deserialize)]
struct Closing {
    decisions: u64,
}

/// A number that was not finite stands as null.
#[derive(Deserialize)]
struct Record {
    n: u64,
    stream: String,
    position: u64,
    symbol: Symbol,
    date: Date,
    time_ns: i64,
    close: Option<f64>,
    side: Side,
    confidence: Option<f64>,
    reason: VerdictReason,
    stance: Stance,
    predicted_return: Option<f64>,
    probabilities: [Option<f64>; 3],
}

#[derive(Deserialize)]
struct Timings {
    n: u64,
    stages: Vec<StageTime>,
}

impl Journal {
    /// Reads the journal at `path`, and `<path>.timings.jsonl` when that is there.
    ///
    /// # Errors
    /// [`DashboardError::File`] when a file cannot be read, [`DashboardError::Journal`] naming the line that breaks a
    /// rule.
    pub fn read(path: &Path) -> Result<Self, DashboardError> {
        let text = read(path)?.ok_or_else(|| DashboardError::File {
            path: path.display().to_string(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        let mut timings = HashMap::new();
        if let Some(text) = read(&beside(path))? {
            for line in text.lines() {
                // They explain and decide nothing: a torn line is passed over.
                if let Ok(Timings { n, stages }) = serde_json::from_str(line) {
                    timings.insert(n, stages);
                }
            }
        }
        parse(&text, timings).map_err(|(line, rule)| DashboardError::Journal {
            path: path.display().to_string(),
            line,
            rule,
        })
    }
}

/// The text of a file, `None` when it is not there.
fn read(path: &Path) -> Result<Option<String>, DashboardError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DashboardError::File {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".timings.jsonl");
    name.into()
}

fn parse(
    text: &str,
    mut timings: HashMap<u64, Vec<StageTime>>,
) -> Result<Journal, (usize, String)> {
    let mut journal = Journal {
        decisions: Vec::new(),
        closed: false,
    };
    let mut names: HashMap<Arc<str>, Arc<str>> = HashMap::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let object = checked(line).map_err(|rule| (number, rule))?;
        let fault = |error: serde_json::Error| (number, error.to_string());
        if index == 0 {
            let header: Header = serde_json::from_str(&object).map_err(fault)?;
            if header.heqis_journal != FORMAT {
                let rule = format!("format {} is not {FORMAT}", header.heqis_journal);
                return Err((number, rule));
            }
        } else if object.starts_with("{\"decisions\"") {
            let closing: Closing = serde_json::from_str(&object).map_err(fault)?;
            let held = journal.decisions.len() as u64;
            if closing.decisions != held {
                let rule = format!("closes {} decisions, {held} are there", closing.decisions);
                return Err((number, rule));
            }
            journal.closed = true;
        } else {
            let record: Record = serde_json::from_str(&object).map_err(fault)?;
            let mut stages = timings.remove(&record.n).unwrap_or_default();
            for time in &mut stages {
                // A handful of names over thousands of decisions: each is kept once.
                let name = names
                    .entry(time.stage.clone())
                    .or_insert(time.stage.clone());
                time.stage = name.clone();
            }
            journal
                .decisions
                .push(decision(record, stages).map_err(|rule| (number, rule))?);
        }
    }
    Ok(journal)
}

fn decision(record: Record, timings: Vec<StageTime>) -> Result<Decision, String> {
    let stream = u64::from_str_radix(&record.stream, 16)
        .map_err(|_| format!("stream '{}' is not hexadecimal", record.stream))?;
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Ok(Decision {
        origin: (stream, record.position),
        symbol: record.symbol,
        date: record.date,
        time_ns: record.time_ns,
        close: number(record.close),
        side: record.side,
        confidence: number(record.confidence),
        reason: record.reason,
        stance: record.stance,
        predicted_return: number(record.predicted_return),
        probabilities: record.probabilities.map(number),
        timings,
    })
}

/// Checks a line's checksum and gives back the object before it.
fn checked(line: &str) -> Result<String, String> {
    let (body, crc) = line
        .strip_suffix("\"}")
        .and_then(|line| line.rsplit_once(",\"crc\":\""))
        .ok_or_else(|| "no checksum at the end".to_owned())?;
    let got = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    match got == crc {
        true => Ok(format!("{body}}}")),
        false => Err(format!("checksum is {got}, the line says {crc}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What the `journal` stage writes, as its own tests pin it.
    const GOLDEN: &str = include_str!("../../nodes/compute/tests/golden_journal.jsonl");

    #[test]
    fn a_journal_of_the_stage_is_read_with_its_timings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jsonl");
        std::fs::write(&path, GOLDEN).unwrap();
        let timings = "{\"n\":2,\"stages\":[{\"stage\":\"cleaner\",\"enter_us\":1.5,\"leave_us\":4.0}]}\n{\"n\":1,\"sta";
        std::fs::write(beside(&path), timings).unwrap();
        let journal = Journal::read(&path).unwrap();
        assert!(journal.closed);
        let [first, second] = &journal.decisions[..] else {
            panic!("{journal:?}")
        };
        assert_eq!(
            (first.origin, first.close, first.side),
            ((0xab, 7), 17.01, Side::Buy)
        );
        assert_eq!(first.timings, []);
        assert_eq!(second.reason, VerdictReason::InvalidPrediction);
        assert!(second.predicted_return.is_nan());
        assert_eq!(
            (&*second.timings[0].stage, second.timings[0].leave_us),
            ("cleaner", 4.0)
        );
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_a_changed_one_is_named() {
        let torn = &GOLDEN[..GOLDEN.len() - 1];
        let journal = parse(torn, HashMap::new()).unwrap();
        assert_eq!((journal.decisions.len(), journal.closed), (2, false));
        let changed = GOLDEN.replace("17.01", "17.02");
        let (line, rule) = parse(&changed, HashMap::new()).unwrap_err();
        assert_eq!(line, 2);
        assert!(rule.contains("checksum"), "{rule}");
        assert!(parse("date,open\n", HashMap::new()).is_err());
    }

    #[test]
    fn a_journal_that_is_not_there_is_named() {
        let error = Journal::read(Path::new("no/such/journal.jsonl")).unwrap_err();
        assert!(
            error.to_string().starts_with("no/such/journal.jsonl: "),
            "{error}"
        );
    }
}
