//! One decision as a journal writes it, without its place in the stream.

use std::path::Path;

use heqis_quant::decision::{Carry, Stance, VerdictReason};
use heqis_quant::path::Decided;
use heqis_quant::{Date, Prediction, Side, Symbol, Verdict};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::LabError;

/// The part of a journal's record that says what was decided; numbers that are not finite stand as null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price, CNY.
    pub close: f64,
    /// What to do.
    pub side: Side,
    /// How sure.
    pub confidence: f64,
    /// Why.
    pub reason: VerdictReason,
    /// Whether the instrument is in hand afterwards.
    pub stance: Stance,
    /// What filters remember.
    #[serde(default, skip_serializing_if = "Carry::is_empty")]
    pub carry: Carry,
    /// Expected return to the next close.
    #[serde(deserialize_with = "number")]
    pub predicted_return: f64,
    /// Probabilities of down, flat, up.
    #[serde(deserialize_with = "numbers")]
    pub probabilities: [f64; 3],
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 3], D::Error> {
    <[Option<f64>; 3]>::deserialize(deserializer)
        .map(|numbers| numbers.map(|number| number.unwrap_or(f64::NAN)))
}

impl From<&Decided> for Line {
    fn from(decided: &Decided) -> Self {
        Self::new(
            (
                decided.bar.symbol,
                decided.bar.date,
                decided.bar.time_ns,
                decided.bar.close,
            ),
            &decided.verdict,
            &decided.prediction,
        )
    }
}

impl Line {
    /// Makes the line of a verdict on a bar, given as symbol, date, close time and close.
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

    /// Returns the bytes that stand in a journal.
    #[must_use]
    pub fn text(&self) -> String {
        // Numbers, names and dates always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns what the model said.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        Prediction {
            predicted_return: self.predicted_return,
            probabilities: self.probabilities,
        }
    }
}

/// Reads the decisions of a finished journal, as bytes: what stands between place and checksum.
///
/// # Errors
///
/// [`LabError::File`] when the journal cannot be read, and [`LabError::DataSet`] when it is none, or was not finished.
pub fn read(path: &Path) -> Result<Vec<String>, LabError> {
    let text = std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
    let refuse = |number: usize, rule: &str| {
        Err(LabError::data_set(
            path,
            format!("line {}: {rule}", number + 1),
        ))
    };
    let lines: Vec<&str> = text.lines().collect();
    let Some((header, rest)) = lines.split_first() else {
        return refuse(0, "is missing");
    };
    if !header.starts_with("{\"heqis_journal\":1,") {
        return refuse(0, "is not the header of a journal of format 1");
    }
    let Some((closing, records)) = rest.split_last() else {
        return refuse(1, "is missing");
    };
    if !closing.starts_with(&format!("{{\"decisions\":{},", records.len())) {
        return refuse(lines.len() - 1, "does not close the journal");
    }
    let mut decisions = Vec::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        let decision = record
            .find("\"symbol\"")
            .zip(record.rfind(",\"crc\""))
            .and_then(|(from, to)| record.get(from..to));
        match decision {
            Some(decision) => decisions.push(format!("{{{decision}}}")),
            None => return refuse(at + 1, "holds no decision"),
        }
    }
    Ok(decisions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOLDEN: &str = include_str!("../../../nodes/compute/tests/golden_journal.jsonl");

    #[test]
    fn a_line_has_the_bytes_of_the_journal_even_where_a_number_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("golden.jsonl");
        std::fs::write(&path, GOLDEN).unwrap();
        let decisions = read(&path).unwrap();
        assert_eq!(decisions.len(), 2);
        for decision in decisions {
            let line: Line = serde_json::from_str(&decision).unwrap();
            assert_eq!(line.text(), decision);
        }
    }

    #[test]
    fn what_is_no_finished_journal_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let lines: Vec<&str> = GOLDEN.lines().collect();
        for (text, reason) in [
            (String::new(), "line 1: is missing"),
            (lines[0].to_owned(), "line 2: is missing"),
            (lines[1..].join("\n"), "line 1: is not the header"),
            (lines[..3].join("\n"), "line 3: does not close"),
            (
                [lines[0], lines[1], lines[3]].join("\n"),
                "line 3: does not close",
            ),
            (
                [lines[0], "{}", lines[2], lines[3]].join("\n"),
                "line 2: holds no decision",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
