//! The position of the close between the highest and the lowest price of a window: KDJ, the stochastic oscillator
//! and Williams' %R.

use serde::{Deserialize, Serialize};

use super::window::{Window, highest, lowest};
use super::{Bars, Hlc, Indicator, Ma, SmaCn};
use crate::error::QuantError;

/// The highs and lows of the last bars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    highs: Window,
    lows: Window,
}

impl Channel {
    fn new(n: Bars) -> Self {
        Self {
            highs: Window::new(n.get()),
            lows: Window::new(n.get()),
        }
    }

    /// Takes a bar and returns `(C − LL)/(HH − LL)·100`, or `without_range` where HH = LL.
    #[inline]
    fn advance(&mut self, bar: Hlc, without_range: f64) -> f64 {
        self.highs.push(bar.high);
        self.lows.push(bar.low);
        let (highest, lowest) = (highest(self.highs.values()), lowest(self.lows.values()));
        let range = highest - lowest;
        if range > 0.0 {
            (bar.close - lowest) / range * 100.0
        } else {
            without_range
        }
    }

    fn is_full(&self) -> bool {
        self.highs.full().is_some()
    }

    fn rescale(&mut self, factor: f64) {
        self.highs.rescale(factor);
        self.lows.rescale(factor);
    }
}

/// The values of K and D before the first bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KdjStart {
    /// K and D start at 50, as in textbooks.
    Fifty,
    /// K and D start at the first RSV, as in terminals.
    FirstRsv,
}

/// The three lines of [`Kdj`], on a scale where 0 is the low and 100 the high of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KdjValue {
    /// The smoothed position of the close in its range.
    pub k: f64,
    /// The smoothed `k`.
    pub d: f64,
    /// `3·k − 2·d`, which may leave 0 to 100.
    pub j: f64,
}

/// The stochastic oscillator of Chinese terminals; the `cn` profile only.
///
/// `RSV = (C − LL)/(HH − LL)·100` over the last `n` bars, over fewer in the first `n − 1`; K and D are [`SmaCn`] with
/// weight 1. In a window without any range the close has no position, and RSV is 50.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdj {
    channel: Channel,
    k: SmaCn,
    d: SmaCn,
}

impl Kdj {
    /// Makes a KDJ, usually with 9, 3 and 3 bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is 0 or above 100,000.
    pub fn new(n: usize, m1: usize, m2: usize, start: KdjStart) -> Result<Self, QuantError> {
        let n = Bars::new("kdj n", n, 1)?;
        let (mut k, mut d) = (SmaCn::new(m1, 1)?, SmaCn::new(m2, 1)?);
        if start == KdjStart::Fifty {
            k = k.starting_at(50.0)?;
            d = d.starting_at(50.0)?;
        }
        Ok(Self {
            channel: Channel::new(n),
            k,
            d,
        })
    }
}

impl Indicator for Kdj {
    type Input = Hlc;
    type Output = KdjValue;

    fn warmup_bars(&self) -> usize {
        0
    }

    fn settled_bars(&self) -> Option<usize> {
        let window_bars = self.channel.highs.capacity() - 1;
        Some(window_bars + self.k.settled_bars()? + self.d.settled_bars()?)
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<KdjValue> {
        if !bar.is_usable() {
            return None;
        }
        let rsv = self.channel.advance(bar, 50.0);
        let k = self.k.advance(rsv);
        let d = self.d.advance(k);
        let j = 3.0 * k - 2.0 * d;
        Some(KdjValue { k, d, j })
    }

    /// K and D do not depend on the price level.
    fn rescale(&mut self, factor: f64) {
        self.channel.rescale(factor);
    }
}

/// The two lines of [`Stoch`], between 0 and 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StochValue {
    /// The plain mean of the position of the close in its range.
    pub k: f64,
    /// The plain mean of `k`.
    pub d: f64,
}

/// TA-Lib's slow stochastic oscillator with plain means; the `talib` profile only. It is not [`Kdj`]: the two can
/// differ by more than 20 points.
///
/// In a window without any range the position of the close counts as 0, as in TA-Lib.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stoch {
    channel: Channel,
    k: Ma,
    d: Ma,
}

impl Stoch {
    /// Makes an oscillator over `n` bars, smoothed over `slow_k` and again over `slow_d`, usually 9, 3 and 3.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is 0 or above 100,000.
    pub fn new(n: usize, slow_k: usize, slow_d: usize) -> Result<Self, QuantError> {
        Ok(Self {
            channel: Channel::new(Bars::new("stoch n", n, 1)?),
            k: Ma::new(slow_k)?,
            d: Ma::new(slow_d)?,
        })
    }
}

impl Indicator for Stoch {
    type Input = Hlc;
    type Output = StochValue;

    fn warmup_bars(&self) -> usize {
        self.channel.highs.capacity() - 1 + self.k.warmup_bars() + self.d.warmup_bars()
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<StochValue> {
        if !bar.is_usable() {
            return None;
        }
        let position = self.channel.advance(bar, 0.0);
        if !self.channel.is_full() {
            return None;
        }
        let k = self.k.advance(position)?;
        let d = self.d.advance(k)?;
        Some(StochValue { k, d })
    }

    /// K and D do not depend on the price level.
    fn rescale(&mut self, factor: f64) {
        self.channel.rescale(factor);
    }
}

/// Williams' %R, −100 to 0: `(HH − C)/(HH − LL)·(−100)` over the last `n` bars; 0 in a window without any range, as in TA-Lib.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Willr {
    channel: Channel,
}

impl Willr {
    /// Makes an index over `n` bars, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            channel: Channel::new(Bars::new("willr n", n, 1)?),
        })
    }
}

impl Indicator for Willr {
    type Input = Hlc;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.channel.highs.capacity() - 1
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<f64> {
        if !bar.is_usable() {
            return None;
        }
        let position = self.channel.advance(bar, 100.0);
        self.channel.is_full().then_some(position - 100.0)
    }

    fn rescale(&mut self, factor: f64) {
        self.channel.rescale(factor);
    }
}
