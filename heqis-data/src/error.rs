//! The crate's one error type.

use std::path::Path;

use heqis_quant::QuantError;

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {rule}, got {got}")]
pub struct Rule {
    /// Where: a file, a setting, an option.
    pub place: String,
    /// What must hold there.
    pub rule: String,
    /// The value met.
    pub got: String,
}

impl Rule {
    /// A rule that does not hold at a place.
    pub fn new(place: impl Into<String>, rule: impl Into<String>, got: impl ToString) -> Self {
        Self {
            place: place.into(),
            rule: rule.into(),
            got: got.to_string(),
        }
    }
}

/// Why a file gives no bars, or a data set or table cannot be read or written. Each message names the place, the rule and
/// the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened, read or written.
    #[error("{path}: {source}")]
    File {
        /// The path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The table cannot be understood.
    #[error("{0}")]
    Table(#[from] QuantError),
    /// The file is of a kind that is not read, or its content breaks a rule.
    #[error("{path}: {rule}")]
    Kind {
        /// The path as given.
        path: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// A value breaks a rule.
    #[error(transparent)]
    Rule(#[from] Rule),
    /// Too much of what was read could not be used.
    #[error("{0}")]
    TooMuchLost(String),
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
    /// A Parquet file could not be read or written.
    #[cfg(feature = "sets")]
    #[error("{path}: {source}")]
    Parquet {
        /// Path of the file.
        path: String,
        /// What the `parquet` crate said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A JSON document has the wrong syntax or shape.
    #[cfg(feature = "sets")]
    #[error("{path}: {source}")]
    Json {
        /// Path of the file.
        path: String,
        /// What the parser said, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A TOML document has the wrong syntax or shape.
    #[cfg(feature = "sets")]
    #[error("{path}: {source}")]
    Toml {
        /// Path of the file.
        path: String,
        /// What the parser said, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Market data could not be fetched.
    #[cfg(feature = "fetch")]
    #[error(transparent)]
    Fetch(#[from] crate::fetch::FetchError),
}

impl DataError {
    /// A file that cannot be read or written.
    #[must_use]
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    /// A file or directory whose content breaks a rule.
    #[must_use]
    pub fn kind(path: &Path, rule: impl Into<String>) -> Self {
        Self::Kind {
            path: path.display().to_string(),
            rule: rule.into(),
        }
    }
}

#[cfg(feature = "sets")]
impl DataError {
    pub(crate) fn rule(
        place: impl Into<String>,
        rule: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Rule::new(place, rule, got).into()
    }

    /// A Parquet file that cannot be read or written.
    #[must_use]
    pub fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet {
            path: path.display().to_string(),
            source,
        }
    }

    /// A JSON document of the wrong syntax or shape.
    #[must_use]
    pub fn json(path: &Path, source: serde_json::Error) -> Self {
        Self::Json {
            path: path.display().to_string(),
            source,
        }
    }

    /// A TOML document of the wrong syntax or shape.
    #[must_use]
    pub fn toml(path: &Path, source: toml::de::Error) -> Self {
        Self::Toml {
            path: path.display().to_string(),
            source: Box::new(source),
        }
    }
}
