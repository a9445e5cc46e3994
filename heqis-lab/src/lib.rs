//! Commands on the host, over `heqis-data`, `heqis-backtest` and `heqis-train`.
//!
//! - [`commands`]: all of them in one table; [`output`]: their result.
//! - [`fetch`], [`prepare`], [`data`]: making and inspecting a data set.
//! - [`mod@train`], [`baseline`], [`baselines`], [`predict`], [`export`]: models, what they must beat, and their
//!   predictions.
//! - [`backtest`]: strategies × signal modes × stocks; [`input_args`]: what it and `predict` read.
//! - [`trees`]: boosted trees of a pool as a bundle.
//! - [`mod@walk_forward`]: a pool retrained for every fold, and how its forecasts rank the instruments of a day.
//! - [`select`]: many models → one choice, by validation spans, and one run on the test span.
//! - [`audit`]: any strategy → look-ahead bias and other sources of false results.
//! - [`verify`]: whether all implementations compute a bundle alike; [`convert`]: builds for the boards.
//! - [`mod@implementation`], [`windows`]: an implementation of a model's computation, and its inputs.
//! - [`parity`]: lab, one process, two nodes and a journal make the same decisions, to the byte.
//! - [`serve`]: a page for the browser with the bars of a data set and a journal's decisions.
//! - [`error`]: the crate's one error type.
//!
//! What is *not* here: anything that runs while the market is open.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod audit;
pub mod backtest;
pub mod baseline;
pub mod baselines;
mod batch_predictor;
pub mod commands;
pub mod convert;
pub mod data;
pub mod error;
pub mod export;
pub mod fetch;
pub mod implementation;
pub mod input_args;
pub mod output;
pub mod parity;
mod pool;
pub mod predict;
pub mod prepare;
mod python;
pub mod search;
pub mod select;
pub mod serve;
pub mod tear_sheet;
pub mod train;
pub mod trees;
pub mod verify;
pub mod walk_forward;
pub mod windows;

pub use error::LabError;
