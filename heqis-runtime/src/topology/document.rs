//! The format: what a topology file may hold. The doc comments are what an editor shows, through the JSON schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use heqis_actors::{Delivery, Encoding, Exhausted, Policy, Scheduling};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::board::Board;
use heqis_actors::units::Time;

/// A HEQIS topology: machines (nodes), actors placed on them (stages), and what carries frames between them (edges).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Version of the format; this one is 1.
    #[schemars(range(min = 1, max = 1))]
    pub heqis: u32,
    /// What concerns the whole graph.
    pub topology: Header,
    /// Values for what edges leave out.
    #[serde(default)]
    pub defaults: Defaults,
    /// Machines by name.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// Actors by name. Their order in the file is their order in every listing.
    pub stages: BTreeMap<String, StageSpec>,
    /// What carries frames from one stage to another.
    #[serde(default)]
    pub edges: Vec<EdgeSpec>,
    /// Latency promises, watched while the graph runs.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
    /// Overlays by name, chosen with `--profile`. An edge is addressed as `edges."from->to"`.
    #[serde(default)]
    pub profiles: BTreeMap<String, ProfileSpec>,
}

/// What concerns the whole graph.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the graph, in logs and metrics.
    pub name: String,
    /// Directory where relative paths start, relative to the file's own. Default: the working directory.
    #[serde(default)]
    pub base: Option<PathBuf>,
    /// How long frames under way may take to finish when the graph stops. Default: "5s".
    #[serde(default)]
    pub drain_timeout: Option<Time>,
}

/// Values for what the rest of the file leaves out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// For edges.
    #[serde(default)]
    pub edge: EdgeDefaults,
}

/// Values for what an edge leaves out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeDefaults {
    /// Most frames that wait. Default: 1024.
    #[serde(default)]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub capacity: Option<usize>,
    /// What a full edge does with a new frame. Default: "block".
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Frames older than this are dropped. Default: no limit.
    #[serde(default)]
    pub max_age: Option<Time>,
}

/// A machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Machine type, from which cores and memory follow.
    pub board: Board,
    /// Host name or IP address at which the other nodes reach it. Default: "127.0.0.1".
    #[serde(default)]
    pub address: Option<String>,
    /// `host:port` where the node serves metrics. Default: none are served.
    #[serde(default)]
    pub metrics: Option<String>,
    /// A page with what is decided and how the graph is. Default: none is served.
    #[serde(default)]
    pub dashboard: Option<DashboardSpec>,
    /// Number of cores, where it differs from the board's.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub cores: Option<usize>,
    /// Memory in MiB, where it differs from the board's.
    #[serde(default)]
    #[schemars(range(min = 64))]
    pub memory_mib: Option<u64>,
    /// What happens when a thread does not get the cores or the priority that its stage asks for. Default: "warn".
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Where what the node's stages hold (indicators, windows, recurrent states) is saved, so that the node continues with
    /// the same bits when it comes back. Default: it is made anew by replaying the sources.
    #[serde(default)]
    pub state: Option<StateSpec>,
    /// Nodes that this one looks after, by name: it raises an alarm when one stalls, and may run a command.
    #[serde(default)]
    pub watch: BTreeMap<String, WatchSpec>,
}

/// Where and how often what the stages of a node hold is saved.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The file; missing directories are made.
    pub path: PathBuf,
    /// Time between two snapshots; one more is taken when the node leaves. Default: "30s".
    #[serde(default)]
    pub every: Option<Time>,
}

/// How the items of a source are written down.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSpec {
    /// Directory of the recording; it is made when it is missing.
    pub path: PathBuf,
    /// How much is kept beyond what a restart needs, MiB. Default: 256.
    #[serde(default)]
    #[schemars(range(max = 1_048_576))]
    pub keep_mib: Option<u64>,
    /// Whether each item is forced to the disk before it goes on its way, against power cuts. Default: false.
    #[serde(default)]
    pub sync: bool,
}

/// When a watched node counts as stalled, and what is done about it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchSpec {
    /// How long a link to it may be down, or frames may wait for it without it getting on with them. Default: "10s".
    #[serde(default)]
    #[schemars(extend("x-formerly" = "silence"))]
    pub stall_timeout: Option<Time>,
    /// How long it may take frames without sending any back. Default: no limit, because answers may be rare.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "answer"))]
    pub response_timeout: Option<Time>,
    /// Program and arguments to run after each alarm, without a shell; it finds the node's name in HEQIS_PEER and the
    /// alarm's cause in HEQIS_ALARM. Default: none is run.
    #[serde(default)]
    pub command: Vec<String>,
    /// How long the command may run before it is killed with all that it started. Default: "30s".
    #[serde(default)]
    pub timeout: Option<Time>,
    /// Most runs within the window. Default: 3.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<u32>,
    /// Length of the sliding window. Default: "1h".
    #[serde(default)]
    pub window: Option<Time>,
}

/// The page of a node.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DashboardSpec {
    /// `host:port` where it is served. An address that other machines reach asks for a token: the one in the variable
    /// HEQIS_DASHBOARD_TOKEN, or one that is drawn and printed as a login link.
    pub address: String,
    /// Names beside the address under which browsers may ask for it.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// List of stocks with their names, such as `stock_basic.csv` of `heqis-lab fetch`. Default: the page shows codes.
    #[serde(default)]
    pub names: Option<PathBuf>,
    /// `http://` address that is told of each alarm when it is raised and when it is over, with a JSON object. Default: none.
    #[serde(default)]
    #[schemars(regex(pattern = "^http://"))]
    pub webhook: Option<String>,
    /// Seconds without a decision after which there is an alarm. Default: none are too many.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub silence_s: Option<u64>,
    /// How far the clocks of two joined nodes may differ, beyond what the measurement may be wrong by, before there is an
    /// alarm. Default: "50ms".
    #[serde(default)]
    pub clock_offset: Option<Time>,
    /// Whether the page may drain the node and set how far its stages trade; asks for a token everywhere. Default: false.
    #[serde(default)]
    pub control: bool,
    /// Whether the node stays when its stages have ended, so that the page can be read until it is stopped. Default: false.
    #[serde(default)]
    pub stay: bool,
}

/// An actor.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageSpec {
    /// What it does; `heqis-runtime stages` lists the kinds.
    pub kind: String,
    /// Machine that it runs on.
    pub node: String,
    /// Parameters of the kind.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// For a source that gives its items once only: where they are written down, so that they come again after a restart.
    /// Needs `state` of the node, which says what of the recording is still needed.
    #[serde(default)]
    pub record: Option<RecordSpec>,
    /// Arbiter (one OS thread) that it runs on; stages that name the same one share it. Default: one of its own for a
    /// blocking kind, else the node's `pipeline`.
    #[serde(default)]
    pub arbiter: Option<String>,
    /// Cores that its thread may run on. Default: the kernel decides.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub cores: Vec<usize>,
    /// Real-time priority (SCHED_FIFO) of its thread; stages that share an arbiter share the highest. Default: none.
    #[serde(default)]
    #[schemars(range(min = 1, max = 99))]
    pub priority: Option<u8>,
    /// Copies of the stage; frames of one key go to one copy. Default: 1.
    #[serde(default)]
    #[schemars(range(min = 1, max = 64))]
    pub workers: Option<usize>,
    /// Micro-batching. Default: one frame at a time.
    #[serde(default)]
    pub batch: Option<BatchSpec>,
    /// What happens when it fails.
    #[serde(default)]
    pub restart: Option<RestartSpec>,
}

/// How many frames a stage takes at once.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// Most frames of one batch.
    #[schemars(range(min = 1, max = 4096))]
    pub max: usize,
    /// How long the first frame waits for more. Default: "0s", take what is waiting.
    #[serde(default)]
    pub max_delay: Option<Time>,
}

/// When a failed stage is rebuilt.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartSpec {
    /// Whether it is rebuilt at all. Default: "on-failure".
    #[serde(default)]
    pub policy: RestartPolicy,
    /// Most restarts within the window. Default: 5.
    #[serde(default)]
    pub max: Option<u32>,
    /// Length of the sliding window. Default: "5m".
    #[serde(default)]
    pub window: Option<Time>,
    /// First and longest pause before a restart. Default: ["200ms", "5s"].
    #[serde(default)]
    pub backoff: Option<[Time; 2]>,
    /// What happens when the restarts are used up. Default: "stop-graph".
    #[serde(default)]
    pub then: Option<Exhausted>,
}

/// Whether a failed stage is rebuilt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is rebuilt, within its budget.
    #[default]
    OnFailure,
    /// It is not.
    Never,
}

/// What carries frames from one stage to another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeSpec {
    /// Stage that makes the frames.
    pub from: String,
    /// Stage that takes them.
    pub to: String,
    /// What the edge does with a new frame when it is full.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Most frames that wait.
    #[serde(default)]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub capacity: Option<usize>,
    /// Frames older than this, counted from birth, are dropped.
    #[serde(default)]
    pub max_age: Option<Time>,
    /// Shares the frames of `from` among all of its edges that say so, instead of giving each edge every frame.
    #[serde(default)]
    pub partition_by: Option<PartitionBy>,
    /// Promise across a broken link, on edges between nodes. Default: "at-least-once" with the policy "block",
    /// "at-most-once" with the others.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// How the edge crosses from one node to another.
    #[serde(default)]
    pub transport: Option<TransportSpec>,
}

/// By what frames are shared among edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionBy {
    /// By the frame's key, such as the symbol: frames of one key go one way and keep their order.
    Key,
}

/// How an edge crosses from one node to another. The receiving node listens at its `address`, the sender dials.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransportSpec {
    /// Protocol family.
    #[serde(default)]
    pub kind: TransportKind,
    /// What lies below it.
    pub scheme: Scheme,
    /// Port of the receiving node, for "tcp".
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of the socket file, for "ipc".
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Most frames that the receiving stage has not yet taken: the window by which back-pressure crosses. Default: 64.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65536))]
    pub credit: Option<usize>,
    /// Element type of tensors on the wire; a receiver that does not know it gets "f32". Default: "f32".
    #[serde(default)]
    pub encoding: Encoding,
    /// Largest wire frame in bytes; a longer one ends the connection. Default: 1048576.
    #[serde(default)]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_frame: Option<usize>,
}

/// Protocol family of a transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransportKind {
    /// The scalability protocols, as NNG speaks them.
    #[default]
    Nng,
}

/// What lies below a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Scheme {
    /// TCP.
    #[serde(rename = "tcp")]
    Tcp,
    /// TCP with TLS; not built yet.
    #[serde(rename = "tls+tcp")]
    Tls,
    /// A Unix-domain socket, between two processes of one machine.
    #[serde(rename = "ipc")]
    Ipc,
}

/// A latency promise, watched while the graph runs: a metric, and a warning when it is broken.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// First and last stage, and any between them that the way must pass.
    #[schemars(length(min = 2))]
    pub path: Vec<String>,
    /// Of 100 frames, 99 take no longer.
    pub p99: Time,
}

/// An overlay: the same tables with only what differs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileSpec {
    /// As `[topology]`.
    #[serde(default)]
    pub topology: Map<String, Value>,
    /// As `[defaults]`.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// As `[nodes]`.
    #[serde(default)]
    pub nodes: BTreeMap<String, Map<String, Value>>,
    /// As `[stages]`.
    #[serde(default)]
    pub stages: BTreeMap<String, Map<String, Value>>,
    /// Edges by their name, `"from->to"`.
    #[serde(default)]
    pub edges: BTreeMap<String, Map<String, Value>>,
}
