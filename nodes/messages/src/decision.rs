//! Trading decisions on the wire.

use heqis_actors::{FieldReader, Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::decision::{DecisionReason, Moments, PortfolioOrder, Position, Ranked, RiskState};
use heqis_quant::{BarRef, Decision, Side, Symbol};

use crate::{BarRefWire, finite, symbol};

/// A decision, and its number in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionMessage {
    /// The decision.
    pub decision: Decision,
    /// Number in the journal of the node that decided, from 1; 0 while it is not recorded.
    pub number: u64,
    /// The instruments that did not come in time, of the last decision on a cross-section; empty for all others.
    pub missing: Vec<Symbol>,
}

impl From<Decision> for DecisionMessage {
    /// A decision that is not recorded.
    fn from(decision: Decision) -> Self {
        Self {
            decision,
            number: 0,
            missing: Vec::new(),
        }
    }
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

/// [`RiskState`] after a decision; absent where it is empty and no [`RankedWire`] follows.
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
        Ok(Self {
            entry_price: entry_price.transpose()?,
            cool_down_days: wire.cool_down_days,
            ban_days: wire.ban_days,
        })
    }
}

/// [`Ranked`], and the names of what is missing; absent where the decision is not made from ranks.
#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct RankedWire {
    section: u64,
    rank: Option<u32>,
    of: u32,
    missing: u32,
    score: f64,
    weight: f64,
    value: f64,
    cash: f64,
    order: Option<OrderWire>,
    unfilled: Option<OrderWire>,
    moments: Option<MomentsWire>,
    names: Vec<u128>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct OrderWire {
    since: u64,
    weight: f64,
    amount: f64,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct MomentsWire {
    count: u32,
    variance: f64,
    covariance: f64,
    market: f64,
}

impl From<PortfolioOrder> for OrderWire {
    fn from(order: PortfolioOrder) -> Self {
        Self {
            since: order.since,
            weight: order.weight,
            amount: order.amount,
        }
    }
}

impl TryFrom<OrderWire> for PortfolioOrder {
    type Error = String;

    fn try_from(wire: OrderWire) -> Result<Self, String> {
        Ok(Self {
            since: wire.since,
            weight: finite("weight", wire.weight)?,
            amount: finite("amount", wire.amount)?,
        })
    }
}

impl RankedWire {
    fn of(ranked: &Ranked, missing: &[Symbol]) -> Self {
        Self {
            section: ranked.section,
            rank: ranked.rank,
            of: ranked.of,
            missing: ranked.missing,
            score: ranked.score,
            weight: ranked.weight,
            value: ranked.value,
            cash: ranked.cash,
            order: ranked.order.map(OrderWire::from),
            unfilled: ranked.unfilled.map(OrderWire::from),
            moments: ranked.moments.map(|moments| MomentsWire {
                count: moments.count,
                variance: moments.variance,
                covariance: moments.covariance,
                market: moments.market,
            }),
            names: missing.iter().map(|one| one.as_key()).collect(),
        }
    }

    fn read(self) -> Result<(Ranked, Vec<Symbol>), String> {
        let order = |wire: Option<OrderWire>| wire.map(PortfolioOrder::try_from).transpose();
        let moments = |wire: MomentsWire| {
            Ok::<_, String>(Moments {
                count: wire.count,
                variance: finite("variance", wire.variance)?,
                covariance: finite("covariance", wire.covariance)?,
                market: finite("market", wire.market)?,
            })
        };
        let ranked = Ranked {
            section: self.section,
            rank: self.rank,
            of: self.of,
            missing: self.missing,
            score: self.score,
            weight: finite("weight", self.weight)?,
            value: finite("value", self.value)?,
            cash: finite("cash", self.cash)?,
            order: order(self.order)?,
            unfilled: order(self.unfilled)?,
            moments: self.moments.map(moments).transpose()?,
        };
        let names: Result<_, String> = self.names.into_iter().map(symbol).collect();
        Ok((ranked, names?))
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
        if !risk.is_empty() || decision.ranked.is_some() {
            let extension = RiskStateWire {
                entry_price: risk.entry_price,
                cool_down_days: risk.cool_down_days,
                ban_days: risk.ban_days,
            };
            encode_meta(Self::NAME, &extension, out)?;
        }
        if let Some(ranked) = &decision.ranked {
            encode_meta(Self::NAME, &RankedWire::of(ranked, &self.missing), out)?;
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let mut fields = FieldReader::new(Self::NAME, bytes)?;
        let wire: Wire = fields.read()?;
        let risk: Option<RiskStateWire> = match fields.is_empty() {
            true => None,
            false => Some(fields.read()?),
        };
        let ranked: Option<RankedWire> = match fields.is_empty() {
            true => None,
            false => Some(fields.read()?),
        };
        fields.finish()?;
        checked(wire, risk, ranked).map_err(|broken| fields.rule(broken))
    }
}

fn checked(
    wire: Wire,
    risk: Option<RiskStateWire>,
    ranked: Option<RankedWire>,
) -> Result<DecisionMessage, String> {
    let risk = risk.map(RiskState::try_from).transpose()?;
    if ranked.is_none() && risk.is_some_and(|risk| risk.is_empty()) {
        return Err("an empty risk state is not sent".into());
    }
    let (ranked, missing) = match ranked.map(RankedWire::read).transpose()? {
        Some((ranked, missing)) => (Some(ranked), missing),
        None => (None, Vec::new()),
    };
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
        risk: risk.unwrap_or_default(),
        predicted_return: wire.predicted_return,
        probabilities: wire.probabilities,
        ranked,
    };
    Ok(DecisionMessage {
        decision,
        number: wire.number,
        missing,
    })
}
