//! The candidates that need no table: what any model must beat.
//!
//! - `cash` expects a loss every day, so it never buys.
//! - `hold` expects a gain every day, so it buys once and holds.
//! - `last` expects the last return again.
//! - `linear` is a ridge and a logistic regression on the features of the last bar.
//! - `boosted` are gradient-boosted trees on the same features, one set for the return and one for each class.
//!
//! The last two are fitted on the training span of every fold.

use std::collections::BTreeMap;

use heqis_data::prepare::series::compute;
use heqis_data::store::NextBar;
use heqis_quant::label::{Direction, Label, next_bar_labels};
use heqis_quant::{Bar, FeatureSet, Prediction};
use heqis_train::baselines::boosting::{Boosting, BoostingOptions};
use heqis_train::corpus::{CLASSES, FLAT_BAND};
use heqis_train::linear::logistic::Logistic;
use heqis_train::linear::ridge::Ridge;

use super::candidate::Forecast;
use super::folds::Folds;
use crate::error::LabError;
use heqis_train::TrainError;

/// Names of the built-in candidates, the simplest first.
pub const NAMES: [&str; 5] = ["cash", "hold", "last", "linear", "boosted"];

/// Penalty of both regressions. It is not tuned, so that it adds no trial.
const PENALTY: f64 = 1.0;
/// Shallow trees with a low learning rate, which suit weak signals. They are not tuned either.
const TREES: BoostingOptions = BoostingOptions {
    trees: 50,
    depth: 2,
    learning_rate: 0.1,
    least_leaf: 20,
};

/// Returns the forecasts of `cash`.
#[must_use]
pub fn cash(bars: &[Bar]) -> BTreeMap<i64, Forecast> {
    let forecast = certain(f64::MIN, Direction::Down);
    bars.iter().map(|bar| (bar.time_ns, forecast)).collect()
}

/// Returns the forecasts of `hold`.
#[must_use]
pub fn hold(bars: &[Bar]) -> BTreeMap<i64, Forecast> {
    // The return must exceed every threshold: it is the largest that a rule accepts.
    let forecast = certain(f64::MAX, Direction::Up);
    bars.iter().map(|bar| (bar.time_ns, forecast)).collect()
}

/// Returns the forecasts of `last`; the first bar, which has no return, has no forecast.
///
/// # Errors
///
/// [`LabError::Quant`] when bars are out of order.
pub fn last(bars: &[Bar]) -> Result<BTreeMap<i64, Forecast>, LabError> {
    let labels = next_bar_labels(bars, FLAT_BAND)?;
    let known = std::iter::once(None).chain(labels);
    let forecasts = bars.iter().zip(known).map(|(bar, label)| {
        let label: Option<Label> = label;
        let forecast = label.map_or(certain(0.0, Direction::Flat), |label| {
            certain(label.next_return, label.direction)
        });
        (bar.time_ns, forecast)
    });
    Ok(forecasts.collect())
}

fn certain(predicted_return: f64, direction: Direction) -> Forecast {
    let mut probabilities = [0.0; CLASSES.len()];
    probabilities[direction.class()] = 1.0;
    Forecast {
        predicted_return,
        probabilities: Some(probabilities),
        fitted_to: None,
    }
}

/// Returns the forecasts of `linear` for the days of the validation spans and of the test span.
///
/// # Errors
///
/// [`LabError::Quant`] when features cannot be computed, [`LabError::Rule`] when a training span has no rows.
pub fn linear(bars: &[Bar], folds: &Folds) -> Result<BTreeMap<i64, Forecast>, LabError> {
    walk(bars, folds, |inputs, labels| {
        let (returns, classes) = targets(labels);
        let ridge = Ridge::fit(inputs, &returns, PENALTY);
        let logistic = Logistic::fit(inputs, &classes, CLASSES.len(), PENALTY);
        let (Some(ridge), Some(logistic)) = (ridge, logistic) else {
            return Err(TrainError::singular("linear candidate").into());
        };
        Ok(move |rows: &[Vec<f64>]| -> Result<_, LabError> {
            let forecasts = rows.iter().map(|values| {
                let shares = logistic.predict(values);
                Prediction {
                    predicted_return: ridge.predict(values),
                    probabilities: [shares[0], shares[1], shares[2]],
                }
            });
            Ok(forecasts.collect())
        })
    })
}

/// Returns the forecasts of `boosted` for the same days.
///
/// The trees of a class are fitted to 1 where it occurred and 0 elsewhere. Their outputs may lie slightly outside of 0 to 1:
/// negative ones become 0, the rest is normalised, and when all are 0 the class frequencies of the training span are used.
///
/// # Errors
///
/// As [`linear`], and [`LabError::Rule`] when a feature is not finite.
pub fn boosted(bars: &[Bar], folds: &Folds) -> Result<BTreeMap<i64, Forecast>, LabError> {
    walk(bars, folds, |inputs, labels| {
        let (returns, classes) = targets(labels);
        let indicator = |class: usize| -> Vec<f64> {
            let came = classes.iter().map(|came| f64::from(*came == class));
            came.collect()
        };
        let ones = [0, 1, 2].map(indicator);
        let shares = ones
            .each_ref()
            .map(|came| came.iter().sum::<f64>() / came.len() as f64);
        let moves = Boosting::fit(inputs, &returns, TREES)?;
        let [down, flat, up] = ones.map(|came| Boosting::fit(inputs, &came, TREES));
        let heads = [down?, flat?, up?];
        Ok(move |rows: &[Vec<f64>]| -> Result<_, LabError> {
            let forecasts = moves.predict(rows)?;
            let heads = heads.each_ref().map(|head| head.predict(rows));
            let [down, flat, up] = heads;
            let (down, flat, up) = (down?, flat?, up?);
            let predictions = forecasts
                .into_iter()
                .enumerate()
                .map(|(at, predicted_return)| {
                    let positive = [down[at], flat[at], up[at]].map(|share| share.max(0.0));
                    let sum: f64 = positive.iter().sum();
                    Prediction {
                        predicted_return,
                        probabilities: if sum > 0.0 {
                            positive.map(|share| share / sum)
                        } else {
                            shares
                        },
                    }
                });
            Ok(predictions.collect())
        })
    })
}

/// Next returns and classes of labels.
fn targets(labels: &[NextBar]) -> (Vec<f64>, Vec<usize>) {
    let both = labels.iter();
    both.map(|label| (label.next_return, label.direction.class()))
        .unzip()
}

/// Fits on the features of every training span and forecasts the corresponding span.
///
/// The labels of training rows lie in the training span as well, since `folds` include the purge.
fn walk<P>(
    bars: &[Bar],
    folds: &Folds,
    fit: impl Fn(&[Vec<f64>], &[NextBar]) -> Result<P, LabError>,
) -> Result<BTreeMap<i64, Forecast>, LabError>
where
    P: Fn(&[Vec<f64>]) -> Result<Vec<Prediction>, LabError>,
{
    let set = FeatureSet::standard();
    // One row for each bar.
    let rows = compute(bars, &set, FLAT_BAND)?;
    let values = |row: usize| rows.features(row).map(<[f64]>::to_vec);
    let spans = folds
        .folds
        .iter()
        .map(|fold| (&fold.train, &fold.validation));
    let mut forecasts = BTreeMap::new();
    for (train, judged) in spans.chain([(&folds.last_train, &folds.test)]) {
        let fitted_to = bars[train.end - 1].date;
        let known = (0..train.end).filter_map(|row| Some((values(row)?, rows.next()[row]?)));
        let (inputs, labels): (Vec<_>, Vec<_>) = known.unzip();
        if inputs.len() <= set.len() {
            let place = format!("regressions up to {fitted_to}");
            let rule = "has fewer training rows than features";
            return Err(LabError::rule(place, rule));
        }
        let predict = fit(&inputs, &labels)?;
        let judged = judged.clone();
        let (times, asked): (Vec<i64>, Vec<Vec<f64>>) = judged
            .filter_map(|row| Some((bars[row].time_ns, values(row)?)))
            .unzip();
        for (time_ns, prediction) in times.into_iter().zip(predict(&asked)?) {
            let forecast = Forecast {
                predicted_return: prediction.predicted_return,
                probabilities: Some(prediction.probabilities),
                fitted_to: Some(fitted_to),
            };
            forecasts.insert(time_ns, forecast);
        }
    }
    Ok(forecasts)
}
