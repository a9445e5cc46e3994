//! What was decided, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::memory::{Carry, Stance};

/// What to do with one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Enter.
    Buy,
    /// Leave things as they are.
    Hold,
    /// Leave.
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

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What to do.
    pub side: Side,
    /// The probability of the class that speaks for the side: up for buy, down for sell, the largest of the three for
    /// hold; 0 for an invalid prediction.
    pub confidence: f64,
    /// Why.
    pub reason: VerdictReason,
    /// The stance after this decision.
    pub stance: Stance,
    /// What else has to be remembered after this decision; with [`Verdict::stance`] and the date it restores a
    /// [`Memory`](super::Memory).
    #[serde(default, skip_serializing_if = "Carry::is_empty")]
    pub carry: Carry,
}

impl Verdict {
    /// Returns what would have been done had nothing refused it: the side itself unless the reason is a
    /// [refusal](VerdictReason::is_refusal).
    #[must_use]
    pub fn wanted(&self) -> Side {
        match (self.reason.is_refusal(), self.stance) {
            (false, _) => self.side,
            // A refusal leaves the stance as it was, and one can only enter from outside and leave from inside.
            (true, Stance::Out) => Side::Buy,
            (true, Stance::In) => Side::Sell,
        }
    }
}

/// Declares the reasons once, with their names and their texts.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a verdict is what it is. New reasons are added at the end: the place in [`VerdictReason::ALL`] is the
        /// tag on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum VerdictReason {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl VerdictReason {
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
    /// Bought: the signal says so.
    Entered = "entered",
    /// Sold: the signal says so.
    Exited = "exited",
    /// Held outside: the return is below `enter`.
    BelowEnter = "below_enter",
    /// Held outside: the signal says enter, the probability of up does not reach `min_confidence`.
    LowConfidence = "low_confidence",
    /// Held inside: the return is above `exit`.
    AboveExit = "above_exit",
    /// Held inside: the signal says leave, the probability of down does not reach `min_exit_confidence`.
    LowExitConfidence = "low_exit_confidence",
    /// Held: the prediction is not valid, see [`Prediction::is_valid`](super::Prediction::is_valid).
    InvalidPrediction = "invalid_prediction",
    /// Held outside: up is not the most probable class.
    NotUp = "not_up",
    /// Held inside: down is not the most probable class.
    NotDown = "not_down",
    /// Sold: the price has fallen to the stop-loss.
    StopLoss = "stop_loss",
    /// Sold: a one-word board was followed by a burst of volume.
    BoardBroken = "board_broken",
    /// Refused to buy: the bar closed at its lower limit.
    LimitDown = "limit_down",
    /// Refused to buy: open and close are at a limit, so nobody could have bought either.
    OneWordBoard = "one_word_board",
    /// Refused to buy: a one-word board was broken not long ago.
    BuyBan = "buy_ban",
    /// Refused to buy: the short mean is not above the long one, or one of them is not known yet.
    NoTrend = "no_trend",
    /// Refused to buy: the last position ended at a loss not long ago.
    CoolDown = "cool_down",
    /// Refused to buy: the day's gain is above its cap, or not known.
    DailyGain = "daily_gain",
    /// Refused to buy: the price opened with a gap upwards and fell back.
    GapFallBack = "gap_fall_back",
    /// Refused to buy: the RSI is outside its gate, or not known yet.
    RsiGate = "rsi_gate",
    /// Refused to buy: the ADX is below its gate, or not known yet.
    AdxGate = "adx_gate",
    /// Refused to buy: the predicted return is too small.
    LowReturn = "low_return",
    /// Refused to sell: the bar closed at its upper limit.
    LimitUp = "limit_up",
    /// Refused to buy: the kill state allows no entries.
    Reducing = "reducing",
    /// Refused to trade at all: the kill state is halted.
    Halted = "halted",
}

impl VerdictReason {
    /// Returns what a decision with this reason does.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Entered => Side::Buy,
            Self::Exited | Self::StopLoss | Self::BoardBroken => Side::Sell,
            _ => Side::Hold,
        }
    }

    /// Returns whether something was wanted that a filter or the kill state refused.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::LimitDown
                | Self::OneWordBoard
                | Self::BuyBan
                | Self::NoTrend
                | Self::CoolDown
                | Self::DailyGain
                | Self::GapFallBack
                | Self::RsiGate
                | Self::AdxGate
                | Self::LowReturn
                | Self::LimitUp
                | Self::Reducing
                | Self::Halted
        )
    }
}

impl fmt::Display for VerdictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
