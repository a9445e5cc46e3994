//! Why a bundle cannot be used.

use heqis_infer::error::shown;
use heqis_infer::{Bundle, InferError};

/// The first rule of the contract that a bundle breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bundle {bundle}: {}, got {}", shown(rule), shown(got))]
pub struct Defect {
    /// Directory of the bundle.
    pub bundle: String,
    /// The rule, as a fragment that begins with what must hold.
    pub rule: String,
    /// The value that breaks it.
    pub got: String,
}

/// A bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file, the manifest or the model breaks a rule of [`Bundle::load`].
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The bundle breaks a rule of its role.
    #[error(transparent)]
    Contract(#[from] Defect),
}

/// Returns the error of a rule that a bundle breaks.
pub(crate) fn defect(bundle: &Bundle, rule: impl Into<String>, got: impl ToString) -> BundleError {
    BundleError::Contract(Defect {
        bundle: bundle.dir().display().to_string(),
        rule: rule.into(),
        got: got.to_string(),
    })
}
