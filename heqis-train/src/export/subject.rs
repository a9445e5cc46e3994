//! A run to be exported, with the data common to all its bundles.

use std::num::NonZeroUsize;

use crate::baselines::ComparisonTable;
use crate::bundle::BundleSource;
use crate::nets::encoder::Encoder;
use crate::train::TrainedRun;

/// A run with the data common to all its bundles.
pub(super) struct Export<'a> {
    pub(super) run: &'a TrainedRun,
    /// Its samples; the scaler has the window of the encoder, since the feature stage uses it with that model.
    pub(super) source: BundleSource<'a>,
    pub(super) table: &'a ComparisonTable,
    pub(super) factors_name: &'a str,
    /// Windows that a second model in each bundle takes in one call.
    pub(super) batch: Option<NonZeroUsize>,
    pub(super) encoder: Encoder,
}

impl Export<'_> {
    pub(super) fn encoder_bars(&self) -> usize {
        self.run.manifest.config.encoder.shape().0
    }

    pub(super) fn factors(&self) -> usize {
        self.run.manifest.config.encoder.shape().1
    }
}
