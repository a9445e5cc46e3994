//! Bars on the wire.

use heqis_actors::{Key, Payload};
use heqis_quant::{Bar, Marks};

use crate::{date, symbol};

/// A bar of market data.
///
/// Decoding accepts any prices and volumes, NaN included: the cleaner judges them, on whichever node it runs.
#[derive(Clone, Debug, PartialEq, Payload)]
#[payload(name = "bar")]
pub struct BarMessage(#[payload(key = key, as = Wire)] pub Bar);

fn key(bar: &Bar) -> Key {
    bar.symbol.as_key()
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    symbol: u128,
    time_ns: i64,
    days: i32,
    prices: [f64; 4],
    pre_close: Option<f64>,
    volume_shares: f64,
    amount_cny: Option<f64>,
    marks: u16,
}

impl From<&Bar> for Wire {
    fn from(bar: &Bar) -> Self {
        Self {
            symbol: bar.symbol.as_key(),
            time_ns: bar.time_ns,
            days: bar.date.days(),
            prices: [bar.open, bar.high, bar.low, bar.close],
            pre_close: bar.pre_close,
            volume_shares: bar.volume_shares,
            amount_cny: bar.amount_cny,
            marks: bar.marks.bits(),
        }
    }
}

impl TryFrom<Wire> for Bar {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let [open, high, low, close] = wire.prices;
        Ok(Self {
            symbol: symbol(wire.symbol)?,
            time_ns: wire.time_ns,
            date: date(wire.days)?,
            open,
            high,
            low,
            close,
            pre_close: wire.pre_close,
            volume_shares: wire.volume_shares,
            amount_cny: wire.amount_cny,
            marks: Marks::from_bits(wire.marks)
                .ok_or_else(|| format!("marks {:#04x} hold an unknown bit", wire.marks))?,
        })
    }
}
