//! The crate's one error type.

use std::path::Path;

use heqis_data::DataError;
use heqis_infer::InferError;
use heqis_quant::QuantError;

/// Why nothing can be trained, measured or exported, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The market half refused the data; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle could not be read or made.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A regression has no solution.
    #[error("{0}: the normal equations are singular")]
    Singular(&'static str),
    /// A forecast cannot be measured, or a yardstick cannot be fitted.
    #[error("yardsticks: {0}")]
    Yardstick(String),
    /// A setting, a file or a state of a training breaks a rule.
    #[error("training, {place}: {rule}")]
    Training {
        /// The setting, file or tensor.
        place: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// The shape, weights or export of a network break a rule.
    #[error("{place}: {rule}")]
    Network {
        /// The network or part of it.
        place: &'static str,
        /// The rule, and the value met.
        rule: String,
    },
}

impl TrainError {
    pub(crate) fn network(place: &'static str, rule: String) -> Self {
        Self::Network { place, rule }
    }

    /// A setting, a file or a state of a training that breaks a rule.
    #[must_use]
    pub fn training(place: impl std::fmt::Display, rule: String) -> Self {
        Self::Training {
            place: place.to_string(),
            rule,
        }
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
