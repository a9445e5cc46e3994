//! What every exported model says about its inputs.

use heqis_infer::bundle::SCALER_HASH_KEY;
use heqis_infer::onnx::GraphBuilder;

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
    pub(crate) fn window(&self, batch: usize) -> [usize; 3] {
        [batch, self.window_bars, self.feature_names.len()]
    }

    pub(crate) fn write(&self, graph: &mut GraphBuilder) {
        graph.metadata(SCALER_HASH_KEY, self.scaler_sha256);
        graph.metadata("heqis.feature_names", self.feature_names.join(","));
        graph.metadata("heqis.window_bars", self.window_bars.to_string());
    }
}
