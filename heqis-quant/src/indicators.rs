//! Streaming indicators in the `cn` profile, the formulas of Chinese terminals.
//!
//! Each indicator is one struct: `update` takes the next value and gives the result of this bar, or `None` while there
//! is none. A batch is a replay of the stream. State serialises and continues with identical bits after a restore.
//! Inputs must be finite, since one NaN would poison every later value; [`crate::features`] checks that.
//!
//! `rescale(factor)` moves the memory of an indicator to another price level, as a share split does.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::QuantError;

const PLACE: &str = "indicator";

fn at_least(field: &str, value: usize, least: usize) -> Result<usize, QuantError> {
    if value < least || value > 100_000 {
        let rule = format!("must be in {least}..=100000");
        return Err(QuantError::value(PLACE, field, rule, value));
    }
    Ok(value)
}

/// The last `capacity` values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ring {
    capacity: usize,
    values: VecDeque<f64>,
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            values: VecDeque::with_capacity(capacity),
        }
    }

    /// Adds a value and drops the oldest one beyond the capacity. The buffer never grows past its first allocation.
    fn push(&mut self, value: f64) {
        while self.values.len() >= self.capacity.max(1) {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    fn is_full(&self) -> bool {
        self.values.len() >= self.capacity
    }

    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    fn rescale(&mut self, factor: f64) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Exponential mean, `E_0 = X_0`, `E_t = (2·X_t + (n−1)·E_{t−1})/(n+1)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    n: usize,
    last: Option<f64>,
}

impl Ema {
    /// Makes an exponential mean over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            n: at_least("ema n", n, 1)?,
            last: None,
        })
    }

    /// Takes the next value and returns the mean, from the first bar on.
    pub fn update(&mut self, x: f64) -> f64 {
        let n = self.n as f64;
        let mean = self
            .last
            .map_or(x, |last| (2.0 * x + (n - 1.0) * last) / (n + 1.0));
        self.last = Some(mean);
        mean
    }

    /// Multiplies the memory by `factor`.
    pub fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
    }
}

/// The weighted mean of Chinese terminals, `Y_0 = X_0`, `Y_t = (M·X_t + (N−M)·Y_{t−1})/N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmaCn {
    n: usize,
    m: usize,
    last: Option<f64>,
}

impl SmaCn {
    /// Makes a mean over `n` with weight `m`, `1 ≤ m ≤ n`. It starts at its first value.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` or `m` is out of range.
    pub fn new(n: usize, m: usize) -> Result<Self, QuantError> {
        at_least("sma m", m, 1)?;
        Ok(Self {
            n: at_least("sma n", n, m)?,
            m,
            last: None,
        })
    }

    /// Makes the mean start at `first`, as if an earlier bar had given that value.
    #[must_use]
    pub fn starting_at(mut self, first: f64) -> Self {
        self.last = Some(first);
        self
    }

    /// Takes the next value and returns the mean, from the first bar on.
    pub fn update(&mut self, x: f64) -> f64 {
        let (n, m) = (self.n as f64, self.m as f64);
        let mean = self.last.map_or(x, |last| (m * x + (n - m) * last) / n);
        self.last = Some(mean);
        mean
    }

    /// Multiplies the memory by `factor`.
    pub fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
    }
}

/// The three lines of [`Macd`], in price units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdValue {
    /// Fast minus slow exponential mean.
    pub dif: f64,
    /// Exponential mean of `dif`.
    pub dea: f64,
    /// `2·(dif − dea)`, twice the histogram of western terminals.
    pub bar: f64,
}

/// Moving average convergence and divergence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Macd {
    fast: Ema,
    slow: Ema,
    signal: Ema,
}

impl Macd {
    /// Makes a MACD, usually with 12, 26 and 9 bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is 0, or `fast` is not shorter than `slow`.
    pub fn new(fast: usize, slow: usize, signal: usize) -> Result<Self, QuantError> {
        if fast >= slow {
            return Err(QuantError::value(
                PLACE,
                "macd fast",
                format!("must be shorter than slow {slow}"),
                fast,
            ));
        }
        Ok(Self {
            fast: Ema::new(fast)?,
            slow: Ema::new(slow)?,
            signal: Ema::new(signal)?,
        })
    }

    /// Takes the next close and returns the three lines, from the first bar on.
    pub fn update(&mut self, close: f64) -> MacdValue {
        let dif = self.fast.update(close) - self.slow.update(close);
        let dea = self.signal.update(dif);
        MacdValue {
            dif,
            dea,
            bar: 2.0 * (dif - dea),
        }
    }

    /// Moves the memory to another price level.
    pub fn rescale(&mut self, factor: f64) {
        self.fast.rescale(factor);
        self.slow.rescale(factor);
        self.signal.rescale(factor);
    }
}

/// Where K and D stand before the first bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KdjStart {
    /// K and D start at 50, as textbooks have it.
    Fifty,
    /// K and D start at the first RSV, as terminals do.
    FirstRsv,
}

/// The three lines of [`Kdj`], on a scale where 0 is the low and 100 the high of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KdjValue {
    /// The smoothed place of the close in its range.
    pub k: f64,
    /// The smoothed `k`.
    pub d: f64,
    /// `3·k − 2·d`, which may leave 0 to 100.
    pub j: f64,
}

/// The stochastic oscillator of Chinese terminals.
///
/// `RSV = (C − LL)/(HH − LL)·100` over the last `n` bars, over fewer in the first `n − 1`. A window without any range
/// says nothing about the place of the close in it, so RSV is then 50.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdj {
    highs: Ring,
    lows: Ring,
    k: SmaCn,
    d: SmaCn,
}

impl Kdj {
    /// Makes a KDJ, usually with 9, 3 and 3 bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is 0 or above 100,000.
    pub fn new(n: usize, m1: usize, m2: usize, start: KdjStart) -> Result<Self, QuantError> {
        let n = at_least("kdj n", n, 1)?;
        let (mut k, mut d) = (SmaCn::new(m1, 1)?, SmaCn::new(m2, 1)?);
        if start == KdjStart::Fifty {
            k = k.starting_at(50.0);
            d = d.starting_at(50.0);
        }
        Ok(Self {
            highs: Ring::new(n),
            lows: Ring::new(n),
            k,
            d,
        })
    }

    /// Takes the next bar and returns the three lines, from the first bar on.
    pub fn update(&mut self, high: f64, low: f64, close: f64) -> KdjValue {
        self.highs.push(high);
        self.lows.push(low);
        let highest = self.highs.values.iter().copied().fold(f64::MIN, f64::max);
        let lowest = self.lows.values.iter().copied().fold(f64::MAX, f64::min);
        let range = highest - lowest;
        let rsv = if range > 0.0 {
            (close - lowest) / range * 100.0
        } else {
            50.0
        };
        let k = self.k.update(rsv);
        let d = self.d.update(k);
        KdjValue {
            k,
            d,
            j: 3.0 * k - 2.0 * d,
        }
    }

    /// Moves the memory to another price level; K and D have no level.
    pub fn rescale(&mut self, factor: f64) {
        self.highs.rescale(factor);
        self.lows.rescale(factor);
    }
}

/// The plain mean of the last `n` values, summed afresh each time, so that no rounding error accumulates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ma {
    values: Ring,
}

impl Ma {
    /// Makes a mean over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            values: Ring::new(at_least("ma n", n, 1)?),
        })
    }

    /// Takes the next value and returns the mean once there are `n`.
    pub fn update(&mut self, x: f64) -> Option<f64> {
        self.values.push(x);
        self.value()
    }

    /// Returns the mean of the last `n` values, without taking a new one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.values.is_full().then(|| self.values.mean())
    }

    /// Multiplies the memory by `factor`.
    pub fn rescale(&mut self, factor: f64) {
        self.values.rescale(factor);
    }
}

/// The simple return over `n` bars, `X_t / X_{t−n} − 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    values: Ring,
}

impl Returns {
    /// Makes a return over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            values: Ring::new(at_least("returns n", n, 1)? + 1),
        })
    }

    /// Takes the next price, which must be positive, and returns the return once `n + 1` prices are known.
    pub fn update(&mut self, price: f64) -> Option<f64> {
        self.values.push(price);
        let first = self.values.values.front().copied()?;
        self.values.is_full().then(|| price / first - 1.0)
    }

    /// Moves the memory to another price level.
    pub fn rescale(&mut self, factor: f64) {
        self.values.rescale(factor);
    }
}

/// The sample standard deviation (`n − 1` in the divisor) of the last `n` one-bar returns, not annualised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volatility {
    one_bar: Returns,
    returns: Ring,
}

impl Volatility {
    /// Makes a volatility over `n ≥ 2` returns.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        let n = at_least("volatility n", n, 2)?;
        Ok(Self {
            one_bar: Returns::new(1)?,
            returns: Ring::new(n),
        })
    }

    /// Takes the next price, which must be positive, and returns the deviation once `n + 1` prices are known.
    pub fn update(&mut self, price: f64) -> Option<f64> {
        let one = self.one_bar.update(price)?;
        self.returns.push(one);
        self.returns.is_full().then(|| {
            let mean = self.returns.mean();
            let squares: f64 = self.returns.values.iter().map(|r| (r - mean).powi(2)).sum();
            (squares / (self.returns.values.len() - 1) as f64).sqrt()
        })
    }

    /// Moves the memory to another price level.
    pub fn rescale(&mut self, factor: f64) {
        self.one_bar.rescale(factor);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_without_range_leaves_kdj_in_the_middle() {
        let mut kdj = Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap();
        assert_eq!(
            kdj.update(10.0, 10.0, 10.0),
            KdjValue {
                k: 50.0,
                d: 50.0,
                j: 50.0
            }
        );
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        assert!(Ema::new(0).is_err());
        assert!(SmaCn::new(3, 4).is_err());
        assert!(SmaCn::new(3, 0).is_err());
        assert!(Macd::new(26, 12, 9).is_err());
        assert!(Kdj::new(0, 3, 3, KdjStart::Fifty).is_err());
        assert!(Ma::new(0).is_err());
        assert!(Returns::new(usize::MAX).is_err());
        assert!(Volatility::new(1).is_err());
    }

    #[test]
    fn short_series_are_right_by_hand() {
        let mut ma = Ma::new(3).unwrap();
        assert_eq!(
            [1.0, 2.0, 6.0, 1.0].map(|x| ma.update(x)),
            [None, None, Some(3.0), Some(3.0)]
        );
        let mut returns = Returns::new(2).unwrap();
        assert_eq!(
            [4.0, 9.0, 5.0].map(|x| returns.update(x)),
            [None, None, Some(0.25)]
        );
        // Returns 1, −0.5: mean 0.25, deviation sqrt(2·0.75²) by the n − 1 divisor.
        let mut volatility = Volatility::new(2).unwrap();
        assert_eq!(
            [1.0, 2.0, 1.0].map(|x| volatility.update(x)),
            [None, None, Some((2.0f64 * 0.5625).sqrt())]
        );
    }

    proptest! {
        #[test]
        fn rescaling_the_memory_equals_having_seen_rescaled_prices(
            prices in proptest::collection::vec(5.0f64..50.0, 30..60), cut in 1usize..29
        ) {
            // A power of two keeps the products exact, so both ways must agree to the bit.
            let factor = 0.5;
            let mut live = (Macd::new(12, 26, 9).unwrap(), Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap(), Volatility::new(5).unwrap());
            let mut adjusted = live.clone();
            for (i, price) in prices.iter().enumerate() {
                if i == cut {
                    live.0.rescale(factor);
                    live.1.rescale(factor);
                    live.2.rescale(factor);
                }
                let (p, a) = if i < cut { (*price, price * factor) } else { (*price, *price) };
                let x = (live.0.update(p), live.1.update(p, p, p), live.2.update(p));
                let y = (adjusted.0.update(a), adjusted.1.update(a, a, a), adjusted.2.update(a));
                if i >= cut {
                    prop_assert_eq!(x, y);
                }
            }
        }
    }
}
