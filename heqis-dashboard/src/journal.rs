//! Reading a journal for review: its decisions, and their timings where the run recorded any.
//!
//! The format of lines is that of [`heqis_quant::decision::journal`], that of files [`heqis_data::journal`]. A torn last line,
//! left by a killed writer, is skipped.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use heqis_data::journal::{self, Names};
use heqis_quant::decision::Decision as JournalDecision;
use heqis_quant::decision::journal::EntryId;
use serde::Deserialize;

use crate::decisions::{Decision, StageTime};
use crate::error::DashboardError;

/// Longest line of timings, bytes.
const MAX_LINE: u64 = 1 << 20;

/// Content of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// Decisions in order.
    pub decisions: Vec<Decision>,
    /// Whether the closing record is present: the run ended in an orderly way.
    pub closed: bool,
}

#[derive(Deserialize)]
struct Timings {
    n: u64,
    stages: Vec<StageTime>,
}

impl Journal {
    /// Reads the journal at `path`, all its segments as one, and `<path>.timings.jsonl` where it exists.
    ///
    /// # Errors
    /// [`DashboardError::File`] when a file cannot be read, [`DashboardError::Quant`] naming the line that breaks a
    /// rule, [`DashboardError::Journal`] when segments do not fit together.
    pub fn read(path: &Path) -> Result<Self, DashboardError> {
        Self::read_last(path, usize::MAX)
    }

    /// Reads the last `count` decisions of the journal at `path`; older segments are not read.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_last(path: &Path, count: usize) -> Result<Self, DashboardError> {
        let (records, closed) = journal::last(path, count)?;
        let first = records.first().map_or(u64::MAX, |(place, _)| place.n);
        let mut timings = timings(&Names::of(path).timings(), first)?;
        let mut names: HashMap<Arc<str>, Arc<str>> = HashMap::new();
        let decisions = records.iter().map(|(place, record)| {
            let mut stages = timings.remove(&place.n).unwrap_or_default();
            for time in &mut stages {
                // Thousands of decisions share a handful of names: each is stored once.
                let name = names
                    .entry(time.stage.clone())
                    .or_insert(time.stage.clone());
                time.stage = name.clone();
            }
            decision(place, record, stages)
        });
        Ok(Self {
            decisions: decisions.collect(),
            closed,
        })
    }
}

/// Returns the timings of decisions from number `first` on; empty without such a file.
fn timings(path: &Path, first: u64) -> Result<HashMap<u64, Vec<StageTime>>, DashboardError> {
    let fault = |source| DashboardError::File {
        path: path.display().to_string(),
        source,
    };
    let mut timings = HashMap::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(timings),
        opened => opened.map_err(fault)?,
    };
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    while (&mut input)
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(fault)?
        > 0
    {
        // Timings are informational: a torn line is skipped.
        if let Ok(Timings { n, stages }) = serde_json::from_slice(&line)
            && n >= first
        {
            timings.insert(n, stages);
        }
        line.clear();
    }
    Ok(timings)
}

fn decision(id: &EntryId, record: &JournalDecision, timings: Vec<StageTime>) -> Decision {
    Decision {
        origin: (id.stream, id.position),
        symbol: record.symbol,
        date: record.date,
        time_ns: record.time_ns,
        close: record.close,
        side: record.side,
        confidence: record.confidence,
        reason: record.reason,
        position: record.position,
        predicted_return: record.predicted_return,
        probabilities: record.probabilities,
        timings,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_quant::Side;
    use heqis_quant::decision::DecisionReason;

    use super::*;

    /// Golden output of the `journal` stage.
    const GOLDEN: &str = include_str!("../../heqis-quant/tests/golden/journal.jsonl");

    #[test]
    fn a_journal_of_the_stage_is_read_with_its_timings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jsonl");
        std::fs::write(&path, GOLDEN).unwrap();
        let timings = "{\"n\":2,\"stages\":[{\"stage\":\"cleaner\",\"enter_us\":1.5,\"leave_us\":4.0}]}\n{\"n\":1,\"sta";
        std::fs::write(Names::of(&path).timings(), timings).unwrap();
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
        assert_eq!(second.reason, DecisionReason::InvalidPrediction);
        assert!(second.predicted_return.is_nan());
        assert_eq!(
            (&*second.timings[0].stage, second.timings[0].leave_us),
            ("cleaner", 4.0)
        );
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_a_changed_line_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decisions.jsonl");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Journal::read(&path)
        };
        let journal = read(&GOLDEN[..GOLDEN.len() - 1]).unwrap();
        assert_eq!((journal.decisions.len(), journal.closed), (2, false));
        let message = read(&GOLDEN.replace("17.01", "17.02"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("decisions.jsonl, line 3: checksum"),
            "{message}"
        );
        assert!(read("date,open\n").is_err());
    }

    #[test]
    fn a_missing_journal_is_named() {
        let error = Journal::read(Path::new("no/such/journal.jsonl")).unwrap_err();
        assert!(
            error.to_string().starts_with("no/such/journal.jsonl: "),
            "{error}"
        );
    }
}
