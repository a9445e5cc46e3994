//! Conversions that several parts of the page share.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Returns the word for `value` in topologies and reports.
pub(super) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Returns the time of day, milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of day of an event, shown on the page"
)]
pub(super) fn now_ms() -> i64 {
    let age = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}
