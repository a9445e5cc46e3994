//! What the stages of the pipeline say to one another, and how it lies on the wire.
//!
//! ```text
//! market ▸ BarMessage ▸ cleaner ▸ BarMessage ▸ indicators ▸ FeatureRow ▸ npu-feature ▸ Features ▸ trt-engine
//!        ▸ PredictionMessage ▸ signal ▸ Decision ▸ journal, feedback
//! ```
//!
//! Every message is keyed by its symbol and carries the bar's date and close time, so that a decision can be traced to
//! its bar. The meta part is a fixed struct in the bincode layout; [`Features`] adds a tensor. Where filters ask for it,
//! a `View` of the market follows the bar to its decision. Decoding checks every
//! rule of the domain again: a peer may be older, newer or broken. What a model said crosses as it was said, numbers that
//! are not finite among it: `signal` holds on such a prediction, and its decision has to reach whoever reads decisions.
//!
//! Not here: how a message comes about (`nodes/gateway`, `nodes/compute`), and the frame around it (`heqis-actors`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod bar;
mod decision;
mod features;
mod prediction;
mod view;

pub use bar::BarMessage;
pub use decision::Decision;
pub use features::{FeatureRow, Features};
pub use prediction::PredictionMessage;

use heqis_actors::PayloadError;
use heqis_quant::{Date, Symbol};

/// Subject of the terms by which `indicators` and `signal` agree on what filters see of the market.
pub const GAUGES: &str = "gauges of the market";

/// The bar that a message derives from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarRef {
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Exchange close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price as the vendor gave it, CNY.
    pub close: f64,
}

/// [`BarRef`] as it lies in meta parts.
#[derive(Clone, Copy, Debug, wincode::SchemaRead, wincode::SchemaWrite)]
struct BarRefWire {
    symbol: u128,
    days: i32,
    time_ns: i64,
    close: f64,
}

impl From<&BarRef> for BarRefWire {
    fn from(bar: &BarRef) -> Self {
        Self {
            symbol: bar.symbol.as_key(),
            days: bar.date.days(),
            time_ns: bar.time_ns,
            close: bar.close,
        }
    }
}

impl BarRefWire {
    fn checked(self, payload: &'static str) -> Result<BarRef, PayloadError> {
        Ok(BarRef {
            symbol: symbol(payload, self.symbol)?,
            date: date(payload, self.days)?,
            time_ns: self.time_ns,
            close: finite(payload, "close", self.close)?,
        })
    }
}

fn rule(payload: &'static str, rule: String) -> PayloadError {
    PayloadError::Rule { payload, rule }
}

fn symbol(payload: &'static str, key: u128) -> Result<Symbol, PayloadError> {
    Symbol::from_key(key).map_err(|error| rule(payload, error.to_string()))
}

fn date(payload: &'static str, days: i32) -> Result<Date, PayloadError> {
    Date::from_days(days).ok_or_else(|| rule(payload, format!("day {days} is no date")))
}

fn finite(payload: &'static str, field: &str, value: f64) -> Result<f64, PayloadError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(rule(
            payload,
            format!("{field} is {value}, it must be finite"),
        ))
    }
}
