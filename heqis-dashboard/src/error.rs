//! The crate's one public error type.

use std::net::SocketAddr;

/// Errors of the dashboard. Each message names the place, the rule and the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// The address cannot be bound.
    #[error("dashboard on {address}: {source}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// Other machines could read the page without a token.
    #[error(
        "dashboard on {address}: an address that other machines reach needs a token of at least 32 hexadecimal digits"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// Other machines could read the page and its token on the wire.
    #[error(
        "dashboard on {address}: an address that other machines reach needs a certificate, or the statement that plain HTTP is accepted"
    )]
    Plain {
        /// The address.
        address: SocketAddr,
    },
    /// The certificate of the server cannot be used.
    #[error("dashboard on {address}: {source}")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// What is wrong with it.
        #[source]
        source: heqis_tls::TlsError,
    },
    /// Control was enabled without a token.
    #[error("dashboard on {address}: control needs a token of at least 32 hexadecimal digits")]
    OpenControl {
        /// The address.
        address: SocketAddr,
    },
    /// The given token is malformed. The message does not show it.
    #[error(
        "dashboard token: must be 32 to 128 hexadecimal digits, got {length} bytes, {others} of them no such digits"
    )]
    Token {
        /// Its length in bytes.
        length: usize,
        /// Number of bytes that are not hexadecimal digits.
        others: usize,
    },
    /// A file could not be read.
    #[error("{path}: {source}")]
    File {
        /// Path of the file, as given.
        path: String,
        /// Error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The data breaks a rule of `heqis-quant`; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] heqis_quant::QuantError),
    /// Bars could not be read.
    #[error("market data: {0}")]
    Bars(String),
    /// Finished runs could not be read.
    #[error("archive: {0}")]
    Archive(String),
    /// The files of a journal do not fit together.
    #[error("{0}")]
    Journal(heqis_data::journal::JournalError),
    /// The server could not run.
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
