//! Reading a journal for review: decisions, and the timings beside them where the run wrote any.
//!
//! The lines are those of [`heqis_quant::decision::journal`]. A torn last line is what a killed writer leaves, and is
//! passed over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_quant::QuantError;
use heqis_quant::decision::journal::{Contents, Place, Record};
use serde::Deserialize;

use crate::DashboardError;
use crate::decisions::{Decision, StageTime};

/// What a journal holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Decisions in order.
    pub decisions: Vec<Decision>,
    /// Whether the closing record is there: the run ended on purpose.
    pub closed: bool,
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
    /// [`DashboardError::File`] when a file cannot be read, [`DashboardError::Quant`] naming the line that breaks a
    /// rule.
    pub fn read(path: &Path) -> Result<Self, DashboardError> {
        let text = read(path)?.ok_or_else(|| DashboardError::File {
            path: path.display().to_string(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        let mut timings = HashMap::new();
        if let Some(text) = read(&beside(path))? {
            for line in text.split(|&byte| byte == b'\n') {
                // They explain and decide nothing: a torn line is passed over.
                if let Ok(Timings { n, stages }) = serde_json::from_slice(line) {
                    timings.insert(n, stages);
                }
            }
        }
        Ok(parse(&text, &path.display().to_string(), timings)?)
    }
}

/// The bytes of a file, `None` when it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, DashboardError> {
    match std::fs::read(path) {
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
    text: &[u8],
    source_name: &str,
    mut timings: HashMap<u64, Vec<StageTime>>,
) -> Result<Journal, QuantError> {
    let contents = Contents::parse(text, source_name)?;
    let mut names: HashMap<Arc<str>, Arc<str>> = HashMap::new();
    let decisions = contents.records.iter().map(|(place, record)| {
        let mut stages = timings.remove(&place.n).unwrap_or_default();
        for time in &mut stages {
            // A handful of names over thousands of decisions: each is kept once.
            let name = names
                .entry(time.stage.clone())
                .or_insert(time.stage.clone());
            time.stage = name.clone();
        }
        decision(place, record, stages)
    });
    Ok(Journal {
        decisions: decisions.collect(),
        closed: contents.closed,
    })
}

fn decision(place: &Place, record: &Record, timings: Vec<StageTime>) -> Decision {
    Decision {
        origin: (place.stream, place.position),
        symbol: record.symbol,
        date: record.date,
        time_ns: record.time_ns,
        close: record.close,
        side: record.side,
        confidence: record.confidence,
        reason: record.reason,
        stance: record.stance,
        predicted_return: record.predicted_return,
        probabilities: record.probabilities,
        timings,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_quant::Side;
    use heqis_quant::decision::VerdictReason;

    use super::*;

    /// What the `journal` stage writes, as its own tests pin it.
    const GOLDEN: &str = include_str!("../../heqis-quant/tests/golden/journal.jsonl");

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
        let read = |text: &str| parse(text.as_bytes(), "decisions.jsonl", HashMap::new());
        let journal = read(&GOLDEN[..GOLDEN.len() - 1]).unwrap();
        assert_eq!((journal.decisions.len(), journal.closed), (2, false));
        let told = read(&GOLDEN.replace("17.01", "17.02"))
            .unwrap_err()
            .to_string();
        assert!(
            told.starts_with("journal decisions.jsonl, line 2: checksum"),
            "{told}"
        );
        assert!(read("date,open\n").is_err());
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
