//! What can go wrong between the lab and the vendor.

/// A failed fetch. No message ever holds the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A setting, an argument or the watch list breaks a rule.
    #[error("{place}: {rule}")]
    Setting {
        /// The setting or file.
        place: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// The account may not use the interface, or has used up its hour or day. It is never tried again.
    #[error("{api}: no permission (code {code}): {msg}")]
    Permission {
        /// The interface.
        api: &'static str,
        /// The vendor's code.
        code: i64,
        /// The vendor's words.
        msg: String,
    },
    /// The vendor refused the request for any other reason. It is never tried again.
    #[error("{api}: refused (code {code}): {msg}")]
    Refused {
        /// The interface.
        api: &'static str,
        /// The vendor's code, or the HTTP status.
        code: i64,
        /// The vendor's words.
        msg: String,
    },
    /// The vendor kept answering that calls come too often.
    #[error("{api}: still over the rate limit after {waits} waits: {msg}")]
    RateLimit {
        /// The interface.
        api: &'static str,
        /// Waits made.
        waits: u32,
        /// The vendor's words.
        msg: String,
    },
    /// No whole reply came, however often it was tried.
    #[error("{api}: no reply after {attempts} attempts: {reason}")]
    Transport {
        /// The interface.
        api: &'static str,
        /// Attempts made.
        attempts: u32,
        /// What the last attempt met.
        reason: String,
    },
    /// A reply has an unexpected shape, type or content.
    #[error("{api} row {row}, field {field}: {rule}, got {value}")]
    Reply {
        /// The interface.
        api: &'static str,
        /// The row, counted from 0; 0 as well for faults of the whole reply.
        row: usize,
        /// The field.
        field: String,
        /// What must hold.
        rule: &'static str,
        /// The value met.
        value: String,
    },
}
