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
    /// Checks the rules that every measurement keeps; `most` is the largest tolerance that the bundle may state.
    pub(super) fn check(&self, field: &str, most: f32) -> Result<(), BundleFault> {
        if self.windows == 0 {
            let field = format!("{field}.windows");
            return Err(field_fault(&field, "must be at least 1", self.windows));
        }
        check_tolerance(&format!("{field}.tolerance"), self.tolerance, most)?;
        for (name, value) in [
            ("max_abs_error", self.max_abs_error),
            ("mean_abs_error", self.mean_abs_error),
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
        if let Some(trading) = &self.trading {
            for (name, count) in [
                ("class_flips", trading.class_flips),
                ("decisions", trading.decisions),
            ] {
                if count > trading.bars {
                    let field = format!("{field}.trading.{name}");
                    return Err(field_fault(&field, "must not exceed trading.bars", count));
                }
            }
            for (name, value) in [
                ("reference_return", trading.reference_return),
                ("backend_return", trading.backend_return),
            ] {
                if !value.is_finite() {
                    let field = format!("{field}.trading.{name}");
                    return Err(field_fault(&field, "must be finite", value));
                }
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

/// Checks a tolerance against the largest one that the bundle may state.
pub(super) fn check_tolerance(field: &str, tolerance: f32, most: f32) -> Result<(), BundleFault> {
    match (0.0..=most).contains(&tolerance) {
        true => Ok(()),
        false => {
            let rule = "must be finite, at least 0 and at most 0.01, or 1 % of the largest golden output where that is more";
            Err(field_fault(field, rule, tolerance))
        }
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
