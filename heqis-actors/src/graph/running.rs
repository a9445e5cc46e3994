//! A graph that runs: stopping it, waiting for it, reading its books.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_rt::{Arbiter, ArbiterHandle};
use serde::{Deserialize, Serialize};

use super::saving::Saving;
use crate::clock::{Clock, duration_ns};
use crate::control::{Control, Progress, StageReport, StageStats};
use crate::edge::{Cause, Edge, EdgeReport, Side};
use crate::metrics::Metrics;

/// The end of the drain that is kept for closing the books, at most.
const CLOSING: Duration = Duration::from_millis(500);
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
    pub(super) clock: Clock,
    pub(super) saving: Option<Arc<Saving>>,
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
            clock: self.clock.clone(),
            watched: Arc::default(),
        }
    }

    /// Something that tells whether the graph's threads still work.
    #[must_use]
    pub fn liveness(&self) -> LivenessProbe {
        let probed = |(name, arbiter): (&String, &Arbiter)| ProbedArbiter {
            name: name.clone(),
            handle: arbiter.handle(),
            progress: self.control.progress(name),
            seen: 0,
            probe: None,
            alive: Instant::now(),
        };
        LivenessProbe(self.arbiters.iter().map(probed).collect())
    }

    /// Waits until every stage has ended: because the sources ended, or after [`GraphHandle::stop`] and then at most
    /// `drain_timeout`, after which what is under way is dropped, cause `shutdown`.
    pub async fn wait(self, drain_timeout: Duration) -> NodeReport {
        let ended = async {
            self.control.stopped().await;
            let deadline = self.control.deadline(drain_timeout);
            // What has to be dropped is dropped a little before, so that the node is gone when the time is up.
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(left - (left / 10).min(CLOSING)).await;
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
        if !hung && let Some(saving) = &self.saving {
            saving.save_left();
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

/// Tells a graph that works from one that hangs. An arbiter is alive when it gets on with its frames, however many wait,
/// or else when it answers a probe.
pub struct LivenessProbe(Vec<ProbedArbiter>);

struct ProbedArbiter {
    name: String,
    handle: ArbiterHandle,
    progress: Progress,
    /// What the arbiter had done when it was last looked at.
    seen: u64,
    /// A probe that has not been answered yet.
    probe: Option<tokio::sync::oneshot::Receiver<()>>,
    alive: Instant,
}

impl LivenessProbe {
    /// Looks at every arbiter, and returns the names of those that have neither worked nor answered for `patience`.
    pub fn hung(&mut self, patience: Duration) -> Vec<String> {
        let now = Instant::now();
        let mut hung = Vec::new();
        for arbiter in &mut self.0 {
            let done = arbiter.progress.count();
            // A probe whose arbiter has ended is answered as well.
            let answered = match &mut arbiter.probe {
                Some(probe) => !matches!(
                    probe.try_recv(),
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty)
                ),
                None => true,
            };
            if answered {
                let (answer, probe) = tokio::sync::oneshot::channel();
                arbiter.handle.spawn_fn(move || {
                    let _ = answer.send(());
                });
                arbiter.probe = Some(probe);
            }
            if answered || done != arbiter.seen {
                arbiter.seen = done;
                arbiter.alive = now;
            }
            if now.duration_since(arbiter.alive) >= patience {
                hung.push(arbiter.name.clone());
            }
        }
        hung
    }
}

/// Something on this node that waits for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The edge or stage that waits.
    pub subject: String,
    /// For whom or what, and why.
    pub reason: String,
    /// Since when, nanoseconds of the node's clock.
    pub since_ns: i64,
}

/// How long frames may wait on an edge without any of them getting its outcome before the edge counts as stalled.
const STALLED: Duration = Duration::from_secs(5);

/// What an edge had done when it was last looked at, and since when it has done nothing although frames wait.
#[derive(Debug, Default)]
struct EdgeWatch {
    settled: u64,
    idle_ns: Option<i64>,
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
    clock: Clock,
    watched: Arc<Mutex<BTreeMap<(String, Side), EdgeWatch>>>,
}

impl Reporter {
    /// Everything on this node that waits for another node, for a stage, or for something that a stage needs. An edge on
    /// which frames wait is found to be stalled by looking at it again and again: call this at least once a second.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let now_ns = self.clock.now_ns();
        let mut waiting = self.control.paused();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for edge in &self.edges {
            let report = edge.report();
            let watch = watched
                .entry((report.edge.clone(), report.side))
                .or_default();
            let settled = report.delivered + report.duplicate + report.dropped_total();
            let moved = std::mem::replace(&mut watch.settled, settled) != settled;
            if let Some(reason) = report.waits {
                let since_ns = *watch.idle_ns.get_or_insert(now_ns);
                waiting.push(Waiting {
                    subject: format!("edge '{}'", report.edge),
                    reason: format!("for {reason}"),
                    since_ns,
                });
            } else if moved || report.in_flight == 0 {
                watch.idle_ns = None;
            } else {
                let since_ns = *watch.idle_ns.get_or_insert(now_ns);
                if now_ns.saturating_sub(since_ns) >= duration_ns(STALLED) {
                    let consumer = report.edge.rsplit("->").next().unwrap_or_default();
                    let consumer = match report.side {
                        Side::Sender => format!("the node of stage '{consumer}'"),
                        Side::Local | Side::Receiver | Side::Ring => format!("stage '{consumer}'"),
                    };
                    waiting.push(Waiting {
                        subject: format!("edge '{}'", report.edge),
                        reason: format!("{} frames for {consumer}", report.in_flight),
                        since_ns,
                    });
                }
            }
        }
        waiting
    }

    /// The books and figures of this moment.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        NodeReport {
            topology: self.topology.clone(),
            node: self.node.clone(),
            failure: self.control.failure(),
            left: self.control.stopping(),
            resumable: self.control.is_resumable(),
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
    /// Whether the node was told to leave, or had to, before its streams were complete.
    #[serde(default)]
    pub left: bool,
    /// Whether what the node dropped because it left comes again when it is back: each of its sources can be replayed.
    #[serde(default)]
    pub resumable: bool,
    /// Books of each edge and each half of a bridged edge.
    pub edges: Vec<EdgeReport>,
    /// Figures of each stage.
    pub stages: Vec<StageReport>,
}

impl NodeReport {
    /// Whether the graph ended well, its books close, and nothing was lost for good on an edge that loses nothing.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.books_close() && self.edges.iter().all(|edge| self.lost_on(edge) == 0)
    }

    /// Whether the graph ended well and every book closes with nothing left in flight.
    #[must_use]
    pub fn books_close(&self) -> bool {
        let closed = |edge: &EdgeReport| edge.closes() && edge.in_flight == 0;
        self.failure.is_none() && self.edges.iter().all(closed)
    }

    /// Frames that were lost for good on `edge` although it loses nothing. What is too old by the edge's own limit was
    /// meant to be dropped, and what a node dropped because it left comes again where the sources can be replayed.
    #[must_use]
    pub fn lost_on(&self, edge: &EdgeReport) -> u64 {
        let lost = edge.dropped.iter().filter(|(cause, _)| match cause {
            Cause::Age => false,
            Cause::Shutdown => !self.resumable,
            _ => true,
        });
        match edge.lossless {
            true => lost.map(|(_, frames)| frames).sum(),
            false => 0,
        }
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
