//! A running graph: waiting for its end, handles and reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;

use super::handle::GraphHandle;
use super::liveness::LivenessProbe;
use super::reporter::Reporter;
use super::saving::Saving;
use crate::control::Control;
use crate::report::NodeReport;

/// The last part of the drain, at most, which is reserved for closing the books.
const CLOSING: Duration = Duration::from_millis(500);
/// How long abandoned actors have to end before their threads are left running.
const GRACE: Duration = Duration::from_secs(1);

/// A started graph.
pub struct Running {
    pub(super) reporter: Reporter,
    pub(super) saving: Option<Arc<Saving>>,
    pub(super) arbiters: BTreeMap<String, Arbiter>,
}

impl Running {
    fn control(&self) -> &Control {
        &self.reporter.control
    }

    /// A handle to stop the graph with.
    #[must_use]
    pub fn handle(&self) -> GraphHandle {
        GraphHandle(self.control().clone())
    }

    /// Reads the books and figures without disturbing the flow. Shared with [`Running::reporter`].
    #[must_use]
    pub fn report(&self) -> NodeReport {
        self.reporter.report()
    }

    /// A reporter for other threads, while the graph runs.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        self.reporter.fresh()
    }

    /// A probe of whether the graph's threads still work.
    #[must_use]
    pub fn liveness(&self) -> LivenessProbe {
        LivenessProbe::new(self.arbiters.iter().map(|(name, arbiter)| {
            (
                name.clone(),
                arbiter.handle(),
                self.control().progress(name),
            )
        }))
    }

    /// Waits until every stage has ended: because the sources ended, or after [`GraphHandle::stop`] and then at most
    /// `drain_timeout`, after which frames in flight are dropped, cause `shutdown`.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the drain in real time, whatever the graph's clock is"
    )]
    pub async fn wait(self, drain_timeout: Duration) -> NodeReport {
        let ended = async {
            self.control().stopped().await;
            let deadline = self.control().deadline(drain_timeout);
            // Frames are dropped a little earlier, so that the node has ended when the time is up.
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(left - (left / 10).min(CLOSING)).await;
        };
        let mut hung = false;
        tokio::select! {
            () = self.control().all_ended() => {}
            () = ended => {
                tracing::warn!(?drain_timeout, "drain timeout: frames in flight are dropped");
                self.control().abandon();
                hung = actix_rt::time::timeout(GRACE, self.control().all_ended()).await.is_err();
            }
        }
        if !hung && let Some(saving) = &self.saving {
            saving.save_on_leave();
        }
        let report = self.report();
        if hung {
            // A stage that never returns keeps its thread; joining that thread would block this one too.
            tracing::error!("a stage does not return; its thread is left running");
            for arbiter in self.arbiters.values() {
                arbiter.stop();
            }
        } else {
            stop_arbiters(self.arbiters);
        }
        report
    }
}

pub(super) fn stop_arbiters(arbiters: BTreeMap<String, Arbiter>) {
    for (name, arbiter) in arbiters {
        arbiter.stop();
        if arbiter.join().is_err() {
            tracing::error!(arbiter = name, "the arbiter's thread panicked");
        }
    }
}
