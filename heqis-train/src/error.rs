//! The crate's error type.

use std::fmt::Display;
use std::path::Path;

use heqis_bundle::BundleError;
use heqis_data::{DataError, Rule};
use heqis_infer::InferError;
use heqis_quant::QuantError;

/// An error of training, measuring or exporting. Each message names the place, the rule and the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// `heqis-quant` refused the data.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle breaks a rule of its files or of its role.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A model could not be run or written.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A setting, a forecast, a network or a training state breaks a rule.
    #[error(transparent)]
    Rule(#[from] Rule),
}

impl TrainError {
    pub(crate) fn rule(place: impl Display, rule: impl Into<String>) -> Self {
        Rule::new(place, rule).into()
    }

    /// Returns the error of a regression without a solution.
    #[must_use]
    pub fn singular(what: &str) -> Self {
        Self::rule(what, "the normal equations are singular")
    }

    /// Returns the error of a setting, a file or a training state that breaks a rule.
    #[must_use]
    pub fn training(place: impl Display, rule: impl Into<String>) -> Self {
        Self::rule(format_args!("training, {place}"), rule)
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        DataError::file(path, source).into()
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        DataError::json(path, source).into()
    }

    pub(crate) fn toml(path: &Path, source: toml::de::Error) -> Self {
        DataError::toml(path, source).into()
    }
}
