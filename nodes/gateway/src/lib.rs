//! Stages of the gateway node (RK3568): from market data to features, and the decisions that return.
//!
//! ```text
//! csv-replay | simulated | tcp-lines | serial ▸ BarMessage ▸ cleaner ▸ BarMessage ▸ symbol-router ▸ BarMessage ▸
//!     indicators ▸ FeatureRow ▸ npu-feature ▸ Features ▸ (to the compute node)
//! (from the compute node) Decision ▸ feedback
//! ```
//!
//! - [`source`]: where bars come from. [`Cleaner`]: typed rejects. [`Indicators`]: streaming features per symbol.
//! - [`NpuFeature`]: scaler, window and feature model. [`Feedback`]: decisions that return.
//! - [`SymbolRouter`]: listed symbols one way, all others another.
//!
//! Not here: what a valid bar, an indicator or a scaler is (`heqis-quant`), and what runs on the compute node.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod cleaner;
mod feedback;
mod indicators;
mod npu_feature;
pub mod source;
mod symbol_router;

pub use cleaner::Cleaner;
pub use feedback::{Feedback, FeedbackConfig};
pub use indicators::{Indicators, IndicatorsConfig, MarketConfig};
pub use npu_feature::{NpuFeature, NpuFeatureConfig};
pub use symbol_router::{Routed, SymbolRouter, SymbolRouterConfig};
