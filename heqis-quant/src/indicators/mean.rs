//! Plain, exponential and weighted means.

use serde::{Deserialize, Serialize};

use super::window::{Window, mean};
use super::{Bars, Indicator, MAX_INPUT, PLACE, Profile, forgotten_bars, usable};
use crate::error::QuantError;

/// The plain mean of the last `n` values, summed on each bar, so that no rounding error accumulates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ma {
    values: Window,
}

impl Ma {
    /// Makes a mean over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            values: Window::new(Bars::new("ma n", n, 1)?.get()),
        })
    }

    /// Returns the mean of the last `n` values, without taking a new one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.values.full().map(mean)
    }

    /// Takes a value that was checked to be a usable number.
    #[inline]
    pub(super) fn advance(&mut self, x: f64) -> Option<f64> {
        self.values.push(x);
        self.value()
    }
}

impl Indicator for Ma {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.values.capacity() - 1
    }

    #[inline]
    fn update(&mut self, x: f64) -> Option<f64> {
        if !usable(x) {
            return None;
        }
        self.advance(x)
    }

    fn rescale(&mut self, factor: f64) {
        self.values.rescale(factor);
    }
}

/// Exponential mean with weight 2/(n + 1) for the newest value.
///
/// `cn`: `E_0 = X_0`, `E_t = (2·X_t + (n−1)·E_{t−1})/(n+1)`. `talib`: the first value, at bar n − 1, is the plain mean
/// of n, then `E_t = E_{t−1} + 2/(n+1)·(X_t − E_{t−1})`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ema {
    n: Bars,
    profile: Profile,
    /// Values still missing before the first mean.
    to_go: u32,
    /// The mean, or the sum of the values so far while some are missing.
    memory: f64,
}

impl Ema {
    /// Makes an exponential mean over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize, profile: Profile) -> Result<Self, QuantError> {
        let n = Bars::new("ema n", n, 1)?;
        Ok(Self {
            n,
            profile,
            to_go: match profile {
                Profile::Cn => 1,
                Profile::Talib => n.n,
            },
            memory: 0.0,
        })
    }

    fn seed_bars(&self) -> usize {
        match self.profile {
            Profile::Cn => 1,
            Profile::Talib => self.n.get(),
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, x: f64) -> Option<f64> {
        if self.to_go > 0 {
            self.memory += x;
            self.to_go -= 1;
            if self.to_go > 0 {
                return None;
            }
            self.memory /= self.seed_bars() as f64;
        } else {
            let n = self.n.as_f64();
            self.memory = match self.profile {
                // Features of shipped models depend on the last bit of this order of operations.
                Profile::Cn => (2.0 * x + (n - 1.0) * self.memory) / (n + 1.0),
                Profile::Talib => {
                    let weight = 2.0 / (n + 1.0);
                    (1.0 - weight) * self.memory + weight * x
                }
            };
        }
        Some(self.memory)
    }
}

impl Indicator for Ema {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.seed_bars() - 1
    }

    fn settled_bars(&self) -> Option<usize> {
        let n = self.n.as_f64();
        Some(self.warmup_bars() + forgotten_bars((n - 1.0) / (n + 1.0)))
    }

    #[inline]
    fn update(&mut self, x: f64) -> Option<f64> {
        if !usable(x) {
            return None;
        }
        self.advance(x)
    }

    fn rescale(&mut self, factor: f64) {
        self.memory *= factor;
    }
}

/// The weighted mean of Chinese terminals, `Y_0 = X_0`, `Y_t = (M·X_t + (N−M)·Y_{t−1})/N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmaCn {
    n: Bars,
    m: Bars,
    last: Option<f64>,
}

impl SmaCn {
    /// Makes a mean over `n` with weight `m`, `1 ≤ m ≤ n`. It starts at its first value.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` or `m` is out of range.
    pub fn new(n: usize, m: usize) -> Result<Self, QuantError> {
        let checked_m = Bars::new("sma m", m, 1)?;
        Ok(Self {
            n: Bars::new("sma n", n, m)?,
            m: checked_m,
            last: None,
        })
    }

    /// Makes the mean start at `first`, as if an earlier bar had given that value.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `first` is not a usable number.
    pub fn starting_at(mut self, first: f64) -> Result<Self, QuantError> {
        if !usable(first) {
            let rule = format!("must be a number of magnitude at most {MAX_INPUT:e}");
            return Err(QuantError::value(PLACE, "sma start", rule, first));
        }
        self.last = Some(first);
        Ok(self)
    }

    #[inline]
    pub(super) fn advance(&mut self, x: f64) -> f64 {
        let (n, m) = (self.n.as_f64(), self.m.as_f64());
        let mean = self.last.map_or(x, |last| (m * x + (n - m) * last) / n);
        self.last = Some(mean);
        mean
    }
}

impl Indicator for SmaCn {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        0
    }

    fn settled_bars(&self) -> Option<usize> {
        Some(forgotten_bars(1.0 - self.m.as_f64() / self.n.as_f64()))
    }

    #[inline]
    fn update(&mut self, x: f64) -> Option<f64> {
        usable(x).then(|| self.advance(x))
    }

    fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
    }
}

/// Wilder's mean as in TA-Lib: the plain mean of the first n values, then `Y_t = ((n−1)·Y_{t−1} + X_t)/n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wilder {
    n: Bars,
    /// Values still missing before the first mean.
    to_go: u32,
    /// The mean, or the sum of the values so far while some are missing.
    memory: f64,
}

impl Wilder {
    pub(super) fn new(n: Bars) -> Self {
        Self {
            n,
            to_go: n.n,
            memory: 0.0,
        }
    }

    pub(super) fn n(&self) -> usize {
        self.n.get()
    }

    pub(super) fn value(&self) -> Option<f64> {
        (self.to_go == 0).then_some(self.memory)
    }

    #[inline]
    pub(super) fn advance(&mut self, x: f64) -> Option<f64> {
        if self.to_go > 0 {
            self.memory += x;
            self.to_go -= 1;
            if self.to_go > 0 {
                return None;
            }
            self.memory /= self.n.as_f64();
        } else {
            let weight = self.n.inverse;
            self.memory = (1.0 - weight) * self.memory + weight * x;
        }
        Some(self.memory)
    }

    pub(super) fn settled_bars(&self) -> usize {
        self.n.get() - 1 + forgotten_bars(1.0 - 1.0 / self.n.as_f64())
    }

    pub(super) fn rescale(&mut self, factor: f64) {
        self.memory *= factor;
    }
}
