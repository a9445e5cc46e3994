//! Signal, filters and kill state in one step.

use serde::{Deserialize, Serialize};

use super::filters::Filters;
use super::market::{Gauges, View};
use super::memory::{Memory, Stance};
use super::rule::{DecisionRule, Prediction, SignalMode};
use super::verdict::{Side, Verdict, VerdictReason};
use crate::QuantError;

/// How far trading is allowed at all. It stands above every signal and filter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum KillState {
    /// Everything is allowed.
    #[default]
    Active,
    /// Nothing is bought; positions may be left.
    Reducing,
    /// Nothing is bought or sold, risk exits included.
    Halted,
}

/// What became of an order that a decision led to, as a broker tells it. A decision path without a broker assumes that
/// every decision is carried out at the close on which it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Report {
    /// Bought, at this price in CNY on the level of the last bar that was decided on.
    Bought {
        /// Price of a share.
        price: f64,
    },
    /// Sold everything, at this price in CNY on the level of the last bar that was decided on.
    Sold {
        /// Price of a share.
        price: f64,
    },
    /// The order to buy has ended without a trade.
    NotBought,
    /// The order to sell has ended without a trade.
    NotSold,
}

/// When to trade: which head of the model speaks, its thresholds, and the filters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Which head of the model speaks; by default the predicted return.
    #[serde(default)]
    pub mode: SignalMode,
    /// When to enter and when to leave.
    pub rule: DecisionRule,
    /// What stands between the signal and the decision; by default nothing.
    #[serde(default)]
    pub filters: Filters,
}

impl Strategy {
    /// Returns an error when the strategy cannot work; to be called once, when it is read.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a threshold is not finite, `exit` is not below `enter`, a confidence is not
    /// between 0 and 1, or a parameter of a filter is out of its range.
    pub fn validate(&self) -> Result<(), QuantError> {
        self.rule.validate()?;
        self.filters.validate()
    }

    /// Returns the gauges that a [`View`] for this strategy must carry.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.filters.gauges()
    }

    /// Returns whether a filter reads more of the market than the close. Without one, [`View::of_close`] is enough.
    #[must_use]
    pub fn needs_market(&self) -> bool {
        self.filters.needs_market()
    }

    /// Decides on one bar of one instrument, at its close, and remembers what the next decision needs in `memory`.
    ///
    /// In this order: days are counted down and the entry price follows the price level; a broken one-word board bans
    /// buying; a risk exit (broken board, stop-loss) sells whatever the model says; otherwise the signal of the mode is
    /// taken, and the first filter that objects refuses it; last, the kill state.
    pub fn decide(
        &self,
        memory: &mut Memory,
        view: &View,
        prediction: &Prediction,
        kill: KillState,
    ) -> Verdict {
        memory.advance(view.date, view.level_ratio);
        let broken = self.filters.breaks_board(view);
        if let Some(broken) = broken {
            memory.carry.ban_days = memory.carry.ban_days.max(broken.ban_days + 1);
        }
        let reason = self.reason(memory, view, prediction, broken.is_some());
        let reason = match (kill, reason.side()) {
            (KillState::Halted, Side::Buy | Side::Sell) => VerdictReason::Halted,
            (KillState::Reducing, Side::Buy) => VerdictReason::Reducing,
            _ => reason,
        };
        match reason.side() {
            Side::Buy => {
                memory.stance = Stance::In;
                memory.carry.entry_price = self.entry_price(view.close);
            }
            Side::Sell => {
                memory.stance = Stance::Out;
                memory.carry.cool_down_days = self.cool_down_days(memory, view.close);
            }
            Side::Hold => {}
        }
        Verdict {
            side: reason.side(),
            confidence: prediction.confidence(reason.side()),
            reason,
            stance: memory.stance,
            carry: memory.carry,
        }
    }

    /// Corrects the memory by what a broker tells of the last decision's order; to be called before the next decision.
    pub fn report(&self, memory: &mut Memory, report: Report) {
        match report {
            Report::Bought { price } => {
                memory.stance = Stance::In;
                memory.carry.entry_price = self.entry_price(price);
            }
            Report::Sold { price } => {
                memory.stance = Stance::Out;
                memory.carry.cool_down_days = self.cool_down_days(memory, price);
            }
            Report::NotBought => {
                memory.stance = Stance::Out;
                memory.carry.entry_price = None;
            }
            Report::NotSold => {
                memory.stance = Stance::In;
                memory.carry.cool_down_days = 0;
            }
        }
    }

    fn reason(
        &self,
        memory: &Memory,
        view: &View,
        prediction: &Prediction,
        broken: bool,
    ) -> VerdictReason {
        let filters = &self.filters;
        if memory.stance == Stance::In {
            if broken {
                return VerdictReason::BoardBroken;
            }
            if filters.stops(memory, view) {
                return VerdictReason::StopLoss;
            }
        }
        let signal = self.rule.signal(self.mode, memory.stance, prediction);
        let refused = match signal {
            VerdictReason::Entered => filters.refuses_buy(memory, view, prediction),
            VerdictReason::Exited if filters.limit_up_hold && view.closed_at_upper_limit() => {
                Some(VerdictReason::LimitUp)
            }
            _ => None,
        };
        refused.unwrap_or(signal)
    }

    fn entry_price(&self, price: f64) -> Option<f64> {
        self.filters.needs_entry_price().then_some(price)
    }

    /// Days of cool-down after a sale at `price`, the day of the sale included.
    fn cool_down_days(&self, memory: &Memory, price: f64) -> u32 {
        match (self.filters.loss_cool_down_days, memory.carry.entry_price) {
            (Some(days), Some(entry)) if price < entry => days + 1,
            _ => 0,
        }
    }
}
