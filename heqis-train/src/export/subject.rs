//! A run to be exported, with the data common to all its bundles.

use std::num::NonZeroUsize;

use crate::baselines::ComparisonTable;
use crate::nets::encoder::Encoder;
use crate::train::{Corpus, TrainedRun};

/// A run with the data common to all its bundles.
pub(super) struct Export<'a> {
    pub(super) run: &'a TrainedRun,
    pub(super) corpus: &'a Corpus,
    pub(super) table: &'a ComparisonTable,
    pub(super) factors_name: &'a str,
    /// Windows that a second model in each bundle takes in one call.
    pub(super) batch: Option<NonZeroUsize>,
    pub(super) encoder: Encoder,
    /// The scaler with the encoder's window, as JSON with a final newline.
    pub(super) scaler: Vec<u8>,
    pub(super) scaler_sha256: String,
}

impl Export<'_> {
    pub(super) fn encoder_bars(&self) -> usize {
        self.run.manifest.config.encoder.shape().0
    }

    pub(super) fn factors(&self) -> usize {
        self.run.manifest.config.encoder.shape().1
    }

    /// Returns the name of the data set.
    pub(super) fn source(&self) -> String {
        let set = self.run.manifest.config.data.set.file_name();
        set.unwrap_or_default().to_string_lossy().into_owned()
    }
}
