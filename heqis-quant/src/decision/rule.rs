//! What a prediction alone says, with two thresholds instead of one, so that a prediction that hovers does not trade.

use serde::{Deserialize, Serialize};

use super::{Side, Stance, VerdictReason};
use crate::QuantError;
use crate::error::finite;

const PLACE: &str = "decision rule";

/// What a model says about the next bar.
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

    /// Returns the probability of the class that speaks for a side: see [`Verdict::confidence`](super::Verdict).
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

/// Which head of the model speaks.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SignalMode {
    /// The predicted return, beyond the thresholds `enter` and `exit`.
    #[default]
    Return,
    /// The classes: up more probable than both others enters, down more probable than both others leaves. `enter` and
    /// `exit` are not read.
    Class,
    /// Both: nothing is done unless the return and the classes say the same.
    Both,
}

/// When to enter and when to leave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRule {
    /// A predicted return of at least this much enters.
    pub enter: f64,
    /// A predicted return of at most this much leaves. It must lie below `enter`; the space between is the hysteresis.
    pub exit: f64,
    /// Entering needs a probability of up of at least this much, 0 to 1.
    pub min_confidence: f64,
    /// Leaving needs a probability of down of at least this much, 0 to 1; by default none, so that a doubtful position
    /// is not held only because the model hesitates.
    #[serde(default)]
    pub min_exit_confidence: f64,
}

impl DecisionRule {
    /// Returns an error when the rule cannot work.
    pub(super) fn validate(&self) -> Result<(), QuantError> {
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

    /// Returns what the prediction says to one who is in or out.
    pub(super) fn signal(
        &self,
        mode: SignalMode,
        stance: Stance,
        prediction: &Prediction,
    ) -> VerdictReason {
        use VerdictReason as Why;
        if !prediction.is_valid() {
            return Why::InvalidPrediction;
        }
        let [down, flat, up] = prediction.probabilities;
        let expected = prediction.predicted_return;
        let by_return = mode != SignalMode::Class;
        let by_class = mode != SignalMode::Return;
        match stance {
            Stance::Out if by_return && expected < self.enter => Why::BelowEnter,
            Stance::Out if by_class && up <= down.max(flat) => Why::NotUp,
            Stance::Out if up < self.min_confidence => Why::LowConfidence,
            Stance::Out => Why::Entered,
            Stance::In if by_return && expected > self.exit => Why::AboveExit,
            Stance::In if by_class && down <= up.max(flat) => Why::NotDown,
            Stance::In if down < self.min_exit_confidence => Why::LowExitConfidence,
            Stance::In => Why::Exited,
        }
    }
}
