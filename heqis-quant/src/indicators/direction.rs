//! Directional movement: +DI, −DI and ADX.

use serde::{Deserialize, Serialize};

use super::mean::Wilder;
use super::range::true_range;
use super::window::Window;
use super::{Bars, Hlc, Indicator, Ma, Profile, forgotten_bars};
use crate::error::QuantError;

/// Ranges and index sums below this count as zero, as in TA-Lib.
const ZERO: f64 = 1e-14;

/// The two lines of [`Di`], 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiValue {
    /// The share of upward movement in the range.
    pub plus_di: f64,
    /// The share of downward movement in the range.
    pub minus_di: f64,
}

/// The directional indicators over n bars.
///
/// Only the larger of a bar's rise of the high and fall of the low counts, if it is positive. Both movements and the true
/// range are summed, over the last n bars in `cn`, in Wilder's way in `talib`: n − 1 are added, then
/// `S_t = S_{t−1} − S_{t−1}/n + X_t`. The indicators are the movements in percent of the range, 0 without a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Di {
    n: Bars,
    last: Option<(f64, f64, f64)>,
    sums: Sums,
}

/// The sums of upward movement, downward movement and true range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Sums {
    Cn {
        up: Window,
        down: Window,
        range: Window,
    },
    Talib {
        /// Bars that are only added before the first Wilder step.
        to_add: u32,
        up: f64,
        down: f64,
        range: f64,
    },
}

impl Di {
    /// Makes the indicators over `n` bars, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize, profile: Profile) -> Result<Self, QuantError> {
        let n = Bars::new("di n", n, 2)?;
        let window = || Window::new(n.get());
        Ok(Self {
            n,
            last: None,
            sums: match profile {
                Profile::Cn => Sums::Cn {
                    up: window(),
                    down: window(),
                    range: window(),
                },
                Profile::Talib => Sums::Talib {
                    to_add: n.n - 1,
                    up: 0.0,
                    down: 0.0,
                    range: 0.0,
                },
            },
        })
    }
}

impl Indicator for Di {
    type Input = Hlc;
    type Output = DiValue;

    fn warmup_bars(&self) -> usize {
        self.n.get()
    }

    fn settled_bars(&self) -> Option<usize> {
        Some(match self.sums {
            Sums::Cn { .. } => self.warmup_bars(),
            Sums::Talib { .. } => self.warmup_bars() + forgotten_bars(1.0 - 1.0 / self.n.as_f64()),
        })
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<DiValue> {
        if !bar.is_usable() {
            return None;
        }
        let (high, low, close) = self.last.replace((bar.high, bar.low, bar.close))?;
        let (rise, fall) = (bar.high - high, low - bar.low);
        // Without a short circuit, since the direction of a price defeats branch prediction.
        let up_move = if (rise > 0.0) & (rise > fall) {
            rise
        } else {
            0.0
        };
        let down_move = if (fall > 0.0) & (fall > rise) {
            fall
        } else {
            0.0
        };
        let bar_range = true_range(bar, close);
        let (up, down, range) = match &mut self.sums {
            Sums::Cn { up, down, range } => {
                up.push(up_move);
                down.push(down_move);
                range.push(bar_range);
                let of = |window: &Window| window.full().map(|values| values.iter().sum::<f64>());
                (of(up)?, of(down)?, of(range)?)
            }
            Sums::Talib {
                to_add,
                up,
                down,
                range,
            } => {
                let adding = *to_add > 0;
                let kept = if adding { 1.0 } else { 1.0 - self.n.inverse };
                *up = *up * kept + up_move;
                *down = *down * kept + down_move;
                *range = *range * kept + bar_range;
                if adding {
                    *to_add -= 1;
                    return None;
                }
                (*up, *down, *range)
            }
        };
        let percent = if range < ZERO { 0.0 } else { 100.0 / range };
        Some(DiValue {
            plus_di: up * percent,
            minus_di: down * percent,
        })
    }

    fn rescale(&mut self, factor: f64) {
        self.last = self
            .last
            .map(|(high, low, close)| (high * factor, low * factor, close * factor));
        match &mut self.sums {
            Sums::Cn { up, down, range } => {
                for window in [up, down, range] {
                    window.rescale(factor);
                }
            }
            Sums::Talib {
                up, down, range, ..
            } => {
                for sum in [up, down, range] {
                    *sum *= factor;
                }
            }
        }
    }
}

/// The three lines of [`Adx`], 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdxValue {
    /// The strength of a trend of either direction.
    pub adx: f64,
    /// The share of upward movement in the range.
    pub plus_di: f64,
    /// The share of downward movement in the range.
    pub minus_di: f64,
}

/// The average directional index: the mean over m bars of `DX = |+DI − −DI|/(+DI + −DI)·100`.
///
/// `cn`: a plain mean. `talib`: Wilder's mean. A bar without any movement has no DX. It counts as 0 in `cn` and while
/// `talib` takes its first mean; after that `talib` keeps the last index, as TA-Lib does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adx {
    di: Di,
    mean: Mean,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mean {
    Cn(Ma),
    Talib(Wilder),
}

impl Adx {
    /// Makes an index with directional indicators over `n` bars and their DX averaged over `m`: usually 14 and 6 in
    /// `cn`; TA-Lib has one length for both, usually 14.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2, `m` is 0, or one is above 100,000.
    pub fn new(n: usize, m: usize, profile: Profile) -> Result<Self, QuantError> {
        let m = Bars::new("adx m", m, 1)?;
        Ok(Self {
            di: Di::new(n, profile)?,
            mean: match profile {
                Profile::Cn => Mean::Cn(Ma::new(m.get())?),
                Profile::Talib => Mean::Talib(Wilder::new(m)),
            },
        })
    }
}

impl Indicator for Adx {
    type Input = Hlc;
    type Output = AdxValue;

    fn warmup_bars(&self) -> usize {
        self.di.warmup_bars()
            + match &self.mean {
                Mean::Cn(mean) => mean.warmup_bars(),
                Mean::Talib(mean) => mean.n() - 1,
            }
    }

    fn settled_bars(&self) -> Option<usize> {
        Some(
            self.di.settled_bars()?
                + match &self.mean {
                    Mean::Cn(mean) => mean.warmup_bars(),
                    Mean::Talib(mean) => mean.settled_bars(),
                },
        )
    }

    #[inline]
    fn update(&mut self, bar: Hlc) -> Option<AdxValue> {
        let DiValue { plus_di, minus_di } = self.di.update(bar)?;
        let both = plus_di + minus_di;
        let dx = (both >= ZERO).then(|| 100.0 * ((plus_di - minus_di).abs() / both));
        let adx = match (&mut self.mean, dx) {
            (Mean::Cn(mean), _) => mean.advance(dx.unwrap_or(0.0)),
            (Mean::Talib(mean), None) if mean.value().is_some() => mean.value(),
            (Mean::Talib(mean), _) => mean.advance(dx.unwrap_or(0.0)),
        }?;
        Some(AdxValue {
            adx,
            plus_di,
            minus_di,
        })
    }

    /// The mean of DX does not depend on the price level.
    fn rescale(&mut self, factor: f64) {
        self.di.rescale(factor);
    }
}
