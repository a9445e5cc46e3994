//! Stops a graph from outside.

use std::time::Duration;

use crate::control::Control;

/// Stops a graph from any thread, also while it is being built. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GraphHandle(pub(super) Control);

impl GraphHandle {
    /// Begins to drain: sources end, bridges accept no further frames, frames in flight are finished.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// As [`GraphHandle::stop`], with a drain that must be over within `drain` instead of the limit of
    /// [`Running::wait`](super::Running::wait).
    pub fn stop_within(&self, drain: Duration) {
        self.0.stop_within(drain);
    }

    /// Ends the drain now: frames in flight are dropped, cause `shutdown`, and the books close.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}
