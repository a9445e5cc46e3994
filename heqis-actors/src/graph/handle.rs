//! Stopping a graph from outside.

use std::time::Duration;

use crate::control::Control;

/// Stops a graph from anywhere, one that is still being built as well. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GraphHandle(pub(super) Control);

impl GraphHandle {
    /// Begins to drain: sources end, bridges take no further frames, what is under way is finished.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// As [`GraphHandle::stop`], and the drain has to be over within `drain`, whatever [`Running::wait`](super::Running::wait) was given.
    pub fn stop_within(&self, drain: Duration) {
        self.0.stop_within(drain);
    }

    /// Ends the drain now: what is under way is dropped, cause `shutdown`, and the books close.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}
