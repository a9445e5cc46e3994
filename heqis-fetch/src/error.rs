//! The crate's one error type.

use heqis_data::DataError;
use heqis_quant::QuantError;

/// A failed fetch. No message contains the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A day or a code is outside what the market has.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A file could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A setting, an argument or the watch list breaks a rule.
    #[error("{place}: {rule}")]
    Setting {
        /// The setting or file.
        place: String,
        /// The rule, and the value found.
        rule: String,
    },
    /// The account may not use the interface, or has used up its hourly or daily quota. The request is not retried.
    #[error("{api}: no permission (code {code}): {msg}")]
    Permission {
        /// The interface.
        api: &'static str,
        /// The vendor's code.
        code: i64,
        /// The vendor's message.
        msg: String,
    },
    /// The vendor refused the request for any other reason. The request is not retried.
    #[error("{api}: refused (code {code}): {msg}")]
    Refused {
        /// The interface.
        api: &'static str,
        /// The vendor's code, or the HTTP status.
        code: i64,
        /// The vendor's message.
        msg: String,
    },
    /// The vendor still reported the rate limit after the last wait.
    #[error("{api}: still over the rate limit after {waits} waits: {msg}")]
    RateLimit {
        /// The interface.
        api: &'static str,
        /// Number of waits.
        waits: u32,
        /// The vendor's message.
        msg: String,
    },
    /// No attempt brought a complete reply.
    #[error("{api}: no reply after {attempts} attempts: {reason}")]
    Transport {
        /// The interface.
        api: &'static str,
        /// Number of attempts.
        attempts: u32,
        /// The failure of the last attempt.
        reason: String,
    },
    /// A reply has an unexpected shape, type or content.
    #[error("{api} row {row}, field {field}: {rule}, got {value}")]
    Reply {
        /// The interface.
        api: &'static str,
        /// The row, from 0; also 0 for faults of the whole reply.
        row: usize,
        /// The field.
        field: String,
        /// The rule.
        rule: &'static str,
        /// The value found.
        value: String,
    },
}
