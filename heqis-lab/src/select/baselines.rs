//! The candidates that need no table: what any model must beat.
//!
//! - `cash` expects a loss every day, so it never buys: the worst honest alternative.
//! - `hold` expects a gain every day, so it buys once and stays.
//! - `last` expects the last return again.
//! - `linear` is a ridge and a logistic regression on the features of the last bar, fitted anew on the training span of
//!   every fold.

use std::collections::BTreeMap;

use heqis_quant::label::{Direction, Label, next_bar_labels};
use heqis_quant::{Bar, Date, FeatureSet, FeatureState, Prediction};

use super::candidate::Forecast;
use super::folds::Folds;
use crate::error::LabError;
use crate::logistic::Logistic;
use crate::ridge::Ridge;

/// Names of the built-in candidates, the simplest first.
pub const NAMES: [&str; 4] = ["cash", "hold", "last", "linear"];

/// Penalty of both regressions. It is not tuned, so that it adds no trial.
const PENALTY: f64 = 1.0;
/// Largest absolute return that counts as flat.
const FLAT_BAND: f64 = 0.005;
/// Number of classes: down, flat and up.
const CLASSES: usize = 3;

/// Returns the forecasts of `cash`.
#[must_use]
pub fn cash(bars: &[Bar]) -> BTreeMap<Date, Forecast> {
    let said = certain(f64::MIN, Direction::Down);
    bars.iter().map(|bar| (bar.date, said)).collect()
}

/// Returns the forecasts of `hold`.
#[must_use]
pub fn hold(bars: &[Bar]) -> BTreeMap<Date, Forecast> {
    // Any positive return stands for "more than the threshold": the largest that a rule could ask for.
    let said = certain(f64::MAX, Direction::Up);
    bars.iter().map(|bar| (bar.date, said)).collect()
}

/// Returns the forecasts of `last`; the first bar, which has no return, forecasts none.
///
/// # Errors
///
/// [`LabError::Quant`] when bars are out of order.
pub fn last(bars: &[Bar]) -> Result<BTreeMap<Date, Forecast>, LabError> {
    let labels = next_bar_labels(bars, FLAT_BAND)?;
    let known = std::iter::once(None).chain(labels);
    let said = bars.iter().zip(known).map(|(bar, label)| {
        let label: Option<Label> = label;
        let forecast = label.map_or(certain(0.0, Direction::Flat), |label| {
            certain(label.next_return, label.direction)
        });
        (bar.date, forecast)
    });
    Ok(said.collect())
}

fn certain(predicted_return: f64, direction: Direction) -> Forecast {
    let mut probabilities = [0.0; CLASSES];
    probabilities[direction.class()] = 1.0;
    Forecast {
        prediction: Prediction {
            predicted_return,
            probabilities,
        },
        fitted_to: None,
    }
}

/// Returns the forecasts of `linear` for the days of the validation spans and of the test span.
///
/// A training row is one whose label, too, lies in the training span: `folds` carry the purge.
///
/// # Errors
///
/// [`LabError::Quant`] when features cannot be computed, [`LabError::Select`] when a training span has no rows.
pub fn linear(
    bars: &[Bar],
    days: &[Date],
    folds: &Folds,
) -> Result<BTreeMap<Date, Forecast>, LabError> {
    let set = FeatureSet::standard();
    let labels = next_bar_labels(bars, FLAT_BAND)?;
    let mut state = FeatureState::new(&set)?;
    let mut rows: Vec<(Date, Vec<f64>, Option<Label>)> = Vec::with_capacity(bars.len());
    for (bar, label) in bars.iter().zip(labels) {
        if let Some(values) = state.update(bar)? {
            rows.push((bar.date, values, label));
        }
    }
    let spans = folds
        .folds
        .iter()
        .map(|fold| (&fold.train, &fold.validation));
    let mut forecasts = BTreeMap::new();
    for (train, judged) in spans.chain([(&folds.last_train, &folds.test)]) {
        let fitted_to = days[train.end - 1];
        let (mut inputs, mut returns, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for (_, values, label) in rows.iter().filter(|(date, ..)| *date <= fitted_to) {
            let Some(label) = label else { continue };
            inputs.push(values.clone());
            returns.push(label.next_return);
            classes.push(label.direction.class());
        }
        let refuse = |rule: &str| LabError::select(format!("linear up to {fitted_to}"), rule);
        if inputs.len() <= set.len() {
            return Err(refuse("has fewer training rows than features"));
        }
        let ridge = Ridge::fit(&inputs, &returns, PENALTY);
        let logistic = Logistic::fit(&inputs, &classes, CLASSES, PENALTY);
        let (Some(ridge), Some(logistic)) = (ridge, logistic) else {
            return Err(refuse("the normal equations are singular"));
        };
        let (Some(first), Some(last)) = (days[judged.clone()].first(), days[judged.clone()].last())
        else {
            continue;
        };
        for (date, values, _) in rows
            .iter()
            .filter(|(date, ..)| first <= date && date <= last)
        {
            let shares = logistic.predict(values);
            let prediction = Prediction {
                predicted_return: ridge.predict(values),
                probabilities: [shares[0], shares[1], shares[2]],
            };
            forecasts.insert(
                *date,
                Forecast {
                    prediction,
                    fitted_to: Some(fitted_to),
                },
            );
        }
    }
    Ok(forecasts)
}
