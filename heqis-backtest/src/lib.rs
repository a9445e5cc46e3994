//! The lab's judge: wanted sides in, money out, under the rules of the A-share market.
//!
//! - [`market`]: calendar, bars in cents, special treatment, listing and ex-right events: **data enters here**.
//! - [`broker`]: cash and positions, orders made after a close and filled at the next open, day by day.
//! - [`allocation`]: wanted sides → orders, over a shared account; [`simulate`] runs a whole history.
//! - [`alternatives`]: the same account without a model, *hold* and *cash*.
//! - [`strategy`]: bundles on the CPU engine, or a table → predictions; predictions → verdicts by the code of the boards.
//! - [`metrics`]: what a run was worth.
//! - [`caveats`]: what a result does not say by itself: missing dividends, tables that cannot be used, delisted holdings.
//! - [`rule`]: when a strategy trades. [`settings`]: what a run is told; [`inputs`]: what it reads; [`scene`]: what it is made of;
//!   [`run`]: from decisions to money.
//! - [`report`]: a run as tables: **data leaves here**.
//!
//! Money is in integer cents (`i64`) and shares are whole. Every sum is checked and ends the run with an error, so that
//! nothing wraps; with an account below the bounds of [`broker::BrokerConfig::validate`] and prices below those of
//! [`market::Stock::new`] no check is ever reached.
//!
//! What is *not* here: limits, lots and fees ([`heqis_quant::rules`]), and the decision itself
//! ([`heqis_quant::decision`]): the broker never knows where orders come from.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod allocation;
pub mod alternatives;
pub mod broker;
pub mod caveats;
mod error;
pub mod facts;
pub mod inputs;
pub mod market;
pub mod metrics;
pub mod report;
pub mod rule;
pub mod run;
pub mod scene;
pub mod settings;
pub mod strategy;

pub use allocation::{Allocation, Want, Weighting, simulate};
pub use broker::{Broker, BrokerConfig};
pub use error::BacktestError;
pub use facts::Facts;
pub use market::{Market, Stock};
