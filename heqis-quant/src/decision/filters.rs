//! The filters between a signal and a decision: each with its switch or parameter, all off by default.

use serde::{Deserialize, Serialize};

use super::market::{AdxParams, FilterIndicators, RsiParams, TrendParams, terminal};
use super::{DecisionReason, DecisionState, MarketSnapshot, Prediction};
use crate::error::QuantError;
use crate::indicators::Profile;

const PLACE: &str = "filters";
/// Ten years of trading days: far above any use, and a bound on what a configuration can ask for.
const MAX_DAYS: u32 = 2_500;

/// A limit lock that breaks: a bar that opened and closed at its upper limit is followed by one that did not, with a burst
/// of volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitLockBreak {
    /// The volume of the bar over that of the limit-locked bar, at least this much.
    pub volume_ratio: f64,
    /// No purchases on the day of the break and on this many days after it.
    pub ban_days: u32,
}

/// A day that opens with a gap upwards and falls back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GapFallBack {
    /// The open over the reference close, minus 1, at least this much: 0.02 is two percent.
    pub gap: f64,
    /// How far the close lies below the open, as a fraction of the open, at least this much.
    pub fall: f64,
}

/// Limits of the RSI.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RsiFilter {
    /// Bars of the index.
    pub bars: usize,
    /// Which formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
    /// The least RSI, 0 to 100.
    #[serde(default)]
    pub min: f64,
    /// The greatest RSI, 0 to 100.
    #[serde(default = "hundred")]
    pub max: f64,
}

fn hundred() -> f64 {
    100.0
}

/// A minimum of the ADX: below it there is no trend of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdxFilter {
    /// Bars of the directional indicators.
    pub bars: usize,
    /// Bars of the mean that smooths them.
    pub smooth_bars: usize,
    /// Which formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
    /// The least ADX, 0 to 100.
    pub min: f64,
}

/// Every filter with its switch or parameter; absent or false means off. They are meant for daily bars.
///
/// A filter that needs a number which has no value yet, such as a mean in its warm-up, refuses. The limit filters do
/// nothing on a day whose limits are not in force or unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// A bar that closed at its upper limit is held: the signal to sell is refused. Risk exits are not.
    pub limit_up_hold: bool,
    /// A bar that closed at its lower limit is not bought.
    pub limit_down_no_buy: bool,
    /// A limit-locked bar, open and close at one limit, is not bought.
    #[serde(rename(serialize = "one_word_no_buy"), alias = "one_word_no_buy")]
    #[schemars(extend("x-formerly" = "one_word_no_buy"))]
    pub limit_locked_no_buy: bool,
    /// A limit lock that breaks with a burst of volume is sold, and purchases are banned for some days.
    #[serde(rename(serialize = "one_word_break"), alias = "one_word_break")]
    #[schemars(extend("x-formerly" = "one_word_break"))]
    pub limit_lock_break: Option<LimitLockBreak>,
    /// Buying needs the short mean of closes above the long one.
    pub trend: Option<TrendParams>,
    /// A position is sold once the close lies this fraction below its entry price: 0.08 is eight percent.
    pub stop_loss: Option<f64>,
    /// No purchases on this many days after a sale below the entry price.
    pub loss_cool_down_days: Option<u32>,
    /// Buying needs a gain of the day of at most this much: 0.05 is five percent.
    pub max_daily_gain: Option<f64>,
    /// A day that opened with a gap and fell back is not bought.
    pub gap_fall_back: Option<GapFallBack>,
    /// Buying needs an RSI within the limits.
    pub rsi: Option<RsiFilter>,
    /// Buying needs an ADX of at least the minimum.
    pub adx: Option<AdxFilter>,
    /// Buying needs a predicted return of at least this much, whatever the signal mode.
    pub min_predicted_return: Option<f64>,
}

impl Filters {
    /// Former and current names of the renamed keys. A reader of a file accepts the former ones for one version and warns;
    /// what is written keeps the former names, so that reports and hashes stay the same.
    pub const RENAMED: [(&str, &str); 2] = [
        ("one_word_no_buy", "limit_locked_no_buy"),
        ("one_word_break", "limit_lock_break"),
    ];

    /// Returns the indicators that the filters read.
    #[must_use]
    pub fn indicators(&self) -> FilterIndicators {
        FilterIndicators {
            trend: self.trend,
            rsi: self.rsi.map(|filter| RsiParams {
                bars: filter.bars,
                profile: filter.profile,
            }),
            adx: self.adx.map(|filter| AdxParams {
                bars: filter.bars,
                smooth_bars: filter.smooth_bars,
                profile: filter.profile,
            }),
        }
    }

    /// Returns whether a filter reads more of the market than the close.
    pub(super) fn needs_market(&self) -> bool {
        let Self {
            limit_up_hold,
            limit_down_no_buy,
            limit_locked_no_buy,
            limit_lock_break,
            trend,
            // A position is followed through corporate actions.
            stop_loss,
            loss_cool_down_days,
            max_daily_gain,
            gap_fall_back,
            rsi,
            adx,
            min_predicted_return: _,
        } = self;
        *limit_up_hold
            || *limit_down_no_buy
            || *limit_locked_no_buy
            || limit_lock_break.is_some()
            || trend.is_some()
            || stop_loss.is_some()
            || loss_cool_down_days.is_some()
            || max_daily_gain.is_some()
            || gap_fall_back.is_some()
            || rsi.is_some()
            || adx.is_some()
    }

    /// Returns whether a filter needs the price of the last entry.
    pub(super) fn needs_entry_price(&self) -> bool {
        self.stop_loss.is_some() || self.loss_cool_down_days.is_some()
    }

    /// Returns an error when a parameter is out of its range.
    pub(super) fn validate(&self) -> Result<(), QuantError> {
        let refuse = |field: &str, rule: &str, value: &dyn ToString| {
            Err(QuantError::value(PLACE, field, rule, value.to_string()))
        };
        let days = |field: &str, days: u32| {
            if (1..=MAX_DAYS).contains(&days) {
                Ok(())
            } else {
                refuse(field, &format!("must be in 1..={MAX_DAYS}"), &days)
            }
        };
        // NaN compares false, so it is refused as well.
        let between = |field: &str, value: f64, low: f64, high: f64| {
            if value > low && value < high {
                Ok(())
            } else {
                let rule = format!("must lie between {low} and {high}, both excluded");
                refuse(field, &rule, &value)
            }
        };
        if let Some(broken) = self.limit_lock_break {
            between(
                "limit_lock_break.volume_ratio",
                broken.volume_ratio,
                0.0,
                1e6,
            )?;
            days("limit_lock_break.ban_days", broken.ban_days)?;
        }
        if let Some(trend) = self.trend
            && trend.short_bars >= trend.long_bars
        {
            let rule = format!("must be less than long_bars = {}", trend.long_bars);
            return refuse("trend.short_bars", &rule, &trend.short_bars);
        }
        if let Some(fraction) = self.stop_loss {
            between("stop_loss", fraction, 0.0, 1.0)?;
        }
        if let Some(count) = self.loss_cool_down_days {
            days("loss_cool_down_days", count)?;
        }
        if let Some(gain) = self.max_daily_gain {
            between("max_daily_gain", gain, -1.0, 1e6)?;
        }
        if let Some(back) = self.gap_fall_back {
            between("gap_fall_back.gap", back.gap, 0.0, 1e6)?;
            between("gap_fall_back.fall", back.fall, 0.0, 1.0)?;
        }
        if let Some(filter) = self.rsi
            && !(0.0 <= filter.min && filter.min < filter.max && filter.max <= 100.0)
        {
            let rule = format!("must lie in 0 to 100 and below max = {}", filter.max);
            return refuse("rsi.min", &rule, &filter.min);
        }
        if let Some(filter) = self.adx {
            between("adx.min", filter.min, 0.0, 100.0)?;
        }
        if let Some(least) = self.min_predicted_return {
            between("min_predicted_return", least, -1.0, 1e6)?;
        }
        // The indicators check the ranges of their lengths.
        super::MarketState::new(&self.indicators()).map(|_| ())
    }

    /// Returns the parameters of the break when this bar breaks the limit lock of the bar before it.
    pub(super) fn breaks_limit_lock(&self, snapshot: &MarketSnapshot) -> Option<LimitLockBreak> {
        self.limit_lock_break.filter(|broken| {
            snapshot.after_limit_lock
                && !snapshot.is_limit_locked()
                && snapshot
                    .volume_ratio
                    .is_some_and(|ratio| ratio >= broken.volume_ratio)
        })
    }

    /// Returns whether the position has fallen to its stop.
    pub(super) fn stops(&self, state: &DecisionState, snapshot: &MarketSnapshot) -> bool {
        match (self.stop_loss, state.risk.entry_price) {
            (Some(fraction), Some(entry)) => snapshot.close <= entry * (1.0 - fraction),
            _ => false,
        }
    }

    /// Returns the first filter that refuses to buy, in the order of [`DecisionReason::ALL`].
    pub(super) fn refuses_buy(
        &self,
        state: &DecisionState,
        snapshot: &MarketSnapshot,
        prediction: &Prediction,
    ) -> Option<DecisionReason> {
        use DecisionReason as Why;
        if self.limit_down_no_buy && snapshot.closed_at_lower_limit() {
            return Some(Why::LimitDown);
        }
        if self.limit_locked_no_buy && snapshot.is_limit_locked() {
            return Some(Why::LimitLocked);
        }
        if state.risk.ban_days > 0 {
            return Some(Why::BuyBan);
        }
        if self.trend.is_some()
            && !matches!((snapshot.ma_short, snapshot.ma_long), (Some(short), Some(long)) if short > long)
        {
            return Some(Why::NoTrend);
        }
        if state.risk.cool_down_days > 0 {
            return Some(Why::CoolDown);
        }
        if let Some(cap) = self.max_daily_gain
            && snapshot
                .reference_close
                .is_none_or(|before| snapshot.close > before * (1.0 + cap))
        {
            return Some(Why::DailyGain);
        }
        if let Some(back) = self.gap_fall_back
            && snapshot
                .reference_close
                .is_none_or(|before| snapshot.open >= before * (1.0 + back.gap))
            && snapshot.close <= snapshot.open * (1.0 - back.fall)
        {
            return Some(Why::GapFallBack);
        }
        if let Some(filter) = self.rsi
            && !snapshot
                .rsi
                .is_some_and(|rsi| (filter.min..=filter.max).contains(&rsi))
        {
            return Some(Why::RsiFilter);
        }
        if let Some(filter) = self.adx
            && !snapshot.adx.is_some_and(|adx| adx >= filter.min)
        {
            return Some(Why::AdxFilter);
        }
        if let Some(least) = self.min_predicted_return
            && prediction.predicted_return < least
        {
            return Some(Why::LowReturn);
        }
        None
    }
}
