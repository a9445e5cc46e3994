//! One instrument's bars.

use std::sync::{Arc, OnceLock};

use heqis_quant::{Bar, QuantError};

use crate::lines::{Lines, Values};

/// The clean bars of one instrument in the order of time, each with the features that were computed on it.
///
/// A series may have forgotten its beginning; its lines go on from the state that they had there.
#[derive(Clone, Debug)]
pub struct Series {
    /// The lines before the first bar that is kept.
    start: Lines,
    bars: Vec<Bar>,
    features: Vec<Option<Arc<[f64]>>>,
    /// The lines of the bars, once they were asked for.
    lines: OnceLock<Vec<Values>>,
}

impl Series {
    /// A series without bars.
    ///
    /// # Errors
    /// As [`Lines::new`].
    pub fn new() -> Result<Self, QuantError> {
        Ok(Self {
            start: Lines::new()?,
            bars: Vec::new(),
            features: Vec::new(),
            lines: OnceLock::new(),
        })
    }

    /// Adds a bar; returns whether it is later than the last one, which every bar must be.
    pub fn push(&mut self, bar: Bar, features: Option<Arc<[f64]>>) -> bool {
        if self
            .bars
            .last()
            .is_some_and(|last| bar.time_ns <= last.time_ns)
        {
            return false;
        }
        self.lines.take();
        self.bars.push(bar);
        self.features.push(features);
        true
    }

    /// Adds the features of the bar that closed at `time_ns`, UTC nanoseconds; without such a bar nothing happens.
    pub fn set_features(&mut self, time_ns: i64, values: Arc<[f64]>) {
        if let Some(at) = self.position(time_ns) {
            self.features[at] = Some(values);
        }
    }

    /// Forgets the oldest `bars`, at most all of them.
    pub fn forget(&mut self, bars: usize) {
        let bars = bars.min(self.bars.len());
        self.lines.take();
        self.features.drain(..bars);
        for bar in self.bars.drain(..bars) {
            self.start.update(&bar);
        }
    }

    /// The bars, oldest first.
    #[must_use]
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// The features of the bar at `index`, when there are any.
    #[must_use]
    pub fn features(&self, index: usize) -> Option<&[f64]> {
        self.features.get(index)?.as_deref()
    }

    /// Index of the bar that closed at `time_ns`, UTC nanoseconds.
    #[must_use]
    pub fn position(&self, time_ns: i64) -> Option<usize> {
        self.bars
            .binary_search_by_key(&time_ns, |bar| bar.time_ns)
            .ok()
    }

    /// The chart's lines, one row a bar.
    #[must_use]
    pub fn lines(&self) -> &[Values] {
        self.lines.get_or_init(|| {
            let mut lines = self.start.clone();
            self.bars.iter().map(|bar| lines.update(bar)).collect()
        })
    }
}
