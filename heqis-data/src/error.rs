//! What can go wrong at the door.

use heqis_quant::QuantError;

/// Why a file gives no bars.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be opened or read.
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
    /// The file is of a kind that is not read.
    #[error("{path}: {rule}")]
    Kind {
        /// The path as given.
        path: String,
        /// What a file must be.
        rule: String,
    },
    /// Too much of what was read could not be used.
    #[error("{0}")]
    TooMuchLost(String),
}

impl DataError {
    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    pub(crate) fn kind(path: &std::path::Path, rule: impl Into<String>) -> Self {
        Self::Kind {
            path: path.display().to_string(),
            rule: rule.into(),
        }
    }
}
