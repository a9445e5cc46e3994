//! A trading decision on its way.

use heqis_actors::{Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::decision::journal::Record;
use heqis_quant::decision::{Carry, Stance, VerdictReason};
use heqis_quant::{Prediction, Side, Verdict};

use crate::view::read_with_tail;
use crate::{BarRef, BarRefWire, finite, rule};

/// What the decision rule made of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The bar after whose close the decision was made.
    pub bar: BarRef,
    /// Side, confidence, reason, and the stance that follows.
    pub verdict: Verdict,
    /// What the model said.
    pub prediction: Prediction,
    /// Number in the journal of the node that decided, from 1; 0 while it is not recorded.
    pub number: u64,
}

impl From<&Decision> for Record {
    fn from(decision: &Decision) -> Self {
        let bar = &decision.bar;
        Self::new(
            (bar.symbol, bar.date, bar.time_ns, bar.close),
            &decision.verdict,
            &decision.prediction,
        )
    }
}

impl From<&Record> for Decision {
    fn from(record: &Record) -> Self {
        Self {
            bar: BarRef {
                symbol: record.symbol,
                date: record.date,
                time_ns: record.time_ns,
                close: record.close,
            },
            verdict: record.verdict(),
            prediction: record.prediction(),
            number: 0,
        }
    }
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
    number: u64,
}

/// What filters remember; it follows only where there is something to remember.
#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct CarryWire {
    entry_price: Option<f64>,
    cool_down_days: u32,
    ban_days: u32,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct TailedWire {
    wire: Wire,
    tail: CarryWire,
}

impl CarryWire {
    fn checked(self, payload: &'static str) -> Result<Carry, PayloadError> {
        let carry = Carry {
            entry_price: self
                .entry_price
                .map(|price| finite(payload, "entry_price", price))
                .transpose()?,
            cool_down_days: self.cool_down_days,
            ban_days: self.ban_days,
        };
        if carry.is_empty() {
            return Err(rule(payload, "an empty memory is not sent".into()));
        }
        Ok(carry)
    }
}

const SIDES: [Side; 3] = [Side::Buy, Side::Hold, Side::Sell];

impl Payload for Decision {
    const NAME: &'static str = "decision";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
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
            number: self.number,
        };
        let carry = &self.verdict.carry;
        if carry.is_empty() {
            encode_meta(Self::NAME, &wire, out)?;
        } else {
            let tail = CarryWire {
                entry_price: carry.entry_price,
                cool_down_days: carry.cool_down_days,
                ban_days: carry.ban_days,
            };
            encode_meta(Self::NAME, &TailedWire { wire, tail }, out)?;
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let (wire, tail) = read_with_tail!(Self::NAME, bytes, Wire, TailedWire);
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
                carry: tail
                    .map(|tail| tail.checked(Self::NAME))
                    .transpose()?
                    .unwrap_or_default(),
            },
            prediction: Prediction {
                predicted_return: wire.predicted_return,
                probabilities: wire.probabilities,
            },
            number: wire.number,
        })
    }
}
