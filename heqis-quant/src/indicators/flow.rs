//! Volume weighted by where a price closed or moved: money flow index, accumulation and distribution. TA-Lib's formulas.

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Bars, Hlcv, Indicator};
use crate::error::QuantError;

/// Flows below this, CNY, count as none, as in TA-Lib.
const NO_FLOW: f64 = 1.0;
/// A typical price that changes by a smaller share has not moved: thirds of prices are rounded. TA-Lib's 10⁻¹⁴ is absolute, and
/// would count other moves on another price level.
const NO_MOVE: f64 = 4.0 * f64::EPSILON;

/// The share of rising money flow in all flow of the last n bars, 0 to 100.
///
/// The flow of a bar is its typical price `(H + L + C)/3` times its volume; it rises or falls with the typical price, and a
/// typical price that stays counts as neither. Without flow the index is 0, as in TA-Lib.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mfi {
    last: Option<f64>,
    rises: Window,
    falls: Window,
}

impl Mfi {
    /// Makes an index over `n` bars, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        let n = Bars::new("mfi n", n, 2)?.get();
        Ok(Self {
            last: None,
            rises: Window::new(n),
            falls: Window::new(n),
        })
    }
}

impl Indicator for Mfi {
    type Input = Hlcv;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.rises.capacity()
    }

    #[inline]
    fn update(&mut self, bar: Hlcv) -> Option<f64> {
        if !bar.is_usable() {
            return None;
        }
        let typical = (bar.high + bar.low + bar.close) / 3.0;
        let before = self.last.replace(typical)?;
        let flow = typical * bar.volume_shares;
        let change = typical - before;
        let least = NO_MOVE * typical;
        self.rises.push(if change > least { flow } else { 0.0 });
        self.falls.push(if change < -least { flow } else { 0.0 });
        let rises: f64 = self.rises.full()?.iter().sum();
        let falls: f64 = self.falls.full()?.iter().sum();
        let flow = rises + falls;
        Some(if flow < NO_FLOW {
            0.0
        } else {
            100.0 * (rises / flow)
        })
    }

    /// A flow is a price times a volume, which does not depend on the price level.
    fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
    }
}

/// The line of accumulation and distribution, in shares: the sum over all bars of the volume times
/// `((C − L) − (H − C))/(H − L)`; a bar without range adds nothing.
///
/// Only differences have a meaning, since the level always depends on the start of the series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ad {
    volume_shares: f64,
}

impl Ad {
    /// Makes a line that starts at 0 before the first bar.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Indicator for Ad {
    type Input = Hlcv;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        0
    }

    fn settled_bars(&self) -> Option<usize> {
        None
    }

    #[inline]
    fn update(&mut self, bar: Hlcv) -> Option<f64> {
        if !bar.is_usable() {
            return None;
        }
        let range = bar.high - bar.low;
        if range > 0.0 {
            let position = ((bar.close - bar.low) - (bar.high - bar.close)) / range;
            self.volume_shares += position * bar.volume_shares;
        }
        Some(self.volume_shares)
    }

    fn rescale(&mut self, factor: f64) {
        self.volume_shares /= factor;
    }
}
