//! Export of trained models as bundles.
//!
//! - [`mod@direction`]: the generators of a run as one model.
//! - [`mod@run`]: the bundles of a run, with golden windows, metrics and model cards; [`rule`]: the decision rule in a bundle.

mod card;
pub mod direction;
pub mod rule;
pub mod run;
mod subject;
