//! What came of files of bars: how each was read, which rows could not be, which bars the cleaner rejected, and what is
//! missing between those that are left. Every count has its first place.

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::{Bar, Date, Marks, Reject, Symbol};
use serde::{Deserialize, Serialize};

use crate::bars::Detected;
use crate::error::DataError;

/// How many holes of a series are kept with their days; the count is of all.
const HOLES_KEPT: usize = 20;
/// How many files and series are told one by one in text.
const TOLD: usize = 12;
/// The share of rows above which a command stops, where nothing else is said.
pub const MAX_BAD_SHARE: f64 = 0.25;
/// Files of fewer rows are only judged together, unless nothing of one can be read.
const JUDGED_ROWS: u64 = 20;

/// How often something happened, and where first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How often.
    pub count: u64,
    /// The first place, with rule and value.
    pub first: String,
}

impl Count {
    /// Counts one more, told by `place` if it is the first.
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
    /// Layout, encoding and units, and how they were decided; empty when the file was left out.
    pub detected: String,
    /// What a user should know of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Rows, those that cannot be read included.
    pub rows: u64,
    /// Rows that cannot be read, by column and rule.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, Count>,
    /// Why the file as a whole was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Its one instrument; `None` when it holds several, or none.
    #[serde(skip)]
    pub symbol: Option<Symbol>,
}

impl FileReport {
    /// Starts the report of a file that could be opened.
    #[must_use]
    pub fn new(path: String, detected: &Detected) -> Self {
        Self {
            path,
            detected: detected.to_string(),
            warnings: detected.warnings.clone(),
            ..Self::default()
        }
    }

    /// Counts a row that cannot be read.
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

    /// Returns how many rows cannot be read.
    #[must_use]
    pub fn unreadable_rows(&self) -> u64 {
        self.unreadable.values().map(|count| count.count).sum()
    }
}

/// Bars that are missing between two that are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The day of the last bar before it.
    pub after: Date,
    /// The day of the first bar behind it.
    pub before: Date,
    /// The marks of the bar behind it.
    pub marks: String,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// The instrument.
    pub symbol: Symbol,
    /// Rows that could be read.
    pub rows: u64,
    /// Bars that the cleaner passed.
    pub bars: u64,
    /// Rows that it rejected, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<String, Count>,
    /// Why the prices are taken for adjusted ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<String>,
    /// Whether it belongs to no known market, so that no rule is applied to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
    /// Bars that trade beyond a limit by no more than its rounding.
    #[serde(default)]
    pub beyond_limit: u64,
    /// How many holes there are.
    pub holes: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_holes: Vec<Hole>,
    /// The day of the last bar, to know a hole behind it.
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

    /// Notes what the cleaner said of a row.
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

    /// Returns how many rows were rejected that are missed: days without a trade and copies are not.
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

/// Everything that one command read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportReport {
    /// The files in the order in which they were read.
    pub files: Vec<FileReport>,
    /// The series by instrument.
    pub series: Vec<SeriesReport>,
}

impl ImportReport {
    /// Returns the part that concerns some instruments: their series, and the files that hold them or several.
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

    /// Returns the share of all rows that could not be read, or were rejected and are missed.
    #[must_use]
    pub fn bad_share(&self) -> f64 {
        let unreadable: u64 = self.files.iter().map(FileReport::unreadable_rows).sum();
        let missed: u64 = self.series.iter().map(SeriesReport::missed).sum();
        let rows: u64 = self.files.iter().map(|file| file.rows).sum();
        match rows {
            0 => 0.0,
            rows => (unreadable + missed) as f64 / rows as f64,
        }
    }

    /// Returns an error when any row cannot be read: for tables whose every row counts, such as a benchmark.
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

    /// Returns the error that ends a command when too much was lost, with the first reasons.
    ///
    /// # Errors
    /// [`DataError::TooMuchLost`] above `max_bad_share`, or when no bar is left.
    pub fn refuse_above(&self, max_bad_share: f64) -> Result<(), DataError> {
        let share = self.bad_share();
        let bars: u64 = self.series.iter().map(|series| series.bars).sum();
        // One file that is lost is not made up for by many that are good.
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

    /// Returns the report as lines of text: a summary, then what is not as it should be.
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
        // Alike files are told once.
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
        let cut = more.len().saturating_sub(TOLD * 3);
        more.truncate(TOLD * 3);
        lines.extend(more);
        if cut > 0 {
            lines.push(format!("  {cut} more lines; the report in JSON has all"));
        }
        lines
    }
}
