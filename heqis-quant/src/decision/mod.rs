//! Predictions to decisions, in one step that the board, the backtest and a replay share: [`Strategy::decide`].
//!
//! ```text
//! bar ▸ Market ▸ View ─┐
//! model ▸ Prediction ──┴▸ Strategy::decide (signal ▸ filters ▸ kill state) ▸ Verdict
//!                                 ▲ Memory ▼
//! ```
//!
//! - `rule`: what a prediction says, in three [`SignalMode`]s. `filters`: what may refuse it. `market`: what filters
//!   see. `memory`: what lasts from one decision to the next. `verdict`: the outcome with its reason.
//! - [`journal`]: decisions as lines of text.
//!
//! A verdict carries the memory, so that the last decision of an instrument restores it. Not here: where bars and
//! predictions come from; [`path`](crate::path) joins all the pieces.

mod filters;
pub mod journal;
mod market;
mod memory;
mod rule;
mod strategy;
mod verdict;

#[cfg(test)]
mod tests;

pub use filters::{AdxGate, Filters, GapFallBack, OneWordBreak, RsiGate};
pub use market::{AdxGauge, Band, Gauges, Market, RsiGauge, TrendGauge, View};
pub use memory::{Carry, Memory, Stance};
pub use rule::{DecisionRule, Prediction, SignalMode};
pub use strategy::{KillState, Report, Strategy};
pub use verdict::{Side, Verdict, VerdictReason};
