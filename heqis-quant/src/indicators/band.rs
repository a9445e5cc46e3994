//! Distances of a price from its mean: Bollinger bands and the commodity channel index.

use serde::{Deserialize, Serialize};

use super::window::{Window, mean};
use super::{Bars, Hlc, Indicator, PLACE, usable};
use crate::error::QuantError;

/// The three lines of [`Boll`], in price units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BollValue {
    /// The mean plus the width.
    pub upper: f64,
    /// The plain mean.
    pub middle: f64,
    /// The mean minus the width.
    pub lower: f64,
}

/// Bollinger bands: the plain mean of n closes, plus and minus a number of standard deviations.
///
/// Mean and deviation are taken of the distances to the newest close, in one pass, so that they are right for a price of
/// a million that moves by a cent, where the mean of squares minus the square of the mean has no correct digit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boll {
    values: Window,
    deviations: f64,
    ddof: u8,
}

impl Boll {
    /// Makes bands over `n` bars, usually 20, of `deviations`, usually 2, to either side. `ddof` is subtracted from n in
    /// the divisor of the variance: 1 in Chinese terminals, 0 in TA-Lib.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000, `deviations` is not in (0, 1000], or `ddof`
    /// is above 1.
    pub fn new(n: usize, deviations: f64, ddof: u8) -> Result<Self, QuantError> {
        let n = Bars::new("boll n", n, 2)?;
        if !(deviations > 0.0 && deviations <= 1000.0) {
            let rule = "must be above 0 and at most 1000";
            return Err(QuantError::value(
                PLACE,
                "boll deviations",
                rule,
                deviations,
            ));
        }
        if ddof > 1 {
            return Err(QuantError::value(
                PLACE,
                "boll ddof",
                "must be 0 or 1",
                ddof,
            ));
        }
        Ok(Self {
            values: Window::new(n.get()),
            deviations,
            ddof,
        })
    }
}

impl Indicator for Boll {
    type Input = f64;
    type Output = BollValue;

    fn warmup_bars(&self) -> usize {
        self.values.capacity() - 1
    }

    #[inline]
    fn update(&mut self, close: f64) -> Option<BollValue> {
        if !usable(close) {
            return None;
        }
        self.values.push(close);
        let values = self.values.full()?;
        let n = values.len() as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in values {
            let distance = value - close;
            sum += distance;
            squares += distance * distance;
        }
        let mean = sum / n;
        let middle = close + mean;
        // Rounding can make it slightly negative.
        let variance = ((squares - sum * mean) / (n - f64::from(self.ddof))).max(0.0);
        let width = self.deviations * variance.sqrt();
        Some(BollValue {
            upper: middle + width,
            middle,
            lower: middle - width,
        })
    }

    fn rescale(&mut self, factor: f64) {
        self.values.rescale(factor);
    }
}

/// The commodity channel index: the distance of the typical price `(H + L + C)/3` from its mean over n bars, in units
/// of 0.015 mean absolute deviations. Both profiles have the same formula.
///
/// Where all typical prices of the window are equal the index is 0, as in TA-Lib.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cci {
    typical: Window,
}

impl Cci {
    /// Makes an index over `n` bars, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            typical: Window::new(Bars::new("cci n", n, 2)?.get()),
        })
    }
}

impl Indicator for Cci {
    type Input = Hlc;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.typical.capacity() - 1
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<f64> {
        if !bar.is_usable() {
            return None;
        }
        let last = (bar.high + bar.low + bar.close) / 3.0;
        self.typical.push(last);
        let values = self.typical.full()?;
        let mean = mean(values);
        let distances: f64 = values.iter().map(|x| (x - mean).abs()).sum();
        let deviation = distances / values.len() as f64;
        Some(if deviation > 0.0 {
            (last - mean) / (0.015 * deviation)
        } else {
            0.0
        })
    }

    fn rescale(&mut self, factor: f64) {
        self.typical.rescale(factor);
    }
}
