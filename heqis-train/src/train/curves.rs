//! The metrics of one network after one pass: a point of every curve.

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// One network after one pass over the training samples. Metrics that do not apply to a network are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The phase: `encoder`, `alone` (pre-training), `game` (adversarial), `distil` or `fine_tune`.
    pub phase: String,
    /// The epoch of the phase, from 0; passes inside an adversarial epoch carry its number.
    pub epoch: usize,
    /// The pass inside the epoch, from 0.
    pub pass: usize,
    /// The generator's name, `encoder`, or `d-` and the name of the discriminator's generator.
    pub network: String,
    /// Loss on the training samples, as a mean over steps.
    pub loss: Option<f64>,
    /// Its squared error, in squared target scales.
    pub mse: Option<f64>,
    /// Its cross-entropy.
    pub cross_entropy: Option<f64>,
    /// Its adversarial loss, weighted; the column keeps its former name.
    #[serde(rename = "deception")]
    pub adversarial: Option<f64>,
    /// Supervised loss on the validation span.
    pub validation_loss: Option<f64>,
    /// Its squared error.
    pub validation_mse: Option<f64>,
    /// Its cross-entropy.
    pub validation_cross_entropy: Option<f64>,
    /// Proportion of the validation span's moves whose sign was predicted.
    pub validation_direction: Option<f64>,
    /// Learning rate.
    pub learning_rate: Option<f64>,
    /// Norm of the gradients before clipping, as a mean over steps.
    pub gradient_norm: Option<f64>,
    /// Proportion of real series that a discriminator classified as real.
    pub real_accuracy: Option<f64>,
    /// Proportion of candidates that it classified as fake.
    pub fake_accuracy: Option<f64>,
}

/// Returns points as CSV with a header.
///
/// # Errors
///
/// [`TrainError::Rule`] when a row cannot be written.
pub fn csv(points: &[Point]) -> Result<Vec<u8>, TrainError> {
    let fault = |rule: String| TrainError::training("curves.csv", rule);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in points {
        writer.serialize(point).map_err(|e| fault(e.to_string()))?;
    }
    writer.into_inner().map_err(|e| fault(e.to_string()))
}

/// A weighted running mean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64, weight: usize) {
        self.sum += value * weight as f64;
        self.count += weight as f64;
    }

    pub(crate) fn get(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}
