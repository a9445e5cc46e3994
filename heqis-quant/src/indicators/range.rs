//! The true range of a bar and its mean.

use serde::{Deserialize, Serialize};

use super::mean::Wilder;
use super::{Bars, Hlc, Indicator, Ma, Profile};
use crate::error::QuantError;

/// Returns the largest of H − L, |C' − H| and |C' − L|, where C' is the close before.
pub(super) fn true_range(bar: Hlc, close_before: f64) -> f64 {
    let max = |a: f64, b: f64| if b > a { b } else { a };
    let within = bar.high - bar.low;
    let from_before = max(
        (close_before - bar.high).abs(),
        (close_before - bar.low).abs(),
    );
    max(within, from_before)
}

/// The true range, in price units: the largest of H − L, |C' − H| and |C' − L|, where C' is the close before.
///
/// The first bar has no close before it: `cn` takes its H − L, `talib` has no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueRange {
    profile: Profile,
    last: Option<f64>,
}

impl TrueRange {
    /// Makes a true range.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            last: None,
        }
    }
}

impl Indicator for TrueRange {
    type Input = Hlc;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        match self.profile {
            Profile::Cn => 0,
            Profile::Talib => 1,
        }
    }

    /// Only the first value of `cn` has another formula.
    fn settled_bars(&self) -> Option<usize> {
        Some(1)
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<f64> {
        if !bar.is_usable() {
            return None;
        }
        match (self.last.replace(bar.close), self.profile) {
            (Some(before), _) => Some(true_range(bar, before)),
            (None, Profile::Cn) => Some(bar.high - bar.low),
            (None, Profile::Talib) => None,
        }
    }

    fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
    }
}

/// The average true range, in price units: the plain mean of n true ranges in `cn`, Wilder's mean in `talib`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Atr {
    range: TrueRange,
    mean: Mean,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mean {
    Cn(Ma),
    Talib(Wilder),
}

impl Atr {
    /// Makes an average over `n` bars, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize, profile: Profile) -> Result<Self, QuantError> {
        let bars = Bars::new("atr n", n, 1)?;
        Ok(Self {
            range: TrueRange::new(profile),
            mean: match profile {
                Profile::Cn => Mean::Cn(Ma::new(n)?),
                Profile::Talib => Mean::Talib(Wilder::new(bars)),
            },
        })
    }
}

impl Indicator for Atr {
    type Input = Hlc;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        match &self.mean {
            Mean::Cn(mean) => mean.warmup_bars(),
            Mean::Talib(mean) => mean.n(),
        }
    }

    fn settled_bars(&self) -> Option<usize> {
        Some(match &self.mean {
            // The first range has another formula and stays in the window for n bars.
            Mean::Cn(mean) => mean.warmup_bars() + 1,
            Mean::Talib(mean) => 1 + mean.settled_bars(),
        })
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<f64> {
        let range = self.range.update(bar)?;
        match &mut self.mean {
            Mean::Cn(mean) => mean.advance(range),
            Mean::Talib(mean) => mean.advance(range),
        }
    }

    fn rescale(&mut self, factor: f64) {
        self.range.rescale(factor);
        match &mut self.mean {
            Mean::Cn(mean) => mean.rescale(factor),
            Mean::Talib(mean) => mean.rescale(factor),
        }
    }
}
