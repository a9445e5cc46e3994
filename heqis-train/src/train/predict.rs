//! Forecasts of a generator.

use burn::tensor::activation::softmax;

use super::device::device_of;
use super::tensors::numbers;
use crate::corpus::{CLASSES, Corpus, Sample};
use crate::error::TrainError;
use crate::metrics::forecast::Forecast;
use crate::nets::generator::Generator;

/// Samples in one forward pass.
const CHUNK: usize = 512;

/// Predicts samples, in their order, by a generator that reads `window_bars` rows of `columns` columns. A probability may
/// exceed 1 by a rounding error of the softmax in `f32`.
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
) -> Result<Forecast, TrainError> {
    let device = device_of(net);
    let mut returns = Vec::with_capacity(samples.len());
    let mut probabilities = Vec::with_capacity(samples.len());
    for chunk in samples.chunks(CHUNK) {
        let windows = corpus.batch(chunk, &device).window(window_bars, columns);
        let output = net.forward(windows);
        let (_, values) = numbers(output.value)?;
        returns.extend(
            values
                .into_iter()
                .map(|value| f64::from(value) * corpus.target_scale),
        );
        let (_, cells) = numbers(softmax(output.logits, 1))?;
        let (cells, _) = cells.as_chunks::<{ CLASSES.len() }>();
        probabilities.extend(cells.iter().map(|cell| cell.map(f64::from)));
    }
    Ok(Forecast {
        returns: Some(returns),
        probabilities: Some(probabilities),
    })
}
