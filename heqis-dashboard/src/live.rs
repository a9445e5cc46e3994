//! What a running graph tells the page.

use std::collections::BTreeMap;

use heqis_quant::KillState;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::jobs::Refused;

/// A running graph, as the page sees it. No call may block for long: they are made on the server's own thread.
pub trait Live: Send + Sync {
    /// What runs, which does not change while it runs.
    fn topology(&self) -> Topology;

    /// Books and figures of this moment.
    fn state(&self) -> State;

    /// Begins to drain the graph of this node: sources end, what is under way is finished.
    fn drain(&self);

    /// The newest `most` events before number `before`, newest first, and whether older ones are kept.
    fn events(&self, before: Option<u64>, most: usize) -> (Vec<Event>, bool);

    /// Whether [`Live::kill`] has a stage here that it can tell.
    fn can_kill(&self) -> bool;

    /// Sets how far the stages of this node may trade.
    ///
    /// # Errors
    /// [`Refused::Missing`] when no stage here can be told, [`Refused::Broken`] when one could not.
    fn kill(&self, state: KillState) -> Result<(), Refused>;
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
    /// What is wrong now.
    pub alarms: Vec<Alarm>,
    /// The newest events, newest first.
    pub events: Vec<Event>,
}

/// Something that happened to the graph of the page's own node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// Its number, from 1.
    pub n: u64,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The node.
    pub node: String,
    /// What happened.
    pub kind: EventKind,
    /// How bad it is.
    pub level: Level,
    /// The stage, the edge, or what an alarm is about; empty when it is the whole node.
    pub subject: String,
    /// Why, or more about it.
    pub cause: Option<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Every stage is built.
    Ready,
    /// The graph begins to drain.
    Stopping,
    /// A stage failed; it is rebuilt when it may be.
    StageFailed,
    /// A failed stage was rebuilt.
    StageRestarted,
    /// A stage has ended.
    StageEnded,
    /// A bridged edge has a connection.
    LinkUp,
    /// A bridged edge lost its connection.
    LinkDown,
    /// A peer was disconnected because of what it sent.
    PeerRejected,
    /// A link does not come up.
    LinkWaits,
    /// A stage does not take one frame.
    FrameRefused,
    /// A node that this one watches does not do its work.
    PeerStalled,
    /// A frame was older than a latency promise; told once.
    BudgetOverrun,
    /// Somebody set how far may be traded.
    Kill,
    /// An alarm was raised.
    AlarmRaised,
    /// What an alarm was about is over.
    AlarmCleared,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// To be watched.
    Warning,
    /// To be seen to.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alarm {
    /// What kind of wrong.
    pub name: AlarmName,
    /// The node, stage, edge or path.
    pub subject: String,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// More about it.
    pub text: String,
}

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmName {
    /// A node does not answer.
    NodeUnreachable,
    /// A bridged edge has no connection.
    LinkDown,
    /// A stage was rebuilt within a minute.
    StageRestarting,
    /// The books of an edge do not close.
    BooksOpen,
    /// An edge lost frames within a minute.
    LosingFrames,
    /// A latency promise is broken.
    AgeOverBudget,
    /// A backend that was preferred does not compute.
    EngineFellBack,
    /// Nothing was decided for as long as was set.
    NoDecision,
    /// The clocks of two joined nodes differ by more than was set.
    ClocksApart,
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
    /// How far its stages may trade, for each that decides.
    pub kill: Vec<Killed>,
    /// What computes its models.
    pub engines: Vec<EngineState>,
}

/// How far a stage may trade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Killed {
    /// The stage.
    pub stage: String,
    /// `active`, `reducing` (nothing is bought) or `halted` (nothing is traded).
    pub state: String,
    /// Whether this page may be let to set it: the stage is on its node and has a `kill_file`.
    pub settable: bool,
}

/// What computes a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EngineState {
    /// The stage.
    pub stage: String,
    /// The model's name.
    pub bundle: String,
    /// The backend in use.
    pub backend: String,
    /// Preferred backends that are not, in no order.
    pub skipped: Vec<Skipped>,
}

/// A backend that is not in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Skipped {
    /// Its name.
    pub backend: String,
    /// Why.
    pub reason: String,
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
    /// Whether a bridged edge has a connection; null on every other edge.
    pub connected: Option<bool>,
    /// For whom it waits, and why, while it has no connection.
    pub waits: Option<String>,
    /// Frames that the receiver still takes, for the sender of a bridged edge.
    pub credits: Option<u64>,
    /// The clock at the other end of a bridged edge, while it is known. Ages of frames that cross the edge are off by as
    /// much: nothing is corrected.
    pub clock: Option<ClockState>,
}

/// The clock of the node at the other end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClockState {
    /// How far it is ahead of this node's, microseconds; negative when it is behind.
    pub ahead_us: f64,
    /// By how much that may be wrong in either direction, microseconds: half the shortest round trip.
    pub uncertainty_us: f64,
}
