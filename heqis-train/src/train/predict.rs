//! What a generator says about samples, and how good that is.

use burn::tensor::activation::softmax;
use heqis_data::samples::CLASSES;
use heqis_quant::stats::Proportion;
use heqis_quant::{Date, Symbol};

use super::corpus::{Corpus, Sample};
use super::device::device_of;
use super::tensors::numbers;
use crate::error::TrainError;
use crate::nets::generator::Generator;

/// Samples that are answered at once.
const CHUNK: usize = 512;

/// What a generator says about one sample, beside what came.
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
    /// The return that came.
    pub actual_return: f64,
    /// Its class, an index into [`CLASSES`].
    pub class: usize,
}

/// Lets a generator that reads `window_bars` rows of `columns` columns predict samples, in their order.
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

/// How good predictions are.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Score {
    /// Squared error in squared target scales.
    pub mse: f64,
    /// Cross-entropy of the classes.
    pub cross_entropy: f64,
    /// Share of moves whose sign the predicted return has, over samples with a move.
    pub direction: Proportion,
    /// Share of samples whose most likely class came.
    pub class: Proportion,
}

impl Score {
    /// Compares predictions with what came; `target_scale` is [`Corpus::target_scale`].
    #[must_use]
    pub fn of(predictions: &[Prediction], target_scale: f64) -> Self {
        let count = predictions.len().max(1) as f64;
        let (mut squares, mut logs) = (0.0, 0.0);
        for p in predictions {
            let error = (p.predicted_return - p.actual_return) / target_scale;
            squares += error * error;
            // Less than any probability that an f32 softmax of sane logits gives.
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
                let said = heqis_data::metrics::most_likely(&p.probabilities);
                (p.date, said == p.class)
            })),
        }
    }
}
