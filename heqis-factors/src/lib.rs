//! Factors as expressions: `roc5 = close / ref(close, 5) - 1` in, one number for each bar out, with the same bits in a batch, live, and
//! after a restore. `docs/factors.md` describes the language.
//!
//! - [`FactorSet`]: definitions in, checked; [`Fault`] has the place, the rule and a caret. [`functions`] lists the functions,
//!   [`Columns`] what expressions may read.
//! - [`FactorSeries`]: one instrument, bar by bar; [`Panel`]: many, day by day, with comparisons across the day.
//! - [`shipped`]: sets that come with this crate.
//! - [`feature_set`], [`of_text`], [`of_set`]: factors as the features of a model, for `heqis_quant::FeatureState`.
//!
//! Look-ahead is impossible by grammar: a function reads this bar and a fixed number of bars before it, and a negative distance is
//! refused.
//!
//! Not here: files, tables of bars, models, orders.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod check;
mod columns;
mod fault;
mod features;
mod functions;
mod graph;
mod kernels;
mod ops;
mod panel;
mod program;
mod recursion;
mod ring;
mod series;
mod set;
pub mod shipped;
mod stream;
#[cfg(test)]
mod tests;
mod text;

pub use columns::{Columns, Level, values_of};
pub use fault::{FactorError, Fault};
pub use features::{feature_set, of_set, of_text};
pub use functions::functions;
pub use panel::Panel;
pub use set::FactorSet;
pub use stream::FactorSeries;

/// The examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/factors.md")]
mod guide {}
