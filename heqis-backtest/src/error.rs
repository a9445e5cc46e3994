//! The error type of the crate.

use std::fmt::Display;
use std::path::Path;

use heqis_bundle::BundleError;
use heqis_data::{DataError, Rule};
use heqis_infer::InferError;
use heqis_quant::QuantError;

/// The error of a backtest. Each message has the place, the rule and the offending value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BacktestError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Market data or rules are invalid; the message has file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle has invalid files, or is not valid for its role.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A model could not be run or written.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// An input or a setting breaks a rule of the backtest.
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl BacktestError {
    /// Returns [`BacktestError::Rule`] with a place, the rule and the offending value.
    #[must_use]
    pub fn rule_got(place: impl Display, rule: impl Into<String>, got: impl Display) -> Self {
        Rule::new(place, rule).got(got).into()
    }

    pub(crate) fn too_large(what: &str, got: impl Display) -> Self {
        Self::rule_got(what, "must fit into 64 bits of cents", got)
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        DataError::file(path, source).into()
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        DataError::json(path, source).into()
    }
}
