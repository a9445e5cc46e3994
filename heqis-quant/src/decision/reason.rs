//! Sides, and the reasons of decisions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Position;

/// What a decision does with one instrument.
///
/// Exhaustive: a program that trades must decide on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Buys.
    Buy,
    /// Keeps the position as it is.
    Hold,
    /// Sells.
    Sell,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buy => "buy",
            Self::Hold => "hold",
            Self::Sell => "sell",
        })
    }
}

/// Declares the reasons once, with their names and their texts.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a decision is what it is. New reasons are added at the end: the position in [`DecisionReason::ALL`] is the
        /// tag on the wire. The names are those of journals and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum DecisionReason {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl DecisionReason {
            /// All reasons, for counters and tags.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// Returns the name, the same as in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Bought: the signal is to buy.
    Entered = "entered",
    /// Sold: the signal is to sell.
    Exited = "exited",
    /// Held flat: the predicted return is below `enter`.
    BelowEnter = "below_enter",
    /// Held flat: the signal is to buy, but the probability of up is below `min_confidence`.
    LowConfidence = "low_confidence",
    /// Held long: the predicted return is above `exit`.
    AboveExit = "above_exit",
    /// Held long: the signal is to sell, but the probability of down is below `min_exit_confidence`.
    LowExitConfidence = "low_exit_confidence",
    /// Held: the prediction is not valid, see [`Prediction::is_valid`](super::Prediction::is_valid).
    InvalidPrediction = "invalid_prediction",
    /// Held flat: up is not the most probable class.
    NotUp = "not_up",
    /// Held long: down is not the most probable class.
    NotDown = "not_down",
    /// Sold: the price has fallen to the stop-loss.
    StopLoss = "stop_loss",
    /// Sold: a limit-locked bar was followed by one that was not, with a burst of volume.
    LimitLockBroken = "board_broken",
    /// Refused to buy: the bar closed at its lower limit.
    LimitDown = "limit_down",
    /// Refused to buy: the bar is limit-locked, its open and close are at one limit.
    LimitLocked = "one_word_board",
    /// Refused to buy: a limit lock broke within the last `ban_days`.
    BuyBan = "buy_ban",
    /// Refused to buy: the short mean is not above the long one, or one of them has no value yet.
    NoTrend = "no_trend",
    /// Refused to buy: the last position ended at a loss within the last `loss_cool_down_days`.
    CoolDown = "cool_down",
    /// Refused to buy: the day's gain is above its cap, or unknown.
    DailyGain = "daily_gain",
    /// Refused to buy: the price opened with a gap upwards and fell back.
    GapFallBack = "gap_fall_back",
    /// Refused to buy: the RSI is outside its limits, or has no value yet.
    RsiFilter = "rsi_gate",
    /// Refused to buy: the ADX is below its minimum, or has no value yet.
    AdxFilter = "adx_gate",
    /// Refused to buy: the predicted return is below `min_predicted_return`.
    LowReturn = "low_return",
    /// Refused to sell: the bar closed at its upper limit.
    LimitUp = "limit_up",
    /// Refused to buy: the trading state is reducing.
    Reducing = "reducing",
    /// Refused to buy or sell: the trading state is halted.
    Halted = "halted",
    /// Bought by rank: among the best.
    TopRanked = "top_ranked",
    /// Sold by rank: a better one takes its place, or more are held than allowed.
    Dropped = "dropped",
    /// Bought more: the weight is below the target.
    Increased = "increased",
    /// Sold a part: the weight is above the target.
    Reduced = "reduced",
    /// Held flat: others rank higher.
    Outranked = "outranked",
    /// Held long: no better one takes its place.
    Kept = "kept",
    /// Held: portfolios are not rebalanced after this cross-section.
    NotRebalanced = "not_rebalanced",
    /// Held long: what a replacement is expected to gain does not cover its cost.
    BelowCost = "below_cost",
    /// Held: the turnover limit of the rebalancing is reached.
    TurnoverLimit = "turnover_limit",
    /// Held flat: the sector has its share already.
    SectorCap = "sector_cap",
    /// Held: the bar closed at a limit, where the next one is not expected to trade.
    AtLimit = "at_limit",
    /// Held flat: there is no cash.
    NoCash = "no_cash",
    /// An earlier order was not filled yet and waits for the next bar.
    Waiting = "waiting",
    /// An earlier order was not filled in its time and is given up.
    GivenUp = "given_up",
    /// Held: the prediction came after its cross-section was closed.
    Late = "late",
}

impl DecisionReason {
    /// Returns what a decision with this reason does.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Entered | Self::TopRanked | Self::Increased => Side::Buy,
            Self::Exited
            | Self::StopLoss
            | Self::LimitLockBroken
            | Self::Dropped
            | Self::Reduced => Side::Sell,
            _ => Side::Hold,
        }
    }

    /// Returns whether only a portfolio decides so.
    #[must_use]
    pub const fn is_of_portfolio(self) -> bool {
        self as u8 >= Self::TopRanked as u8
    }

    /// Returns whether a filter or the trading state refused an order.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::LimitDown
                | Self::LimitLocked
                | Self::BuyBan
                | Self::NoTrend
                | Self::CoolDown
                | Self::DailyGain
                | Self::GapFallBack
                | Self::RsiFilter
                | Self::AdxFilter
                | Self::LowReturn
                | Self::LimitUp
                | Self::Reducing
                | Self::Halted
        )
    }

    /// Returns the order that was refused for this reason; `None` for a reason that refuses nothing. `position` is the
    /// position after the decision, which a refusal leaves as it was: only a flat instrument is bought and only a long one
    /// is sold.
    #[must_use]
    pub fn refused_side(self, position: Position) -> Option<Side> {
        self.is_refusal().then_some(match position {
            Position::Flat => Side::Buy,
            Position::Long => Side::Sell,
        })
    }
}

impl fmt::Display for DecisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
