//! The crate's one error type.

use std::fmt::Display;
use std::path::Path;

use heqis_bundle::BundleError;
use heqis_data::{DataError, Rule};
use heqis_infer::InferError;
use heqis_quant::QuantError;

/// Why a backtest cannot be made, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BacktestError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The market half refused the data; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle breaks a rule of its files or of its role.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A model could not be computed or written.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A backtest was given something that it cannot trade on.
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl BacktestError {
    /// Something that a backtest cannot trade on, and the value met.
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
