//! The two linear baselines: fitted on the training span, tuned on the validation span, measured once on the test span.
//!
//! - Here: the fit and its metrics. [`onnx`]: the models as graphs. [`bundles`]: the two bundle directories.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use heqis_data::import_args::ImportArgs;
use heqis_data::metrics::{ReturnError, brier, most_likely, squared_error_difference};
use heqis_data::samples::{CLASSES, Prepared, Sample, prepare};
use heqis_quant::stats::{MeanInterval, Proportion};
use serde::Serialize;

use crate::error::TrainError;
use crate::linear::logistic::Logistic;
use crate::linear::pca::Pca;
use crate::linear::ridge::Ridge;

pub mod bundles;
mod card;
pub mod onnx;
pub mod report;

/// Number of latent factors.
pub const FACTORS: usize = 8;

/// Penalties tried, for the ridge and for the logistic regression alike.
pub(crate) const PENALTIES: [f64; 8] = [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3, 1e4];

/// Fits the baselines on the bars in `data`, writes their bundles below `out`, and returns the bundles' directories:
/// factors first, direction second.
///
/// # Errors
///
/// [`TrainError`] when the file cannot be read, holds too little, or the bundles cannot be written.
pub fn baseline(data: &Path, out: &Path) -> Result<[PathBuf; 2], TrainError> {
    let prepared = prepare(data, &ImportArgs::default())?;
    let fitted = Baseline::fit(&prepared)?;
    bundles::write(out, &prepared, &fitted)
}

/// The fitted baselines, their weights already rounded to the `f32` that is shipped.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The window's principal components.
    pub pca: Pca,
    /// The predicted return.
    pub ridge: Ridge,
    /// The class probabilities.
    pub logistic: Logistic,
    /// The chosen settings.
    pub choice: Choice,
}

/// The settings chosen on the validation span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Penalty of the ridge regression, by mean squared error.
    pub ridge_penalty: f64,
    /// Penalty of the logistic regression, by Brier score.
    pub logistic_penalty: f64,
    /// Number of settings compared on the validation span.
    pub trials: usize,
}

/// The baselines' prediction for one sample.
#[derive(Clone, Debug)]
pub struct BaselinePrediction {
    /// Latent factors.
    pub factors: Vec<f64>,
    /// Factors and the last scaled row: the second model's input.
    pub features: Vec<f64>,
    /// Predicted return in plain units.
    pub predicted_return: f64,
    /// Probabilities of down, flat and up.
    pub probabilities: Vec<f64>,
}

impl Baseline {
    /// Fits only the factors.
    pub fn fit_factors(prepared: &Prepared) -> Pca {
        let training = &prepared.samples[prepared.spans.training.clone()];
        let windows: Vec<Vec<f64>> = training
            .iter()
            .map(|sample| widen(&sample.window))
            .collect();
        round_pca(Pca::fit(&windows, FACTORS))
    }

    /// Fits both baselines.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a regression has no solution, which finite data excludes.
    pub fn fit(prepared: &Prepared) -> Result<Baseline, TrainError> {
        let training = &prepared.samples[prepared.spans.training.clone()];
        let validation = &prepared.samples[prepared.spans.validation.clone()];
        let pca = Baseline::fit_factors(prepared);

        let inputs = |samples: &[Sample]| -> Vec<Vec<f64>> {
            samples
                .iter()
                .map(|sample| features(&pca, sample, prepared.feature_names().len()).1)
                .collect()
        };
        let (fit_on, choose_on) = (inputs(training), inputs(validation));
        let returns = |samples: &[Sample]| {
            samples
                .iter()
                .map(|sample| sample.actual_return)
                .collect::<Vec<_>>()
        };
        let classes = |samples: &[Sample]| {
            samples
                .iter()
                .map(|sample| sample.class)
                .collect::<Vec<_>>()
        };

        let (ridge, ridge_penalty) = choose(|penalty| {
            let ridge = Ridge::fit(&fit_on, &returns(training), penalty)?;
            let predicted: Vec<f64> = choose_on.iter().map(|row| ridge.predict(row)).collect();
            let score = ReturnError::of(&predicted, &returns(validation)).mse;
            Some((ridge, score))
        })
        .ok_or(TrainError::singular("ridge regression"))?;
        let (logistic, logistic_penalty) = choose(|penalty| {
            let logistic = Logistic::fit(&fit_on, &classes(training), CLASSES.len(), penalty)?;
            let predicted: Vec<Vec<f64>> =
                choose_on.iter().map(|row| logistic.predict(row)).collect();
            let score = brier(&predicted, &classes(validation));
            Some((logistic, score))
        })
        .ok_or(TrainError::singular("logistic regression"))?;
        Ok(Baseline {
            pca,
            ridge: Ridge {
                weights: round(&ridge.weights),
                bias: round_one(ridge.bias),
            },
            logistic: Logistic {
                weights: logistic
                    .weights
                    .iter()
                    .map(|weights| round(weights))
                    .collect(),
                bias: round(&logistic.bias),
            },
            choice: Choice {
                ridge_penalty,
                logistic_penalty,
                trials: 2 * PENALTIES.len(),
            },
        })
    }

    /// Computes both models for one sample in `f64`, with the shipped weights and with factors rounded to `f32`, as they are sent
    /// over the wire.
    pub fn predict(&self, sample: &Sample, feature_count: usize) -> BaselinePrediction {
        let (factors, features) = features(&self.pca, sample, feature_count);
        BaselinePrediction {
            predicted_return: self.ridge.predict(&features),
            probabilities: self.logistic.predict(&features),
            factors,
            features,
        }
    }

    /// Measures the direction model on one span.
    pub fn measure(&self, prepared: &Prepared, span: Range<usize>) -> SpanMetrics {
        let samples = &prepared.samples[span];
        let training = &prepared.samples[prepared.spans.training.clone()];
        let predictions: Vec<BaselinePrediction> = samples
            .iter()
            .map(|sample| self.predict(sample, prepared.feature_names().len()))
            .collect();
        let actual: Vec<f64> = samples.iter().map(|sample| sample.actual_return).collect();
        let classes: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
        let predicted: Vec<f64> = predictions
            .iter()
            .map(|prediction| prediction.predicted_return)
            .collect();
        let probabilities: Vec<Vec<f64>> = predictions
            .iter()
            .map(|prediction| prediction.probabilities.clone())
            .collect();

        let training_mean = training
            .iter()
            .map(|sample| sample.actual_return)
            .sum::<f64>()
            / training.len().max(1) as f64;
        let training_rates = base_rates(training);
        let majority = most_likely(&training_rates);
        let days: Vec<i32> = samples.iter().map(|sample| sample.date.days()).collect();
        let moved = || {
            predicted
                .iter()
                .zip(&actual)
                .zip(&days)
                .filter(|((_, actual), _)| **actual != 0.0)
        };
        SpanMetrics {
            samples: samples.len(),
            ridge: ReturnError::of(&predicted, &actual),
            zero_return: ReturnError::of(&vec![0.0; actual.len()], &actual),
            ridge_minus_zero_return: squared_error_difference(
                &predicted,
                &vec![0.0; actual.len()],
                &actual,
                &days,
            ),
            predicted_return_range: [
                predicted.iter().copied().fold(f64::INFINITY, f64::min),
                predicted.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ],
            training_mean_return: ReturnError::of(&vec![training_mean; actual.len()], &actual),
            sign_accuracy: Proportion::clustered(
                moved()
                    .map(|((predicted, actual), day)| (day, (*predicted > 0.0) == (*actual > 0.0))),
            ),
            always_up_sign_accuracy: Proportion::clustered(
                moved().map(|((_, actual), day)| (day, *actual > 0.0)),
            ),
            class_accuracy: Proportion::clustered(
                probabilities
                    .iter()
                    .zip(&classes)
                    .zip(&days)
                    .map(|((p, &class), day)| (day, most_likely(p) == class)),
            ),
            majority_class: CLASSES[majority],
            majority_class_accuracy: Proportion::clustered(
                days.iter()
                    .zip(classes.iter().map(|&class| class == majority)),
            ),
            base_rates: CLASSES.into_iter().zip(base_rates(samples)).collect(),
            brier: brier(&probabilities, &classes),
            brier_of_training_base_rates: brier(&vec![training_rates; classes.len()], &classes),
        }
    }

    /// Returns the fraction of the windows' variance around the training mean that the factors explain on one span.
    pub(crate) fn captured_variance(&self, prepared: &Prepared, span: Range<usize>) -> f64 {
        let (mut captured, mut total) = (0.0, 0.0);
        for sample in &prepared.samples[span] {
            let window = widen(&sample.window);
            total += window
                .iter()
                .zip(&self.pca.means)
                .fold(0.0, |sum, (x, mean)| sum + (x - mean) * (x - mean));
            let factors = self.pca.transform(&window);
            captured += factors
                .iter()
                .zip(&self.pca.variances)
                .fold(0.0, |sum, (z, variance)| sum + variance * z * z);
        }
        if total > 0.0 { captured / total } else { 0.0 }
    }
}

/// Metrics of the direction model on one span, each with that of the naive prediction that it must beat.
#[derive(Clone, Debug, Serialize)]
pub struct SpanMetrics {
    /// Number of samples.
    pub samples: usize,
    /// Error of the predicted return.
    pub ridge: ReturnError,
    /// Error of predicting no change.
    pub zero_return: ReturnError,
    /// Squared error of the predicted return minus that of predicting no change.
    pub ridge_minus_zero_return: MeanInterval,
    /// Smallest and largest predicted return.
    pub predicted_return_range: [f64; 2],
    /// Error of predicting the training span's mean return.
    pub training_mean_return: ReturnError,
    /// Proportion of samples with the predicted sign, over those with a non-zero return.
    pub sign_accuracy: Proportion,
    /// The same for always predicting a rise.
    pub always_up_sign_accuracy: Proportion,
    /// Proportion of samples whose most likely class is the actual one.
    pub class_accuracy: Proportion,
    /// The training span's most frequent class.
    pub majority_class: &'static str,
    /// Accuracy of always predicting that class.
    pub majority_class_accuracy: Proportion,
    /// Share of each class on this span.
    pub base_rates: BTreeMap<&'static str, f64>,
    /// Brier score of the probabilities.
    pub brier: f64,
    /// Brier score of always predicting the training span's base rates.
    pub brier_of_training_base_rates: f64,
}

/// Fits once per penalty and returns the fit with the lowest score; of equal scores, that with the smaller penalty.
fn choose<M>(fit: impl Fn(f64) -> Option<(M, f64)>) -> Option<(M, f64)> {
    let mut best: Option<(M, f64, f64)> = None;
    for penalty in PENALTIES {
        let (model, score) = fit(penalty)?;
        if best.as_ref().is_none_or(|(_, _, best)| score < *best) {
            best = Some((model, penalty, score));
        }
    }
    best.map(|(model, penalty, _)| (model, penalty))
}

/// Returns the factors of a sample, and factors ++ last scaled row.
pub(crate) fn features(pca: &Pca, sample: &Sample, feature_count: usize) -> (Vec<f64>, Vec<f64>) {
    let window = widen(&sample.window);
    let factors = pca.transform(&window);
    let last_row = &window[window.len() - feature_count..];
    let features = factors
        .iter()
        .map(|factor| round_one(*factor))
        .chain(last_row.iter().copied())
        .collect();
    (factors, features)
}

fn base_rates(samples: &[Sample]) -> Vec<f64> {
    let count = samples.len().max(1) as f64;
    (0..CLASSES.len())
        .map(|class| {
            samples
                .iter()
                .filter(|sample| sample.class == class)
                .count() as f64
                / count
        })
        .collect()
}

fn round_pca(pca: Pca) -> Pca {
    Pca {
        weights: pca.weights.iter().map(|weights| round(weights)).collect(),
        bias: round(&pca.bias),
        ..pca
    }
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

fn round(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| round_one(value)).collect()
}

fn round_one(value: f64) -> f64 {
    f64::from(value as f32)
}
