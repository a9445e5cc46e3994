//! The messages between the stages of the pipeline, and their encoding on the wire.
//!
//! ```text
//! market ▸ BarMessage ▸ cleaner ▸ BarMessage ▸ indicators ▸ FeatureRow ▸ npu-feature ▸ Features ▸ trt-engine
//!        ▸ PredictionMessage ▸ signal ▸ DecisionMessage ▸ journal, feedback
//!        ▸ PredictionMessage ▸ rank ▸ CrossSection ▸ portfolio ▸ DecisionMessage ▸ journal, feedback
//! ```
//!
//! Every message but [`CrossSection`], which has many, is keyed by its symbol and carries the bar's date and close time, so that a decision can be traced to its
//! bar. The meta part is a fixed struct in the bincode layout; [`Features`] adds a tensor. Where filters need it, a snapshot
//! of the market travels with the bar to its decision. Decoding checks every rule of the domain again, since a peer can be
//! older, newer or broken. A prediction is sent as the model computed it, non-finite numbers included: `signal` holds on
//! such a prediction, and its decision is recorded like any other.
//!
//! ```
//! use heqis_actors::{Payload, Tensor};
//! use heqis_messages::FeatureRow;
//! use heqis_quant::{BarRef, Date, Symbol};
//!
//! let date = Date::parse("2024-01-02")?;
//! let bar = BarRef { symbol: Symbol::parse("600000.SH")?, date, time_ns: date.close_time_ns(), close: 6.63 };
//! let row = FeatureRow { bar, set_id: 7, values: vec![0.01, -0.02], snapshot: None };
//! let mut bytes = Vec::new();
//! row.encode(&mut bytes)?;
//! assert_eq!(FeatureRow::decode(&bytes, Tensor::default())?, row);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: how a message is made (`nodes/gateway`, `nodes/compute`), and the frame around it (`heqis-actors`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod bar;
mod cross_section;
mod decision;
mod features;
mod prediction;
mod snapshot;

pub use bar::BarMessage;
pub use cross_section::CrossSection;
pub use decision::DecisionMessage;
pub use features::{FeatureRow, Features};
pub use prediction::PredictionMessage;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use heqis_actors::{Key, StageError};
use heqis_quant::{BarRef, Date, Symbol};

/// Name under which `indicators` provides the filters' indicators and `signal` requires them.
pub const FILTER_INDICATORS: &str = "filter indicators";

/// Name under which `trt-engine` provides what its model predicts, unless that is returns, and `signal` requires returns.
pub const TARGET: &str = "target";

/// Name under which `indicators` says whether it sends snapshots of the market, and `rank` requires them.
pub const MARKET: &str = "market";

/// [`BarRef`] in meta parts.
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

impl TryFrom<BarRefWire> for BarRef {
    type Error = String;

    fn try_from(wire: BarRefWire) -> Result<Self, String> {
        Ok(Self {
            symbol: symbol(wire.symbol)?,
            date: date(wire.days)?,
            time_ns: wire.time_ns,
            close: finite("close", wire.close)?,
        })
    }
}

/// The symbol of a key, for a stage that moves its state by key.
///
/// # Errors
/// [`StageError::Config`] for the key of no symbol.
pub fn symbol_of(key: Key) -> Result<Symbol, StageError> {
    Symbol::from_key(key).map_err(StageError::config)
}

/// Adds the state of a symbol that came from another node.
///
/// # Errors
/// [`StageError::Config`] when the stage has a state of it already.
pub fn put_series<T>(
    series: &mut HashMap<Symbol, T>,
    symbol: Symbol,
    state: T,
) -> Result<(), StageError> {
    match series.entry(symbol) {
        Entry::Occupied(_) => Err(StageError::config(format!("{symbol} has a state here"))),
        Entry::Vacant(entry) => {
            entry.insert(state);
            Ok(())
        }
    }
}

fn key(bar: &BarRef) -> Key {
    bar.symbol.as_key()
}

fn symbol(key: u128) -> Result<Symbol, String> {
    Symbol::from_key(key).map_err(|error| error.to_string())
}

fn date(days: i32) -> Result<Date, String> {
    Date::from_days(days).ok_or_else(|| format!("day {days} is not a date"))
}

fn finite(field: &str, value: f64) -> Result<f64, String> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(format!("{field} is {value}, it must be finite")),
    }
}
