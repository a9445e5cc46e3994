//! What an exporter writes about a model, and what its manifest suggests.

use heqis_infer::Bundle;
use heqis_infer::bundle::SCALER_HASH_KEY;
use heqis_infer::onnx::GraphBuilder;
use heqis_quant::{Date, DecisionRule};

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
    let rule: Result<DecisionRule, String> =
        serde_json::from_value(value.clone()).map_err(|error| error.to_string());
    let checked = rule.and_then(|rule| match rule.validate() {
        Ok(()) => Ok(rule),
        Err(error) => Err(error.to_string()),
    });
    checked
        .map(Some)
        .map_err(|error| defect(bundle, "figures.rule must be a decision rule", error))
}

/// Returns the last day that a model was fitted to or chosen by, if its manifest states one: `figures.fitted_to`, or the end
/// of the validation span, `figures.samples.validation.to`.
///
/// # Errors
///
/// [`BundleError::Contract`] when it is not a day.
pub fn fitted_to(bundle: &Bundle) -> Result<Option<Date>, BundleError> {
    let figures = &bundle.manifest().figures;
    let stated = figures.get("fitted_to");
    let validated = || figures.get("samples")?.get("validation")?.get("to");
    let (key, value) = match (stated, validated()) {
        (Some(stated), _) => ("figures.fitted_to", stated),
        (None, Some(validated)) => ("figures.samples.validation.to", validated),
        (None, None) => return Ok(None),
    };
    let day = value.as_str().and_then(|text| Date::parse(text).ok());
    day.map(Some).ok_or_else(|| {
        let rule = format!("{key} must be a day, YYYY-MM-DD of the years 1900 to 2199");
        defect(bundle, rule, value)
    })
}
