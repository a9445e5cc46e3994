//! A graph that runs: stopping it, waiting for it, reading its books.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};
use serde::{Deserialize, Serialize};

use crate::control::{Control, StageReport, StageStats};
use crate::edge::{Edge, EdgeReport, Side};
use crate::metrics::Metrics;

/// How long abandoned actors get to say that they have ended before their threads are left behind.
const GRACE: Duration = Duration::from_secs(1);

/// Stops a graph from anywhere, one that is still being built as well. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GraphHandle(pub(super) Control);

impl GraphHandle {
    /// Begins to drain: sources end, bridges take no further frames, what is under way is finished.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// As [`GraphHandle::stop`], and the drain has to be over within `drain`, whatever [`Running::wait`] was given.
    pub fn stop_within(&self, drain: Duration) {
        self.0.stop_within(drain);
    }

    /// Ends the drain now: what is under way is dropped, cause `shutdown`, and the books close.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

/// A started graph.
pub struct Running {
    pub(super) topology: String,
    pub(super) node: String,
    pub(super) control: Control,
    pub(super) metrics: Metrics,
    pub(super) edges: Vec<Arc<Edge>>,
    pub(super) stats: Vec<StageStats>,
    pub(super) arbiters: BTreeMap<String, Arbiter>,
}

impl Running {
    /// A handle to stop the graph with.
    #[must_use]
    pub fn handle(&self) -> GraphHandle {
        GraphHandle(self.control.clone())
    }

    /// Reads the books and figures without disturbing the flow. Shared with [`Running::reporter`].
    #[must_use]
    pub fn report(&self) -> NodeReport {
        self.reporter().report()
    }

    /// Something that reports from other threads while the graph runs.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter {
            topology: self.topology.clone(),
            node: self.node.clone(),
            control: self.control.clone(),
            metrics: self.metrics.clone(),
            edges: self.edges.clone(),
            stats: self.stats.clone(),
        }
    }

    /// Something that tells whether the graph's threads still take turns.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.arbiters.values().map(Arbiter::handle).collect())
    }

    /// Waits until every stage has ended: because the sources ended, or after [`GraphHandle::stop`] and then at most
    /// `drain_timeout`, after which what is under way is dropped, cause `shutdown`.
    pub async fn wait(self, drain_timeout: Duration) -> NodeReport {
        let ended = async {
            self.control.stopped().await;
            let deadline = self.control.deadline(drain_timeout);
            tokio::time::sleep_until(deadline.into()).await;
        };
        let mut hung = false;
        tokio::select! {
            () = self.control.all_ended() => {}
            () = ended => {
                tracing::warn!(?drain_timeout, "drain timeout: what is under way is dropped");
                self.control.abandon();
                hung = actix_rt::time::timeout(GRACE, self.control.all_ended()).await.is_err();
            }
        }
        let report = self.report();
        if hung {
            // A stage that never returns keeps its thread; joining it would hang this one too.
            tracing::error!("a stage does not return from its work; its thread is left behind");
            for arbiter in self.arbiters.values() {
                arbiter.stop();
            }
        } else {
            stop_arbiters(self.arbiters);
        }
        report
    }
}

/// Feels whether every arbiter of a graph still takes turns. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<[ArbiterHandle]>);

impl Pulse {
    /// Completes when every arbiter has taken a turn. One whose stage does not return from its work never does; one that
    /// has ended counts as well.
    pub async fn beat(&self) {
        let turns: Vec<_> = self
            .0
            .iter()
            .map(|arbiter| {
                let (tell, told) = tokio::sync::oneshot::channel();
                arbiter.spawn_fn(move || {
                    let _ = tell.send(());
                });
                told
            })
            .collect();
        for turn in turns {
            let _ = turn.await;
        }
    }
}

/// How one half of a bridged edge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The edge.
    pub edge: String,
    /// Which half.
    pub side: Side,
    /// Whether it has a live connection.
    pub up: bool,
    /// Whether it has done its work and ended.
    pub ended: bool,
}

/// Reports on a running graph. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    topology: String,
    node: String,
    control: Control,
    metrics: Metrics,
    edges: Vec<Arc<Edge>>,
    stats: Vec<StageStats>,
}

impl Reporter {
    /// The books and figures of this moment.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        NodeReport {
            topology: self.topology.clone(),
            node: self.node.clone(),
            failure: self.control.failure(),
            edges: self.edges.iter().map(|edge| self.edge(edge)).collect(),
            stages: self
                .stats
                .iter()
                .map(|stats| {
                    let counters = self.metrics.stage_counters(stats.stage());
                    stats.report(counters.snapshot(), counters.notes())
                })
                .collect(),
        }
    }

    /// The books of an edge, with what is known of its link.
    fn edge(&self, edge: &Edge) -> EdgeReport {
        let mut report = edge.report();
        if matches!(report.side, Side::Sender | Side::Receiver) {
            let link = self.metrics.link(&report.edge);
            report.connected = Some(link.up.get() > 0);
            report.clock = link.clock();
            if report.side == Side::Sender {
                report.credits = u64::try_from(link.credits.get()).ok();
            }
        }
        report
    }

    /// The metrics in Prometheus text format, queue depths of this moment included.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        for edge in &self.edges {
            edge.report();
        }
        self.metrics.render()
    }

    /// The state of every half of a bridged edge that this node has.
    #[must_use]
    pub fn links(&self) -> Vec<LinkState> {
        self.edges
            .iter()
            .filter(|edge| matches!(edge.side(), Side::Sender | Side::Receiver))
            .map(|edge| LinkState {
                edge: edge.name.to_string(),
                side: edge.side(),
                up: self.metrics.link(&edge.name).up.get() != 0,
                ended: self.control.has_ended(&edge.name),
            })
            .collect()
    }

    /// Whether the graph has begun to drain.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.control.stopping()
    }
}

/// The books and figures of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Name of the topology.
    pub topology: String,
    /// Name of the node.
    pub node: String,
    /// Why the graph ended itself, when it did.
    pub failure: Option<String>,
    /// Books of each edge and each half of a bridged edge.
    pub edges: Vec<EdgeReport>,
    /// Figures of each stage.
    pub stages: Vec<StageReport>,
}

impl NodeReport {
    /// Whether the graph ended well and every book closes with nothing left in flight.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
            && self
                .edges
                .iter()
                .all(|edge| edge.closes() && edge.in_flight == 0)
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
