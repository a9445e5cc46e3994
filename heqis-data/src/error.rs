//! The crate's one error type.

use std::fmt::{self, Display};
use std::path::Path;

use heqis_quant::QuantError;

/// A violated rule: place, rule and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where: a file, a setting, an option, a part of a model.
    pub place: String,
    /// The rule for this place.
    pub rule: String,
    /// The value found, unless `rule` is complete without it.
    pub got: Option<String>,
}

impl Rule {
    /// A rule without a value.
    pub fn new(place: impl Display, rule: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            rule: rule.into(),
            got: None,
        }
    }

    /// Adds the value found.
    #[must_use]
    pub fn got(self, value: impl Display) -> Self {
        Self {
            got: Some(value.to_string()),
            ..self
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)?;
        match &self.got {
            Some(got) => write!(f, ", got {got}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rule {}

/// Why a file gives no bars, or a data set or table cannot be read or written. Each message names the place, the rule and
/// the value found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened, read or written.
    #[error("{path}: {source}")]
    File {
        /// The path as given.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The table cannot be understood.
    #[error("{0}")]
    Table(#[from] QuantError),
    /// A file, a setting or a value breaks a rule.
    #[error(transparent)]
    Rule(#[from] Rule),
    /// Too much of what was read could not be used.
    #[error("{0}")]
    TooMuchLost(String),
    /// A Parquet file could not be read or written.
    #[cfg(feature = "sets")]
    #[error("{path}: {source}")]
    Parquet {
        /// Path of the file.
        path: String,
        /// The error of the `parquet` crate.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// A JSON document has the wrong syntax or shape.
    #[cfg(feature = "sets")]
    #[error("{path}: {source}")]
    Json {
        /// Path of the file.
        path: String,
        /// The error of the parser, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A TOML document has the wrong syntax or shape.
    #[cfg(feature = "sets")]
    #[error("{path}: {}", source.to_string().trim_end())]
    Toml {
        /// Path of the file.
        path: String,
        /// The error of the parser, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
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
        Rule::new(path.display(), rule).into()
    }
}

#[cfg(feature = "sets")]
impl DataError {
    pub(crate) fn rule_got(
        place: impl Display,
        rule: impl Into<String>,
        got: impl Display,
    ) -> Self {
        Rule::new(place, rule).got(got).into()
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
