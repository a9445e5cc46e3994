//! A table of predictions as a subject. It cannot be recomputed, so its values are compared with the information available
//! at the time of each prediction.

use std::sync::Arc;

use heqis_backtest::BrokerConfig;
use heqis_backtest::strategy::{Predictor, decide};
use heqis_data::predictions::Predictions;
use heqis_quant::stats::{pearson, spearman};
use heqis_quant::{Bar, CleanConfig, Date, ExRight, Markets, Span, Strategy};

use super::checks::{self, Finding};
use super::linear::trade;
use super::subject::{Decision, Fitted, Subject, Trades};
use super::{Audit, Options};
use crate::error::LabError;

/// Bars before and after a prediction's own bar that are compared with it.
const MOST_BARS: usize = 5;
/// Fewest predictions on the test span for a check.
const LEAST_ROWS: usize = 30;
/// Two columns with at least this correlation count as equal up to rounding and unit.
const SAME: f64 = 0.999;

/// A table with its strategy.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table.
    pub predictions: Arc<Predictions>,
    /// The decision rule and filters.
    pub strategy: Strategy,
    /// The broker's settings.
    pub broker: BrokerConfig,
    /// Ex-right events.
    pub events: Vec<ExRight>,
    /// The rules of all markets [default: the shipped ones].
    pub markets: Option<Markets>,
}

impl Subject for Table {
    fn fit(&self, _: &[Bar], _: Date) -> Result<Box<dyn Fitted>, LabError> {
        Ok(Box::new(self.clone()))
    }
}

impl Fitted for Table {
    fn fingerprint(&self) -> String {
        self.predictions.source().to_owned()
    }

    fn scaler_span(&self) -> Option<Span> {
        None
    }

    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError> {
        let clean = CleanConfig::default();
        let mut predictor = Predictor::Table(self.predictions.clone());
        let predicted = predictor.predict(bars, &self.strategy, &clean)?.predicted;
        let decided = decide(&self.strategy, &predicted, &[]);
        let decisions = predicted.iter().zip(decided);
        Ok(decisions
            .map(|(predicted, decision)| Decision {
                date: predicted.bar.date,
                time_ns: predicted.bar.time_ns,
                predicted_return: predicted.prediction.predicted_return,
                side: decision.side,
            })
            .collect())
    }

    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError> {
        trade(
            bars,
            decisions,
            self.broker,
            &self.events,
            self.markets.as_ref(),
        )
    }
}

/// Runs the checks that are possible for a table and lists the others as not checked.
///
/// # Errors
/// [`LabError::Rule`] when no row belongs to a bar of the test span, and the errors of the broker.
pub fn audit(
    table: &Table,
    bars: &[Bar],
    test_from: Date,
    options: &Options,
) -> Result<Audit, LabError> {
    let first = bars.partition_point(|bar| bar.date < test_from);
    let (Some(from), Some(last)) = (bars.get(first), bars.last()) else {
        let rule = format!("must hold a bar from {test_from} on");
        return Err(LabError::rule("test span", rule));
    };
    let span = Span::new(from.date, last.date)?;
    let coverage = table.predictions.coverage(&[(from.symbol, bars)], span)?;
    let trades = table.trade(bars, &table.decide(bars)?)?;
    let rows = TestRows::of(&table.predictions, bars, first);
    let impossible = "a table cannot be recomputed; give the model as a bundle";
    Ok(Audit {
        findings: vec![
            Finding::unchecked("fit_sees_no_test", impossible),
            Finding::unchecked("future_cut_off", impossible),
            Finding::unchecked("start_drift", impossible),
            fitted_to(&table.predictions, &bars[first..], test_from),
            covered(&table.predictions, &bars[first..], &coverage.warnings()),
            rows.look_ahead(options),
            rows.copied(),
            checks::shuffled(
                table,
                bars,
                test_from,
                options.rounds,
                options.max_errors,
                options.seed,
            )?,
            checks::fills(bars, &trades),
            checks::costs(&trades),
        ],
    })
}

/// A prediction of the test span must come from a model fitted before its day.
fn fitted_to(table: &Predictions, bars: &[Bar], test_from: Date) -> Finding {
    let check = "fitted_to";
    let (mut known, mut unknown, mut within) = (0, 0, 0);
    for bar in bars {
        match table.of(bar).map(|forecast| forecast.fitted_to) {
            None => {}
            Some(None) => unknown += 1,
            Some(Some(day)) if day >= bar.date => {
                let detail = format!(
                    "the prediction of {} is by a model fitted up to {day}",
                    bar.date
                );
                return Finding::new(check, false, detail);
            }
            Some(Some(day)) => {
                known += 1;
                within += usize::from(day >= test_from);
            }
        }
    }
    match (known, unknown) {
        (0, _) => {
            let detail =
                "the table does not state the last day that its model was fitted on (fitted_to)";
            Finding::unchecked(check, detail)
        }
        (known, unknown) => {
            let detail = format!(
                "{known} predictions are by models fitted before their day, {within} of them within the test span; {unknown} do \
                 not state it"
            );
            Finding::new(check, true, detail)
        }
    }
}

/// Every bar between the first and the last prediction must have one: bars could have been left out on purpose.
fn covered(table: &Predictions, bars: &[Bar], warnings: &[String]) -> Finding {
    let has_prediction: Vec<bool> = bars.iter().map(|bar| table.of(bar).is_some()).collect();
    let first = has_prediction.iter().position(|has| *has).unwrap_or(0);
    let last = has_prediction.iter().rposition(|has| *has).unwrap_or(0);
    let holes = || (first..last).filter(|at| !has_prediction[*at]);
    let detail = match holes().next() {
        None => {
            let mut detail =
                vec!["no bar between the first and the last prediction is left out".into()];
            detail.extend_from_slice(warnings);
            detail.join("; ")
        }
        Some(at) => format!(
            "{} bars between the first and the last prediction are left out, the first on {}",
            holes().count(),
            bars[at].date
        ),
    };
    Finding::new("coverage", holes().next().is_none(), detail)
}

/// The predictions of a table on the test span, with the returns around each bar.
struct TestRows {
    /// The columns: predicted return, and up minus down where there are probabilities.
    columns: Vec<(&'static str, Vec<f64>)>,
    /// For each row the index of its bar.
    places: Vec<usize>,
    /// The return of each bar against the previous one.
    returns: Vec<Option<f64>>,
}

impl TestRows {
    fn of(table: &Predictions, bars: &[Bar], first: usize) -> Self {
        let rows: Vec<_> = bars
            .iter()
            .enumerate()
            .skip(first)
            .filter_map(|(place, bar)| Some((place, table.of(bar)?)))
            .collect();
        let expected = rows.iter().map(|(_, row)| row.predicted_return).collect();
        let mut columns = vec![("predicted_return", expected)];
        let odds = rows.iter().map(|(_, row)| row.probabilities);
        if let Some(odds) = odds.collect::<Option<Vec<_>>>() {
            let lean = odds.iter().map(|odds| odds[2] - odds[0]).collect();
            columns.push(("p_up less p_down", lean));
        }
        let moved = bars.windows(2).map(|pair| {
            let (before, bar) = (&pair[0], &pair[1]);
            Some(bar.close / bar.reference_close(before.date, before.close) - 1.0)
        });
        Self {
            columns,
            places: rows.iter().map(|(place, _)| *place).collect(),
            returns: std::iter::once(None).chain(moved).collect(),
        }
    }

    /// Pairs a column with the returns `ahead` bars later (earlier where it is negative), row by row.
    fn paired(&self, column: &[f64], ahead: isize) -> (Vec<f64>, Vec<f64>) {
        let pairs = self
            .places
            .iter()
            .zip(column)
            .filter_map(|(place, predicted)| {
                let realised = *self.returns.get(place.checked_add_signed(ahead)?)?;
                Some((*predicted, realised?))
            });
        pairs.unzip()
    }

    /// Later returns are hard to predict: rank correlations with them beyond skill and chance are look-ahead.
    fn look_ahead(&self, options: &Options) -> Finding {
        let check = "look_ahead";
        if self.places.len() < LEAST_ROWS {
            let detail = format!(
                "{} predictions on the test span are fewer than {LEAST_ROWS}",
                self.places.len()
            );
            return Finding::unchecked(check, &detail);
        }
        let mut detail = Vec::new();
        let mut good = true;
        for (name, column) in &self.columns {
            let rank = |ahead: isize| {
                let (predicted, realised) = self.paired(column, ahead);
                let correlation = spearman(&predicted, &realised).unwrap_or(0.0);
                (
                    correlation,
                    correlation.abs() * (predicted.len() as f64).sqrt(),
                )
            };
            for ahead in 1..=MOST_BARS as isize {
                let (correlation, errors) = rank(ahead);
                let found =
                    correlation.abs() > options.max_correlation && errors > options.max_errors;
                good &= !found;
                if found || ahead == 1 {
                    detail.push(format!(
                        "{name} {correlation:+.3} with the return of {ahead} bars later"
                    ));
                }
            }
            detail.push(format!("{:+.3} with that of its own bar", rank(0).0));
        }
        let detail = format!(
            "rank correlations: {}; at most {} is plausible",
            detail.join(", "),
            options.max_correlation
        );
        Finding::new(check, good, detail)
    }

    /// A column that equals the realised returns shifted by some bars is a misplaced label.
    fn copied(&self) -> Finding {
        for (name, column) in &self.columns {
            for ahead in -(MOST_BARS as isize)..=MOST_BARS as isize {
                let (predicted, realised) = self.paired(column, ahead);
                let alike = pearson(&predicted, &realised).unwrap_or(0.0);
                if predicted.len() > MOST_BARS && alike >= SAME {
                    let of = match ahead {
                        0 => "of its own bar".to_owned(),
                        1.. => format!("of {ahead} bars later"),
                        _ => format!("of {} bars before", -ahead),
                    };
                    let detail =
                        format!("{name} equals the realised return {of} (correlation {alike:.4})");
                    return Finding::new("copied_returns", false, detail);
                }
            }
        }
        let detail =
            format!("no column equals the returns of up to {MOST_BARS} bars before or after");
        Finding::new("copied_returns", true, detail)
    }
}
