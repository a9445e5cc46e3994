//! The handles of a graph: the owner's, and those that stop it from elsewhere.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use tokio::sync::watch;

use super::liveness::LivenessProbe;
use super::moves::Requests;
use super::reporter::Reporter;
use crate::control::{Control, Progress};
use heqis_core::{Events, NodeReport, block_on};

/// The owner of a running graph, which runs on threads of its own. Returned by
/// [`GraphBuilder::spawn`](super::GraphBuilder::spawn); every function works from any thread and on any executor.
///
/// **Dropping it** begins a drain as [`StopHandle::stop`] does and does not wait: the graph ends within its drain timeout,
/// and its threads end with it. So no graph runs on without an owner.
///
/// ```no_run
/// use std::time::Duration;
///
/// use heqis_actors::{EdgeOptions, Frame, GraphBuilder, Next, Payload};
///
/// #[derive(Payload)]
/// struct Tick(u64);
///
/// let mut ticks = 0;
/// let graph = GraphBuilder::new("ticks")
///     .source_fn("ticks", move || {
///         ticks += 1;
///         Ok(Next::Item(Tick(ticks)))
///     })
///     .sink_fn("sink", |_: &Frame<Tick>| ())
///     .edge("ticks", "sink", EdgeOptions::default())
///     .spawn()?;
/// let report = graph.stop_blocking(Duration::from_secs(10));
/// assert!(report.left && report.books_close());
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
#[must_use = "dropping the handle of a graph drains the graph"]
pub struct GraphHandle {
    pub(super) reporter: Reporter,
    pub(super) arbiters: Arbiters,
    /// Whether the graph has ended, and its threads with it.
    pub(super) ended: watch::Receiver<bool>,
    pub(super) requests: Requests,
}

/// The graph's threads: name, where work is sent, and progress. Emptied at the end, because they hold descriptors.
pub(super) type Arbiters = Arc<Mutex<Vec<(String, ArbiterHandle, Progress)>>>;

impl GraphHandle {
    fn control(&self) -> &Control {
        &self.reporter.control
    }

    /// Waits until the graph has ended: because its sources ended, it failed, or it was stopped and its drain is over.
    /// Returns the last report. Cancel-safe: it may be used in `select!`, and called again.
    pub async fn wait(&self) -> NodeReport {
        if self.ended.clone().wait_for(|ended| *ended).await.is_err() {
            self.control().set_failure("the graph's thread panicked");
        }
        self.reporter.report()
    }

    /// As [`GraphHandle::wait`], blocking the calling thread.
    pub fn wait_blocking(&self) -> NodeReport {
        block_on(self.wait())
    }

    /// Begins to drain at the call and waits for the end, which comes within `drain`: frames in flight are finished until
    /// then and dropped afterwards, cause `shutdown`. What was lost is listed by [`NodeReport::lost`]. Dropping the future
    /// does not stop the drain.
    pub fn stop(&self, drain: Duration) -> impl Future<Output = NodeReport> + Send {
        self.control().stop_within(drain);
        self.wait()
    }

    /// As [`GraphHandle::stop`], blocking the calling thread.
    pub fn stop_blocking(&self, drain: Duration) -> NodeReport {
        block_on(self.stop(drain))
    }

    /// A handle that stops the graph from elsewhere.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.control().clone())
    }

    /// Every event of this graph from now on; [`GraphBuilder::events`](super::GraphBuilder::events) has the earlier ones.
    #[must_use]
    pub fn events(&self) -> Events {
        self.control().events()
    }

    /// The books and figures of this moment, or the last ones. Does not disturb the flow.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        self.reporter.report()
    }

    /// A reporter for other threads, which may outlive the graph.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        self.reporter.fresh()
    }

    /// A probe of whether the graph's threads still work. It finds nothing hanging once the graph has ended.
    #[must_use]
    pub fn liveness(&self) -> LivenessProbe {
        LivenessProbe::new(self.arbiters().into_iter())
    }

    pub(super) fn arbiters(&self) -> Vec<(String, ArbiterHandle, Progress)> {
        let arbiters = self.arbiters.lock();
        arbiters.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for GraphHandle {
    fn drop(&mut self) {
        if !*self.ended.borrow() {
            self.control().stop();
        }
    }
}

impl fmt::Debug for GraphHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphHandle")
            .field("topology", &self.reporter.topology)
            .field("node", &self.reporter.node)
            .field("ended", &*self.ended.borrow())
            .finish_non_exhaustive()
    }
}

/// Stops a graph from any thread, also while it is being built. Cheap to clone, and owns nothing.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Control);

impl StopHandle {
    /// Begins to drain: sources end, bridges accept no further frames, frames in flight are finished. The drain is over
    /// within the limit of [`GraphBuilder::drain_timeout`](super::GraphBuilder::drain_timeout).
    pub fn stop(&self) {
        self.0.stop();
    }

    /// As [`StopHandle::stop`], with a drain that must be over within `drain`. The last call counts.
    pub fn stop_within(&self, drain: Duration) {
        self.0.stop_within(drain);
    }

    /// Ends the drain now: frames in flight are dropped, cause `shutdown`, and the books close.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}
