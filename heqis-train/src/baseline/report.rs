//! What model cards and manifests of the baselines report.

use super::table::TableCorpus;
use super::{Baseline, SpanMetrics};
use crate::bundle::BundleSource;

/// Directory name of the bundle that the gateway's feature stage loads.
pub(crate) const FACTORS_BUNDLE: &str = "baseline-factors";
/// Directory name of the bundle that the compute node's engine stage loads.
pub(crate) const DIRECTION_BUNDLE: &str = "baseline-direction";

/// What both model cards and both manifests report.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) table: &'a TableCorpus,
    pub(super) baseline: &'a Baseline,
    pub(super) source: BundleSource<'a>,
    pub(super) validation: SpanMetrics,
    pub(super) test: SpanMetrics,
    /// Fraction of the variance that the factors explain, on training, validation and test.
    pub(super) captured: [f64; 3],
}
