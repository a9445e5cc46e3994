//! Reports on a running graph.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::control::Control;
use crate::edge::Edge;
use heqis_core::{
    Clock, EdgeReport, EdgeSide, Ending, Event, LinkState, Metrics, NodeReport, StageStats,
    Waiting, duration_ns, stage_of,
};

/// How long frames may wait on an edge without any of them getting its outcome before the edge counts as stalled.
const STALLED: Duration = Duration::from_secs(5);

/// The progress of an edge at the last call, and since when it has made none although frames wait.
#[derive(Debug, Default)]
pub(super) struct EdgeWatch {
    settled: u64,
    idle_ns: Option<i64>,
}

/// Reports on a running graph, and afterwards how it ended. Cheap to clone.
///
/// ```no_run
/// use heqis_actors::{GraphBuilder, GraphError};
///
/// let reporter = GraphBuilder::new("empty").node("gateway").spawn()?.reporter();
/// let report = reporter.report();
/// assert_eq!((report.node.as_str(), report.edges.len()), ("gateway", 0));
/// assert!(reporter.waiting().is_empty() && report.books_close());
/// # Ok::<(), GraphError>(())
/// ```
#[derive(Clone)]
pub struct Reporter {
    pub(super) topology: String,
    pub(super) node: String,
    pub(super) control: Control,
    pub(super) metrics: Metrics,
    observed: Arc<RwLock<Observed>>,
    pub(super) stats: Vec<StageStats>,
    pub(super) clock: Clock,
    /// The edges at the last call of [`Reporter::waiting`].
    pub(super) watched: Watched,
}

/// What is reported: edges while they live, which keep descriptors of their actors' threads open, and then their last state.
enum Observed {
    Running(Vec<Arc<Edge>>),
    Ended(Box<NodeReport>, Vec<LinkState>),
}

pub(super) type Watched = Arc<Mutex<BTreeMap<(String, EdgeSide), EdgeWatch>>>;

impl Reporter {
    pub(super) fn new(
        (topology, node): (String, String),
        (control, metrics): (Control, Metrics),
        edges: Vec<Arc<Edge>>,
        stats: Vec<StageStats>,
        clock: Clock,
    ) -> Self {
        Self {
            topology,
            node,
            control,
            metrics,
            observed: Arc::new(RwLock::new(Observed::Running(edges))),
            stats,
            clock,
            watched: Watched::default(),
        }
    }

    fn observed(&self) -> RwLockReadGuard<'_, Observed> {
        self.observed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The graph has ended: keeps the last report of it, and releases the rest.
    pub(super) fn end(&self) {
        let mut observed = self
            .observed
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Observed::Running(edges) = &*observed {
            let (report, links) = (self.report_on(edges), self.links_of(edges));
            *observed = Observed::Ended(Box::new(report), links);
        }
    }

    /// A reporter whose [`Reporter::waiting`] was not called yet.
    pub(super) fn fresh(&self) -> Self {
        Self {
            watched: Watched::default(),
            ..self.clone()
        }
    }

    /// Everything on this node that waits for another node, for a stage, or for something that a stage needs. A stalled
    /// edge is found by comparing calls: call this at least once a second.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let now_ns = self.clock.now_ns();
        let mut waiting = self.control.paused();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let observed = self.observed();
        let Observed::Running(edges) = &*observed else {
            return Vec::new();
        };
        for edge in edges {
            let report = edge.report();
            let watch = watched
                .entry((report.edge.clone(), report.side))
                .or_default();
            let settled = report.delivered + report.duplicate + report.dropped_total();
            let moved = std::mem::replace(&mut watch.settled, settled) != settled;
            if let Some(reason) = report.waits {
                let since_ns = *watch.idle_ns.get_or_insert(now_ns);
                let is_full = edge.full().is_some_and(|full| full == reason);
                let reason = match is_full {
                    true => reason,
                    false => format!("for {reason}"),
                };
                let edge = format!("edge '{}'", report.edge);
                waiting.push(Waiting::new(edge, reason, since_ns));
            } else if moved || report.in_flight == 0 {
                watch.idle_ns = None;
            } else {
                let since_ns = *watch.idle_ns.get_or_insert(now_ns);
                if now_ns.saturating_sub(since_ns) >= duration_ns(STALLED) {
                    let consumer = report.edge.rsplit("->").next().map_or("", stage_of);
                    let consumer = match report.side {
                        EdgeSide::Sender => format!("the node of stage '{consumer}'"),
                        _ => format!("stage '{consumer}'"),
                    };
                    let edge = format!("edge '{}'", report.edge);
                    let reason = format!("{} frames for {consumer}", report.in_flight);
                    waiting.push(Waiting::new(edge, reason, since_ns));
                }
            }
        }
        waiting
    }

    /// The books and figures of this moment.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        match &*self.observed() {
            Observed::Running(edges) => self.report_on(edges),
            Observed::Ended(report, _) => NodeReport::clone(report),
        }
    }

    fn report_on(&self, edges: &[Arc<Edge>]) -> NodeReport {
        let mut report = NodeReport::default();
        (report.topology, report.node) = (self.topology.clone(), self.node.clone());
        report.failure = self.control.failure();
        // A node that is stopped after its streams are complete leaves nothing.
        let is_complete = |edge: &Arc<Edge>| {
            edge.side() == EdgeSide::Ring || edge.ending() == Some(Ending::Complete)
        };
        report.left = self.control.stopping()
            && (edges.is_empty() || self.control.is_incomplete() || !edges.iter().all(is_complete));
        report.resumable = self.control.is_resumable();
        report.edges = edges.iter().map(|edge| self.edge(edge)).collect();
        let stages = self.stats.iter().map(|stats| {
            let counters = self.metrics.stage_counters(stats.stage());
            stats.report(counters.snapshot(), counters.notes())
        });
        report.stages = stages.collect();
        report
    }

    /// The books of an edge, with the state of its link.
    fn edge(&self, edge: &Edge) -> EdgeReport {
        let mut report = edge.report();
        if matches!(report.side, EdgeSide::Sender | EdgeSide::Receiver) {
            let link = self.metrics.link(&report.edge);
            report.connected = Some(link.up.get() > 0);
            report.clock = link.clock();
            if report.side == EdgeSide::Sender {
                report.credits = u64::try_from(link.credits.get()).ok();
            }
        }
        report
    }

    /// The metrics in Prometheus text format, queue depths of this moment included.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        if let Observed::Running(edges) = &*self.observed() {
            for edge in edges {
                edge.report();
            }
        }
        self.metrics.render()
    }

    /// The state of every half of a bridged edge that this node has.
    #[must_use]
    pub fn links(&self) -> Vec<LinkState> {
        match &*self.observed() {
            Observed::Running(edges) => self.links_of(edges),
            Observed::Ended(_, links) => links.clone(),
        }
    }

    fn links_of(&self, edges: &[Arc<Edge>]) -> Vec<LinkState> {
        edges
            .iter()
            .filter(|edge| matches!(edge.side(), EdgeSide::Sender | EdgeSide::Receiver))
            .map(|edge| {
                let mut state = LinkState::new(&*edge.name, edge.side());
                state.up = self.metrics.link(&edge.name).up.get() != 0;
                state.ended = self.control.has_ended(&edge.name);
                state
            })
            .collect()
    }

    /// Publishes an event to the graph's subscribers and to the log: something that is observed from outside.
    pub fn publish(&self, event: Event) {
        self.control.publish(event);
    }

    /// Whether the graph has begun to drain.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.control.stopping()
    }
}
