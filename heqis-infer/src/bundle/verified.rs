//! The measurement of a backend before the bundle was shipped, and whether it passed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BundleFault;

/// A backend compared with the reference, as `heqis-lab verify` measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The measured implementation, with versions: the backend on a board, or a simulator.
    pub by: String,
    /// Number of windows.
    pub windows: usize,
    /// Largest absolute difference of an output element from the reference.
    pub max_abs_error: f32,
    /// Mean absolute difference.
    pub mean_abs_error: f32,
    /// Largest difference allowed, here and in the self-test on this backend.
    pub tolerance: f32,
    /// The effect of the difference on decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trading: Option<TradingDifference>,
    /// Whether the backend passed the gate; one that failed is refused unless that is overridden.
    pub passed: bool,
}

/// Decisions on history by a backend and by the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TradingDifference {
    /// Number of bars on which both decided.
    pub bars: usize,
    /// Bars whose most likely class differs.
    pub class_flips: usize,
    /// Bars whose decision differs.
    pub decisions: usize,
    /// Total return of the backtest by the reference, 0.1 being 10 %.
    pub reference_return: f64,
    /// Total return by the backend.
    pub backend_return: f64,
}

impl Verified {
    /// Checks the rules that every measurement keeps.
    pub(super) fn check(&self, field: &str) -> Result<(), BundleFault> {
        for (name, value) in [
            ("max_abs_error", self.max_abs_error),
            ("mean_abs_error", self.mean_abs_error),
            ("tolerance", self.tolerance),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                let field = format!("{field}.{name}");
                return Err(field_fault(
                    &field,
                    "must be finite and not negative",
                    value,
                ));
            }
        }
        if self.passed && self.max_abs_error > self.tolerance {
            let field = format!("{field}.passed");
            return Err(field_fault(
                &field,
                "must be false above the tolerance",
                true,
            ));
        }
        Ok(())
    }
}

/// Returns the fault of a field that breaks a rule of its own.
pub(super) fn field_fault(field: &str, rule: &'static str, got: impl ToString) -> BundleFault {
    BundleFault::Field {
        field: field.to_owned(),
        rule,
        got: got.to_string(),
    }
}
