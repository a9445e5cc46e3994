//! A graph whose stages are built: its drain, and the end of its arbiters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::{Arbiter, ArbiterHandle};

use super::moves::Requests;
use super::reporter::Reporter;
use super::saving::Saving;
use crate::control::{Control, Progress};

/// The last part of the drain, at most, which is reserved for closing the books.
const CLOSING: Duration = Duration::from_millis(500);
/// How long abandoned actors have to end before their threads are left running.
const GRACE: Duration = Duration::from_secs(1);
/// The failure of a graph with such a thread.
const HUNG: &str = "a stage does not return; its thread is left running";

/// A graph whose stages are built.
pub(super) struct Running {
    pub(super) reporter: Reporter,
    pub(super) saving: Option<Arc<Saving>>,
    pub(super) requests: Requests,
    pub(super) arbiters: BTreeMap<String, Arbiter>,
}

impl Running {
    fn control(&self) -> &Control {
        &self.reporter.control
    }

    /// The graph's threads: name, where work is sent, and progress.
    pub(super) fn arbiters(&self) -> Vec<(String, ArbiterHandle, Progress)> {
        let arbiter = |(name, arbiter): (&String, &Arbiter)| {
            let progress = self.control().progress(name);
            (name.clone(), arbiter.handle(), progress)
        };
        self.arbiters.iter().map(arbiter).collect()
    }

    /// Waits until every stage has ended: because the sources ended, or after a stop and then at most until the end of the
    /// drain, after which frames in flight are dropped, cause `shutdown`.
    pub(super) async fn wait(self, drain_timeout: Duration) {
        let mut hung = false;
        tokio::select! {
            () = self.control().all_ended() => {}
            () = drained(self.control(), drain_timeout) => {
                tracing::warn!("the drain is over: frames in flight are dropped");
                self.control().abandon();
                hung = actix_rt::time::timeout(GRACE, self.control().all_ended()).await.is_err();
            }
        }
        if !hung
            && !self.control().killed()
            && let Some(saving) = &self.saving
        {
            saving.save_on_leave();
        }
        if hung {
            // A stage that never returns keeps its thread; joining that thread would block this one too.
            tracing::error!(HUNG);
            self.control().set_failure(HUNG);
            for arbiter in self.arbiters.values() {
                arbiter.stop();
            }
        } else {
            for name in stop_arbiters(self.arbiters) {
                let failure = format!("the thread of arbiter '{name}' panicked");
                self.reporter.control.set_failure(&failure);
            }
        }
        self.reporter.end();
    }
}

/// Completes when the drain has to be over.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the drain in real time, whatever the graph's clock is"
)]
async fn drained(control: &Control, drain_timeout: Duration) {
    control.stopped().await;
    let mut deadline = control.deadline(drain_timeout);
    loop {
        let left = deadline.borrow_and_update().map_or(drain_timeout, |end| {
            end.saturating_duration_since(Instant::now())
        });
        // Frames are dropped a little earlier, so that the node has ended when the time is up.
        let left = left - (left / 10).min(CLOSING);
        tokio::select! {
            () = tokio::time::sleep(left) => return,
            _ = deadline.changed() => {}
        }
    }
}

/// Ends the threads; returns the names of those that have panicked.
pub(super) fn stop_arbiters(arbiters: BTreeMap<String, Arbiter>) -> Vec<String> {
    let panicked = arbiters.into_iter().filter_map(|(name, arbiter)| {
        arbiter.stop();
        arbiter.join().is_err().then_some(name)
    });
    panicked
        .inspect(|name| tracing::error!(arbiter = name, "the arbiter's thread panicked"))
        .collect()
}
