//! Moving average convergence and divergence.

use serde::{Deserialize, Serialize};

use super::{Ema, Indicator, PLACE, Profile, usable};
use crate::error::QuantError;

/// The three lines of [`Macd`], in price units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdValue {
    /// Fast minus slow exponential mean; `macd` in TA-Lib.
    pub dif: f64,
    /// Exponential mean of `dif`; `macdsignal` in TA-Lib.
    pub dea: f64,
    /// `2·(dif − dea)` in `cn`, `dif − dea` in `talib`, where it is `macdhist`.
    pub bar: f64,
}

/// Moving average convergence and divergence.
///
/// `cn`: all means start at the first bar. `talib`: the fast mean is seeded so late that it starts on the bar of the
/// slow one, and the lines come together with the first signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Macd {
    profile: Profile,
    fast: Ema,
    slow: Ema,
    signal: Ema,
    /// Bars before the fast mean begins to take values.
    fast_waits_bars: usize,
}

impl Macd {
    /// Makes a MACD, usually with 12, 26 and 9 bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is 0 or above 100,000, or `fast` is not shorter than `slow`.
    pub fn new(
        fast: usize,
        slow: usize,
        signal: usize,
        profile: Profile,
    ) -> Result<Self, QuantError> {
        if fast >= slow {
            return Err(QuantError::value(
                PLACE,
                "macd fast",
                format!("must be shorter than slow {slow}"),
                fast,
            ));
        }
        Ok(Self {
            profile,
            fast: Ema::new(fast, profile)?,
            slow: Ema::new(slow, profile)?,
            signal: Ema::new(signal, profile)?,
            fast_waits_bars: match profile {
                Profile::Cn => 0,
                Profile::Talib => slow - fast,
            },
        })
    }
}

impl Indicator for Macd {
    type Input = f64;
    type Output = MacdValue;

    fn warmup_bars(&self) -> usize {
        self.slow.warmup_bars() + self.signal.warmup_bars()
    }

    fn settled_bars(&self) -> Option<usize> {
        Some(self.slow.settled_bars()? + self.signal.settled_bars()?)
    }

    #[inline]
    fn update(&mut self, close: f64) -> Option<MacdValue> {
        if !usable(close) {
            return None;
        }
        let slow = self.slow.advance(close);
        if self.fast_waits_bars > 0 {
            self.fast_waits_bars -= 1;
            return None;
        }
        let dif = self.fast.advance(close)? - slow?;
        let dea = self.signal.advance(dif)?;
        let bar = match self.profile {
            Profile::Cn => 2.0 * (dif - dea),
            Profile::Talib => dif - dea,
        };
        Some(MacdValue { dif, dea, bar })
    }

    fn rescale(&mut self, factor: f64) {
        self.fast.rescale(factor);
        self.slow.rescale(factor);
        self.signal.rescale(factor);
    }
}
