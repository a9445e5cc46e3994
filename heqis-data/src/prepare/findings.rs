//! Disagreements between reference data and bars. They change and reject no row: each finding is a line of `findings.csv`
//! and is counted in the manifest.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_quant::{BadRow, Date, Symbol};
use serde::{Deserialize, Serialize};

use super::lines::{Lines, read_lines};
use crate::error::DataError;

/// The file's name in a version.
pub const FILE: &str = "findings.csv";
/// Evidence that comes from the tables alone and does not depend on bars.
const OF_TABLES: [&str; 6] = [EVENT, "names", "listing", "suspend_d", "factors", "limits"];
/// Evidence of an unusable row of an event, so that the event is missing.
pub const EVENT: &str = "unreadable";

/// One line of `findings.csv`. Fields that do not apply are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The instrument.
    pub symbol: String,
    /// The day.
    pub date: String,
    /// The kind of evidence: `sign`, `events`, `reference` or `prices`, as in [`heqis_quant::adjust::Evidence`];
    /// `price_left` for an event after which no positive price remains; `not_recorded` for a trading day without a row
    /// and without a recorded suspension; `traded` for a bar on a day of suspension; `limits` for the first day whose
    /// published limits are not those of the rules. For unusable or contradictory rows of a table it is `names`,
    /// `listing`, `suspend_d` or `factors`, and `unreadable` for an event.
    pub evidence: String,
    /// The step of the factor, or the limit in CNY, that follows from the evidence.
    pub expected: Option<f64>,
    /// The step, or the limit in CNY, of the vendor or the events.
    pub got: Option<f64>,
    /// The message, where the two numbers do not suffice.
    pub detail: String,
}

impl Finding {
    /// Creates a finding about a table, without a day.
    #[must_use]
    pub fn of_table(evidence: &str, symbol: Option<Symbol>, error: &dyn ToString) -> Self {
        Self {
            symbol: symbol.map(|symbol| symbol.to_string()).unwrap_or_default(),
            date: String::new(),
            evidence: evidence.to_owned(),
            expected: None,
            got: None,
            detail: error.to_string(),
        }
    }

    /// Creates the finding of an unusable row of a table.
    #[must_use]
    pub(crate) fn of_row(evidence: &str, row: &BadRow) -> Self {
        Self {
            date: row.date.map(|date| date.to_string()).unwrap_or_default(),
            ..Self::of_table(evidence, row.symbol, &row.error)
        }
    }

    pub(super) fn of_day(evidence: &str, symbol: Symbol, date: Date) -> Self {
        Self {
            symbol: symbol.to_string(),
            date: date.to_string(),
            evidence: evidence.to_owned(),
            expected: None,
            got: None,
            detail: String::new(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.evidence.as_str() {
            EVENT => "an ex-right event cannot be used",
            "names" => "names are unclear",
            "listing" => "its listing is unclear",
            "suspend_d" => "a suspension cannot be used",
            "factors" => "its factors cannot be used",
            other => other,
        };
        let symbol = match self.symbol.as_str() {
            "" => "a stock that cannot be read",
            symbol => symbol,
        };
        write!(f, "{symbol}: {what}: {}", self.detail)
    }
}

/// Creates `findings.csv` in a directory.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be written.
pub fn create(dir: &Path) -> Result<Lines<Finding>, DataError> {
    let header = ["symbol", "date", "evidence", "expected", "got", "detail"];
    Lines::create(dir.join(FILE), &header, |finding| &finding.evidence)
}

/// Reads the findings of a version that depend on bars, by symbol.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be read or a line has other fields.
pub fn of_bars(dir: &Path) -> Result<BTreeMap<String, Vec<Finding>>, DataError> {
    let mut found: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for line in read_lines::<Finding>(&dir.join(FILE))? {
        if !OF_TABLES.contains(&line.evidence.as_str()) {
            found.entry(line.symbol.clone()).or_default().push(line);
        }
    }
    Ok(found)
}
