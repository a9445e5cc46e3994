//! The report on files of bars: how each was read, the unreadable rows, the rejected bars, and the holes between those that
//! are left. Every count comes with the first place.

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::{Bar, Date, Marks, Reject, Symbol};
use serde::{Deserialize, Serialize};

use crate::bars::Detected;
use crate::error::DataError;

/// The number of holes of a series that are listed with their days; the count is of all.
const HOLES_KEPT: usize = 20;
/// The number of files and series that are listed one by one in text.
const LISTED: usize = 12;
/// The default share of unusable rows above which a command fails.
pub const MAX_BAD_SHARE: f64 = 0.25;
/// Files with fewer rows are only checked together, unless no row of one can be read.
const JUDGED_ROWS: u64 = 20;

/// A count, with the first place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The count.
    pub count: u64,
    /// The first place, with rule and value.
    pub first: String,
}

impl Count {
    /// Counts one more; `place` is kept if it is the first.
    pub fn add(&mut self, place: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = place();
        }
        self.count += 1;
    }
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// The path as given.
    pub path: String,
    /// Layout, encoding and units, and how they were detected; empty if the file was left out.
    pub detected: String,
    /// Warnings about the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// All rows, unreadable ones included.
    pub rows: u64,
    /// Unreadable rows, by column and rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, Count>,
    /// The reason for which the file was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Its only instrument; `None` if it has several or none.
    #[serde(skip)]
    pub symbol: Option<Symbol>,
}

impl FileReport {
    /// Starts the report of an opened file.
    #[must_use]
    pub fn new(path: String, detected: &Detected) -> Self {
        Self {
            path,
            detected: detected.to_string(),
            warnings: detected.warnings.clone(),
            ..Self::default()
        }
    }

    /// Counts an unreadable row.
    pub fn unreadable(&mut self, error: &heqis_quant::QuantError) {
        let kind = match error {
            heqis_quant::QuantError::Row { column, rule, .. } => format!("{column}: {rule}"),
            other => other.to_string(),
        };
        self.unreadable
            .entry(kind)
            .or_default()
            .add(|| error.to_string());
    }

    /// Returns the number of unreadable rows.
    #[must_use]
    pub fn unreadable_rows(&self) -> u64 {
        self.unreadable.values().map(|count| count.count).sum()
    }
}

/// Missing bars between two bars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The day of the last bar before it.
    pub after: Date,
    /// The day of the first bar after it.
    pub before: Date,
    /// The marks of the bar after it.
    pub marks: String,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// The instrument.
    pub symbol: Symbol,
    /// Readable rows.
    pub rows: u64,
    /// Passed bars.
    pub bars: u64,
    /// Rejected rows, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, Count>,
    /// The reason for which the prices are adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<String>,
    /// Whether its market is unknown, so that no rule is applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// Bars beyond a limit by no more than its rounding.
    #[serde(default)]
    pub beyond_limit: u64,
    /// The number of holes.
    pub holes: u64,
    /// The first holes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_holes: Vec<Hole>,
    /// The day of the last bar, for the hole after it.
    #[serde(skip)]
    last: Option<Date>,
}

impl SeriesReport {
    /// Starts the report of a series.
    #[must_use]
    pub fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            rows: 0,
            bars: 0,
            rejected: BTreeMap::new(),
            adjusted: None,
            unlisted: false,
            beyond_limit: 0,
            holes: 0,
            first_holes: Vec::new(),
            last: None,
        }
    }

    /// Counts the result of the cleaner for a row.
    pub fn judged(&mut self, row: &Bar, judged: &Result<Bar, Reject>) {
        self.rows += 1;
        let bar = match judged {
            Ok(bar) => bar,
            Err(reject) => {
                let count = self.rejected.entry(reject.reason().to_owned()).or_default();
                return count.add(|| format!("{} {}: {reject}", row.symbol, row.date));
            }
        };
        self.bars += 1;
        self.beyond_limit += u64::from(bar.marks.contains(Marks::BEYOND_LIMIT));
        let missing = [Marks::GAP, Marks::HOLE, Marks::RESUMED];
        if let Some(after) = self.last
            && missing.into_iter().any(|mark| bar.marks.contains(mark))
        {
            self.holes += 1;
            if self.first_holes.len() < HOLES_KEPT {
                self.first_holes.push(Hole {
                    after,
                    before: bar.date,
                    marks: bar.marks.to_string(),
                });
            }
        }
        self.last = Some(bar.date);
    }

    /// Returns the number of rejected rows that are a loss: days without a trade and copies do not count.
    #[must_use]
    pub fn missed(&self) -> u64 {
        let harmless = ["no_trade", "duplicate", "closed_market", "repeated"];
        let missed = self
            .rejected
            .iter()
            .filter(|(reason, _)| !harmless.contains(&reason.as_str()));
        missed.map(|(_, count)| count.count).sum()
    }
}

/// The report on everything that one command read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportReport {
    /// The files in the order of reading.
    pub files: Vec<FileReport>,
    /// The series by instrument.
    pub series: Vec<SeriesReport>,
}

impl ImportReport {
    /// Returns the part about some instruments: their series, and the files of one of them or of several instruments.
    #[must_use]
    pub fn of(&self, symbols: &BTreeSet<Symbol>) -> Self {
        let concerns = |symbol: Option<Symbol>| symbol.is_none_or(|one| symbols.contains(&one));
        let files = self.files.iter().filter(|file| concerns(file.symbol));
        let series = self
            .series
            .iter()
            .filter(|series| symbols.contains(&series.symbol));
        Self {
            files: files.cloned().collect(),
            series: series.cloned().collect(),
        }
    }

    /// Returns the share of all rows that are unreadable, or rejected and a loss.
    #[must_use]
    pub(crate) fn bad_share(&self) -> f64 {
        let unreadable: u64 = self.files.iter().map(FileReport::unreadable_rows).sum();
        let missed: u64 = self.series.iter().map(SeriesReport::missed).sum();
        let rows: u64 = self.files.iter().map(|file| file.rows).sum();
        match rows {
            0 => 0.0,
            rows => (unreadable + missed) as f64 / rows as f64,
        }
    }

    /// Returns an error if any row is unreadable, for tables in which every row matters, such as a benchmark.
    ///
    /// # Errors
    /// [`DataError::TooMuchLost`] with the first row.
    pub fn refuse_unreadable(&self) -> Result<(), DataError> {
        let unreadable = self.files.iter().flat_map(|file| file.unreadable.values());
        match unreadable.map(|count| &count.first).next() {
            Some(first) => Err(DataError::TooMuchLost(first.clone())),
            None => Ok(()),
        }
    }

    /// Returns an error with the first reasons if too many rows cannot be used.
    ///
    /// # Errors
    /// [`DataError::TooMuchLost`] above `max_bad_share`, or if no bar is left.
    pub fn refuse_above(&self, max_bad_share: f64) -> Result<(), DataError> {
        let share = self.bad_share();
        let bars: u64 = self.series.iter().map(|series| series.bars).sum();
        // Good files do not make up for a lost one.
        let lost = self.files.iter().find(|file| {
            let unreadable = file.unreadable_rows();
            let many = unreadable == file.rows || file.rows >= JUDGED_ROWS;
            unreadable > 0 && many && unreadable as f64 > max_bad_share * file.rows as f64
        });
        if bars > 0
            && share <= max_bad_share
            && let Some(file) = lost
        {
            let first = file.unreadable.values().next();
            return Err(DataError::TooMuchLost(format!(
                "{}: {} of {} rows cannot be read, and at most {:.1} % may (--max-bad-share): {}",
                file.path,
                file.unreadable_rows(),
                file.rows,
                max_bad_share * 100.0,
                first.map_or("", |count| &count.first),
            )));
        }
        if bars > 0 && share <= max_bad_share {
            return Ok(());
        }
        let left_out = self.files.iter().filter_map(|file| file.left_out.clone());
        let unreadable = self.files.iter().flat_map(|file| file.unreadable.values());
        let rejected = self
            .series
            .iter()
            .flat_map(|series| series.rejected.values());
        let counts = unreadable
            .chain(rejected)
            .map(|count| format!("{} like {}", count.count, count.first));
        let reasons: Vec<String> = counts.chain(left_out).take(3).collect();
        let reasons = match reasons[..] {
            [] => "there is no row".to_owned(),
            _ => reasons.join("; "),
        };
        let rule = match bars {
            0 => "no row is a bar".to_owned(),
            _ => format!(
                "{:.1} % of the rows cannot be used, and at most {:.1} % may (--max-bad-share)",
                share * 100.0,
                max_bad_share * 100.0
            ),
        };
        Err(DataError::TooMuchLost(format!("{rule}: {reasons}")))
    }

    /// Returns the report as lines of text: a summary, then the irregularities.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let rows: u64 = self.files.iter().map(|file| file.rows).sum();
        let bars: u64 = self.series.iter().map(|series| series.bars).sum();
        let unreadable: u64 = self.files.iter().map(FileReport::unreadable_rows).sum();
        let rejected: u64 = self
            .series
            .iter()
            .flat_map(|s| s.rejected.values())
            .map(|c| c.count)
            .sum();
        let holes: u64 = self.series.iter().map(|series| series.holes).sum();
        let of_files = format!(
            "{} files, {rows} rows: {bars} bars of {} instruments, {unreadable} rows unreadable, {rejected} rejected, \
             {holes} holes",
            self.files.len(),
            self.series.len(),
        );
        let mut lines = vec![match self.files.is_empty() {
            true => format!(
                "read a data set: {bars} bars of {} instruments",
                self.series.len()
            ),
            false => format!("read {of_files}"),
        }];
        let mut more = Vec::new();
        // Files with equal properties are one line.
        let mut kinds: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.left_out.is_none()) {
            kinds.entry(&file.detected).or_insert((0, &file.path)).0 += 1;
        }
        for (detected, (count, first)) in kinds {
            more.push(match count {
                1 => format!("  {first}: {detected}"),
                _ => format!("  {count} files like {first}: {detected}"),
            });
        }
        let mut warnings: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for file in &self.files {
            if let Some(why) = &file.left_out {
                more.push(format!("  left out: {why}"));
            }
            for warning in &file.warnings {
                warnings.entry(warning).or_insert((0, &file.path)).0 += 1;
            }
            for count in file.unreadable.values() {
                more.push(format!(
                    "  unreadable: {} like {}",
                    count.count, count.first
                ));
            }
        }
        for file in self
            .files
            .iter()
            .filter(|file| file.rows == 0 && file.left_out.is_none())
        {
            more.push(format!("  warning: {} has no row", file.path));
        }
        let foreign: Vec<&str> = self
            .series
            .iter()
            .filter(|s| s.unlisted)
            .map(|s| s.symbol.as_str())
            .collect();
        if let Some(first) = foreign.first() {
            more.push(format!(
                "  warning: {} instruments of no known market, whose rules are not applied, such as {first}",
                foreign.len()
            ));
        }
        for (warning, (count, first)) in warnings {
            more.push(format!("  warning: {warning} ({first}, {count} files)"));
        }
        let mut reasons: BTreeMap<&str, Count> = BTreeMap::new();
        for (reason, count) in self.series.iter().flat_map(|series| &series.rejected) {
            let sum = reasons.entry(reason).or_default();
            if sum.count == 0 {
                sum.first.clone_from(&count.first);
            }
            sum.count += count.count;
        }
        more.extend(
            reasons
                .into_values()
                .map(|c| format!("  rejected: {} like {}", c.count, c.first)),
        );
        for series in &self.series {
            if let Some(why) = &series.adjusted {
                more.push(format!("  adjusted prices: {}: {why}", series.symbol));
            }
            if let Some(hole) = series.first_holes.first() {
                more.push(format!(
                    "  holes: {} of {}, the first between {} and {} ({})",
                    series.holes, series.symbol, hole.after, hole.before, hole.marks
                ));
            }
        }
        let cut = more.len().saturating_sub(LISTED * 3);
        more.truncate(LISTED * 3);
        lines.extend(more);
        if cut > 0 {
            lines.push(format!("  {cut} more lines; the report in JSON has all"));
        }
        lines
    }
}
