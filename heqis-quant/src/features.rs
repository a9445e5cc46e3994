//! Bars to named features that are free of the price level, so that one model serves a stock at 3 CNY and at 300 CNY.
//!
//! | name | value | first row after |
//! |---|---|---|
//! | `return_N` | close over the close N bars ago, minus 1 | N bars |
//! | `volatility_N` | deviation of the last N one-bar returns | N bars |
//! | `ma_ratio_N` | close over the mean of the last N closes, minus 1 | N − 1 bars |
//! | `volume_ratio_N` | ln((1 + volume)/(1 + mean volume of the N bars before)) | N bars |
//! | `range_ratio` | (high − low)/close | 0 |
//! | `body_ratio` | close/open − 1 | 0 |
//! | `gap_ratio` | open over the reference close, minus 1 | 1 bar |
//! | `dif_ratio`, `dea_ratio`, `macd_ratio` | MACD(12,26,9) lines over close | 250 bars |
//! | `k`, `d`, `j` | KDJ(9,3,3) lines over 100 | 70 bars |
//!
//! MACD and KDJ have a value from the first bar, but remember where they started. After 250 and 70 bars that memory is
//! below 1e-8 of the value, so a board that starts today and a lab that started years ago agree.
//!
//! **Corporate actions.** Before a bar whose [reference close](crate::Bar::reference_close) differs from the last close,
//! all memory of prices is multiplied by their ratio, and all memory of volumes divided by it, so that a bonus share is
//! no crash and no burst of trading. With the vendor's `pre_close` this is exact. On a bar that is only suspected, the
//! reference is the bar's own open: the overnight return counts as zero and the return within the day is kept.

use serde::{Deserialize, Serialize};

use crate::error::finite;
use crate::indicators::{
    Hlc, Indicator, Kdj, KdjStart, MAX_INPUT, Ma, Macd, Profile, Returns, Volatility, is_price,
};
use crate::{Bar, Date, QuantError};

const PLACE: &str = "features";
const MACD_WARMUP_BARS: usize = 250;
const KDJ_WARMUP_BARS: usize = 70;
const MAX_N: usize = 1000;
const FORMS: &str = "must be return_N, volatility_N, ma_ratio_N, volume_ratio_N, range_ratio, body_ratio, gap_ratio, \
                     dif_ratio, dea_ratio, macd_ratio, k, d or j";

/// The standard set. `dea_ratio` and `d` are left out, since they are linear in the lines that are in.
const STANDARD: [&str; 12] = [
    "return_1",
    "return_5",
    "return_20",
    "volatility_20",
    "range_ratio",
    "ma_ratio_5",
    "ma_ratio_20",
    "dif_ratio",
    "macd_ratio",
    "k",
    "j",
    "volume_ratio_5",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Return(usize),
    Volatility(usize),
    MaRatio(usize),
    VolumeRatio(usize),
    RangeRatio,
    BodyRatio,
    GapRatio,
    Dif,
    Dea,
    Macd,
    K,
    D,
    J,
}

impl Kind {
    fn parse(name: &str) -> Result<Self, QuantError> {
        let refuse = |rule: &str| QuantError::value(PLACE, "name", rule, format!("{name:?}"));
        let plain = match name {
            "range_ratio" => Some(Self::RangeRatio),
            "body_ratio" => Some(Self::BodyRatio),
            "gap_ratio" => Some(Self::GapRatio),
            "dif_ratio" => Some(Self::Dif),
            "dea_ratio" => Some(Self::Dea),
            "macd_ratio" => Some(Self::Macd),
            "k" => Some(Self::K),
            "d" => Some(Self::D),
            "j" => Some(Self::J),
            _ => None,
        };
        if let Some(kind) = plain {
            return Ok(kind);
        }
        let (stem, n) = name.rsplit_once('_').ok_or_else(|| refuse(FORMS))?;
        let make: fn(usize) -> Self = match stem {
            "return" => Self::Return,
            "volatility" => Self::Volatility,
            "ma_ratio" => Self::MaRatio,
            "volume_ratio" => Self::VolumeRatio,
            _ => return Err(refuse(FORMS)),
        };
        let least = match stem {
            "return" | "volume_ratio" => 1,
            _ => 2,
        };
        // Only the canonical spelling, so that one feature has one name: no sign, no leading zero.
        match n.parse::<usize>() {
            Ok(bars) if (least..=MAX_N).contains(&bars) && bars.to_string() == n => Ok(make(bars)),
            _ => Err(refuse(&format!(
                "must end in a whole number of bars in {least}..={MAX_N}"
            ))),
        }
    }

    fn warmup_bars(self) -> usize {
        match self {
            Self::Return(n) | Self::Volatility(n) | Self::VolumeRatio(n) => n,
            Self::MaRatio(n) => n - 1,
            Self::RangeRatio | Self::BodyRatio => 0,
            Self::GapRatio => 1,
            Self::Dif | Self::Dea | Self::Macd => MACD_WARMUP_BARS,
            Self::K | Self::D | Self::J => KDJ_WARMUP_BARS,
        }
    }
}

/// A list of feature names that this crate can compute, in the order of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSet {
    names: Vec<String>,
    kinds: Vec<Kind>,
}

impl FeatureSet {
    /// Reads a list of names.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the list is empty, or a name is unknown or repeated.
    pub fn parse(names: &[impl AsRef<str>]) -> Result<Self, QuantError> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        if names.is_empty() {
            return Err(QuantError::value(PLACE, "names", "must not be empty", "[]"));
        }
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(QuantError::value(
                    PLACE,
                    "names",
                    "must not repeat a feature",
                    format!("{name:?}"),
                ));
            }
        }
        let kinds = names
            .iter()
            .map(|name| Kind::parse(name))
            .collect::<Result<_, _>>()?;
        Ok(Self { names, kinds })
    }

    /// Returns the set that the shipped models use: 12 features of return, volatility, trend, MACD, KDJ and volume.
    #[must_use]
    pub fn standard() -> Self {
        let kinds = STANDARD
            .iter()
            .filter_map(|name| Kind::parse(name).ok())
            .collect();
        Self {
            names: STANDARD.map(str::to_owned).to_vec(),
            kinds,
        }
    }

    /// Returns the names in the order of a row.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of features in a row, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Returns how many bars a series gives before its first row.
    #[must_use]
    pub fn warmup_bars(&self) -> usize {
        self.kinds
            .iter()
            .map(|kind| kind.warmup_bars())
            .max()
            .unwrap_or(0)
    }

    /// Returns a number that stands for the names and their order: FNV-1a, 32 bits, over the names joined by newlines.
    #[must_use]
    pub fn id(&self) -> u32 {
        id_of(&self.names)
    }
}

/// Returns what [`FeatureSet::id`] returns, for names that need not be computable here.
#[must_use]
pub fn id_of(names: &[impl AsRef<str>]) -> u32 {
    let mut hash = 0x811c_9dc5u32;
    for (i, name) in names.iter().enumerate() {
        let newline = (i > 0).then_some(b'\n');
        for byte in newline.into_iter().chain(name.as_ref().bytes()) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

/// One feature and its own memory. MACD and KDJ are shared by their lines and kept once, in the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Slot {
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
}

/// The memory of one series. It serialises, and continues with identical bits after a restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureState {
    set_id: u32,
    warmup_bars: usize,
    bars_seen: u64,
    last: Option<(Date, f64)>,
    macd: Macd,
    kdj: Kdj,
    slots: Vec<Slot>,
}

impl FeatureState {
    /// Makes the empty memory of one series.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is out of range, which [`FeatureSet::parse`] has already refused.
    pub fn new(set: &FeatureSet) -> Result<Self, QuantError> {
        let slot = |kind: &Kind| -> Result<Slot, QuantError> {
            Ok(match *kind {
                Kind::Return(n) => Slot::Return(Returns::new(n)?),
                Kind::Volatility(n) => Slot::Volatility(Volatility::new(n)?),
                Kind::MaRatio(n) => Slot::MaRatio(Ma::new(n)?),
                Kind::VolumeRatio(n) => Slot::VolumeRatio(Ma::new(n)?),
                Kind::RangeRatio => Slot::RangeRatio,
                Kind::BodyRatio => Slot::BodyRatio,
                Kind::GapRatio => Slot::GapRatio,
                Kind::Dif => Slot::Dif,
                Kind::Dea => Slot::Dea,
                Kind::Macd => Slot::Macd,
                Kind::K => Slot::K,
                Kind::D => Slot::D,
                Kind::J => Slot::J,
            })
        };
        Ok(Self {
            set_id: set.id(),
            warmup_bars: set.warmup_bars(),
            bars_seen: 0,
            last: None,
            macd: Macd::new(12, 26, 9, Profile::Cn)?,
            kdj: Kdj::new(9, 3, 3, KdjStart::Fifty)?,
            slots: set.kinds.iter().map(slot).collect::<Result<_, _>>()?,
        })
    }

    /// Returns the [`FeatureSet::id`] that this memory belongs to; a restored memory must match its set.
    #[must_use]
    pub fn set_id(&self) -> u32 {
        self.set_id
    }

    /// Returns how many more bars the series has to give before its first row.
    #[must_use]
    pub fn bars_to_go(&self) -> usize {
        usize::try_from(self.bars_seen).map_or(0, |seen| self.warmup_bars.saturating_sub(seen))
    }

    /// Takes the next bar of the series and writes its features into `out`, `[features]`. Once the warm-up is
    /// over nothing is allocated.
    ///
    /// Returns whether a row was written; during the warm-up `out` stays untouched.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`], and leaves the memory as it was, when `out` has another length than the set, or
    /// a price of the bar is not finite and positive, its volume is not finite and at least zero, or one of them is beyond
    /// what indicators take, [`MAX_INPUT`].
    pub fn update_into(&mut self, bar: &Bar, out: &mut [f64]) -> Result<bool, QuantError> {
        if out.len() != self.slots.len() {
            let rule = format!("must have {} places", self.slots.len());
            return Err(QuantError::value(PLACE, "out", rule, out.len()));
        }
        check(bar)?;
        let reference = self
            .last
            .map(|(date, close)| bar.reference_close(date, close));
        if let (Some((_, close)), Some(reference)) = (self.last, reference)
            && reference != close
        {
            self.rescale(reference / close);
        }
        let macd = self.macd.update(bar.close);
        let kdj = self.kdj.update(Hlc::from(bar));
        let ready = self.bars_to_go() == 0;
        for (slot, out) in self.slots.iter_mut().zip(out.iter_mut()) {
            let value = match slot {
                Slot::Return(returns) => returns.update(bar.close),
                Slot::Volatility(volatility) => volatility.update(bar.close),
                Slot::MaRatio(ma) => ma.update(bar.close).map(|mean| bar.close / mean - 1.0),
                Slot::VolumeRatio(ma) => {
                    let before = ma.value();
                    ma.update(bar.volume_shares);
                    before.map(|mean| bar.volume_shares.ln_1p() - mean.ln_1p())
                }
                Slot::RangeRatio => Some((bar.high - bar.low) / bar.close),
                Slot::BodyRatio => Some(bar.close / bar.open - 1.0),
                Slot::GapRatio => reference.map(|reference| bar.open / reference - 1.0),
                Slot::Dif => macd.map(|macd| macd.dif / bar.close),
                Slot::Dea => macd.map(|macd| macd.dea / bar.close),
                Slot::Macd => macd.map(|macd| macd.bar / bar.close),
                Slot::K => kdj.map(|kdj| kdj.k / 100.0),
                Slot::D => kdj.map(|kdj| kdj.d / 100.0),
                Slot::J => kdj.map(|kdj| kdj.j / 100.0),
            };
            // Every slot has a value once its warm-up is over, and the warm-up of the set is the longest of them.
            if let (true, Some(value)) = (ready, value) {
                *out = value;
            }
        }
        self.bars_seen = self.bars_seen.saturating_add(1);
        self.last = Some((bar.date, bar.close));
        Ok(ready)
    }

    /// Takes the next bar of the series and returns its features, or `None` during the warm-up.
    ///
    /// # Errors
    /// As [`FeatureState::update_into`].
    pub fn update(&mut self, bar: &Bar) -> Result<Option<Vec<f64>>, QuantError> {
        let mut row = vec![0.0; self.slots.len()];
        Ok(self.update_into(bar, &mut row)?.then_some(row))
    }

    fn rescale(&mut self, factor: f64) {
        self.macd.rescale(factor);
        self.kdj.rescale(factor);
        for slot in &mut self.slots {
            match slot {
                Slot::Return(returns) => returns.rescale(factor),
                Slot::Volatility(volatility) => volatility.rescale(factor),
                Slot::MaRatio(ma) => ma.rescale(factor),
                Slot::VolumeRatio(ma) => ma.rescale(1.0 / factor),
                _ => {}
            }
        }
    }
}

fn check(bar: &Bar) -> Result<(), QuantError> {
    let prices = [
        ("open", Some(bar.open)),
        ("high", Some(bar.high)),
        ("low", Some(bar.low)),
        ("close", Some(bar.close)),
        ("pre_close", bar.pre_close),
    ];
    for (field, price) in prices {
        if let Some(price) = price
            && finite(PLACE, field, price)? <= 0.0
        {
            return Err(QuantError::value(PLACE, field, "must be positive", price));
        }
        // Beyond these an indicator would take the bar for none.
        if let Some(price) = price
            && !is_price(price)
        {
            let rule = format!("must lie between {:e} and {MAX_INPUT:e}", 1.0 / MAX_INPUT);
            return Err(QuantError::value(PLACE, field, rule, price));
        }
    }
    if finite(PLACE, "volume_shares", bar.volume_shares)? < 0.0 {
        return Err(QuantError::value(
            PLACE,
            "volume_shares",
            "must not be negative",
            bar.volume_shares,
        ));
    }
    if bar.volume_shares > MAX_INPUT {
        let rule = format!("must be at most {MAX_INPUT:e}");
        return Err(QuantError::value(
            PLACE,
            "volume_shares",
            rule,
            bar.volume_shares,
        ));
    }
    Ok(())
}
