//! One decision, in memory as in a journal.

use serde::{Deserialize, Deserializer, Serialize};

use super::ranked::Ranked;
use super::reason::{DecisionReason, Side};
use super::rule::Prediction;
use super::state::{DecisionState, Position, RiskState};
use crate::date::Date;
use crate::symbol::Symbol;

/// One decision on one bar, with everything that restores the state after it. Its JSON is the text of a journal's entry; a
/// number that is not finite is null there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price, CNY.
    #[serde(deserialize_with = "number")]
    pub close: f64,
    /// What to do.
    pub side: Side,
    /// The probability of the class that supports the side: up for buy, down for sell, the largest of the three for hold;
    /// 0 for an invalid prediction.
    #[serde(deserialize_with = "number")]
    pub confidence: f64,
    /// Why.
    pub reason: DecisionReason,
    /// The position after this decision.
    #[serde(rename = "stance")]
    pub position: Position,
    /// What the risk filters keep after this decision; left out of the text where it is empty.
    #[serde(rename = "carry", default, skip_serializing_if = "RiskState::is_empty")]
    pub risk: RiskState,
    /// Predicted return to the next close: 0.01 is one percent.
    #[serde(deserialize_with = "number")]
    pub predicted_return: f64,
    /// Probabilities of down, flat and up.
    #[serde(deserialize_with = "numbers")]
    pub probabilities: [f64; 3],
    /// The place in a cross-section, of a decision that is made from ranks; left out of the text of all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranked: Option<Ranked>,
}

/// Reads a number; null is a number that was not finite, as in a decision on an invalid prediction.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 3], D::Error> {
    <[Option<f64>; 3]>::deserialize(from)
        .map(|numbers| numbers.map(|number| number.unwrap_or(f64::NAN)))
}

impl Decision {
    /// Returns the prediction that the decision was made on.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        Prediction {
            predicted_return: self.predicted_return,
            probabilities: self.probabilities,
        }
    }

    /// Returns the order that a filter or the trading state refused, `None` where none was refused; the
    /// [`reason`](Self::reason) says which filter.
    #[must_use]
    pub fn refused_side(&self) -> Option<Side> {
        self.reason.refused_side(self.position)
    }

    /// Returns the text of a journal's entry without its id and checksum, as a JSON object.
    #[must_use]
    pub fn text(&self) -> String {
        // Numbers, names and dates always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl DecisionState {
    /// Returns the state as it was after `decision`.
    #[must_use]
    pub fn after(decision: &Decision) -> Self {
        Self {
            position: decision.position,
            risk: decision.risk,
            last_date: Some(decision.date),
        }
    }
}
