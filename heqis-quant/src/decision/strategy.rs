//! Signal, filters and trading state in one step.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::filters::Filters;
use super::market::{FilterIndicators, MarketSnapshot};
use super::reason::{DecisionReason, Side};
use super::record::Decision;
use super::rule::{DecisionRule, Prediction, SignalMode};
use super::state::{DecisionState, Position};
use crate::bar::BarRef;
use crate::error::QuantError;

/// Which orders are allowed at all. It overrides every signal and filter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TradingState {
    /// All orders are allowed.
    #[default]
    Active,
    /// No purchases; positions may be sold.
    Reducing,
    /// No purchases and no sales, risk exits included.
    Halted,
}

impl TradingState {
    /// Returns the name, the same as in JSON and in trading state files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reducing => "reducing",
            Self::Halted => "halted",
        }
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The result of the order that a decision led to, as a broker reports it. A pipeline without a broker assumes that every
/// decision is carried out at the close on which it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExecutionReport {
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

/// When to trade: which output of the model gives the signal, its thresholds, and the filters.
///
/// ```
/// use heqis_quant::decision::{DecisionState, MarketSnapshot, TradingState};
/// use heqis_quant::bar::BarRef;
/// use heqis_quant::{Date, DecisionRule, Filters, Prediction, Side, SignalMode, Strategy, Symbol};
///
/// let strategy = Strategy {
///     mode: SignalMode::Return,
///     rule: DecisionRule { enter: 0.01, exit: 0.0, min_confidence: 0.5, min_exit_confidence: 0.0 },
///     filters: Filters::default(),
/// };
/// strategy.validate()?;
/// let date = Date::parse("2024-01-02")?;
/// let bar = BarRef { symbol: Symbol::parse("600000.SH")?, date, time_ns: date.close_time_ns(), close: 7.0 };
/// let snapshot = MarketSnapshot::of_close(date, bar.close);
/// let prediction = Prediction { predicted_return: 0.02, probabilities: [0.1, 0.2, 0.7] };
/// let mut state = DecisionState::default();
/// let bought = strategy.decide(&mut state, &bar, &snapshot, &prediction, TradingState::Active);
/// assert_eq!((bought.side, bought.confidence), (Side::Buy, 0.7));
/// let held = strategy.decide(&mut state, &bar, &snapshot, &prediction, TradingState::Active);
/// assert_eq!(held.reason.name(), "above_exit");
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Which output of the model gives the signal; by default the predicted return.
    #[serde(default)]
    pub mode: SignalMode,
    /// When to buy and when to sell.
    pub rule: DecisionRule,
    /// What can refuse the signal; by default nothing.
    #[serde(default)]
    pub filters: Filters,
}

impl Strategy {
    /// Returns an error when a parameter is out of its range; to be called once, when the strategy is read.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a threshold is not finite, `exit` is not below `enter`, a confidence is not
    /// between 0 and 1, or a parameter of a filter is out of its range.
    pub fn validate(&self) -> Result<(), QuantError> {
        self.rule.validate()?;
        self.filters.validate()
    }

    /// Returns the filter indicators that a [`MarketSnapshot`] for this strategy must have.
    #[must_use]
    pub fn filter_indicators(&self) -> FilterIndicators {
        self.filters.indicators()
    }

    /// Returns whether a filter reads more of the market than the close. Without one, [`MarketSnapshot::of_close`] is
    /// enough.
    #[must_use]
    pub fn needs_market(&self) -> bool {
        self.filters.needs_market()
    }

    /// Decides on one bar of one instrument, at its close, and updates `state` for the next decision.
    ///
    /// In this order: days are counted down and the entry price follows the price level; a broken limit lock bans
    /// purchases; a risk exit (broken limit lock, stop-loss) sells whatever the model predicts; otherwise the signal of the
    /// mode is taken, and the first filter that objects refuses it; the trading state comes last.
    pub fn decide(
        &self,
        state: &mut DecisionState,
        bar: &BarRef,
        snapshot: &MarketSnapshot,
        prediction: &Prediction,
        trading: TradingState,
    ) -> Decision {
        state.advance(snapshot.date, snapshot.level_ratio);
        let broken = self.filters.breaks_limit_lock(snapshot);
        if let Some(broken) = broken {
            state.risk.ban_days = state.risk.ban_days.max(broken.ban_days + 1);
        }
        let reason = self.reason(state, snapshot, prediction, broken.is_some());
        let reason = match (trading, reason.side()) {
            (TradingState::Halted, Side::Buy | Side::Sell) => DecisionReason::Halted,
            (TradingState::Reducing, Side::Buy) => DecisionReason::Reducing,
            _ => reason,
        };
        let side = reason.side();
        match side {
            Side::Buy => self.bought(state, snapshot.close),
            Side::Sell => self.sold(state, snapshot.close),
            Side::Hold => {}
        }
        Decision {
            symbol: bar.symbol,
            date: bar.date,
            time_ns: bar.time_ns,
            close: bar.close,
            side,
            confidence: prediction.confidence(side),
            reason,
            position: state.position,
            risk: state.risk,
            predicted_return: prediction.predicted_return,
            probabilities: prediction.probabilities,
            ranked: None,
        }
    }

    /// Corrects the state by a broker's report on the last decision's order; to be called before the next decision.
    pub fn report(&self, state: &mut DecisionState, report: ExecutionReport) {
        match report {
            ExecutionReport::Bought { price } => self.bought(state, price),
            ExecutionReport::Sold { price } => self.sold(state, price),
            ExecutionReport::NotBought => {
                state.position = Position::Flat;
                state.risk.entry_price = None;
            }
            ExecutionReport::NotSold => {
                state.position = Position::Long;
                state.risk.cool_down_days = 0;
            }
        }
    }

    fn reason(
        &self,
        state: &DecisionState,
        snapshot: &MarketSnapshot,
        prediction: &Prediction,
        broken: bool,
    ) -> DecisionReason {
        let filters = &self.filters;
        if state.position == Position::Long {
            if broken {
                return DecisionReason::LimitLockBroken;
            }
            if filters.stops(state, snapshot) {
                return DecisionReason::StopLoss;
            }
        }
        let signal = self.rule.signal(self.mode, state.position, prediction);
        let refused = match signal {
            DecisionReason::Entered => filters.refuses_buy(state, snapshot, prediction),
            DecisionReason::Exited if filters.limit_up_hold && snapshot.closed_at_upper_limit() => {
                Some(DecisionReason::LimitUp)
            }
            _ => None,
        };
        refused.unwrap_or(signal)
    }

    fn bought(&self, state: &mut DecisionState, price: f64) {
        state.position = Position::Long;
        state.risk.entry_price = self.filters.needs_entry_price().then_some(price);
    }

    /// A sale below the entry price starts the cool-down, the day of the sale included.
    fn sold(&self, state: &mut DecisionState, price: f64) {
        state.position = Position::Flat;
        state.risk.cool_down_days = match (self.filters.loss_cool_down_days, state.risk.entry_price)
        {
            (Some(days), Some(entry)) if price < entry => days + 1,
            _ => 0,
        };
    }
}
