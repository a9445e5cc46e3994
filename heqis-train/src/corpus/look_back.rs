//! The number of rows that a sample reads.

/// The number of rows that a sample reads, by their use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookBack {
    /// Rows of the longest window.
    pub window_bars: usize,
    /// Targets of the longest series that a discriminator classifies, the candidate included.
    pub series_bars: usize,
    /// Rows that the encoder needs for one row of factors; 1 without an encoder.
    pub encoder_bars: usize,
}

impl LookBack {
    /// Returns the number of rows that a sample needs, its own included.
    #[must_use]
    pub fn bars(&self) -> usize {
        self.window_bars.max(self.series_bars) + self.encoder_bars.max(1) - 1
    }

    /// Returns the number of samples that must be left out before a cut, so that no bar belongs to samples on both sides, in a
    /// window or in a label that is known `horizon_bars` later.
    #[must_use]
    pub fn purge_bars(&self, horizon_bars: usize) -> usize {
        self.bars() - 1 + horizon_bars
    }
}
