//! Files of a selection: `best_metrics.csv`, one row for each symbol, and `selection.json`, with the basis of the choice.

use std::path::Path;

use heqis_base::files::write_atomically;
use heqis_quant::{Date, SignalMode, Span, Symbol};
use serde::Deserialize;
use serde_json::{Value, json};

use super::choose::{Deflation, Trial};
use super::evaluator::Run;
use crate::error::LabError;

/// Name of the table.
pub const TABLE: &str = "best_metrics.csv";
/// Name of the record.
pub(crate) const RECORD: &str = "selection.json";

/// The selection for one symbol.
#[derive(Debug)]
pub struct Selected {
    /// The symbol.
    pub symbol: Symbol,
    /// The training and validation span of each fold.
    pub folds: Vec<(Span, Span)>,
    /// The training span for the test.
    pub last_train: Span,
    /// The test span.
    pub test_span: Span,
    /// All trials.
    pub trials: Vec<Trial>,
    /// The index of the best trial, whether it is believed or not.
    pub chosen: usize,
    /// Its deflated Sharpe ratio.
    pub deflation: Deflation,
    /// The lowest deflated Sharpe ratio that is believed.
    pub believe_from: f64,
    /// The one run on the test span.
    pub test: Run,
    /// Number of runs on the test span, this one included.
    pub test_looks: usize,
    /// Number of ex-right events from the first validation day on that are assumed.
    pub assumed: usize,
}

/// Name of the candidate that never buys.
const CASH: &str = "cash";

/// The part of an earlier record that a later run reads.
#[derive(Debug, Deserialize)]
struct Earlier {
    symbols: Vec<EarlierSymbol>,
}

#[derive(Debug, Deserialize)]
struct EarlierSymbol {
    symbol: Symbol,
    test: EarlierTest,
}

#[derive(Debug, Deserialize)]
struct EarlierTest {
    from: Date,
    to: Date,
    looks: usize,
}

/// Returns the number of runs on a test span, or a part of it, by the record in a directory.
///
/// # Errors
///
/// [`LabError::Data`] when there is a record that cannot be read.
pub(crate) fn earlier_looks(dir: &Path, symbol: Symbol, test: Span) -> Result<usize, LabError> {
    let path = dir.join(RECORD);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(LabError::file(&path, error)),
    };
    let earlier: Earlier =
        serde_json::from_str(&text).map_err(|error| LabError::json(&path, error))?;
    let overlaps = |one: &&EarlierSymbol| {
        one.symbol == symbol && one.test.from <= test.to && test.from <= one.test.to
    };
    let looks = earlier.symbols.iter().filter(overlaps);
    Ok(looks.map(|one| one.test.looks).max().unwrap_or(0))
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

impl Selected {
    /// Returns whether the best trial is believed. Cash has no Sharpe ratio to deflate, so it is always believed.
    #[must_use]
    pub(crate) fn is_believed(&self) -> bool {
        let enough = |ratio: f64| ratio >= self.believe_from;
        self.trials[self.chosen].candidate == CASH || self.deflation.deflated.is_some_and(enough)
    }

    /// Returns `believed`, or why the best trial is not, such as `not believed: 0.631 < 0.95`.
    #[must_use]
    pub fn verdict(&self) -> String {
        let bar = self.believe_from;
        match self.deflation.deflated {
            _ if self.is_believed() => "believed".to_owned(),
            None => "not believed: no deflated Sharpe ratio is defined".to_owned(),
            Some(ratio) => {
                // As many digits as distinguish the two.
                let mut shown = (3..17).map(|digits| format!("{ratio:.digits$}"));
                let below = |text: &String| text.parse::<f64>().is_ok_and(|shown| shown < bar);
                let shown = shown.find(below).unwrap_or_else(|| ratio.to_string());
                format!("not believed: {shown} < {bar}")
            }
        }
    }

    /// Returns the recommendation: candidate and mode of the best trial when it is believed, else cash.
    #[must_use]
    pub fn choice(&self) -> (&str, SignalMode) {
        let winner = &self.trials[self.chosen];
        match self.is_believed() {
            true => (&winner.candidate, winner.mode),
            false => (CASH, SignalMode::Return),
        }
    }

    /// Returns the row of the table as names and values: the recommendation, then the best trial and its metrics. Sharpe
    /// ratios are annual. The metrics of the trials are those of their validation days; those of the test span belong to
    /// the best trial alone.
    #[must_use]
    pub fn row(&self) -> Vec<(String, String)> {
        let winner = &self.trials[self.chosen];
        let (test, curve) = (&self.test.metrics, &self.test.metrics.curve);
        let mut row: Vec<(String, String)> = [
            ("symbol", self.symbol.to_string()),
            ("choice", self.choice().0.to_owned()),
            ("mode", self.choice().1.name().to_owned()),
            ("verdict", self.verdict()),
            ("best", winner.candidate.clone()),
            ("best_mode", winner.mode.name().to_owned()),
            ("score", winner.score.to_string()),
            ("trials", self.deflation.trials.to_string()),
            ("validation_sharpe", number(winner.joined.sharpe)),
            ("expected_best_sharpe", number(self.deflation.expected_best)),
            ("deflated_sharpe", number(self.deflation.deflated)),
            ("test_from", self.test_span.from.to_string()),
            ("test_to", self.test_span.to.to_string()),
            ("test_looks", self.test_looks.to_string()),
            ("test_days", test.days.to_string()),
            ("test_total_return", curve.total_return.to_string()),
            ("test_annual_return", number(curve.annual_return)),
            ("test_volatility", number(curve.volatility)),
            ("test_sharpe", number(curve.sharpe)),
            ("test_sortino", number(curve.sortino)),
            ("test_calmar", number(curve.calmar)),
            ("test_max_drawdown", curve.max_drawdown.to_string()),
            ("test_trades", test.trades.count.to_string()),
            ("test_win_rate", number(test.trades.win_rate)),
            ("test_profit_factor", number(test.trades.profit_factor)),
            ("test_turnover", number(test.turnover)),
            ("test_exposure", number(test.exposure)),
            ("test_fees_cents", test.fees_cents.to_string()),
            ("assumed_ex_rights", self.assumed.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for trial in &self.trials {
            let name = trial.name();
            row.extend([
                (format!("{name}_score"), trial.score.to_string()),
                (format!("{name}_sharpe"), number(trial.joined.sharpe)),
                (
                    format!("{name}_total_return"),
                    trial.joined.total_return.to_string(),
                ),
                (
                    format!("{name}_max_drawdown"),
                    trial.joined.max_drawdown.to_string(),
                ),
            ]);
        }
        row
    }

    fn record(&self) -> Value {
        let span = |span: &Span| json!({ "from": span.from, "to": span.to });
        let folds: Vec<Value> = self
            .folds
            .iter()
            .map(|(train, validation)| json!({ "train": span(train), "validation": span(validation) }))
            .collect();
        let trials: Vec<Value> = self
            .trials
            .iter()
            .map(|trial| {
                let sharpes: Vec<Option<f64>> = trial
                    .folds
                    .iter()
                    .map(|run| run.metrics.curve.sharpe)
                    .collect();
                json!({
                    "candidate": trial.candidate,
                    "mode": trial.mode,
                    "score": trial.score,
                    "fold_sharpes": sharpes,
                })
            })
            .collect();
        let winner = &self.trials[self.chosen];
        json!({
            "symbol": self.symbol,
            "folds": folds,
            "last_train": span(&self.last_train),
            "trials": trials,
            "choice": { "candidate": self.choice().0, "mode": self.choice().1 },
            "believed": self.is_believed(),
            "verdict": self.verdict(),
            "best": { "candidate": winner.candidate, "mode": winner.mode },
            "deflation": {
                "trials": self.deflation.trials,
                "expected_best_sharpe": self.deflation.expected_best,
                "deflated_sharpe": self.deflation.deflated,
                "believe_from": self.believe_from,
            },
            "test": {
                "from": self.test_span.from,
                "to": self.test_span.to,
                "looks": self.test_looks,
                "metrics": self.test.metrics,
            },
        })
    }
}

/// Writes table and record into a directory, each atomically.
///
/// # Errors
///
/// [`LabError::Data`] when the file system fails.
pub fn write(dir: &Path, selected: &[Selected], settings: &Value) -> Result<(), LabError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let rows: Vec<Vec<(String, String)>> = selected.iter().map(Selected::row).collect();
    let fault = |error: csv::Error| LabError::rule(TABLE, error.to_string());
    if let Some(first) = rows.first() {
        let names = first.iter().map(|(name, _)| name);
        table.write_record(names).map_err(fault)?;
    }
    for row in &rows {
        let values = row.iter().map(|(_, value)| value);
        table.write_record(values).map_err(fault)?;
    }
    let table = table
        .into_inner()
        .map_err(|error| LabError::rule(TABLE, error.to_string()))?;
    let symbols: Vec<Value> = selected.iter().map(Selected::record).collect();
    let mut record = json!({ "settings": settings, "symbols": symbols }).to_string();
    record.push('\n');
    for (name, bytes) in [(TABLE, table), (RECORD, record.into_bytes())] {
        let path = dir.join(name);
        std::fs::create_dir_all(dir)
            .and_then(|()| write_atomically(&path, &bytes))
            .map_err(|error| LabError::file(&path, error))?;
    }
    Ok(())
}
