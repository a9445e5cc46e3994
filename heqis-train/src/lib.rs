//! Models: trained on data sets, compared with baselines, and exported as bundles. The only crate that depends on burn.
//!
//! - [`corpus`]: series as samples, cut into training, validation and test; [`metrics`]: what every model is measured by.
//! - [`linear`]: PCA, ridge and logistic regression.
//! - [`mod@baseline`]: the two linear models with their metrics, ONNX graphs and bundles.
//! - [`nets`]: generators, discriminators and encoders.
//! - [`mod@train`]: a data set → trained networks in a run directory.
//! - [`trees`]: boosted trees as they run on the boards, and their bundle.
//! - [`walk_forward`]: a pool retrained for every fold, its forecasts measured by day.
//! - [`baselines`]: models that any other must beat, and the table of all models.
//! - [`export`]: a run directory → bundles; `bundle`: golden windows, files and model cards of all bundles.
//!
//! Bars and data sets enter from `heqis-data`; run directories and bundles leave. The same data gives the same bytes.
//!
//! What is *not* here: indicators, scaling and labels (`heqis-quant`), the format of models and bundles (`heqis-infer`), and
//! money (`heqis-backtest`).

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod baseline;
pub mod baselines;
mod bundle;
pub mod corpus;
mod error;
pub mod export;
pub mod linear;
pub mod metrics;
pub mod nets;
pub mod train;
pub mod trees;
pub mod walk_forward;

pub use baseline::baseline;
pub use error::TrainError;
