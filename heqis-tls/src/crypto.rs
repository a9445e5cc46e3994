//! The cryptography and the time that everything here is checked with.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

/// The cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls_graviola::default_provider()));
    PROVIDER.clone()
}

/// The time by which certificates are checked, in seconds since 1970.
pub(crate) fn now() -> i64 {
    let now = DefaultTimeProvider.current_time();
    now.map_or(0, |now| now.as_secs().cast_signed())
}
