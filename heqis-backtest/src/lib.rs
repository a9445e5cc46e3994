//! The backtest: simulates the trades of a strategy on historical bars, under the rules of its market.
//!
//! - [`inputs`]: bars, reference data and a benchmark: **data enters here**. [`instrument`]: the reference data of one stock;
//!   [`settings`]: the settings file; [`rule`]: the origin of the decision rule.
//! - [`strategy`]: bundles on the CPU engine, or a table → predictions; predictions → decisions, by the code of the boards.
//! - [`backtest_input`]: decided stocks over one span; [`run`]: decisions → orders, money and metrics.
//! - [`market`]: calendar, bars in integer price units, limits and entitlements.
//! - [`broker`]: cash, positions and orders, which are submitted after a close and filled at the next open.
//! - [`allocation`]: order intents → orders of a shared account; [`simulate`] runs a whole history.
//! - [`portfolio`]: ranks of all stocks → orders of a shared account, with the fills fed back.
//! - [`alternatives`]: the same account without a model: *hold* and *cash*.
//! - [`metrics`]: the metrics of a run; [`caveats`]: its limits, such as missing dividends and delisted holdings.
//! - [`tear_sheet`]: whether scores rank stocks, without account and broker.
//! - [`report`]: the files of a run: **data leaves here**.
//!
//! Money is in integer cents (`i64`), and quantities are integers. Every sum is checked, and an overflow ends the run with an
//! error. Within the bounds of [`broker::BrokerConfig::validate`] and [`market::Stock::new`], no sum overflows.
//!
//! What is *not* here: limits, lots and fees ([`heqis_quant::rules`]), and the decision itself
//! ([`heqis_quant::decision`]). The broker does not depend on the origin of orders.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod allocation;
pub mod alternatives;
pub mod backtest_input;
pub mod broker;
pub mod caveats;
mod error;
pub mod inputs;
pub mod instrument;
pub mod market;
pub mod metrics;
pub mod portfolio;
pub mod report;
pub mod rule;
pub mod run;
pub mod settings;
pub mod strategy;
pub mod tear_sheet;

pub use allocation::{Allocation, OrderIntent, Weighting, simulate};
pub use broker::{Broker, BrokerConfig};
pub use error::BacktestError;
pub use instrument::InstrumentInfo;
pub use market::{MarketHistory, Stock};
