//! Predictions of a generator, and their score.

use burn::tensor::activation::softmax;
use heqis_data::samples::CLASSES;
use heqis_quant::stats::Proportion;
use heqis_quant::{Date, Symbol};

use super::corpus::{Corpus, Sample};
use super::device::device_of;
use super::tensors::numbers;
use crate::error::TrainError;
use crate::nets::generator::Generator;

/// Samples in one forward pass.
const CHUNK: usize = 512;

/// The prediction for one sample, with the actual outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The instrument.
    pub symbol: Symbol,
    /// Day of the window's last bar.
    pub date: Date,
    /// Close of that bar.
    pub close: f64,
    /// Predicted return of the next bar in plain units.
    pub predicted_return: f64,
    /// Probabilities of the classes down, flat, up.
    pub probabilities: [f64; CLASSES.len()],
    /// The actual return.
    pub actual_return: f64,
    /// The actual class, an index into [`CLASSES`].
    pub class: usize,
}

/// Predicts samples, in their order, by a generator that reads `window_bars` rows of `columns` columns.
///
/// # Errors
///
/// [`TrainError`] when a tensor cannot be read.
pub fn predict(
    net: &Generator,
    window_bars: usize,
    columns: usize,
    corpus: &Corpus,
    samples: &[Sample],
) -> Result<Vec<Prediction>, TrainError> {
    let device = device_of(net);
    let mut predictions = Vec::with_capacity(samples.len());
    for chunk in samples.chunks(CHUNK) {
        let windows = corpus.batch(chunk, &device).window(window_bars, columns);
        let output = net.forward(windows);
        let (_, values) = numbers(output.value)?;
        let (_, probabilities) = numbers(softmax(output.logits, 1))?;
        let (cells, _) = probabilities.as_chunks::<{ CLASSES.len() }>();
        for ((sample, value), cell) in chunk.iter().zip(values).zip(cells) {
            let series = &corpus.series[sample.series as usize];
            let row = sample.row as usize;
            predictions.push(Prediction {
                symbol: series.symbol,
                date: series.dates[row],
                close: series.closes[row],
                predicted_return: f64::from(value) * corpus.target_scale,
                probabilities: cell.map(f64::from),
                actual_return: series.returns[row],
                class: series.classes[row].into(),
            });
        }
    }
    Ok(predictions)
}

/// Metrics of predictions.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Score {
    /// Squared error in squared target scales.
    pub mse: f64,
    /// Cross-entropy of the classes.
    pub cross_entropy: f64,
    /// Proportion of samples with the predicted sign, over those with a non-zero return.
    pub direction: Proportion,
    /// Proportion of samples whose most likely class is the actual one.
    pub class: Proportion,
}

impl Score {
    /// Computes the metrics of predictions; `target_scale` is [`Corpus::target_scale`].
    #[must_use]
    pub fn of(predictions: &[Prediction], target_scale: f64) -> Self {
        let count = predictions.len().max(1) as f64;
        let (mut squares, mut logs) = (0.0, 0.0);
        for p in predictions {
            let error = (p.predicted_return - p.actual_return) / target_scale;
            squares += error * error;
            // The bound lies below any probability that an f32 softmax of moderate logits returns.
            logs -= p.probabilities[p.class].max(1e-30).ln();
        }
        let moved = predictions.iter().filter(|p| p.actual_return != 0.0);
        Self {
            mse: squares / count,
            cross_entropy: logs / count,
            direction: Proportion::clustered(moved.map(|p| {
                (
                    p.date,
                    (p.predicted_return > 0.0) == (p.actual_return > 0.0),
                )
            })),
            class: Proportion::clustered(predictions.iter().map(|p| {
                let predicted = heqis_data::metrics::most_likely(&p.probabilities);
                (p.date, predicted == p.class)
            })),
        }
    }
}
