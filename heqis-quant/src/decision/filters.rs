//! The filters between a signal and a decision: each a switch with its parameter, all off by default.

use serde::{Deserialize, Serialize};

use super::market::{AdxGauge, Gauges, RsiGauge, TrendGauge, terminal};
use super::{Memory, Prediction, VerdictReason, View};
use crate::QuantError;
use crate::indicators::Profile;

const PLACE: &str = "filters";
/// Ten years of trading days: far above any use, and a bound on what a configuration can ask for.
const MAX_DAYS: u32 = 2_500;

/// A one-word board that breaks: after a bar that opened and closed at its upper limit comes one that does not, with a
/// burst of volume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneWordBreak {
    /// The volume of the bar over that of the one-word board, at least this much.
    pub volume_ratio: f64,
    /// Nothing is bought on the day of the break and on so many days after it.
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

/// A gate on the RSI.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RsiGate {
    /// Bars of the index.
    pub bars: usize,
    /// Whose formula; by default that of Chinese terminals.
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

/// A gate on the ADX: below it there is no trend of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdxGate {
    /// Bars of the directional indicators.
    pub bars: usize,
    /// Bars of the mean over them.
    pub smooth_bars: usize,
    /// Whose formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
    /// The least ADX, 0 to 100.
    pub min: f64,
}

/// Every filter with its switch and its parameter; absent or false means off. They are made for daily bars.
///
/// A filter that needs a number which is not known, such as a mean in its warm-up, refuses. The limit filters do nothing
/// on a day whose limits are not in force or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// A bar that closed at its upper limit is held: the signal to sell is refused. Risk exits are not.
    pub limit_up_hold: bool,
    /// A bar that closed at its lower limit is not bought.
    pub limit_down_no_buy: bool,
    /// A one-word board, open and close at a limit, is not bought.
    pub one_word_no_buy: bool,
    /// A one-word board that breaks with a burst of volume is sold, and buying is banned for some days.
    pub one_word_break: Option<OneWordBreak>,
    /// Buying needs the short mean of closes above the long one.
    pub trend: Option<TrendGauge>,
    /// A position is sold once the close lies this fraction below its entry price: 0.08 is eight percent.
    pub stop_loss: Option<f64>,
    /// After a sale below the entry price nothing is bought on so many days.
    pub loss_cool_down_days: Option<u32>,
    /// Buying needs a gain of the day of at most this much: 0.05 is five percent.
    pub max_daily_gain: Option<f64>,
    /// A day that opened with a gap and fell back is not bought.
    pub gap_fall_back: Option<GapFallBack>,
    /// Buying needs an RSI inside the gate.
    pub rsi: Option<RsiGate>,
    /// Buying needs an ADX of at least the gate.
    pub adx: Option<AdxGate>,
    /// Buying needs a predicted return of at least this much, whatever the signal mode.
    pub min_predicted_return: Option<f64>,
}

impl Filters {
    /// Returns the gauges that the filters read.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges {
            trend: self.trend,
            rsi: self.rsi.map(|gate| RsiGauge {
                bars: gate.bars,
                profile: gate.profile,
            }),
            adx: self.adx.map(|gate| AdxGauge {
                bars: gate.bars,
                smooth_bars: gate.smooth_bars,
                profile: gate.profile,
            }),
        }
    }

    /// Returns whether a filter reads more of the market than the close.
    pub(super) fn needs_market(&self) -> bool {
        let Self {
            limit_up_hold,
            limit_down_no_buy,
            one_word_no_buy,
            one_word_break,
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
            || *one_word_no_buy
            || one_word_break.is_some()
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

    /// Returns an error when a parameter cannot work.
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
                let rule = format!("must lie between {low} and {high}, without these");
                refuse(field, &rule, &value)
            }
        };
        if let Some(broken) = self.one_word_break {
            between("one_word_break.volume_ratio", broken.volume_ratio, 0.0, 1e6)?;
            days("one_word_break.ban_days", broken.ban_days)?;
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
        if let Some(gate) = self.rsi
            && !(0.0 <= gate.min && gate.min < gate.max && gate.max <= 100.0)
        {
            let rule = format!("must lie in 0 to 100 and below max = {}", gate.max);
            return refuse("rsi.min", &rule, &gate.min);
        }
        if let Some(gate) = self.adx {
            between("adx.min", gate.min, 0.0, 100.0)?;
        }
        if let Some(least) = self.min_predicted_return {
            between("min_predicted_return", least, -1.0, 1e6)?;
        }
        // The indicators know the ranges of their lengths.
        super::Market::new(&self.gauges()).map(|_| ())
    }

    /// Returns whether this bar breaks the one-word board before it.
    pub(super) fn breaks_board(&self, view: &View) -> Option<OneWordBreak> {
        self.one_word_break.filter(|broken| {
            view.after_one_word
                && !view.is_one_word_board()
                && view
                    .volume_ratio
                    .is_some_and(|ratio| ratio >= broken.volume_ratio)
        })
    }

    /// Returns whether the position has fallen to its stop.
    pub(super) fn stops(&self, memory: &Memory, view: &View) -> bool {
        match (self.stop_loss, memory.carry.entry_price) {
            (Some(fraction), Some(entry)) => view.close <= entry * (1.0 - fraction),
            _ => false,
        }
    }

    /// Returns the first filter that refuses to buy, in the order of [`VerdictReason::ALL`].
    pub(super) fn refuses_buy(
        &self,
        memory: &Memory,
        view: &View,
        prediction: &Prediction,
    ) -> Option<VerdictReason> {
        use VerdictReason as Why;
        if self.limit_down_no_buy && view.closed_at_lower_limit() {
            return Some(Why::LimitDown);
        }
        if self.one_word_no_buy && view.is_one_word_board() {
            return Some(Why::OneWordBoard);
        }
        if memory.carry.ban_days > 0 {
            return Some(Why::BuyBan);
        }
        if self.trend.is_some()
            && !matches!((view.ma_short, view.ma_long), (Some(short), Some(long)) if short > long)
        {
            return Some(Why::NoTrend);
        }
        if memory.carry.cool_down_days > 0 {
            return Some(Why::CoolDown);
        }
        if let Some(cap) = self.max_daily_gain
            && view
                .reference_close
                .is_none_or(|before| view.close > before * (1.0 + cap))
        {
            return Some(Why::DailyGain);
        }
        if let Some(back) = self.gap_fall_back
            && view
                .reference_close
                .is_none_or(|before| view.open >= before * (1.0 + back.gap))
            && view.close <= view.open * (1.0 - back.fall)
        {
            return Some(Why::GapFallBack);
        }
        if let Some(gate) = self.rsi
            && !view
                .rsi
                .is_some_and(|rsi| (gate.min..=gate.max).contains(&rsi))
        {
            return Some(Why::RsiGate);
        }
        if let Some(gate) = self.adx
            && !view.adx.is_some_and(|adx| adx >= gate.min)
        {
            return Some(Why::AdxGate);
        }
        if let Some(least) = self.min_predicted_return
            && prediction.predicted_return < least
        {
            return Some(Why::LowReturn);
        }
        None
    }
}
