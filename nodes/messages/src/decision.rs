//! Trading decisions on the wire.

use heqis_actors::{FieldReader, Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::decision::{DecisionReason, Position, RiskState};
use heqis_quant::{BarRef, Decision, Side};

use crate::{BarRefWire, finite};

/// A decision, and its number in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionMessage {
    /// The decision.
    pub decision: Decision,
    /// Number in the journal of the node that decided, from 1; 0 while it is not recorded.
    pub number: u64,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    bar: BarRefWire,
    side: u8,
    confidence: f64,
    reason: u8,
    is_long: bool,
    predicted_return: f64,
    probabilities: [f64; 3],
    number: u64,
}

/// [`RiskState`] after a decision; absent where it is empty.
#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct RiskStateWire {
    entry_price: Option<f64>,
    cool_down_days: u32,
    ban_days: u32,
}

impl TryFrom<RiskStateWire> for RiskState {
    type Error = String;

    fn try_from(wire: RiskStateWire) -> Result<Self, String> {
        let entry_price = wire.entry_price.map(|price| finite("entry_price", price));
        let risk = Self {
            entry_price: entry_price.transpose()?,
            cool_down_days: wire.cool_down_days,
            ban_days: wire.ban_days,
        };
        match risk.is_empty() {
            true => Err("an empty risk state is not sent".into()),
            false => Ok(risk),
        }
    }
}

const SIDES: [Side; 3] = [Side::Buy, Side::Hold, Side::Sell];

/// The index of `value` in `all`, which has fewer than 255 values.
fn tag<T: PartialEq>(all: &[T], value: &T) -> u8 {
    let index = all.iter().position(|one| one == value);
    index
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

impl Payload for DecisionMessage {
    const NAME: &'static str = "decision";
    const WIRE: bool = true;

    fn key(&self) -> Key {
        self.decision.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let decision = &self.decision;
        let bar = BarRef {
            symbol: decision.symbol,
            date: decision.date,
            time_ns: decision.time_ns,
            close: decision.close,
        };
        let wire = Wire {
            bar: (&bar).into(),
            side: tag(&SIDES, &decision.side),
            confidence: decision.confidence,
            reason: tag(&DecisionReason::ALL, &decision.reason),
            is_long: decision.position == Position::Long,
            predicted_return: decision.predicted_return,
            probabilities: decision.probabilities,
            number: self.number,
        };
        encode_meta(Self::NAME, &wire, out)?;
        let risk = &decision.risk;
        if !risk.is_empty() {
            let extension = RiskStateWire {
                entry_price: risk.entry_price,
                cool_down_days: risk.cool_down_days,
                ban_days: risk.ban_days,
            };
            encode_meta(Self::NAME, &extension, out)?;
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let mut fields = FieldReader::new(Self::NAME, bytes)?;
        let wire: Wire = fields.read()?;
        let extension: Option<RiskStateWire> = match fields.is_empty() {
            true => None,
            false => Some(fields.read()?),
        };
        fields.finish()?;
        checked(wire, extension).map_err(|broken| fields.rule(broken))
    }
}

fn checked(wire: Wire, extension: Option<RiskStateWire>) -> Result<DecisionMessage, String> {
    let unknown = |field: &str, tag: u8| format!("{field} has the unknown tag {tag}");
    let bar = BarRef::try_from(wire.bar)?;
    let decision = Decision {
        symbol: bar.symbol,
        date: bar.date,
        time_ns: bar.time_ns,
        close: bar.close,
        side: *SIDES
            .get(usize::from(wire.side))
            .ok_or_else(|| unknown("side", wire.side))?,
        confidence: finite("confidence", wire.confidence)?,
        reason: *DecisionReason::ALL
            .get(usize::from(wire.reason))
            .ok_or_else(|| unknown("reason", wire.reason))?,
        position: match wire.is_long {
            true => Position::Long,
            false => Position::Flat,
        },
        risk: extension
            .map(RiskState::try_from)
            .transpose()?
            .unwrap_or_default(),
        predicted_return: wire.predicted_return,
        probabilities: wire.probabilities,
    };
    Ok(DecisionMessage {
        decision,
        number: wire.number,
    })
}
