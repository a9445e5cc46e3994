//! The samples of a corpus as tensors.

use burn::tensor::{Device, Tensor, TensorData};

use crate::corpus::{CLASSES, Corpus, Sample};
use crate::error::TrainError;

/// One batch on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Windows, oldest row first, `[batch, longest window, columns]`.
    pub windows: Tensor<3>,
    /// Targets before the one to be predicted, oldest first, `[batch, longest series − 1]`.
    pub history: Tensor<2>,
    /// Classes of the history, one-hot, `[batch, longest series − 1, 3]`.
    pub history_classes: Tensor<3>,
    /// The target, `[batch, 1]`.
    pub target: Tensor<2>,
    /// Its class, one-hot, `[batch, 3]`.
    pub class: Tensor<2>,
    /// Number of samples of each day, in the order of the batch.
    pub days: Vec<usize>,
}

impl Batch {
    /// Returns the last `bars` rows of the windows with their first `columns` columns, `[batch, bars, columns]`.
    #[must_use]
    pub fn window(&self, bars: usize, columns: usize) -> Tensor<3> {
        let [_, longest, all] = self.windows.dims();
        let cut = self.windows.clone();
        let cut = match bars < longest {
            true => cut.narrow(1, longest - bars, bars),
            false => cut,
        };
        match columns < all {
            true => cut.narrow(2, 0, columns),
            false => cut,
        }
    }

    /// Returns a series for a discriminator of `bars`, and its classes, ending in a candidate: `[batch, bars]` and
    /// `[batch, bars, 3]`. History is real; only the last value and class are the candidate's.
    #[must_use]
    pub fn series(
        &self,
        bars: usize,
        value: Tensor<2>,
        class: Tensor<2>,
    ) -> (Tensor<2>, Tensor<3>) {
        let [batch, longest] = self.history.dims();
        let past = bars.saturating_sub(1).min(longest);
        let class = class.reshape([batch, 1, CLASSES.len()]);
        if past == 0 {
            return (value, class);
        }
        let history = self.history.clone().narrow(1, longest - past, past);
        let classes = self.history_classes.clone().narrow(1, longest - past, past);
        (
            Tensor::cat(vec![history, value], 1),
            Tensor::cat(vec![classes, class], 1),
        )
    }
}

impl Corpus {
    /// Returns samples as tensors on a device.
    ///
    /// # Panics
    ///
    /// Panics when a sample does not belong to this corpus.
    #[must_use]
    pub fn batch(&self, samples: &[Sample], device: &Device) -> Batch {
        let (n, w, f) = (samples.len(), self.look_back.window_bars, self.columns);
        let past = self.look_back.series_bars - 1;
        let mut windows = Vec::with_capacity(n * w * f);
        let mut targets = Vec::with_capacity(n * (past + 1));
        let mut classes = Vec::with_capacity(n * (past + 1));
        for sample in samples {
            let series = &self.series[sample.series as usize];
            let row = sample.row as usize;
            windows.extend_from_slice(self.window(sample, w));
            let labels = row - past..row + 1;
            targets.extend(
                series.returns[labels.clone()]
                    .iter()
                    .map(|r| self.target(*r)),
            );
            classes.extend_from_slice(&series.classes[labels]);
        }
        let one_hot: Vec<f32> = classes
            .iter()
            .flat_map(|class| {
                (0..CLASSES.len()).map(|c| f32::from(u8::from(c == usize::from(*class))))
            })
            .collect();
        let data = TensorData::new(windows, [n, w, f]);
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [n, past + 1]), device);
        let one_hot = TensorData::new(one_hot, [n, past + 1, CLASSES.len()]);
        let one_hot = Tensor::<3>::from_data(one_hot, device);
        Batch {
            windows: Tensor::from_data(data, device),
            history: targets.clone().narrow(1, 0, past),
            history_classes: one_hot.clone().narrow(1, 0, past),
            target: targets.narrow(1, past, 1),
            class: one_hot.narrow(1, past, 1).reshape([n, CLASSES.len()]),
            days: self.day_counts(samples),
        }
    }

    /// Returns the windows of an encoder, ending in the samples' rows, `[batch, encoder_bars, features]`.
    ///
    /// # Panics
    ///
    /// Panics when a sample does not belong to this corpus.
    #[must_use]
    pub fn encoder_windows(&self, samples: &[Sample], device: &Device) -> Tensor<3> {
        let (bars, all, f) = (self.look_back.encoder_bars, self.columns, self.features());
        let mut windows = Vec::with_capacity(samples.len() * bars * f);
        for sample in samples {
            let rows = &self.series[sample.series as usize].rows;
            let row = sample.row as usize;
            for row in row + 1 - bars..=row {
                windows.extend_from_slice(&rows[row * all..row * all + f]);
            }
        }
        Tensor::from_data(TensorData::new(windows, [samples.len(), bars, f]), device)
    }

    /// Appends the factors of an encoder to every row with enough rows before it; `encode` receives windows of features,
    /// `[batch, encoder_bars, features]`, and returns `[batch, factors]`. No window contains a row without factors.
    ///
    /// # Errors
    ///
    /// The error of `encode`.
    pub fn append_factors(
        &mut self,
        factors: usize,
        device: &Device,
        mut encode: impl FnMut(Tensor<3>) -> Result<Vec<f32>, TrainError>,
    ) -> Result<(), TrainError> {
        /// Rows encoded at once.
        const CHUNK: usize = 512;
        let (bars, f) = (self.look_back.encoder_bars, self.columns);
        for series in &mut self.series {
            let rows = series.dates.len();
            let mut wide = vec![0.0; rows * (f + factors)];
            for row in 0..rows {
                wide[row * (f + factors)..][..f].copy_from_slice(&series.rows[row * f..][..f]);
            }
            let encoded: Vec<usize> = (bars - 1..rows.max(bars - 1)).collect();
            for chunk in encoded.chunks(CHUNK) {
                let windows: Vec<f32> = chunk
                    .iter()
                    .flat_map(|row| &series.rows[(row + 1 - bars) * f..(row + 1) * f])
                    .copied()
                    .collect();
                let data = TensorData::new(windows, [chunk.len(), bars, f]);
                let codes = encode(Tensor::from_data(data, device))?;
                for (row, code) in chunk.iter().zip(codes.chunks(factors)) {
                    wide[row * (f + factors) + f..][..factors].copy_from_slice(code);
                }
            }
            series.rows = wide;
        }
        self.columns = f + factors;
        Ok(())
    }
}
