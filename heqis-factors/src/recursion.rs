//! The indicators of `heqis-quant` as kernels with a state of their own.

use heqis_quant::QuantError;
use heqis_quant::indicators::{
    Ad, Adx, Atr, Boll, Cci, CloseVolume, Di, Ema, Hlc, Hlcv, Indicator, Kdj, KdjStart, Macd, Mfi,
    Obv, Profile, Returns, Rsi, SmaCn, Stoch, TrueRange, Volatility, VolumeRatio, Willr,
};
use serde::{Deserialize, Serialize};

/// What an indicator reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// One value of any level, which the indicator treats as a price.
    Price,
    /// One value of any level, which it treats as a volume.
    Volume,
    /// High, low and close of the bar.
    Hlc,
    /// Close and volume of the bar.
    CloseVolume,
    /// High, low, close and volume of the bar.
    Hlcv,
}

/// The level of an indicator's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// That of the value it reads.
    Same,
    /// A price, a number of shares, or a number without a level.
    Price,
    Volume,
    Fixed,
}

macro_rules! indicators {
    ($($kind:ident $reads:ident $level:ident [$($line:literal)*]
        $parameters:pat => $make:expr, $value:pat => [$($output:expr),*];)*) => {
        /// The indicators by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) fn reads(self) -> Reads {
                match self { $(Self::$kind => Reads::$reads),* }
            }

            pub(crate) fn level(self) -> Lines {
                match self { $(Self::$kind => Lines::$level),* }
            }

            /// The names of its lines; empty for an indicator of one line.
            pub(crate) fn lines(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($line),*]),* }
            }

            /// Makes the indicator from its lengths and its number, which are 0 where it has none.
            pub(crate) fn make(self, [n, m, k]: [usize; 3], number: f64, profile: Profile)
                -> Result<Recursion, QuantError>
            {
                match self {
                    $(Self::$kind => {
                        let $parameters = (n, m, k, number, profile);
                        Ok(Recursion::$kind($make))
                    })*
                }
            }
        }

        /// An indicator with its state. Saved states hold the position of the variant: new ones go to the end.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub(crate) enum Recursion { $($kind($kind)),* }

        impl Recursion {
            pub(crate) fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            pub(crate) fn warmup_bars(&self) -> usize {
                match self { $(Self::$kind(indicator) => indicator.warmup_bars()),* }
            }

            /// The bars after which the start has no effect left; those before the first value where it never loses it.
            pub(crate) fn settled_bars(&self) -> usize {
                let settled = match self { $(Self::$kind(indicator) => indicator.settled_bars()),* };
                settled.unwrap_or(0).max(self.warmup_bars())
            }

            /// Takes the inputs of a bar and writes its lines, NaN where it has no value.
            pub(crate) fn update(&mut self, inputs: [f64; 4], out: &mut [f64]) {
                match self {
                    $(Self::$kind(indicator) => {
                        match indicator.update(Input::of(inputs)) {
                            Some($value) => out.copy_from_slice(&[$($output),*]),
                            None => out.fill(f64::NAN),
                        }
                    })*
                }
            }

            pub(crate) fn rescale(&mut self, factor: f64) {
                match self { $(Self::$kind(indicator) => indicator.rescale(factor)),* }
            }
        }
    };
}

/// The input of an indicator from the values of a bar: the one value, or high, low, close and volume as far as it reads them.
trait Input {
    fn of(values: [f64; 4]) -> Self;
}

impl Input for f64 {
    fn of([value, ..]: [f64; 4]) -> Self {
        value
    }
}

impl Input for Hlc {
    fn of([high, low, close, _]: [f64; 4]) -> Self {
        Self { high, low, close }
    }
}

impl Input for CloseVolume {
    fn of([close, volume_shares, ..]: [f64; 4]) -> Self {
        Self {
            close,
            volume_shares,
        }
    }
}

impl Input for Hlcv {
    fn of([high, low, close, volume_shares]: [f64; 4]) -> Self {
        Self {
            high,
            low,
            close,
            volume_shares,
        }
    }
}

indicators! {
    Ema Price Same [] (n, _, _, _, p) => Ema::new(n, p)?, v => [v];
    SmaCn Price Same [] (n, m, ..) => SmaCn::new(n, m)?, v => [v];
    Returns Price Fixed [] (n, ..) => Returns::new(n)?, v => [v];
    Volatility Price Fixed [] (n, ..) => Volatility::new(n)?, v => [v];
    VolumeRatio Volume Fixed [] (n, ..) => VolumeRatio::new(n)?, v => [v];
    Rsi Price Fixed [] (n, _, _, _, p) => Rsi::new(n, p)?, v => [v];
    Macd Price Same ["dif" "dea" "bar"] (n, m, k, _, p) => Macd::new(n, m, k, p)?,
        v => [v.dif, v.dea, v.bar];
    Boll Price Same ["upper" "middle" "lower"] (n, _, _, k, p) => Boll::new(n, k, ddof(p))?,
        v => [v.upper, v.middle, v.lower];
    Kdj Hlc Fixed ["k" "d" "j"] (n, m, k, ..) => Kdj::new(n, m, k, KdjStart::Fifty)?,
        v => [v.k, v.d, v.j];
    Stoch Hlc Fixed ["k" "d"] (n, m, k, ..) => Stoch::new(n, m, k)?, v => [v.k, v.d];
    Willr Hlc Fixed [] (n, ..) => Willr::new(n)?, v => [v];
    Cci Hlc Fixed [] (n, ..) => Cci::new(n)?, v => [v];
    TrueRange Hlc Price [] (_, _, _, _, p) => TrueRange::new(p), v => [v];
    Atr Hlc Price [] (n, _, _, _, p) => Atr::new(n, p)?, v => [v];
    Di Hlc Fixed ["plus_di" "minus_di"] (n, _, _, _, p) => Di::new(n, p)?,
        v => [v.plus_di, v.minus_di];
    Adx Hlc Fixed ["adx" "plus_di" "minus_di"] (n, m, _, _, p) => Adx::new(n, m, p)?,
        v => [v.adx, v.plus_di, v.minus_di];
    Obv CloseVolume Volume [] (_, _, _, _, p) => Obv::new(p), v => [v];
    Mfi Hlcv Fixed [] (n, ..) => Mfi::new(n)?, v => [v];
    Ad Hlcv Volume [] _ => Ad::new(), v => [v];
}

/// The divisor of the variance is n − 1 on Chinese terminals and n in TA-Lib.
fn ddof(profile: Profile) -> u8 {
    u8::from(profile == Profile::Cn)
}
