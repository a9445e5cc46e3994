//! Prediction to signal, with two thresholds instead of one, so that a prediction that hovers around one does not trade on
//! every bar.

use serde::{Deserialize, Serialize};

use super::{DecisionReason, Position, Side};
use crate::error::QuantError;
use crate::error::finite;

const PLACE: &str = "decision rule";

/// A model's prediction of the next bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The expected return to the next close: 0.01 is one percent.
    pub predicted_return: f64,
    /// The probabilities of down, flat and up. They sum to 1.
    pub probabilities: [f64; 3],
}

impl Prediction {
    /// Returns whether all numbers are finite, and the probabilities lie in 0 to 1 and sum to 1 within 0.001, which
    /// leaves room for a softmax in half precision.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let sum: f64 = self.probabilities.iter().sum();
        self.predicted_return.is_finite()
            && self.probabilities.iter().all(|p| (0.0..=1.0).contains(p))
            && (sum - 1.0).abs() <= 1e-3
    }

    /// Returns the probability of the class that supports a side: see [`Decision::confidence`](super::Decision).
    #[must_use]
    pub fn confidence(&self, side: Side) -> f64 {
        let [down, flat, up] = self.probabilities;
        match side {
            _ if !self.is_valid() => 0.0,
            Side::Buy => up,
            Side::Sell => down,
            Side::Hold => down.max(flat).max(up),
        }
    }
}

/// Which output of the model gives the signal.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignalMode {
    /// The predicted return, beyond the thresholds `enter` and `exit`.
    #[default]
    Return,
    /// The classes: up more probable than both others buys, down more probable than both others sells. `enter` and
    /// `exit` are not used.
    Class,
    /// Both: an order needs the return and the classes to agree.
    Both,
}

impl SignalMode {
    /// Returns whether the signal is taken from the probabilities of the classes.
    #[must_use]
    pub fn reads_classes(self) -> bool {
        match self {
            Self::Return => false,
            Self::Class | Self::Both => true,
        }
    }

    /// Returns its name in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Class => "class",
            Self::Both => "both",
        }
    }
}

/// When to buy and when to sell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRule {
    /// A predicted return of at least this much buys.
    pub enter: f64,
    /// A predicted return of at most this much sells. It must lie below `enter`; the space between is the hysteresis.
    pub exit: f64,
    /// Buying needs a probability of up of at least this much, 0 to 1.
    pub min_confidence: f64,
    /// Selling needs a probability of down of at least this much, 0 to 1; by default 0, so that low confidence alone
    /// never keeps a position.
    #[serde(default)]
    pub min_exit_confidence: f64,
}

impl DecisionRule {
    /// Checks the ranges of the thresholds.
    ///
    /// # Errors
    ///
    /// [`QuantError::Value`] with the first threshold that is out of its range.
    pub fn validate(&self) -> Result<(), QuantError> {
        finite(PLACE, "enter", self.enter)?;
        if finite(PLACE, "exit", self.exit)? >= self.enter {
            return Err(QuantError::value(
                PLACE,
                "exit",
                format!("must lie below enter = {}", self.enter),
                self.exit,
            ));
        }
        for (field, value) in [
            ("min_confidence", self.min_confidence),
            ("min_exit_confidence", self.min_exit_confidence),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(QuantError::value(
                    PLACE,
                    field,
                    "must lie between 0 and 1",
                    value,
                ));
            }
        }
        Ok(())
    }

    /// Returns the signal of a prediction for a position, before filters.
    pub(super) fn signal(
        &self,
        mode: SignalMode,
        position: Position,
        prediction: &Prediction,
    ) -> DecisionReason {
        use DecisionReason as Why;
        if !prediction.is_valid() {
            return Why::InvalidPrediction;
        }
        let [down, flat, up] = prediction.probabilities;
        let expected = prediction.predicted_return;
        let by_return = mode != SignalMode::Class;
        let by_class = mode != SignalMode::Return;
        match position {
            Position::Flat if by_return && expected < self.enter => Why::BelowEnter,
            Position::Flat if by_class && up <= down.max(flat) => Why::NotUp,
            Position::Flat if up < self.min_confidence => Why::LowConfidence,
            Position::Flat => Why::Entered,
            Position::Long if by_return && expected > self.exit => Why::AboveExit,
            Position::Long if by_class && down <= up.max(flat) => Why::NotDown,
            Position::Long if down < self.min_exit_confidence => Why::LowExitConfidence,
            Position::Long => Why::Exited,
        }
    }
}
