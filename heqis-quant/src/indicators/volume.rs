//! Indicators of traded volume.

use serde::{Deserialize, Serialize};

use super::{CloseVolume, Indicator, Ma, Profile, usable};
use crate::error::QuantError;

/// On-balance volume, in shares: the volume of each bar is added when the close rose, subtracted when it fell.
///
/// `cn` starts at 0, `talib` at the volume of the first bar. Whole numbers of shares are summed exactly up to 2^53.
/// Only differences have a meaning, since the level always depends on the start of the series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obv {
    profile: Profile,
    last: Option<f64>,
    volume_shares: f64,
}

impl Obv {
    /// Makes an on-balance volume.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            last: None,
            volume_shares: 0.0,
        }
    }
}

impl Indicator for Obv {
    type Input = CloseVolume;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        0
    }

    fn settled_bars(&self) -> Option<usize> {
        None
    }

    #[inline]
    fn update(&mut self, bar: CloseVolume) -> Option<f64> {
        if !usable(bar.close) || !usable(bar.volume_shares) {
            return None;
        }
        self.volume_shares += match (self.last.replace(bar.close), self.profile) {
            (Some(last), _) => {
                // Both sides are computed, since the direction of a price defeats branch prediction.
                let rose = f64::from(u8::from(bar.close > last));
                let fell = f64::from(u8::from(bar.close < last));
                (rose - fell) * bar.volume_shares
            }
            (None, Profile::Talib) => bar.volume_shares,
            (None, Profile::Cn) => 0.0,
        };
        Some(self.volume_shares)
    }

    fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
        self.volume_shares /= factor;
    }
}

/// The volume of a bar over the mean volume of the n bars before it; both profiles have the same formula.
///
/// Without any volume in those bars there is no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeRatio {
    before: Ma,
}

impl VolumeRatio {
    /// Makes a ratio to the `n` bars before, usually 5.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is 0 or above 100,000.
    pub fn new(n: usize) -> Result<Self, QuantError> {
        Ok(Self {
            before: Ma::new(n)?,
        })
    }
}

impl Indicator for VolumeRatio {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        self.before.warmup_bars() + 1
    }

    #[inline]
    fn update(&mut self, volume: f64) -> Option<f64> {
        if !usable(volume) {
            return None;
        }
        let before = self.before.value();
        self.before.advance(volume);
        before.filter(|mean| *mean > 0.0).map(|mean| volume / mean)
    }

    fn rescale(&mut self, factor: f64) {
        self.before.rescale(1.0 / factor);
    }
}
