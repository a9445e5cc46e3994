//! Notices a bridged edge that carries nothing further because nothing of it is acknowledged.

use std::time::Duration;

use super::setup::BridgeSetup;
use heqis_core::{Event, duration_ns};

/// How long a window is full without an acknowledgement until that is reported.
const FULL_AFTER: Duration = Duration::from_secs(2);

/// Whether frames without an acknowledgement fill a window, and none of them gets one.
#[derive(Default)]
pub(super) struct WindowWatch {
    /// Acknowledged frames, and since when they are as many.
    stands: Option<(u64, i64)>,
}

impl WindowWatch {
    /// Checks a half that has `open` frames without an acknowledgement after `done` ones, and reports a window that stays
    /// full; `holder` says what holds the frames.
    pub(super) fn check(
        &mut self,
        setup: &BridgeSetup,
        (open, done): (u64, u64),
        now_ns: i64,
        holder: impl FnOnce() -> String,
    ) {
        if open < setup.window as u64 {
            if self.stands.take().is_some() {
                setup.edge.set_full(None);
            }
            return;
        }
        let since_ns = match self.stands {
            Some((before, since_ns)) if before == done => since_ns,
            _ => now_ns,
        };
        self.stands = Some((done, since_ns));
        if now_ns - since_ns < duration_ns(FULL_AFTER) {
            return setup.edge.set_full(None);
        }
        let edge = setup.edge.name.to_string();
        let reason = format!(
            "unacknowledged frames fill the window of edge '{edge}' ({})",
            holder()
        );
        let known = setup.edge.full();
        setup.edge.set_full(Some(reason.clone()));
        if known.is_none() {
            setup
                .control
                .publish_limited("window_full", &setup.edge.name, |left_out| {
                    Event::WindowFull {
                        edge,
                        reason,
                        left_out,
                    }
                });
        }
    }
}
