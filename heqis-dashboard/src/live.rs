//! A running graph, as the page sees it.

use std::collections::BTreeMap;

use heqis_quant::TradingState;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::jobs::Rejected;

/// A running graph. Methods must return quickly: they are called on the server's thread.
pub trait Live: Send + Sync {
    /// Returns the topology, which does not change during a run.
    fn topology(&self) -> Topology;

    /// Returns the current books and metrics.
    fn state(&self) -> State;

    /// Starts to drain the graph of this node: sources end, frames in flight are processed.
    fn drain(&self);

    /// Returns the newest `most` events before number `before`, newest first, and whether older ones are kept.
    fn events(&self, before: Option<u64>, most: usize) -> (Vec<Event>, bool);

    /// Returns whether the trading state of a stage can be set from this page: of this node, or of one that this node may ask.
    fn can_set_trading_state(&self) -> bool;

    /// Sets the trading state of the stages of this node, and asks other nodes to set theirs. Returns the nodes that were asked;
    /// what becomes of that is in [`Live::state`].
    ///
    /// # Errors
    /// [`Rejected::NotFound`] when no state can be set, [`Rejected::Failed`] when writing it failed.
    fn set_trading_state(&self, state: TradingState) -> Result<Vec<String>, Rejected>;
}

/// Nodes, their stages, and the edges between them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Topology {
    /// Name of the graph.
    pub name: String,
    /// Nodes in the order of the topology file.
    pub nodes: Vec<NodeInfo>,
    /// Stages in the order of the topology file.
    pub stages: Vec<StageInfo>,
    /// Edges in the order of the topology file.
    pub edges: Vec<EdgeInfo>,
    /// Latency budgets.
    pub budgets: Vec<Budget>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// Its type.
    pub board: String,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StageInfo {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What the kind does.
    pub about: String,
    /// Node that it runs on.
    pub node: String,
    /// Its parameters as in the topology file.
    pub params: Value,
}

/// An edge between two stages.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EdgeInfo {
    /// Its name, `from->to`.
    pub name: String,
    /// Stage that emits the frames.
    pub from: String,
    /// Stage that consumes them.
    pub to: String,
    /// Largest number of queued frames.
    pub capacity: u64,
    /// Policy for a new frame when the queue is full.
    pub policy: String,
    /// Whether it connects two nodes.
    pub bridged: bool,
}

/// A latency budget.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Budget {
    /// The stages that it spans.
    pub path: Vec<String>,
    /// Largest 99th percentile of latency, microseconds.
    pub p99_us: f64,
}

/// Books and metrics at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct State {
    /// The moment, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Every node of the topology.
    pub nodes: Vec<NodeState>,
    /// Active alarms.
    pub alarms: Vec<Alarm>,
    /// The newest events, newest first.
    pub events: Vec<Event>,
}

/// An event of the page's own node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// Its number, from 1.
    pub n: u64,
    /// Time, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The node.
    pub node: String,
    /// Kind of the event.
    pub kind: EventKind,
    /// Severity.
    pub level: Level,
    /// The stage, the edge or the subject of the alarm; empty for the whole node.
    pub subject: String,
    /// Cause or details.
    pub cause: Option<String>,
}

/// Kind of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Every stage is built.
    Ready,
    /// The graph begins to drain.
    Stopping,
    /// A stage failed; it is restarted where its policy allows.
    StageFailed,
    /// A failed stage was restarted.
    StageRestarted,
    /// A stage has ended.
    StageEnded,
    /// A bridged edge has a connection.
    LinkUp,
    /// A bridged edge lost its connection.
    LinkDown,
    /// A peer was disconnected because it broke the protocol.
    PeerRejected,
    /// A link cannot be established yet.
    LinkWaits,
    /// A stage rejected one frame.
    FrameRefused,
    /// A watched node makes no progress.
    PeerStalled,
    /// Frames without an acknowledgement fill the window of an edge.
    WindowFull,
    /// A merged frame repeats a part of other frames.
    FramesOverlap,
    /// A frame exceeded a latency budget; reported once.
    BudgetOverrun,
    /// The trading state was set.
    #[serde(rename = "kill")]
    TradingState,
    /// An alarm was raised.
    AlarmRaised,
    /// The cause of an alarm is gone.
    AlarmCleared,
}

/// Severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Information.
    Info,
    /// Needs attention.
    Warning,
    /// Needs action.
    Error,
}

/// An active alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Alarm {
    /// Kind of the alarm.
    pub name: AlarmName,
    /// The node, stage, edge or path.
    pub subject: String,
    /// Start, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// Details.
    pub text: String,
}

/// Kind of the alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlarmName {
    /// A node does not respond.
    NodeUnreachable,
    /// A bridged edge has no connection.
    LinkDown,
    /// A stage was restarted within the last minute.
    StageRestarting,
    /// The books of an edge do not close.
    BooksOpen,
    /// An edge dropped frames within the last minute.
    LosingFrames,
    /// A latency budget is exceeded.
    AgeOverBudget,
    /// A preferred backend is not in use.
    EngineFellBack,
    /// No decision was made within the configured time.
    NoDecision,
    /// The clocks of two connected nodes differ by more than the configured limit.
    ClocksApart,
    /// A certificate ends soon, or has ended.
    CertificateEnds,
    /// New certificate files cannot be used; the ones before stay in use.
    CertificateUnusable,
}

/// Condition of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its stages are being built.
    Building,
    /// Its stages run.
    Running,
    /// It processes the frames in flight.
    Draining,
    /// Its stages have ended.
    Ended,
    /// It does not respond.
    Unreachable,
}

/// Books and metrics of a node.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NodeState {
    /// Its name.
    pub node: String,
    /// Its condition.
    pub condition: Condition,
    /// Which board its machine is, `host` for another machine; null where it is unknown.
    pub machine: Option<String>,
    /// Details of the condition.
    pub detail: Option<String>,
    /// Its stages.
    pub stages: Vec<StageState>,
    /// Its edges, and its halves of bridged edges.
    pub edges: Vec<EdgeState>,
    /// Trading states of its deciding stages.
    #[serde(flatten)]
    pub trading_states: TradingStates,
    /// Backends that run its models.
    pub engines: Vec<EngineState>,
}

/// Trading states of a node's deciding stages, under the current name and the former one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TradingStates {
    /// Trading states of its deciding stages.
    trading_states: Vec<StageTradingState>,
    /// Former name of `trading_states`, written for one version.
    #[schemars(extend("deprecated" = true))]
    kill: Vec<StageTradingState>,
    /// The last request of this page's node for another trading state; absent on its own node and where it has asked nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    trading_state_request: Option<TradingStateRequest>,
}

impl TradingStates {
    /// States of the stages of a node that was asked for another state.
    #[must_use]
    pub fn new(
        trading_states: Vec<StageTradingState>,
        trading_state_request: Option<TradingStateRequest>,
    ) -> Self {
        Self {
            trading_state_request,
            ..trading_states.into()
        }
    }

    /// Returns the state of a stage.
    #[must_use]
    pub fn of(&self, stage: &str) -> Option<&str> {
        let mut states = self.trading_states.iter();
        Some(&states.find(|state| state.stage == stage)?.state)
    }
}

/// A request to a node for another trading state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TradingStateRequest {
    /// The state that was asked for.
    pub state: String,
    /// What became of it.
    pub status: RequestStatus,
    /// Why it was refused, or why there is no answer.
    pub reason: Option<String>,
    /// When it was made, milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestStatus {
    /// It was sent; the answer is awaited.
    Requested,
    /// The node has done it.
    Acknowledged,
    /// The node has not done it.
    Refused,
    /// There is no link to the node: whether it was done is not known.
    NotAcknowledged,
}

impl From<Vec<StageTradingState>> for TradingStates {
    fn from(trading_states: Vec<StageTradingState>) -> Self {
        Self {
            kill: trading_states.clone(),
            trading_states,
            trading_state_request: None,
        }
    }
}

/// Trading state of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StageTradingState {
    /// The stage.
    pub stage: String,
    /// `active`, `reducing` (no purchases) or `halted` (no trades); `unknown` where another node has not reported it.
    pub state: String,
    /// Whether this page can set it: the stage runs on the page's node and has a file for it, or on a node that this one may ask.
    pub settable: bool,
}

/// The backend that runs a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EngineState {
    /// The stage.
    pub stage: String,
    /// The model's name.
    pub bundle: String,
    /// The backend in use.
    pub backend: String,
    /// Preferred backends that are not in use, in no particular order.
    pub skipped: Vec<Skipped>,
}

/// A backend that is not in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Skipped {
    /// Its name.
    pub backend: String,
    /// Why.
    pub reason: String,
    /// Whether it computed before it failed.
    pub failed: bool,
}

/// Metrics of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StageState {
    /// Its name.
    pub stage: String,
    /// Frames processed.
    pub frames: u64,
    /// Time from taking a frame until it was processed.
    pub latency: Quantiles,
    /// Time from the frame's birth at its source until the stage had processed it.
    pub age: Quantiles,
    /// Number of restarts.
    pub restarts: u64,
    /// Its counters, by name.
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
    /// Frames sent.
    pub sent: u64,
    /// Frames that the consumer has processed.
    pub delivered: u64,
    /// Frames that were already delivered before a restart.
    pub duplicate: u64,
    /// Dropped frames by cause.
    pub dropped: BTreeMap<String, u64>,
    /// Frames in queues, on the wire and being processed.
    pub in_flight: u64,
    /// Whether a bridged edge has a connection; null on every other edge.
    pub connected: Option<bool>,
    /// What it waits for, and why, while it has no connection.
    pub waits: Option<String>,
    /// Frames that the receiver still accepts, for the sender of a bridged edge.
    pub credits: Option<u64>,
    /// Clock offset of the other end of a bridged edge, once measured. Ages of frames that cross the edge are not corrected
    /// for it.
    pub clock: Option<ClockState>,
}

/// Clock offset of the node at the other end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClockState {
    /// Remote clock minus local clock, microseconds.
    pub ahead_us: f64,
    /// Uncertainty in either direction, microseconds: half the shortest round trip.
    pub uncertainty_us: f64,
}
