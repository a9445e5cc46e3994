//! Returns and their deviation.

use serde::{Deserialize, Serialize};

use super::window::{Window, mean};
use super::{Bars, Indicator, is_price};
use crate::error::QuantError;

/// The simple return over `n` bars, `X_t / X_{t−n} − 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    values: Window,
}

impl Returns {
    /// Makes a return over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            values: Window::new(Bars::new("returns n", n, 1)?.get() + 1),
        })
    }
}

impl Indicator for Returns {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.values.capacity() - 1
    }

    #[inline]
    fn update(&mut self, price: f64) -> Option<f64> {
        if !is_price(price) {
            return None;
        }
        self.values.push(price);
        self.values
            .full()
            .and_then(<[f64]>::first)
            .map(|first| price / first - 1.0)
    }

    fn rescale(&mut self, factor: f64) {
        self.values.rescale(factor);
    }
}

/// The sample standard deviation (`n − 1` in the divisor) of the last `n` one-bar returns, not annualised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volatility {
    one_bar: Returns,
    returns: Window,
}

impl Volatility {
    /// Makes a volatility over `n ≥ 2` returns.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        let n = Bars::new("volatility n", n, 2)?;
        Ok(Self {
            one_bar: Returns::new(1)?,
            returns: Window::new(n.get()),
        })
    }
}

impl Indicator for Volatility {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.returns.capacity()
    }

    #[inline]
    fn update(&mut self, price: f64) -> Option<f64> {
        let one = self.one_bar.update(price)?;
        self.returns.push(one);
        let values = self.returns.full()?;
        let mean = mean(values);
        let squares: f64 = values.iter().map(|r| (r - mean).powi(2)).sum();
        Some((squares / (values.len() - 1) as f64).sqrt())
    }

    /// Returns do not depend on the price level; only the last price does.
    fn rescale(&mut self, factor: f64) {
        self.one_bar.rescale(factor);
    }
}
