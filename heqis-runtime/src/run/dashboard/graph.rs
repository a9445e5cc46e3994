//! The running graph as the page sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use heqis_actors::{EdgeReport, GraphHandle, NodeReport, Side, StageReport};
use heqis_dashboard::Live;
use heqis_dashboard::live::{
    Budget, Condition, Edge, EdgeState, Node, NodeState, Quantiles, Stage, StageState, State,
    Topology,
};
use serde::Serialize;

use super::super::http::Ready;
use crate::topology::Plan;

/// One node's graph, and what is known of the others.
pub(super) struct Graph {
    topology: Topology,
    /// Index of the own node.
    own: usize,
    ready: Ready,
    handle: OnceLock<GraphHandle>,
    ended: AtomicBool,
    /// What the other nodes said last, by index.
    others: Mutex<BTreeMap<usize, NodeState>>,
    /// `host:port` of each other node's metrics, or why there is none.
    pub(super) peers: Vec<(usize, Result<String, String>)>,
    /// When the page asked last, milliseconds since the Unix epoch: nobody else needs the others' reports.
    asked_ms: AtomicI64,
}

impl Graph {
    pub(super) fn new(plan: &Plan, own: usize, ready: Ready) -> Self {
        let others = (0..plan.nodes.len()).filter(|&node| node != own);
        Self {
            topology: topology(plan),
            own,
            ready,
            handle: OnceLock::new(),
            ended: AtomicBool::new(false),
            others: Mutex::default(),
            peers: others.map(|node| (node, peer(plan, node))).collect(),
            asked_ms: AtomicI64::new(0),
        }
    }

    pub(super) fn started(&self, handle: GraphHandle) {
        let _ = self.handle.set(handle);
    }

    pub(super) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Milliseconds since the page asked last.
    pub(super) fn unasked_ms(&self) -> i64 {
        now_ms() - self.asked_ms.load(Ordering::Acquire)
    }

    /// Remembers what another node said, or why it did not.
    pub(super) fn heard(&self, node: usize, report: Result<NodeReport, String>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        match report {
            Ok(report) => {
                others.insert(node, state(report, Condition::Running, None));
            }
            // Its last figures stay: they are what was true when it went.
            Err(reason) => {
                let silent = others.entry(node).or_insert_with(|| self.silent(node));
                silent.condition = Condition::Unreachable;
                silent.detail = Some(reason);
            }
        }
    }

    fn silent(&self, node: usize) -> NodeState {
        NodeState {
            node: self.topology.nodes[node].name.clone(),
            condition: Condition::Building,
            detail: None,
            stages: Vec::new(),
            edges: Vec::new(),
        }
    }

    fn own(&self) -> NodeState {
        let Some(reporter) = self.ready.get() else {
            return self.silent(self.own);
        };
        let report = reporter.report();
        let failure = report.failure.clone();
        let condition = match () {
            () if self.ended.load(Ordering::Acquire) => Condition::Ended,
            () if reporter.stopping() => Condition::Draining,
            () => Condition::Running,
        };
        state(report, condition, failure)
    }
}

impl Live for Graph {
    fn topology(&self) -> Topology {
        self.topology.clone()
    }

    fn state(&self) -> State {
        let at_ms = now_ms();
        self.asked_ms.store(at_ms, Ordering::Release);
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = (0..self.topology.nodes.len())
            .map(|node| match others.get(&node) {
                _ if node == self.own => self.own(),
                Some(other) => other.clone(),
                None => self.silent(node),
            })
            .collect();
        State { at_ms, nodes }
    }

    fn drain(&self) {
        if let Some(handle) = self.handle.get() {
            handle.stop();
        }
    }
}

fn now_ms() -> i64 {
    let age = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

/// Where the node with index `node` serves its report.
fn peer(plan: &Plan, node: usize) -> Result<String, String> {
    let spec = &plan.nodes[node];
    let unknown = "the topology gives it no metrics port that others know";
    let (host, port) = spec
        .metrics
        .as_deref()
        .and_then(|metrics| metrics.rsplit_once(':'))
        .ok_or(unknown)?;
    if port == "0" {
        return Err(unknown.into());
    }
    let host = match host {
        // It listens everywhere, so also where the other nodes reach it.
        "0.0.0.0" | "[::]" => &spec.address,
        host => host,
    };
    Ok(format!("{host}:{port}"))
}

fn topology(plan: &Plan) -> Topology {
    let name = |stage: usize| plan.stages[stage].name.clone();
    Topology {
        name: plan.name.clone(),
        nodes: plan
            .nodes
            .iter()
            .map(|node| Node {
                name: node.name.clone(),
                board: node.board.name().to_owned(),
            })
            .collect(),
        stages: plan
            .stages
            .iter()
            .map(|stage| Stage {
                name: stage.name.clone(),
                kind: stage.kind.name.to_owned(),
                about: stage.kind.about.to_owned(),
                node: plan.nodes[stage.node].name.clone(),
                params: stage.params.clone(),
            })
            .collect(),
        edges: plan
            .edges
            .iter()
            .map(|edge| Edge {
                name: edge.name.clone(),
                from: name(edge.from),
                to: name(edge.to),
                capacity: edge.options.capacity as u64,
                policy: word(edge.options.policy),
                bridged: edge.bridge.is_some(),
            })
            .collect(),
        budgets: plan
            .budgets
            .iter()
            .map(|budget| Budget {
                path: budget.path.iter().map(|&stage| name(stage)).collect(),
                p99_us: budget.p99.as_secs_f64() * 1e6,
            })
            .collect(),
    }
}

/// The word that stands for `value` in topologies and reports.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn state(report: NodeReport, condition: Condition, detail: Option<String>) -> NodeState {
    NodeState {
        node: report.node,
        condition,
        detail: detail.or(report.failure),
        stages: report.stages.into_iter().map(stage).collect(),
        edges: report.edges.into_iter().map(edge).collect(),
    }
}

fn stage(report: StageReport) -> StageState {
    StageState {
        stage: report.stage,
        frames: report.frames,
        latency: quantiles(report.latency),
        age: quantiles(report.age),
        restarts: report.restarts,
        events: report.events,
    }
}

fn quantiles(quantiles: heqis_actors::Quantiles) -> Quantiles {
    Quantiles {
        p50_us: quantiles.p50_us,
        p99_us: quantiles.p99_us,
        p999_us: quantiles.p999_us,
        max_us: quantiles.max_us,
    }
}

fn edge(report: EdgeReport) -> EdgeState {
    EdgeState {
        side: match report.side {
            Side::Local => "local",
            Side::Sender => "sender",
            Side::Receiver => "receiver",
            Side::Ring => "ring",
        }
        .to_owned(),
        edge: report.edge,
        sent: report.sent,
        delivered: report.delivered,
        duplicate: report.duplicate,
        dropped: report
            .dropped
            .iter()
            .map(|(cause, frames)| (cause.name().to_owned(), *frames))
            .collect(),
        in_flight: report.in_flight,
    }
}
