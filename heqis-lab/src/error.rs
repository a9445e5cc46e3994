//! The crate's one public error type.

use std::path::Path;

use heqis_infer::InferError;
use heqis_quant::QuantError;

/// Everything that can go wrong in the lab, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path of the file, as given.
        path: String,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The market half refused the data; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// Bars could not be read, or too much of them was lost.
    #[error(transparent)]
    Data(#[from] heqis_data::DataError),
    /// There are too few samples to cut the three spans.
    #[error(
        "{path}: needs at least {least} samples in each of training, validation and test, has {samples} in all"
    )]
    TooFewSamples {
        /// Path of the file, as given.
        path: String,
        /// Samples found.
        samples: usize,
        /// Samples needed in each span.
        least: usize,
    },
    /// A regression has no solution.
    #[error("{0}: the normal equations are singular")]
    Singular(&'static str),
    /// A forecast cannot be measured, or a yardstick cannot be fitted.
    #[error("yardsticks: {0}")]
    Yardstick(String),
    /// A build for a board could not be made.
    #[error("convert: {0}")]
    Convert(String),
    /// A bundle could not be compared.
    #[error("verify: {0}")]
    Verify(String),
    /// A bundle could not be made.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A Parquet file could not be read or written.
    #[error("{path}: {source}")]
    Parquet {
        /// Path of the file.
        path: String,
        /// What the `parquet` crate said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A JSON document has the wrong syntax or shape.
    #[error("{path}: {source}")]
    Json {
        /// Path of the file.
        path: String,
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Market data could not be fetched.
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
    /// A backtest was given something that it cannot trade on.
    #[error("{place}: {rule}, got {got}")]
    Backtest {
        /// What was wrong.
        place: String,
        /// The rule.
        rule: String,
        /// The value met.
        got: String,
    },
    /// A choice among models, or what it is made from, breaks a rule.
    #[error("{place}: {rule}")]
    Select {
        /// What was wrong.
        place: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// A TOML document has the wrong syntax or shape.
    #[error("{path}: {source}")]
    Toml {
        /// Path of the file.
        path: String,
        /// What the parser said, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A setting, a file or a state of a training breaks a rule.
    #[error("training, {place}: {rule}")]
    Training {
        /// The setting, file or tensor.
        place: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// The page for the browser cannot be shown.
    #[error(transparent)]
    Dashboard(#[from] heqis_dashboard::DashboardError),
    /// A data set, or an input of one, breaks a rule.
    #[error("{path}: {rule}")]
    DataSet {
        /// Path of the directory or file.
        path: String,
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

impl LabError {
    pub(crate) fn network(place: &'static str, rule: String) -> Self {
        Self::Network { place, rule }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn backtest(
        place: impl Into<String>,
        rule: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Self::Backtest {
            place: place.into(),
            rule: rule.into(),
            got: got.to_string(),
        }
    }

    pub(crate) fn select(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Select {
            place: place.into(),
            rule: rule.into(),
        }
    }

    pub(crate) fn toml(path: &Path, source: toml::de::Error) -> Self {
        Self::Toml {
            path: path.display().to_string(),
            source: Box::new(source),
        }
    }

    pub(crate) fn training(place: impl std::fmt::Display, rule: String) -> Self {
        Self::Training {
            place: place.to_string(),
            rule,
        }
    }

    pub(crate) fn data_set(path: &Path, rule: String) -> Self {
        Self::DataSet {
            path: path.display().to_string(),
            rule,
        }
    }
}
