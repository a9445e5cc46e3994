//! From what was trained to what is shipped.
//!
//! - [`mod@direction`]: the generators of a run as one model.
//! - [`mod@run`]: the bundles of a run, with golden windows, figures and cards; [`rule`]: when to decide on its answers.

mod card;
pub mod direction;
pub mod rule;
pub mod run;
mod subject;
