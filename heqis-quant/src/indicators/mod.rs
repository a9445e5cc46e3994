//! Streaming indicators in two profiles: `cn`, the formulas of Chinese terminals, and `talib`, those of TA-Lib 0.8.2.
//!
//! Each indicator is one struct behind one trait, [`Indicator`]: `update` takes the next input and gives the value of
//! this bar, or `None` during the warm-up. A batch is a replay of the stream, see [`batch`]. State serialises and
//! continues with identical bits after a restore, and no update allocates.
//!
//! | indicator | input | first value after (`warmup_bars`) | profiles |
//! |---|---|---|---|
//! | [`Ma`] | any number | n − 1 | one formula |
//! | [`Ema`] | any number | 0 in `cn`, n − 1 in `talib` | starts differ |
//! | [`SmaCn`] | any number | 0 | `cn` only |
//! | [`Macd`] | close | 0 in `cn`, slow + signal − 2 in `talib` | starts and histogram differ |
//! | [`Kdj`] | [`Hlc`] | 0 | `cn` only |
//! | [`Willr`] | [`Hlc`] | n − 1 | one formula |
//! | [`Mfi`] | [`Hlcv`] | n | one formula |
//! | [`Ad`] | [`Hlcv`] | 0 | one formula |
//! | [`Stoch`] | [`Hlc`] | n + slow k + slow d − 3 | `talib` only |
//! | [`Rsi`] | close | 1 in `cn`, n in `talib` | starts and still prices differ |
//! | [`Boll`] | close | n − 1 | `cn` has `ddof` 1, `talib` 0 |
//! | [`TrueRange`] | [`Hlc`] | 0 in `cn`, 1 in `talib` | the first bar differs |
//! | [`Atr`] | [`Hlc`] | n − 1 in `cn`, n in `talib` | plain mean or Wilder's |
//! | [`Di`] | [`Hlc`] | n | sums of a window or Wilder's |
//! | [`Adx`] | [`Hlc`] | n + m − 1 | as [`Di`], and the mean of DX |
//! | [`Cci`] | [`Hlc`] | n − 1 | one formula |
//! | [`Obv`] | [`CloseVolume`] | 0 | starts differ |
//! | [`VolumeRatio`] | volume | n | one formula |
//! | [`Returns`], [`Volatility`] | price | n | one formula |
//!
//! **Unusable inputs.** An input that is not finite, or whose magnitude is above [`MAX_INPUT`], gives `None` and is
//! skipped: every later value is the same as without the bar. [`Returns`] and [`Volatility`] treat a
//! price below 1e-50, such as zero, in the same way. One NaN makes every later value of TA-Lib's running formulas NaN, and one
//! huge number destroys the digits of a running sum; here every sum over a window is computed from its values.
//!
//! **Late starts.** Indicators over a window do not depend on values that left it, to the bit. The recursive ones depend on
//! their start with geometrically falling weight: after [`Indicator::settled_bars`] bars the weight is at most [`SETTLED`]
//! of the scale.
//!
//! **Corporate actions.** [`Indicator::rescale`] moves the state to another price level, as a share split does.
//!
//! ```
//! use heqis_quant::indicators::{Indicator, Profile, Rsi};
//!
//! let mut rsi = Rsi::new(2, Profile::Cn)?;
//! let values: Vec<_> = [10.0, 11.0, 10.0].into_iter().map(|close| rsi.update(close)).collect();
//! assert_eq!(values, [None, Some(100.0), Some(50.0)]);
//! # Ok::<(), heqis_quant::QuantError>(())
//! ```

mod band;
mod channel;
mod direction;
mod flow;
mod macd;
mod mean;
mod range;
mod returns;
mod rsi;
mod volume;
mod window;

use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::error::QuantError;

pub use band::{Boll, BollValue, Cci};
pub use channel::{Kdj, KdjStart, KdjValue, Stoch, StochValue, Willr};
pub use direction::{Adx, AdxValue, Di, DiValue};
pub use flow::{Ad, Mfi};
pub use macd::{Macd, MacdValue};
pub use mean::{Ema, Ma, SmaCn};
pub use range::{Atr, TrueRange};
pub use returns::{Returns, Volatility};
pub use rsi::Rsi;
pub use volume::{Obv, VolumeRatio};

const PLACE: &str = "indicator";
/// 100,000 bars are a year of one-minute bars and more: a bound on what a configuration or a saved state can ask for.
const MAX_BARS: usize = 100_000;

/// The largest magnitude of an input. Squares, sums and ratios of such numbers stay far inside an `f64`.
pub const MAX_INPUT: f64 = 1e50;

/// Largest remaining effect of the start of a recursive indicator after [`Indicator::settled_bars`]: a fraction of the price
/// for lines in price units, of 100 for lines between 0 and 100.
pub const SETTLED: f64 = 1e-8;

/// The source of an indicator's formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Profile {
    /// Chinese terminals: most lines start at the first bar.
    Cn,
    /// TA-Lib 0.8.2: recursive lines start at the mean of their first n inputs.
    Talib,
}

/// The part of a bar that range indicators read, in price units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hlc {
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

impl Hlc {
    fn is_usable(self) -> bool {
        usable(self.high) && usable(self.low) && usable(self.close)
    }
}

impl From<&Bar> for Hlc {
    fn from(bar: &Bar) -> Self {
        Self {
            high: bar.high,
            low: bar.low,
            close: bar.close,
        }
    }
}

/// The part of a bar that volume indicators read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CloseVolume {
    /// Last price.
    pub close: f64,
    /// Traded shares.
    pub volume_shares: f64,
}

impl From<&Bar> for CloseVolume {
    fn from(bar: &Bar) -> Self {
        Self {
            close: bar.close,
            volume_shares: bar.volume_shares,
        }
    }
}

/// The part of a bar that indicators of prices and volume read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hlcv {
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Traded shares.
    pub volume_shares: f64,
}

impl Hlcv {
    fn is_usable(self) -> bool {
        [self.high, self.low, self.close, self.volume_shares]
            .into_iter()
            .all(usable)
    }
}

impl From<&Bar> for Hlcv {
    fn from(bar: &Bar) -> Self {
        Self {
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume_shares: bar.volume_shares,
        }
    }
}

/// A running computation over one series.
pub trait Indicator {
    /// The input of one bar.
    type Input: Copy;
    /// The value of one bar.
    type Output;

    /// Returns the number of bars of a series before the first value.
    fn warmup_bars(&self) -> usize;

    /// Returns the number of bars after which the effect of the start is at most [`SETTLED`], at least `warmup_bars`;
    /// `None` when the effect never fades.
    fn settled_bars(&self) -> Option<usize> {
        Some(self.warmup_bars())
    }

    /// Takes the next input and returns the value of this bar, or `None` during the warm-up.
    ///
    /// An input that is not a usable number gives `None` too, and leaves the state as it was; see the [module](self).
    fn update(&mut self, input: Self::Input) -> Option<Self::Output>;

    /// Moves the state to another price level: prices in it are multiplied by `factor`, volumes are divided by it. An indicator of one plain number treats it as a price; [`VolumeRatio`] as a volume.
    fn rescale(&mut self, factor: f64);
}

/// Replays a series through an indicator and returns one value or `None` for each input.
///
/// ```
/// use heqis_quant::indicators::{Ma, batch};
///
/// let means = batch(&mut Ma::new(2)?, [1.0, 2.0, f64::NAN, 4.0]);
/// assert_eq!(means, [None, Some(1.5), None, Some(3.0)]);
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
pub fn batch<I: Indicator>(
    indicator: &mut I,
    inputs: impl IntoIterator<Item = I::Input>,
) -> Vec<Option<I::Output>> {
    inputs
        .into_iter()
        .map(|input| indicator.update(input))
        .collect()
}

/// A checked length, also when it is read from a saved state, and its inverse, since a division on every bar would cost
/// more than the rest of a recursion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
struct Bars {
    n: u32,
    inverse: f64,
}

impl Bars {
    fn new(field: &str, bars: usize, least: usize) -> Result<Self, QuantError> {
        match u32::try_from(bars) {
            Ok(n) if (least..=MAX_BARS).contains(&bars) => Ok(Self {
                n,
                inverse: 1.0 / f64::from(n),
            }),
            _ => Err(QuantError::value(
                PLACE,
                field,
                format!("must be in {least}..={MAX_BARS}"),
                bars,
            )),
        }
    }

    fn get(self) -> usize {
        self.n as usize
    }

    fn as_f64(self) -> f64 {
        f64::from(self.n)
    }
}

impl TryFrom<usize> for Bars {
    type Error = QuantError;

    fn try_from(bars: usize) -> Result<Self, QuantError> {
        Self::new("saved length", bars, 1)
    }
}

impl From<Bars> for usize {
    fn from(bars: Bars) -> Self {
        bars.get()
    }
}

/// NaN compares false, so it is not usable either.
fn usable(x: f64) -> bool {
    x.abs() <= MAX_INPUT
}

/// Returns whether `x` is a price whose ratio to any other price can be squared; zero is not.
pub(crate) fn is_price(x: f64) -> bool {
    (1.0 / MAX_INPUT..=MAX_INPUT).contains(&x)
}

/// Returns the number of bars after which a recursion that keeps the fraction `kept` of its state each bar has less than
/// e⁻²⁵, 1.4e-11, of it left. That is well below [`SETTLED`], because ratios of two recursions enlarge the rest.
fn forgotten_bars(kept: f64) -> usize {
    if kept <= 0.0 {
        return 1;
    }
    (25.0 / -kept.ln()).ceil() as usize
}
