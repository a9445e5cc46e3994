//! Tables of predictions: one format for every command that reads or writes them.
//!
//! ```text
//! symbol,date[,time],predicted_return[,p_down,p_flat,p_up][,fitted_to][,target]
//! ```
//!
//! - Here: the table in memory, its match with bars ([`Predictions::coverage`]), and its check for a signal mode
//!   ([`Predictions::require`]).
//! - [`mod@read`]: CSV, gzip-compressed CSV and Parquet → table, with every row checked. [`mod@write`]: rows → files.
//!
//! A row is identified by its symbol and the time of its bar. In a table of days every row belongs to the daily bar of its
//! day; such a table is refused for a series of minutes. Not here: decisions (`backtest`).

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::target::TargetKind;
use heqis_quant::{Bar, Date, DecisionRule, Prediction, SignalMode, Span, Symbol};
use serde::Serialize;

use crate::error::DataError;

mod packed;
pub mod read;
mod time;
pub mod write;

/// The prediction at the close of one bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The expected return to the next close, in plain units: 0.01 is one per cent.
    pub predicted_return: f64,
    /// The probabilities of down, flat and up, where the table has them.
    pub probabilities: Option<[f64; 3]>,
    /// The last day of the data that its model was fitted on or selected by; `None` if unknown.
    pub fitted_to: Option<Date>,
}

impl Forecast {
    /// Returns the prediction for the decision step. Without probabilities, that of flat is 1, which signal mode `return`
    /// does not read unless the rule has a least confidence; see [`Predictions::require`].
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        Prediction {
            predicted_return: self.predicted_return,
            probabilities: self.probabilities.unwrap_or([0.0, 1.0, 0.0]),
        }
    }
}

/// One row, kept small since a market has millions.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// The end of its bar in UTC nanoseconds; in a table of days the close of the day.
    time_ns: i64,
    date: Date,
    predicted_return: f64,
    /// NaN if the row has none.
    probabilities: [f64; 3],
    fitted_to: Option<Date>,
    /// The line in the file, from 1.
    line: u32,
}

impl Row {
    fn forecast(&self) -> Forecast {
        let known = !self.probabilities[0].is_nan();
        Forecast {
            predicted_return: self.predicted_return,
            probabilities: known.then_some(self.probabilities),
            fitted_to: self.fitted_to,
        }
    }
}

/// A table of predictions.
#[derive(Clone, Debug)]
pub struct Predictions {
    source: String,
    /// In the order of time.
    rows: BTreeMap<Symbol, Vec<Row>>,
    /// Whether rows belong to days instead of times.
    by_day: bool,
    ignored_columns: Vec<String>,
    /// The units of the predicted values.
    kind: TargetKind,
    /// The first row without probabilities.
    without_probabilities: Option<u32>,
}

/// The match between the rows of a table and bars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The name of the table.
    pub table: String,
    /// Number of its rows.
    pub rows: usize,
    /// Rows of a bar in the traded span.
    pub used: usize,
    /// Rows of a bar before or after that span.
    pub outside_span: usize,
    /// Rows without a bar that passed the cleaner.
    pub unmatched: usize,
    /// The first such row in the file.
    pub first_unmatched: Option<String>,
    /// Bars of the traded span.
    pub bars: usize,
    /// Bars of the traded span without a row.
    pub bars_without_prediction: usize,
    /// The first such bar.
    pub first_bar_without_prediction: Option<String>,
    /// Rows of the traded span whose model was fitted on their own day or a later one.
    pub fitted_on_own_future: usize,
    /// Columns that are not read.
    pub ignored_columns: Vec<String>,
}

/// The match between the rows and the bars of one instrument: see [`Predictions::symbol_coverage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolCoverage {
    symbol: Symbol,
    /// The counts of the instrument.
    counts: Coverage,
    /// The first row in the file, and the first one without a bar, with their lines.
    first: Option<(u32, String)>,
    unmatched: Option<(u32, String)>,
    /// The days of its first and last bar in the traded span.
    traded: Option<(Date, Date)>,
}

impl Coverage {
    /// Returns the warnings about a result, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let table = &self.table;
        if let Some(first) = &self.first_unmatched {
            warnings.push(format!(
                "{table}: {} of {} rows belong to no accepted bar, the first is {first}",
                self.unmatched, self.rows
            ));
        }
        if let Some(first) = &self.first_bar_without_prediction {
            warnings.push(format!(
                "{table}: {} of {} bars of the traded span have no prediction, the first is {first}",
                self.bars_without_prediction, self.bars
            ));
        }
        if self.fitted_on_own_future > 0 {
            warnings.push(format!(
                "{table}: {} of {} predictions of the traded span were made by a model that was fitted on their own day or a \
                 later one",
                self.fitted_on_own_future, self.used
            ));
        }
        if !self.ignored_columns.is_empty() {
            warnings.push(format!(
                "{table}: columns not read: {}",
                self.ignored_columns.join(", ")
            ));
        }
        warnings
    }
}

impl Predictions {
    /// Returns the name of the table, as given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.values().map(Vec::len).sum()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the units of the predicted values: of ranks, say, a decision rule with thresholds on returns knows nothing.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Returns whether every row has probabilities.
    #[must_use]
    pub fn has_probabilities(&self) -> bool {
        self.without_probabilities.is_none()
    }

    /// Returns the prediction for a bar.
    #[must_use]
    pub fn of(&self, bar: &Bar) -> Option<Forecast> {
        let rows = self.rows.get(&bar.symbol)?;
        let key = self.key(bar);
        let at = rows.binary_search_by_key(&key, |row| row.time_ns).ok()?;
        Some(rows[at].forecast())
    }

    fn key(&self, bar: &Bar) -> i64 {
        match self.by_day {
            true => bar.date.close_time_ns(),
            false => bar.time_ns,
        }
    }

    /// Describes a row for a message.
    fn describe(&self, symbol: Symbol, row: &Row) -> String {
        let when = match self.by_day {
            true => row.date.to_string(),
            false => time::iso(row.time_ns),
        };
        format!("{symbol} {when} (line {})", row.line)
    }

    /// Returns an error if a signal mode, or the least confidence of a rule, needs missing probabilities.
    ///
    /// # Errors
    /// [`DataError::Rule`] with the first row without them.
    pub fn require(&self, mode: SignalMode, rule: &DecisionRule) -> Result<(), DataError> {
        if self.kind != TargetKind::Return {
            let rule =
                "must predict returns, which the thresholds of a decision rule are compared with";
            let got = format!("the target {}", self.kind.name());
            return Err(DataError::rule_got(&self.source, rule, got));
        }
        let Some(line) = self.without_probabilities else {
            return Ok(());
        };
        let needs = if mode.reads_classes() {
            format!("signal mode {}", mode.name())
        } else if rule.min_confidence > 0.0 {
            format!("rule.min_confidence = {}", rule.min_confidence)
        } else if rule.min_exit_confidence > 0.0 {
            format!("rule.min_exit_confidence = {}", rule.min_exit_confidence)
        } else {
            return Ok(());
        };
        let rule = format!("must have the columns p_down, p_flat and p_up, which {needs} needs");
        Err(DataError::rule_got(
            &self.source,
            rule,
            format!("none in line {line}"),
        ))
    }

    /// Removes the rows of an instrument and returns them as a table.
    #[must_use]
    pub fn split_off(&mut self, symbol: Symbol) -> Self {
        let rows = self.rows.remove(&symbol);
        Self {
            source: self.source.clone(),
            rows: rows.map(|rows| (symbol, rows)).into_iter().collect(),
            by_day: self.by_day,
            ignored_columns: Vec::new(),
            kind: self.kind,
            without_probabilities: self.without_probabilities,
        }
    }

    /// Compares the rows with the bars of some series, each in the order of time, of which `span` is traded.
    ///
    /// # Errors
    /// [`DataError::Rule`] when no row belongs to a bar of the span, and when the rows are days and a series has
    /// several bars a day.
    pub fn coverage(&self, series: &[(Symbol, &[Bar])], span: Span) -> Result<Coverage, DataError> {
        let parts = series
            .iter()
            .map(|(symbol, bars)| self.symbol_coverage(*symbol, bars, span))
            .collect::<Result<Vec<_>, _>>()?;
        self.total_coverage(&parts, span)
    }

    /// Compares the rows of one instrument with its bars, in the order of time, of which `span` is traded.
    ///
    /// # Errors
    /// [`DataError::Rule`] when the rows are days and there are several bars a day.
    pub fn symbol_coverage(
        &self,
        symbol: Symbol,
        bars: &[Bar],
        span: Span,
    ) -> Result<SymbolCoverage, DataError> {
        let rows = self.rows.get(&symbol).map_or(&[][..], Vec::as_slice);
        if self.by_day && !rows.is_empty() {
            self.refuse_minutes(symbol, bars)?;
        }
        let mut counts = Coverage {
            rows: rows.len(),
            ..Coverage::default()
        };
        for bar in bars {
            let forecast = self.of(bar);
            let inside = span.contains(bar.date);
            counts.bars += usize::from(inside);
            match forecast {
                Some(forecast) if inside => {
                    counts.used += 1;
                    let late = forecast.fitted_to.is_some_and(|day| day >= bar.date);
                    counts.fitted_on_own_future += usize::from(late);
                }
                Some(_) => counts.outside_span += 1,
                None if inside => {
                    counts.bars_without_prediction += 1;
                    counts
                        .first_bar_without_prediction
                        .get_or_insert_with(|| describe_bar(bar));
                }
                None => {}
            }
        }
        let is_unmatched = |row: &&Row| {
            let found = bars.binary_search_by_key(&row.time_ns, |bar| self.key(bar));
            found.is_err()
        };
        let unmatched = match counts.rows > counts.used + counts.outside_span {
            true => self.first(symbol, rows.iter().filter(is_unmatched)),
            false => None,
        };
        let days = bars.iter().map(|bar| bar.date);
        let mut days = days.filter(|day| span.contains(*day));
        let from = days.next();
        Ok(SymbolCoverage {
            symbol,
            first: self.first(symbol, rows.iter()),
            unmatched,
            counts,
            traded: from.map(|from| (from, days.next_back().unwrap_or(from))),
        })
    }

    /// Returns the row that comes first in the file, with its line.
    fn first<'a>(
        &self,
        symbol: Symbol,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Option<(u32, String)> {
        let first = rows.min_by_key(|row| row.line)?;
        Some((first.line, self.describe(symbol, first)))
    }

    /// Sums the [coverage of instruments](Predictions::symbol_coverage). Rows of other instruments have no bar; those of
    /// the given instruments may have been [removed](Predictions::split_off).
    ///
    /// # Errors
    /// [`DataError::Rule`] when no row belongs to a bar of the span.
    pub fn total_coverage(
        &self,
        parts: &[SymbolCoverage],
        span: Span,
    ) -> Result<Coverage, DataError> {
        let mut coverage = Coverage {
            table: self.source.clone(),
            ignored_columns: self.ignored_columns.clone(),
            ..Coverage::default()
        };
        let mut unmatched = Vec::new();
        let mut first = Vec::new();
        for SymbolCoverage { counts, .. } in parts {
            coverage.rows += counts.rows;
            coverage.used += counts.used;
            coverage.outside_span += counts.outside_span;
            coverage.bars += counts.bars;
            coverage.bars_without_prediction += counts.bars_without_prediction;
            coverage.fitted_on_own_future += counts.fitted_on_own_future;
        }
        let without = parts
            .iter()
            .map(|part| &part.counts.first_bar_without_prediction);
        coverage.first_bar_without_prediction = without.flatten().next().cloned();
        unmatched.extend(parts.iter().filter_map(|part| part.unmatched.clone()));
        first.extend(parts.iter().filter_map(|part| part.first.clone()));
        let symbols: BTreeSet<Symbol> = parts.iter().map(|part| part.symbol).collect();
        for (symbol, rows) in &self.rows {
            if !symbols.contains(symbol) {
                coverage.rows += rows.len();
                let other = self.first(*symbol, rows.iter());
                unmatched.extend(other.clone());
                first.extend(other);
            }
        }
        coverage.unmatched = coverage.rows - coverage.used - coverage.outside_span;
        if coverage.used == 0 {
            let first = first.into_iter().min().map(|(_, row)| row);
            return Err(self.unused(coverage.rows, first, parts, span));
        }
        coverage.first_unmatched = unmatched.into_iter().min().map(|(_, row)| row);
        Ok(coverage)
    }

    fn refuse_minutes(&self, symbol: Symbol, bars: &[Bar]) -> Result<(), DataError> {
        match bars.windows(2).find(|pair| pair[0].date == pair[1].date) {
            None => Ok(()),
            Some(pair) => {
                let rule = format!(
                    "must have a time in every row, since {symbol} has several bars on {}",
                    pair[0].date
                );
                Err(DataError::rule_got(&self.source, rule, "days alone"))
            }
        }
    }

    fn unused(
        &self,
        rows: usize,
        first: Option<String>,
        parts: &[SymbolCoverage],
        span: Span,
    ) -> DataError {
        let first = first.unwrap_or("no row".to_owned());
        let spans = || parts.iter().filter_map(|part| part.traded);
        let from = spans().map(|span| span.0).min().unwrap_or(span.from);
        let to = spans().map(|span| span.1).max().unwrap_or(span.to);
        let names: Vec<&str> = parts
            .iter()
            .take(4)
            .map(|part| part.symbol.as_str())
            .collect();
        let more = match parts.len() {
            0..=4 => String::new(),
            count => format!(" and {} more", count - 4),
        };
        let rule = format!(
            "must have a row of a traded bar; the bars of {}{more} are of {from} to {to}",
            names.join(", ")
        );
        let got = format!("{rows} rows of other bars, the first is {first}");
        DataError::rule_got(&self.source, rule, got)
    }
}

/// Describes a bar for a message.
fn describe_bar(bar: &Bar) -> String {
    match bar.time_ns == bar.date.close_time_ns() {
        true => format!("{} {}", bar.symbol, bar.date),
        false => format!("{} {}", bar.symbol, time::iso(bar.time_ns)),
    }
}
