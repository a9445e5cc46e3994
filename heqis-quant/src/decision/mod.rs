//! Predictions to decisions, in one step that the board, the backtest and a replay share: [`Strategy::decide`].
//!
//! ```text
//! bar ▸ MarketState ▸ MarketSnapshot ─┐
//! model ▸ Prediction ─────────────────┴▸ Strategy::decide (signal ▸ filters ▸ trading state) ▸ Decision
//!                                               ▲ DecisionState ▼
//! ```
//!
//! - `rule`: prediction → signal, in three [`SignalMode`]s. `filters`: what can refuse a signal. `market`: the inputs of
//!   filters. `state`: what lasts from one decision to the next. `record`: the decision. `ranked`: the part of a decision that is made from ranks.
//!   `reason`: its reasons.
//! - [`journal`]: decisions as lines of text.
//!
//! A decision contains the state after it, so that the last decision of an instrument restores the state. Not here: where
//! bars and predictions come from; [`pipeline`](crate::pipeline) joins all the pieces.

mod filters;
pub mod journal;
mod market;
mod ranked;
mod reason;
mod record;
mod rule;
mod state;
mod strategy;

#[cfg(test)]
mod tests;

pub use filters::{AdxFilter, Filters, GapFallBack, LimitLockBreak, RsiFilter};
pub use market::{
    AdxParams, Band, FilterIndicators, MarketSnapshot, MarketState, RsiParams, TrendParams,
};
pub use ranked::{Moments, PortfolioOrder, Ranked};
pub use reason::{DecisionReason, Side};
pub use record::Decision;
pub use rule::{DecisionRule, Prediction, SignalMode};
pub use state::{DecisionState, Position, RiskState};
pub use strategy::{ExecutionReport, Strategy, TradingState};
