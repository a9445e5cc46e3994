//! The predictions of one timestamp on the wire.

use heqis_actors::{FieldReader, Payload, PayloadError, Tensor, encode_meta};
use heqis_portfolio::{Row, Section};
use heqis_quant::{BarRef, MarketSnapshot, Prediction};

use crate::snapshot::MarketSnapshotWire;
use crate::{BarRefWire, symbol};

/// All predictions of one timestamp, with their scores and the names of what is missing. It has no key.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossSection(pub Section);

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    number: u64,
    time_ns: i64,
    rows: Vec<RowWire>,
    missing: Vec<u128>,
    is_late: bool,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct RowWire {
    bar: BarRefWire,
    snapshot: MarketSnapshotWire,
    predicted_return: f64,
    probabilities: [f64; 3],
    score: f64,
}

impl From<&Row> for RowWire {
    fn from(row: &Row) -> Self {
        Self {
            bar: (&row.bar).into(),
            snapshot: (&row.snapshot).into(),
            predicted_return: row.prediction.predicted_return,
            probabilities: row.prediction.probabilities,
            score: row.score,
        }
    }
}

impl TryFrom<RowWire> for Row {
    type Error = String;

    fn try_from(wire: RowWire) -> Result<Self, String> {
        let bar = BarRef::try_from(wire.bar)?;
        let mut snapshot = MarketSnapshot::try_from(wire.snapshot)?;
        (snapshot.date, snapshot.close) = (bar.date, bar.close);
        Ok(Self {
            bar,
            snapshot,
            prediction: Prediction {
                predicted_return: wire.predicted_return,
                probabilities: wire.probabilities,
            },
            score: wire.score,
        })
    }
}

impl Payload for CrossSection {
    const NAME: &'static str = "cross-section";
    const WIRE: bool = true;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let section = &self.0;
        let wire = Wire {
            number: section.number,
            time_ns: section.time_ns,
            rows: section.rows.iter().map(RowWire::from).collect(),
            missing: section.missing.iter().map(|one| one.as_key()).collect(),
            is_late: section.is_late,
        };
        encode_meta(Self::NAME, &wire, out)
    }

    fn decode(bytes: &[u8], _: Tensor) -> Result<Self, PayloadError> {
        let mut fields = FieldReader::new(Self::NAME, bytes)?;
        let wire: Wire = fields.read()?;
        fields.finish()?;
        checked(wire).map_err(|broken| fields.rule(broken))
    }
}

fn checked(wire: Wire) -> Result<CrossSection, String> {
    let rows: Result<Vec<Row>, String> = wire.rows.into_iter().map(Row::try_from).collect();
    let rows = rows?;
    if rows.is_empty() {
        return Err("a cross-section has a row at least".into());
    }
    if let Some(pair) = rows
        .windows(2)
        .find(|pair| pair[0].bar.symbol >= pair[1].bar.symbol)
    {
        let (first, second) = (pair[0].bar.symbol, pair[1].bar.symbol);
        return Err(format!("the rows of {first} and {second} are in disorder"));
    }
    if let Some(row) = rows.iter().find(|row| row.bar.time_ns != wire.time_ns) {
        return Err(format!("the row of {} is of another time", row.bar.symbol));
    }
    let missing: Result<_, String> = wire.missing.into_iter().map(symbol).collect();
    Ok(CrossSection(Section {
        number: wire.number,
        time_ns: wire.time_ns,
        rows,
        missing: missing?,
        is_late: wire.is_late,
    }))
}
