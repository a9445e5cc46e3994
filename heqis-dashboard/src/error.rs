//! The crate's one public error type.

use std::net::SocketAddr;

/// Everything that can go wrong in the dashboard, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// The address cannot be served.
    #[error("dashboard on {address}: {source}")]
    Address {
        /// Where it was to be served.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Other machines could reach the page without saying who they are.
    #[error(
        "dashboard on {address}: an address that other machines reach needs a token of at least 32 hexadecimal digits"
    )]
    Exposed {
        /// Where it was to be served.
        address: SocketAddr,
    },
    /// Controls were asked for without a token.
    #[error("dashboard on {address}: control needs a token of at least 32 hexadecimal digits")]
    OpenControl {
        /// Where it was to be served.
        address: SocketAddr,
    },
    /// What was given as a token is none. The message does not show it.
    #[error("dashboard token: must be 32 to 128 hexadecimal digits, got {length} characters")]
    Token {
        /// Length of what was given, in bytes.
        length: usize,
    },
    /// A file could not be read.
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
    Quant(#[from] heqis_quant::QuantError),
    /// The market data that the page shows could not be read.
    #[error("market data: {0}")]
    Market(String),
    /// Finished work could not be read.
    #[error("archive: {0}")]
    Archive(String),
    /// The files of a journal do not fit together.
    #[error("{0}")]
    Journal(heqis_data::journal::JournalError),
    /// The server's thread could not run.
    #[error("dashboard: {0}")]
    Server(#[source] std::io::Error),
}

impl From<heqis_data::journal::JournalError> for DashboardError {
    fn from(error: heqis_data::journal::JournalError) -> Self {
        use heqis_data::journal::JournalError;
        match error {
            JournalError::Io { path, source, .. } => Self::File {
                path: path.display().to_string(),
                source,
            },
            JournalError::Corrupt(error) => Self::Quant(error),
            other => Self::Journal(other),
        }
    }
}
