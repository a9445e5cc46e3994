//! Bars on the wire.

use heqis_actors::{Key, Payload, PayloadError, Tensor, decode_meta, encode_meta};
use heqis_quant::{Bar, Marks};

use crate::{date, rule, symbol};

/// A bar of market data.
#[derive(Clone, Debug, PartialEq)]
pub struct BarMessage(pub Bar);

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

impl Payload for BarMessage {
    const NAME: &'static str = "bar";

    fn key(&self) -> Key {
        self.0.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let bar = &self.0;
        let wire = Wire {
            symbol: bar.symbol.as_key(),
            time_ns: bar.time_ns,
            days: bar.date.days(),
            prices: [bar.open, bar.high, bar.low, bar.close],
            pre_close: bar.pre_close,
            volume_shares: bar.volume_shares,
            amount_cny: bar.amount_cny,
            marks: bar.marks.bits(),
        };
        encode_meta(Self::NAME, &wire, out)
    }

    /// Accepts any prices and volumes, NaN included: the cleaner judges them, on whichever node it runs.
    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let wire: Wire = decode_meta(Self::NAME, bytes)?;
        let [open, high, low, close] = wire.prices;
        Ok(Self(Bar {
            symbol: symbol(Self::NAME, wire.symbol)?,
            time_ns: wire.time_ns,
            date: date(Self::NAME, wire.days)?,
            open,
            high,
            low,
            close,
            pre_close: wire.pre_close,
            volume_shares: wire.volume_shares,
            amount_cny: wire.amount_cny,
            marks: Marks::from_bits(wire.marks).ok_or_else(|| {
                rule(
                    Self::NAME,
                    format!("marks {:#04x} hold an unknown bit", wire.marks),
                )
            })?,
        }))
    }
}
