//! The two linear baselines: fitted on the training span, tuned on the validation span, measured once on the test span.
//!
//! - Here: the fit and its metrics. [`table`]: bars as samples. [`onnx`]: the models as graphs. [`bundles`]: the two bundle
//!   directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_data::import_args::ImportArgs;
use heqis_quant::stats::{MeanInterval, Proportion};
use serde::Serialize;

use self::table::TableCorpus;
use crate::corpus::{CLASSES, Corpus, Sample, Split, WINDOW_BARS};
use crate::error::TrainError;
use crate::linear::logistic::Logistic;
use crate::linear::pca::Pca;
use crate::linear::penalty::{self, PENALTIES};
use crate::linear::ridge::Ridge;
use crate::metrics::errors::{ReturnError, most_likely};
use crate::metrics::forecast::{Forecast, Truth};
use crate::metrics::{ClassMetrics, Examples, ReturnMetrics, direction, naive};

pub mod bundles;
mod card;
pub mod onnx;
mod report;
pub mod table;

/// Number of latent factors.
pub const FACTORS: usize = 8;

/// Fits the baselines on the bars in `data`, writes their bundles below `out`, and returns the bundles' directories:
/// factors first, direction second.
///
/// # Errors
///
/// [`TrainError`] when the file cannot be read, holds too little, or the bundles cannot be written.
pub fn baseline(data: &Path, out: &Path) -> Result<[PathBuf; 2], TrainError> {
    let table = TableCorpus::read(data, &ImportArgs::default())?;
    let fitted = Baseline::fit(&table.corpus)?;
    bundles::write(out, &table, &fitted)
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

impl Baseline {
    /// Fits only the factors.
    pub fn fit_factors(corpus: &Corpus) -> Pca {
        let training = corpus.samples(Split::Training).iter();
        let windows: Vec<Vec<f64>> = training.map(|sample| window(corpus, sample)).collect();
        round_pca(Pca::fit(&windows, FACTORS))
    }

    /// Fits both baselines.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a regression has no solution, which finite data excludes.
    pub fn fit(corpus: &Corpus) -> Result<Baseline, TrainError> {
        let pca = Baseline::fit_factors(corpus);
        let examples = |split| {
            let samples = corpus.samples(split);
            Examples::of(corpus, samples, |sample| features(&pca, corpus, sample))
        };
        let (training, validation) = (examples(Split::Training), examples(Split::Validation));
        let (ridge, ridge_penalty) = penalty::ridge(&training, &validation)?;
        let (logistic, logistic_penalty) = penalty::logistic(&training, &validation)?;
        let weights = logistic.weights.iter();
        Ok(Baseline {
            pca,
            ridge: Ridge {
                weights: round(&ridge.weights),
                bias: round_one(ridge.bias),
            },
            logistic: Logistic {
                weights: weights.map(|weights| round(weights)).collect(),
                bias: round(&logistic.bias),
            },
            choice: Choice {
                ridge_penalty,
                logistic_penalty,
                trials: 2 * PENALTIES.len(),
            },
        })
    }

    /// Computes the factors of a sample in `f64`, with the shipped weights.
    #[must_use]
    pub fn factors(&self, corpus: &Corpus, sample: &Sample) -> Vec<f64> {
        self.pca.transform(&window(corpus, sample))
    }

    /// Computes the direction model for samples in `f64`, with the shipped weights and with factors rounded to `f32`, as they
    /// are sent over the wire.
    #[must_use]
    pub fn forecast(&self, corpus: &Corpus, samples: &[Sample]) -> Forecast {
        let (returns, probabilities) = samples
            .iter()
            .map(|sample| features(&self.pca, corpus, sample))
            .map(|row| {
                let p = self.logistic.predict(&row);
                (self.ridge.predict(&row), [p[0], p[1], p[2]])
            })
            .unzip();
        Forecast {
            returns: Some(returns),
            probabilities: Some(probabilities),
        }
    }

    /// Measures the direction model on one span.
    #[must_use]
    pub fn measure(&self, corpus: &Corpus, split: Split) -> SpanMetrics {
        let samples = corpus.samples(split);
        let truth = Truth::of(corpus, samples);
        let training = Truth::of(corpus, corpus.samples(Split::Training));
        let forecast = self.forecast(corpus, samples);
        let predicted = forecast.returns.unwrap_or_default();
        let error_of =
            |naive: Forecast| ReturnError::of(&naive.returns.unwrap_or_default(), &truth.returns);
        let classes_of = |forecast: Option<Vec<[f64; 3]>>| {
            ClassMetrics::of(&forecast.unwrap_or_default(), &truth)
        };
        let classes = classes_of(forecast.probabilities);
        let base_rates = |truth: &Truth| naive::class_rates(&truth.classes);
        let majority = classes_of(naive::majority(&training.classes, truth.len()).probabilities);
        let ridge = ReturnMetrics::of(&predicted, &truth);
        SpanMetrics {
            samples: truth.len(),
            ridge: ReturnError {
                mse: ridge.mse,
                mae: ridge.mae,
            },
            zero_return: error_of(naive::last_value(truth.len())),
            ridge_minus_zero_return: ridge.minus_last_value,
            predicted_return_range: [
                predicted.iter().copied().fold(f64::INFINITY, f64::min),
                predicted.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ],
            training_mean_return: error_of(naive::mean(&training.returns, truth.len())),
            sign_accuracy: direction(&predicted, &truth),
            always_up_sign_accuracy: direction(&vec![1.0; truth.len()], &truth),
            class_accuracy: classes.accuracy,
            majority_class: CLASSES[most_likely(&base_rates(&training))],
            majority_class_accuracy: majority.accuracy,
            base_rates: CLASSES.into_iter().zip(base_rates(&truth)).collect(),
            brier: classes.brier,
            brier_of_training_base_rates: majority.brier,
        }
    }

    /// Returns the fraction of the windows' variance around the training mean that the factors explain on one span.
    pub(crate) fn captured_variance(&self, corpus: &Corpus, split: Split) -> f64 {
        let (mut captured, mut total) = (0.0, 0.0);
        for sample in corpus.samples(split) {
            let window = window(corpus, sample);
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

/// Returns the input of the direction model for a sample: its factors, rounded to `f32`, and its last scaled row.
pub(crate) fn features(pca: &Pca, corpus: &Corpus, sample: &Sample) -> Vec<f64> {
    let factors = round(&pca.transform(&window(corpus, sample)));
    let last_row = corpus.window(sample, 1).iter().copied();
    factors.into_iter().chain(last_row.map(f64::from)).collect()
}

/// Returns the window of a sample, flat.
fn window(corpus: &Corpus, sample: &Sample) -> Vec<f64> {
    let values = corpus.window(sample, WINDOW_BARS).iter();
    values.map(|&value| value.into()).collect()
}

fn round_pca(pca: Pca) -> Pca {
    Pca {
        weights: pca.weights.iter().map(|weights| round(weights)).collect(),
        bias: round(&pca.bias),
        ..pca
    }
}

fn round(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| round_one(value)).collect()
}

fn round_one(value: f64) -> f64 {
    f64::from(value as f32)
}
