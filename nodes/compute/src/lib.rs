//! Stages of the compute node (Jetson): from features to journalled decisions.
//!
//! ```text
//! Features ▸ trt-engine ▸ PredictionMessage ▸ signal ▸ DecisionMessage ▸ journal
//!                         PredictionMessage ▸ rank ▸ CrossSection ▸ portfolio ▸ DecisionMessage ▸ journal
//! ```
//!
//! - [`TrtEngine`]: a model bundle behind the Engine trait, in micro-batches.
//! - [`Signal`]: the strategy, with its state per symbol and the trading state.
//! - [`Rank`]: the predictions of one timestamp together. [`PortfolioStage`]: what a portfolio does with them.
//! - [`journal`]: the append-only record of decisions; the node's commit log.
//!
//! Not here: how a frame arrives (`heqis-actors`), what a strategy is (`heqis-quant`), what computes a model
//! (`heqis-infer`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod engine;
pub mod journal;
mod portfolio;
mod rank;
mod signal;
mod trading_state;

pub use engine::{TrtEngine, TrtEngineConfig};
pub use journal::{Journal, JournalConfig};
pub use portfolio::{PortfolioStage, PortfolioStageConfig};
pub use rank::{Rank, RankConfig};
pub use signal::{Signal, SignalConfig};
pub use trading_state::trading_state;
