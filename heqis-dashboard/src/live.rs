//! What a running graph tells the page.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A running graph, as the page sees it. No call may block for long: they are made on the server's own thread.
pub trait Live: Send + Sync {
    /// What runs, which does not change while it runs.
    fn topology(&self) -> Topology;

    /// Books and figures of this moment.
    fn state(&self) -> State;

    /// Begins to drain the graph of this node: sources end, what is under way is finished.
    fn drain(&self);
}

/// Machines, actors on them, and what carries frames between them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Topology {
    /// Name of the graph.
    pub name: String,
    /// Machines in the order of the file.
    pub nodes: Vec<Node>,
    /// Actors in the order of the file.
    pub stages: Vec<Stage>,
    /// Edges in the order of the file.
    pub edges: Vec<Edge>,
    /// Latency promises.
    pub budgets: Vec<Budget>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its type.
    pub board: String,
}

/// An actor.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What the kind does.
    pub about: String,
    /// Machine that it runs on.
    pub node: String,
    /// Its parameters as written.
    pub params: Value,
}

/// What carries frames between two stages.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Edge {
    /// Its name, `from->to`.
    pub name: String,
    /// Stage that makes the frames.
    pub from: String,
    /// Stage that takes them.
    pub to: String,
    /// Most frames that wait.
    pub capacity: u64,
    /// What it does with a new frame when it is full.
    pub policy: String,
    /// Whether it crosses between machines.
    pub bridged: bool,
}

/// A latency promise.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Budget {
    /// The stages that it spans.
    pub path: Vec<String>,
    /// Of 100 frames, 99 take no longer, microseconds.
    pub p99_us: f64,
}

/// Books and figures of a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct State {
    /// The moment, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Every node of the topology.
    pub nodes: Vec<NodeState>,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its stages are being built.
    Building,
    /// It runs.
    Running,
    /// It finishes what is under way.
    Draining,
    /// Its stages have ended.
    Ended,
    /// It does not answer.
    Unreachable,
}

/// Books and figures of a node.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NodeState {
    /// Its name.
    pub node: String,
    /// How it is.
    pub condition: Condition,
    /// More about that, when there is more.
    pub detail: Option<String>,
    /// Its stages.
    pub stages: Vec<StageState>,
    /// Its edges, and its halves of bridged edges.
    pub edges: Vec<EdgeState>,
}

/// What a stage did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StageState {
    /// Its name.
    pub stage: String,
    /// Frames processed.
    pub frames: u64,
    /// From taking a frame until done with it.
    pub latency: Quantiles,
    /// From the frame's birth at its source until the stage was done with it.
    pub age: Quantiles,
    /// Times it was rebuilt.
    pub restarts: u64,
    /// What it counted, by name.
    pub events: Vec<(String, u64)>,
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Quantiles {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
}

/// The books of an edge, or of one half of a bridged edge.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EdgeState {
    /// `from->to`, or a stage's name for the queue inside a ring buffer.
    pub edge: String,
    /// `local`, `sender`, `receiver` or `ring`.
    pub side: String,
    /// Frames put on it.
    pub sent: u64,
    /// Frames that the consumer is done with.
    pub delivered: u64,
    /// Frames that had been delivered before a restart.
    pub duplicate: u64,
    /// Lost frames by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Frames on queues, on the wire and in the consumer's hand.
    pub in_flight: u64,
}
