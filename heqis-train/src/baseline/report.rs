//! What both card and manifest of the baselines show.

use heqis_data::samples::Prepared;

use super::{Baseline, SpanMetrics};

/// Directory name of the bundle that the gateway's feature stage loads.
pub const FACTORS_BUNDLE: &str = "baseline-factors";

/// Directory name of the bundle that the compute node's engine stage loads.
pub const DIRECTION_BUNDLE: &str = "baseline-direction";

/// The figures that both card and manifest show.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) baseline: &'a Baseline,
    pub(crate) validation: SpanMetrics,
    pub(crate) test: SpanMetrics,
    /// Share of variance in the factors, on training, validation and test.
    pub(crate) captured: [f64; 3],
}
