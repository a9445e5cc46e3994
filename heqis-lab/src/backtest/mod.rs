//! The lab's judge: wanted sides in, money out, under the rules of the A-share market.
//!
//! - [`market`]: calendar, bars in cents, special treatment, listing and ex-right events: **data enters here**.
//! - [`broker`]: cash and positions, orders made after a close and filled at the next open, day by day.
//! - [`allocation`]: wanted sides → orders, over a shared account; [`simulate`] runs a whole history.
//! - [`metrics`]: what a run was worth.
//! - [`report`]: a run as tables: **data leaves here**.
//!
//! Money is in integer cents (`i64`) and shares are whole. Every sum is checked and ends the run with an error, so that
//! nothing wraps; with an account below the bounds of [`broker::BrokerConfig::validate`] and prices below those of
//! [`market::Stock::new`] no check is ever reached.
//!
//! What is *not* here: limits, lots and fees ([`heqis_quant::rules`]), and where wanted sides come from
//! ([`heqis_quant::decision`]): the broker never knows.

pub mod allocation;
pub mod broker;
pub mod market;
pub mod metrics;
pub mod report;

pub use allocation::{Allocation, Want, Weighting, simulate};
pub use broker::{Broker, BrokerConfig};
pub use market::{Facts, Market, Stock};
