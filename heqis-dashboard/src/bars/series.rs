//! The bars of one instrument.

use std::sync::{Arc, OnceLock};

use heqis_quant::{Bar, QuantError};

use crate::chart_indicators::{ChartIndicators, IndicatorValues};

/// The clean bars of one instrument in the order of time, each with the features that were computed on it.
///
/// A series may have dropped its oldest bars; its indicators continue from the state that they had there.
#[derive(Clone, Debug)]
pub struct BarSeries {
    /// State of the indicators before the first bar that is kept.
    start: ChartIndicators,
    bars: Vec<Bar>,
    features: Vec<Option<Arc<[f64]>>>,
    /// Values of the indicators, computed on first use.
    indicators: OnceLock<Vec<IndicatorValues>>,
}

impl BarSeries {
    /// Returns a series without bars.
    ///
    /// # Errors
    /// As [`ChartIndicators::new`].
    pub fn new() -> Result<Self, QuantError> {
        Ok(Self {
            start: ChartIndicators::new()?,
            bars: Vec::new(),
            features: Vec::new(),
            indicators: OnceLock::new(),
        })
    }

    /// Adds a bar and returns `true`; a bar that is no later than the last one is left out and returns `false`.
    pub fn push(&mut self, bar: Bar, features: Option<Arc<[f64]>>) -> bool {
        if self
            .bars
            .last()
            .is_some_and(|last| bar.time_ns <= last.time_ns)
        {
            return false;
        }
        self.indicators.take();
        self.bars.push(bar);
        self.features.push(features);
        true
    }

    /// Adds the features of the bar that closed at `time_ns`, UTC nanoseconds; does nothing without such a bar.
    pub fn set_features(&mut self, time_ns: i64, values: Arc<[f64]>) {
        if let Some(at) = self.position(time_ns) {
            self.features[at] = Some(values);
        }
    }

    /// Drops the oldest `bars`, at most all of them.
    pub fn drop_oldest(&mut self, bars: usize) {
        let bars = bars.min(self.bars.len());
        self.indicators.take();
        self.features.drain(..bars);
        for bar in self.bars.drain(..bars) {
            self.start.update(&bar);
        }
    }

    /// Returns the bars, oldest first.
    #[must_use]
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// Returns the features of the bar at `index`, `None` when they are missing.
    #[must_use]
    pub fn features(&self, index: usize) -> Option<&[f64]> {
        self.features.get(index)?.as_deref()
    }

    /// Returns the index of the bar that closed at `time_ns`, UTC nanoseconds.
    #[must_use]
    pub fn position(&self, time_ns: i64) -> Option<usize> {
        self.bars
            .binary_search_by_key(&time_ns, |bar| bar.time_ns)
            .ok()
    }

    /// Returns the values of the chart's indicators, one row per bar.
    #[must_use]
    pub fn indicators(&self) -> &[IndicatorValues] {
        self.indicators.get_or_init(|| {
            let mut indicators = self.start.clone();
            self.bars.iter().map(|bar| indicators.update(bar)).collect()
        })
    }
}
