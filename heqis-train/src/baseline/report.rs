//! The metrics in model card and manifest of the baselines.

use heqis_data::samples::Prepared;

use super::{Baseline, SpanMetrics};

/// Directory name of the bundle that the gateway's feature stage loads.
pub const FACTORS_BUNDLE: &str = "baseline-factors";

/// Directory name of the bundle that the compute node's engine stage loads.
pub const DIRECTION_BUNDLE: &str = "baseline-direction";

/// The metrics in both model card and manifest.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) baseline: &'a Baseline,
    pub(crate) validation: SpanMetrics,
    pub(crate) test: SpanMetrics,
    /// Fraction of the variance that the factors explain, on training, validation and test.
    pub(crate) captured: [f64; 3],
}
