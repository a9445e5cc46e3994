//! Rejected rows, each with its place and reason.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_quant::rules::Markets;
use serde::{Deserialize, Serialize};

use super::lines::{Lines, read_lines};
use super::runs::Unreadable;
use super::series::Rejected;
use crate::error::DataError;
use crate::report::{FileReport, ImportReport, SeriesReport};
use crate::store::manifest::{Input, Manifest, SymbolEntry};

/// The file's name in a version.
pub const FILE: &str = "rejects.csv";
/// The reason of an unreadable row; the other reasons are those of [`heqis_quant::Reject::REASONS`].
pub(crate) const UNREADABLE: &str = "unreadable";

/// One line of `rejects.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectRow {
    /// The file, as given.
    pub file: String,
    /// The row in the file, counted from 1 after the header.
    pub row: u32,
    /// The instrument; empty when the row could not be read.
    pub symbol: String,
    /// The day; empty when the row could not be read.
    pub date: String,
    /// The reason.
    pub reason: String,
    /// The reason with its numbers.
    pub detail: String,
}

impl RejectRow {
    /// Creates the line of an unreadable row.
    #[must_use]
    pub fn unreadable(file: &str, row: &Unreadable) -> Self {
        Self {
            file: file.to_owned(),
            row: row.row,
            symbol: String::new(),
            date: String::new(),
            reason: UNREADABLE.to_owned(),
            detail: row.message.clone(),
        }
    }

    /// Creates the line of a row that the cleaner rejected.
    #[must_use]
    pub fn rejected(file: &str, rejected: &Rejected) -> Self {
        Self {
            file: file.to_owned(),
            row: rejected.origin.row,
            symbol: rejected.origin.bar.symbol.to_string(),
            date: rejected.origin.bar.date.to_string(),
            reason: rejected.reject.reason().to_owned(),
            detail: rejected.reject.to_string(),
        }
    }
}

/// Creates `rejects.csv` in a directory; lines are counted by their reason.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be written.
pub fn create(dir: &Path) -> Result<Lines<RejectRow>, DataError> {
    let header = ["file", "row", "symbol", "date", "reason", "detail"];
    Lines::create(dir.join(FILE), &header, |line| &line.reason)
}

/// Reads `rejects.csv` of a version.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be read or a line has other fields.
pub fn read(dir: &Path) -> Result<Vec<RejectRow>, DataError> {
    read_lines(&dir.join(FILE))
}

/// Returns the report on the rows of a version.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn of_version(dir: &Path, manifest: &Manifest) -> Result<ImportReport, DataError> {
    of_draft(dir, &manifest.inputs, &manifest.symbols)
}

/// Returns the report on the rows, from the inputs and series of a version and its `rejects.csv`.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn of_draft(
    dir: &Path,
    inputs: &[Input],
    symbols: &[SymbolEntry],
) -> Result<ImportReport, DataError> {
    let mut files: BTreeMap<&str, FileReport> = BTreeMap::new();
    for input in inputs {
        let report = FileReport {
            path: input.path.clone(),
            detected: input.detected.clone(),
            warnings: input.warnings.clone(),
            rows: input.rows,
            left_out: input.left_out.clone(),
            ..FileReport::default()
        };
        files.insert(&input.path, report);
    }
    let markets = Markets::shipped()?;
    let mut series: BTreeMap<String, SeriesReport> = BTreeMap::new();
    for entry in symbols {
        let mut report = SeriesReport::new(entry.symbol);
        report.unlisted = markets.of(entry.symbol).is_none();
        report.rows = entry.bars + entry.rejected;
        report.bars = entry.bars;
        report.adjusted.clone_from(&entry.adjusted);
        report.holes = entry.gaps;
        series.insert(entry.symbol.to_string(), report);
    }
    for line in read(dir)? {
        let counts = match line.reason.as_str() {
            UNREADABLE => files
                .get_mut(line.file.as_str())
                .map(|file| &mut file.unreadable),
            _ => series
                .get_mut(&line.symbol)
                .map(|series| &mut series.rejected),
        };
        let (key, place) = match line.reason.as_str() {
            UNREADABLE => (rule_of(&line.detail), line.detail.clone()),
            reason => (
                reason.to_owned(),
                format!("{} {}: {}", line.symbol, line.date, line.detail),
            ),
        };
        if let Some(counts) = counts {
            counts.entry(key).or_default().add(|| place);
        }
    }
    Ok(ImportReport {
        files: files.into_values().collect(),
        series: series.into_values().collect(),
    })
}

/// Returns column and rule of a message of the table reader, without place and value.
fn rule_of(detail: &str) -> String {
    let rule = detail
        .split_once(", column ")
        .map_or(detail, |(_, rule)| rule);
    rule.rsplit_once(", got ")
        .map_or(rule, |(rule, _)| rule)
        .to_owned()
}
