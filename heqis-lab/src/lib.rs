//! The host's workbench: its commands, over `heqis-data`, `heqis-backtest` and `heqis-train`.
//!
//! - [`commands`]: all of them in one table; [`answer`]: what each returns.
//! - [`fetch`], [`prepare`], [`data`]: making a data set, and looking into it.
//! - [`mod@train`], [`baseline`], [`baselines`], [`predict`], [`export`]: models, what they must beat, and what they say of
//!   any bars.
//! - [`backtest`]: strategies × signal modes × stocks.
//! - [`select`]: many models → one choice, by validation spans, and one run on the test span.
//! - [`audit`]: any strategy → what is dishonest about it.
//! - [`verify`]: whether a bundle computes the same everywhere; [`convert`]: builds for the boards.
//! - [`mod@side`], [`windows`]: one way of computing a model, and what it is asked.
//! - [`parity`]: lab, one process, two nodes and a journal decide the same, to the byte.
//! - [`serve`]: a page for the browser with the bars of a data set and a journal's decisions.
//! - [`error`]: the crate's one error type.
//!
//! What is *not* here: anything that runs while the market is open.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod answer;
pub mod audit;
pub mod backtest;
pub mod baseline;
pub mod baselines;
pub mod commands;
pub mod convert;
pub mod data;
pub mod error;
pub mod export;
pub mod fetch;
pub mod parity;
mod pool;
pub mod predict;
pub mod prepare;
mod python;
pub mod select;
pub mod serve;
pub mod side;
pub mod train;
pub mod verify;
pub mod windows;

pub use error::LabError;
