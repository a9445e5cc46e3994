//! Baselines that any model must beat, and the comparison of all models by the same metrics.
//!
//! - [`boosting`]: gradient-boosted trees.
//! - [`mod@comparison`]: fits the baselines on the training span, tunes them on the validation span, and measures them on every
//!   span.
//! - [`table`]: the metrics of all models, as Markdown, CSV and JSON.
//! - [`trained`]: the networks of a run in that table.
//!
//! Every model enters the table by its forecasts only, so that networks and baselines are measured in the same way.
//!
//! What is *not* here: the training of networks, and money. The metrics ([`crate::metrics`]) do not include costs, limits or
//! lots.

pub mod boosting;
pub mod comparison;
pub mod table;
pub mod trained;

pub use comparison::{Comparison, EvaluationSpan};
pub use table::{ComparisonTable, Entry};
