//! The one list of stage kinds that a topology may name.

use heqis_actors::Registry;

/// Every kind that this binary can run.
#[must_use]
pub fn registry() -> Registry {
    Registry::new()
}
