//! The choice of a penalty: fitted on the training span, chosen by the metric of the validation span.

use super::logistic::Logistic;
use super::ridge::Ridge;
use crate::corpus::CLASSES;
use crate::error::TrainError;
use crate::metrics::Examples;
use crate::metrics::errors::{ReturnError, brier};

/// Penalties tried, for the ridge and for the logistic regression alike.
pub(crate) const PENALTIES: [f64; 8] = [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3, 1e4];

/// Fits the ridge regression of the return with the least squared error on `chosen_on`, and returns it with its penalty.
///
/// # Errors
///
/// [`TrainError::Rule`] when it has no solution, which finite data excludes.
pub(crate) fn ridge(training: &Examples, chosen_on: &Examples) -> Result<(Ridge, f64), TrainError> {
    least(PENALTIES, |penalty| {
        let ridge = Ridge::fit(&training.inputs, &training.truth.returns, penalty)
            .ok_or(TrainError::singular("ridge regression"))?;
        let inputs = chosen_on.inputs.iter();
        let predicted: Vec<f64> = inputs.map(|row| ridge.predict(row)).collect();
        let error = ReturnError::of(&predicted, &chosen_on.truth.returns).mse;
        Ok((ridge, error))
    })
}

/// Fits the logistic regression of the class with the least Brier score on `chosen_on`, and returns it with its penalty.
///
/// # Errors
///
/// As [`ridge`].
pub(crate) fn logistic(
    training: &Examples,
    chosen_on: &Examples,
) -> Result<(Logistic, f64), TrainError> {
    least(PENALTIES, |penalty| {
        let (inputs, classes) = (&training.inputs, &training.truth.classes);
        let logistic = Logistic::fit(inputs, classes, CLASSES.len(), penalty)
            .ok_or(TrainError::singular("logistic regression"))?;
        let inputs = chosen_on.inputs.iter();
        let probabilities: Vec<Vec<f64>> = inputs.map(|row| logistic.predict(row)).collect();
        Ok((logistic, brier(&probabilities, &chosen_on.truth.classes)))
    })
}

/// Fits once per setting and returns the model with the least score and its setting, the first of equals.
///
/// # Errors
///
/// The error of `fit`; [`TrainError::Rule`] without settings.
pub(crate) fn least<S: Copy, M>(
    settings: impl IntoIterator<Item = S>,
    fit: impl Fn(S) -> Result<(M, f64), TrainError>,
) -> Result<(M, S), TrainError> {
    let mut best: Option<(M, S, f64)> = None;
    for setting in settings {
        let (model, score) = fit(setting)?;
        if best.as_ref().is_none_or(|(_, _, least)| score < *least) {
            best = Some((model, setting, score));
        }
    }
    best.map(|(model, setting, _)| (model, setting))
        .ok_or_else(|| TrainError::rule("baselines", "no settings to choose from"))
}
