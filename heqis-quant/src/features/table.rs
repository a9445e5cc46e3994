//! The table of features: the one place that lists what this crate can compute.
//!
//! A feature is a row of [`TABLE`] and a variant of [`Slot`] with its state. Names, warm-ups, error texts and tests derive
//! from the table.

use serde::{Deserialize, Serialize};

use super::program::Held;
use crate::bar::Bar;
use crate::error::QuantError;
use crate::indicators::{Indicator, KdjValue, Ma, MacdValue, Returns, Volatility};

const MACD_WARMUP_BARS: usize = 250;
const KDJ_WARMUP_BARS: usize = 70;
/// Longest length of a feature, bars.
pub(super) const MAX_N: usize = 1000;

/// One row of the table. `n` is the length of a feature whose name ends in one, and 0 for the others.
pub(super) struct Row {
    /// The name, without the length.
    pub(super) stem: &'static str,
    /// The least length; `None` for a feature without a length.
    pub(super) least: Option<usize>,
    /// The formula, as in the table of the module's documentation.
    pub(super) value: &'static str,
    /// The number of bars before the first value.
    pub(super) warmup_bars: fn(usize) -> usize,
    /// Makes the empty state.
    pub(super) slot: fn(usize) -> Result<Slot, QuantError>,
}

/// Every feature. The order is that of error texts and documentation; new rows go to the end of their group.
pub(super) const TABLE: [Row; 13] = [
    Row {
        stem: "return",
        least: Some(1),
        value: "close over the close N bars ago, minus 1",
        warmup_bars: |n| n,
        slot: |n| Returns::new(n).map(Slot::Return),
    },
    Row {
        stem: "volatility",
        least: Some(2),
        value: "deviation of the last N one-bar returns",
        warmup_bars: |n| n,
        slot: |n| Volatility::new(n).map(Slot::Volatility),
    },
    Row {
        stem: "ma_ratio",
        least: Some(2),
        value: "close over the mean of the last N closes, minus 1",
        warmup_bars: |n| n - 1,
        slot: |n| Ma::new(n).map(Slot::MaRatio),
    },
    Row {
        stem: "volume_ratio",
        least: Some(1),
        value: "ln((1 + volume)/(1 + mean volume of the N bars before))",
        warmup_bars: |n| n,
        slot: |n| Ma::new(n).map(Slot::VolumeRatio),
    },
    Row {
        stem: "range_ratio",
        least: None,
        value: "(high − low)/close",
        warmup_bars: |_| 0,
        slot: |_| Ok(Slot::RangeRatio),
    },
    Row {
        stem: "body_ratio",
        least: None,
        value: "close/open − 1",
        warmup_bars: |_| 0,
        slot: |_| Ok(Slot::BodyRatio),
    },
    Row {
        stem: "gap_ratio",
        least: None,
        value: "open over the reference close, minus 1",
        warmup_bars: |_| 1,
        slot: |_| Ok(Slot::GapRatio),
    },
    Row {
        stem: "dif_ratio",
        least: None,
        value: "DIF of MACD(12,26,9) over close",
        warmup_bars: |_| MACD_WARMUP_BARS,
        slot: |_| Ok(Slot::Dif),
    },
    Row {
        stem: "dea_ratio",
        least: None,
        value: "DEA of MACD(12,26,9) over close",
        warmup_bars: |_| MACD_WARMUP_BARS,
        slot: |_| Ok(Slot::Dea),
    },
    Row {
        stem: "macd_ratio",
        least: None,
        value: "histogram of MACD(12,26,9) over close",
        warmup_bars: |_| MACD_WARMUP_BARS,
        slot: |_| Ok(Slot::Macd),
    },
    Row {
        stem: "k",
        least: None,
        value: "K of KDJ(9,3,3) over 100",
        warmup_bars: |_| KDJ_WARMUP_BARS,
        slot: |_| Ok(Slot::K),
    },
    Row {
        stem: "d",
        least: None,
        value: "D of KDJ(9,3,3) over 100",
        warmup_bars: |_| KDJ_WARMUP_BARS,
        slot: |_| Ok(Slot::D),
    },
    Row {
        stem: "j",
        least: None,
        value: "J of KDJ(9,3,3) over 100",
        warmup_bars: |_| KDJ_WARMUP_BARS,
        slot: |_| Ok(Slot::J),
    },
];

/// The inputs of a feature at the close of one bar.
pub(super) struct Inputs<'a> {
    pub(super) bar: &'a Bar,
    /// The reference close of the bar; `None` on the first one.
    pub(super) reference: Option<f64>,
    /// The MACD lines; `None` when no feature of the set reads them.
    pub(super) macd: Option<MacdValue>,
    /// The KDJ lines; `None` when no feature of the set reads them.
    pub(super) kdj: Option<KdjValue>,
}

/// The state of one feature. MACD and KDJ are kept once for all features that read their lines. New variants are added at
/// the end: the index of a variant is its tag in saved states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Slot {
    Return(Returns),
    Volatility(Volatility),
    MaRatio(Ma),
    VolumeRatio(Ma),
    RangeRatio,
    BodyRatio,
    GapRatio,
    Dif,
    Dea,
    Macd,
    K,
    D,
    J,
    /// All features of a set that another crate computes.
    Program(Held),
}

impl Slot {
    pub(super) fn reads_macd(&self) -> bool {
        matches!(self, Self::Dif | Self::Dea | Self::Macd)
    }

    pub(super) fn reads_kdj(&self) -> bool {
        matches!(self, Self::K | Self::D | Self::J)
    }

    /// Takes the next bar and returns the feature's value; `None` during its warm-up.
    pub(super) fn update(&mut self, inputs: &Inputs<'_>) -> Option<f64> {
        let Inputs {
            bar,
            reference,
            macd,
            kdj,
        } = *inputs;
        match self {
            Self::Return(returns) => returns.update(bar.close),
            Self::Volatility(volatility) => volatility.update(bar.close),
            Self::MaRatio(ma) => ma.update(bar.close).map(|mean| bar.close / mean - 1.0),
            Self::VolumeRatio(ma) => {
                let before = ma.value();
                ma.update(bar.volume_shares);
                before.map(|mean| bar.volume_shares.ln_1p() - mean.ln_1p())
            }
            Self::RangeRatio => Some((bar.high - bar.low) / bar.close),
            Self::BodyRatio => Some(bar.close / bar.open - 1.0),
            Self::GapRatio => reference.map(|reference| bar.open / reference - 1.0),
            Self::Dif => macd.map(|macd| macd.dif / bar.close),
            Self::Dea => macd.map(|macd| macd.dea / bar.close),
            Self::Macd => macd.map(|macd| macd.bar / bar.close),
            Self::K => kdj.map(|kdj| kdj.k / 100.0),
            Self::D => kdj.map(|kdj| kdj.d / 100.0),
            Self::J => kdj.map(|kdj| kdj.j / 100.0),
            // It writes its row itself.
            Self::Program(_) => None,
        }
    }

    /// Moves the state to another price level; see [`Indicator::rescale`].
    pub(super) fn rescale(&mut self, factor: f64) {
        match self {
            Self::Return(returns) => returns.rescale(factor),
            Self::Volatility(volatility) => volatility.rescale(factor),
            Self::MaRatio(ma) => ma.rescale(factor),
            Self::VolumeRatio(ma) => ma.rescale(1.0 / factor),
            Self::Program(held) => held.rescale(factor),
            Self::RangeRatio
            | Self::BodyRatio
            | Self::GapRatio
            | Self::Dif
            | Self::Dea
            | Self::Macd
            | Self::K
            | Self::D
            | Self::J => {}
        }
    }
}
