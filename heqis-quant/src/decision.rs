//! Predictions to decisions, with two thresholds instead of one, so that a prediction that hovers does not trade.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::QuantError;
use crate::error::finite;

const PLACE: &str = "decision rule";

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

/// Whether the last decisions left the instrument in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Not entered, or left again.
    #[default]
    Out,
    /// Entered.
    In,
}

/// The memory of one instrument: its stance after the last decision. [`Verdict::stance`] restores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hysteresis {
    /// The stance after the last decision.
    pub stance: Stance,
}

impl From<Stance> for Hysteresis {
    fn from(stance: Stance) -> Self {
        Self { stance }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictReason {
    /// Bought: the return reaches `enter` with enough confidence.
    Entered,
    /// Sold: the return fell to `exit`.
    Exited,
    /// Held outside: the return is below `enter`.
    BelowEnter,
    /// Held outside: the return reaches `enter`, the probability of up does not reach `min_confidence`.
    LowConfidence,
    /// Held inside: the return is above `exit`.
    AboveExit,
    /// Held inside: the return fell to `exit`, the probability of down does not reach `min_exit_confidence`.
    LowExitConfidence,
    /// Held: the prediction is not valid, see [`Prediction::is_valid`].
    InvalidPrediction,
}

impl VerdictReason {
    /// All reasons, for counters.
    pub const ALL: [Self; 7] = [
        Self::Entered,
        Self::Exited,
        Self::BelowEnter,
        Self::LowConfidence,
        Self::AboveExit,
        Self::LowExitConfidence,
        Self::InvalidPrediction,
    ];

    /// Returns the name, the same as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Exited => "exited",
            Self::BelowEnter => "below_enter",
            Self::LowConfidence => "low_confidence",
            Self::AboveExit => "above_exit",
            Self::LowExitConfidence => "low_exit_confidence",
            Self::InvalidPrediction => "invalid_prediction",
        }
    }
}

impl fmt::Display for VerdictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
    /// The stance after this decision, from which [`Hysteresis`] can be restored.
    pub stance: Stance,
}

impl DecisionRule {
    /// Returns an error when the rule cannot work; to be called once, when it is read.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a threshold is not finite, `exit` is not below `enter`, or a confidence is
    /// not between 0 and 1.
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

    /// Decides on one prediction and remembers the stance in `state`.
    pub fn decide(&self, state: &mut Hysteresis, prediction: &Prediction) -> Verdict {
        use VerdictReason as Why;
        let [down, flat, up] = prediction.probabilities;
        let expected = prediction.predicted_return;
        let reason = match state.stance {
            _ if !prediction.is_valid() => Why::InvalidPrediction,
            Stance::Out if expected < self.enter => Why::BelowEnter,
            Stance::Out if up < self.min_confidence => Why::LowConfidence,
            Stance::Out => Why::Entered,
            Stance::In if expected > self.exit => Why::AboveExit,
            Stance::In if down < self.min_exit_confidence => Why::LowExitConfidence,
            Stance::In => Why::Exited,
        };
        let (side, confidence) = match reason {
            Why::Entered => (Side::Buy, up),
            Why::Exited => (Side::Sell, down),
            Why::InvalidPrediction => (Side::Hold, 0.0),
            _ => (Side::Hold, down.max(flat).max(up)),
        };
        state.stance = match side {
            Side::Buy => Stance::In,
            Side::Sell => Stance::Out,
            Side::Hold => state.stance,
        };
        Verdict {
            side,
            confidence,
            reason,
            stance: state.stance,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const RULE: DecisionRule = DecisionRule {
        enter: 0.01,
        exit: -0.005,
        min_confidence: 0.5,
        min_exit_confidence: 0.3,
    };

    fn says(predicted_return: f64, probabilities: [f64; 3]) -> Prediction {
        Prediction {
            predicted_return,
            probabilities,
        }
    }

    #[test]
    fn every_case_of_the_table_has_its_verdict() {
        use VerdictReason as Why;
        let (up, down, flat) = ([0.2, 0.2, 0.6], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2]);
        for (stance, expected, probabilities, side, confidence, reason) in [
            (Stance::Out, 0.010, up, Side::Buy, 0.6, Why::Entered),
            (Stance::Out, 0.0099, up, Side::Hold, 0.6, Why::BelowEnter),
            (Stance::Out, 0.02, flat, Side::Hold, 0.6, Why::LowConfidence),
            (Stance::Out, -0.02, down, Side::Hold, 0.6, Why::BelowEnter),
            (Stance::In, 0.02, up, Side::Hold, 0.6, Why::AboveExit),
            (Stance::In, -0.004, down, Side::Hold, 0.6, Why::AboveExit),
            (Stance::In, -0.005, down, Side::Sell, 0.6, Why::Exited),
            (
                Stance::In,
                -0.02,
                flat,
                Side::Hold,
                0.6,
                Why::LowExitConfidence,
            ),
            (
                Stance::In,
                f64::NAN,
                up,
                Side::Hold,
                0.0,
                Why::InvalidPrediction,
            ),
            (
                Stance::Out,
                0.02,
                [0.0, 0.0, 0.9],
                Side::Hold,
                0.0,
                Why::InvalidPrediction,
            ),
            (
                Stance::Out,
                0.02,
                [-0.2, 0.2, 1.0],
                Side::Hold,
                0.0,
                Why::InvalidPrediction,
            ),
        ] {
            let mut state = Hysteresis::from(stance);
            let verdict = RULE.decide(&mut state, &says(expected, probabilities));
            assert_eq!(
                (verdict.side, verdict.confidence, verdict.reason),
                (side, confidence, reason)
            );
            assert_eq!(verdict.stance, state.stance);
        }
    }

    #[test]
    fn a_prediction_that_hovers_around_one_threshold_trades_once() {
        for threshold in [RULE.enter, RULE.exit] {
            let mut state = Hysteresis::default();
            let sides: Vec<Side> = (0..100)
                .map(|i| threshold + if i % 2 == 0 { 0.001 } else { -0.001 })
                .map(|r| RULE.decide(&mut state, &says(r, [0.4, 0.0, 0.6])).side)
                .collect();
            let trades = sides.iter().filter(|side| **side != Side::Hold).count();
            assert_eq!(trades, usize::from(threshold == RULE.enter));
        }
    }

    #[test]
    fn a_rule_that_cannot_work_is_refused() {
        assert!(RULE.validate().is_ok());
        for (rule, field) in [
            (DecisionRule { exit: 0.01, ..RULE }, "exit"),
            (
                DecisionRule {
                    enter: f64::NAN,
                    ..RULE
                },
                "enter",
            ),
            (
                DecisionRule {
                    min_confidence: 1.1,
                    ..RULE
                },
                "min_confidence",
            ),
            (
                DecisionRule {
                    min_exit_confidence: f64::NAN,
                    ..RULE
                },
                "min_exit_confidence",
            ),
        ] {
            assert!(
                rule.validate()
                    .unwrap_err()
                    .to_string()
                    .starts_with(&format!("decision rule: {field}: "))
            );
        }
        assert!(
            serde_json::from_str::<DecisionRule>(
                "{\"enter\":1,\"exit\":0,\"min_confidence\":0,\"x\":1}"
            )
            .is_err()
        );
        assert!(serde_json::from_str::<DecisionRule>("{\"enter\":1,\"exit\":0}").is_err());
    }

    #[test]
    fn reasons_are_named_as_in_json() {
        for reason in VerdictReason::ALL {
            assert_eq!(
                serde_json::to_string(&reason).unwrap(),
                format!("\"{reason}\"")
            );
        }
    }

    proptest! {
        #[test]
        fn a_state_restored_from_the_last_verdict_decides_as_the_first_would(
            returns in proptest::collection::vec(-0.03f64..0.03, 1..60), cut in 0usize..59
        ) {
            let probabilities = [0.4, 0.1, 0.5];
            let mut whole = Hysteresis::default();
            let mut broken = Hysteresis::default();
            let mut sides = Vec::new();
            for (i, r) in returns.iter().enumerate() {
                let a = RULE.decide(&mut whole, &says(*r, probabilities));
                let b = RULE.decide(&mut broken, &says(*r, probabilities));
                prop_assert_eq!(a, b);
                if i == cut {
                    let journal = serde_json::to_string(&b).unwrap();
                    broken = serde_json::from_str::<Verdict>(&journal).unwrap().stance.into();
                }
                sides.extend((a.side != Side::Hold).then_some(a.side));
            }
            // Buys and sells alternate, and the first trade is a buy.
            for (i, side) in sides.iter().enumerate() {
                prop_assert_eq!(*side, if i % 2 == 0 { Side::Buy } else { Side::Sell });
            }
        }
    }
}
