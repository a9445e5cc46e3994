//! A trading decision on its way.

use heqis_actors::{Key, Payload, PayloadError, Tensor, meta, read_meta};
use heqis_quant::decision::{Carry, Stance, VerdictReason};
use heqis_quant::{Prediction, Side, Verdict};

use crate::{BarRef, BarRefWire, finite, probabilities, rule};

/// What the decision rule made of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The bar after whose close the decision was made.
    pub bar: BarRef,
    /// Side, confidence, reason, and the stance that follows.
    pub verdict: Verdict,
    /// What the model said.
    pub prediction: Prediction,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    bar: BarRefWire,
    side: u8,
    confidence: f64,
    reason: u8,
    is_in: bool,
    predicted_return: f64,
    probabilities: [f64; 3],
}

const SIDES: [Side; 3] = [Side::Buy, Side::Hold, Side::Sell];

impl Payload for Decision {
    const NAME: &'static str = "decision";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<Option<&Tensor>, PayloadError> {
        let position = |found: Option<usize>| {
            found
                .and_then(|at| u8::try_from(at).ok())
                .unwrap_or(u8::MAX)
        };
        let wire = Wire {
            bar: (&self.bar).into(),
            side: position(SIDES.iter().position(|side| *side == self.verdict.side)),
            confidence: self.verdict.confidence,
            reason: position(
                VerdictReason::ALL
                    .iter()
                    .position(|reason| *reason == self.verdict.reason),
            ),
            is_in: self.verdict.stance == Stance::In,
            predicted_return: self.prediction.predicted_return,
            probabilities: self.prediction.probabilities,
        };
        meta(Self::NAME, &wire, out)?;
        Ok(None)
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let wire: Wire = read_meta(Self::NAME, bytes)?;
        let unknown =
            |field: &str, tag: u8| rule(Self::NAME, format!("{field} has the unknown tag {tag}"));
        Ok(Self {
            bar: wire.bar.checked(Self::NAME)?,
            verdict: Verdict {
                side: *SIDES
                    .get(usize::from(wire.side))
                    .ok_or_else(|| unknown("side", wire.side))?,
                confidence: finite(Self::NAME, "confidence", wire.confidence)?,
                reason: *VerdictReason::ALL
                    .get(usize::from(wire.reason))
                    .ok_or_else(|| unknown("reason", wire.reason))?,
                stance: if wire.is_in { Stance::In } else { Stance::Out },
                carry: Carry::default(),
            },
            prediction: Prediction {
                predicted_return: finite(Self::NAME, "predicted_return", wire.predicted_return)?,
                probabilities: probabilities(Self::NAME, wire.probabilities)?,
            },
        })
    }
}
