//! What an exporter writes about a model, and what its manifest suggests.

use heqis_infer::Bundle;
use heqis_infer::bundle::SCALER_HASH_KEY;
use heqis_infer::onnx::GraphBuilder;
use heqis_quant::DecisionRule;

use crate::error::{BundleError, defect};

/// What every exported model says about its inputs in `metadata_props`.
#[derive(Clone, Debug)]
pub struct Provenance<'a> {
    /// SHA-256 of the scaler parameters, in lower-case hex.
    pub scaler_sha256: &'a str,
    /// Names of the features.
    pub feature_names: &'a [String],
    /// Number of bars in one window.
    pub window_bars: usize,
}

impl Provenance<'_> {
    /// Returns the shape of a batch of windows.
    #[must_use]
    pub fn window(&self, batch: usize) -> [usize; 3] {
        [batch, self.window_bars, self.feature_names.len()]
    }

    /// Writes the metadata.
    pub fn write(&self, graph: &mut GraphBuilder) {
        graph.metadata(SCALER_HASH_KEY, self.scaler_sha256);
        graph.metadata("heqis.feature_names", self.feature_names.join(","));
        graph.metadata("heqis.window_bars", self.window_bars.to_string());
    }
}

/// Returns the decision rule that a direction model's manifest suggests under `figures.rule`, if any.
///
/// # Errors
///
/// [`BundleError::Contract`] when it is not a rule.
pub fn suggested_rule(bundle: &Bundle) -> Result<Option<DecisionRule>, BundleError> {
    let Some(value) = bundle.manifest().figures.get("rule") else {
        return Ok(None);
    };
    serde_json::from_value(value.clone())
        .map_err(|error| defect(bundle, "figures.rule must be a decision rule", error))
}
