//! A table of predictions as a subject: nobody can ask it again, so what it says is held against what its maker could and
//! could not have known.

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

/// How many bars before and after a prediction's own are compared with it.
const MOST_BARS: usize = 5;
/// Fewer predictions than this on the test span say nothing.
const LEAST_ROWS: usize = 30;
/// A correlation from here on makes two columns one, up to rounding and unit.
const SAME: f64 = 0.999;

/// A table with the strategy that follows it.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table.
    pub predictions: Arc<Predictions>,
    /// When to trade.
    pub strategy: Strategy,
    /// The account.
    pub broker: BrokerConfig,
    /// Ex-right events.
    pub events: Vec<ExRight>,
    /// The rules of all markets; those that are shipped when left out.
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

/// Makes the checks that a table allows, and names those that it does not.
///
/// # Errors
/// [`LabError::Rule`] when no row belongs to a bar of the test span, and what the broker returns.
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
    let said = Said::of(&table.predictions, bars, first);
    let again = "a table cannot be asked again; give the model as a bundle";
    Ok(Audit {
        findings: vec![
            Finding::unchecked("fit_sees_no_test", again),
            Finding::unchecked("future_cut_off", again),
            Finding::unchecked("start_drift", again),
            fitted_to(&table.predictions, &bars[first..], test_from),
            covered(&table.predictions, &bars[first..], &coverage.warnings()),
            said.look_ahead(options),
            said.copied(),
            checks::shuffled(
                table,
                bars,
                test_from,
                options.rounds,
                options.most_errors,
                options.seed,
            )?,
            checks::fills(bars, &trades),
            checks::costs(&trades),
        ],
    })
}

/// A prediction of the test span may come from nothing that was fitted on its own day or later.
fn fitted_to(table: &Predictions, bars: &[Bar], test_from: Date) -> Finding {
    let check = "fitted_to";
    let (mut known, mut unknown, mut within) = (0, 0, 0);
    for bar in bars {
        match table.of(bar).map(|forecast| forecast.fitted_to) {
            None => {}
            Some(None) => unknown += 1,
            Some(Some(day)) if day >= bar.date => {
                let told = format!(
                    "the prediction of {} is by a model fitted up to {day}",
                    bar.date
                );
                return Finding::new(check, false, told);
            }
            Some(Some(day)) => {
                known += 1;
                within += usize::from(day >= test_from);
            }
        }
    }
    match (known, unknown) {
        (0, _) => {
            let told = "the table does not say up to which day its maker was fitted (fitted_to)";
            Finding::unchecked(check, told)
        }
        (known, unknown) => {
            let told = format!(
                "{known} predictions are by models fitted before their day, {within} of them within the test span; {unknown} do \
                 not say"
            );
            Finding::new(check, true, told)
        }
    }
}

/// Between the first and the last prediction no bar may be left out: one could have been left out on purpose.
fn covered(table: &Predictions, bars: &[Bar], warnings: &[String]) -> Finding {
    let spoken: Vec<bool> = bars.iter().map(|bar| table.of(bar).is_some()).collect();
    let first = spoken.iter().position(|spoken| *spoken).unwrap_or(0);
    let last = spoken.iter().rposition(|spoken| *spoken).unwrap_or(0);
    let holes = || (first..last).filter(|at| !spoken[*at]);
    let told = match holes().next() {
        None => {
            let mut told =
                vec!["no bar between the first and the last prediction is left out".into()];
            told.extend_from_slice(warnings);
            told.join("; ")
        }
        Some(at) => format!(
            "{} bars between the first and the last prediction are left out, the first on {}",
            holes().count(),
            bars[at].date
        ),
    };
    Finding::new("coverage", holes().next().is_none(), told)
}

/// What a table says on the test span, beside the returns around each bar.
struct Said {
    /// The columns: predicted return, and up less down where there are probabilities.
    columns: Vec<(&'static str, Vec<f64>)>,
    /// For each row the place of its bar.
    places: Vec<usize>,
    /// The return of each bar against the one before.
    returns: Vec<Option<f64>>,
}

impl Said {
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

    /// Returns a column with the returns that came `ahead` bars later (earlier where it is negative), row by row.
    fn beside(&self, column: &[f64], ahead: isize) -> (Vec<f64>, Vec<f64>) {
        let pairs = self.places.iter().zip(column).filter_map(|(place, said)| {
            let came = *self.returns.get(place.checked_add_signed(ahead)?)?;
            Some((*said, came?))
        });
        pairs.unzip()
    }

    /// Nobody knows the returns to come well: rank correlations with them beyond what skill and chance allow are look-ahead.
    fn look_ahead(&self, options: &Options) -> Finding {
        let check = "look_ahead";
        if self.places.len() < LEAST_ROWS {
            let told = format!(
                "{} predictions on the test span are fewer than {LEAST_ROWS}",
                self.places.len()
            );
            return Finding::unchecked(check, &told);
        }
        let mut told = Vec::new();
        let mut good = true;
        for (name, column) in &self.columns {
            let rank = |ahead: isize| {
                let (said, came) = self.beside(column, ahead);
                let correlation = spearman(&said, &came).unwrap_or(0.0);
                (correlation, correlation.abs() * (said.len() as f64).sqrt())
            };
            for ahead in 1..=MOST_BARS as isize {
                let (correlation, errors) = rank(ahead);
                let found = correlation.abs() > options.most_skill && errors > options.most_errors;
                good &= !found;
                if found || ahead == 1 {
                    told.push(format!(
                        "{name} {correlation:+.3} with the return of {ahead} bars later"
                    ));
                }
            }
            told.push(format!("{:+.3} with that of its own bar", rank(0).0));
        }
        let told = format!(
            "rank correlations: {} (at most {} is believed)",
            told.join(", "),
            options.most_skill
        );
        Finding::new(check, good, told)
    }

    /// A column that is the realised returns, moved by some bars, is a label in the wrong place.
    fn copied(&self) -> Finding {
        for (name, column) in &self.columns {
            for ahead in -(MOST_BARS as isize)..=MOST_BARS as isize {
                let (said, came) = self.beside(column, ahead);
                let alike = pearson(&said, &came).unwrap_or(0.0);
                if said.len() > MOST_BARS && alike >= SAME {
                    let of = match ahead {
                        0 => "of its own bar".to_owned(),
                        1.. => format!("of {ahead} bars later"),
                        _ => format!("of {} bars before", -ahead),
                    };
                    let told =
                        format!("{name} is the realised return {of} (correlation {alike:.4})");
                    return Finding::new("copied_returns", false, told);
                }
            }
        }
        let told = format!("no column is the returns of up to {MOST_BARS} bars before or after");
        Finding::new("copied_returns", true, told)
    }
}
