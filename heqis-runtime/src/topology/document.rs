//! The format of a topology file. Editors show the doc comments, through the JSON schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_actors::{Delivery, Encoding, Exhausted, Policy, Scheduling, limits};
use heqis_tls::IdentityFiles;
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
    /// Defaults of edges.
    #[serde(default)]
    pub defaults: Defaults,
    /// Certificates of the nodes.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// Machines by name.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// Actors by name. Their order in the file is their order in every listing.
    pub stages: BTreeMap<String, StageSpec>,
    /// Edges, which carry frames from one stage to another.
    #[serde(default)]
    pub edges: Vec<EdgeSpec>,
    /// Latency promises, watched while the graph runs.
    #[serde(default)]
    pub budgets: Vec<BudgetSpec>,
    /// Overlays by name, chosen with `--profile`. An edge is addressed as `edges."from->to"`, ports included.
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
    /// Accepts that what leaves a machine is not protected: on a network that no one else can reach. A warning says so at every
    /// start. Default: false.
    #[serde(default)]
    pub insecure: bool,
}

/// Where the certificates of the nodes are, for edges with the scheme "tls+tcp". `heqis-runtime certs` makes them. Relative paths
/// start at the directory of the topology file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSpec {
    /// Directory of the files. Default: "certs".
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Certificate of the authority that issues those of the nodes. Default: "ca.pem" in the directory.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Certificate of the node, whose name it holds. Default: the name of the node and ".pem", in the directory.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Its key, which only its owner may read. Default: the name of the node and ".key", in the directory.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Serial numbers of certificates that are no longer accepted, one on a line. Default: "revoked.txt" in the directory.
    #[serde(default)]
    pub revoked: Option<PathBuf>,
}

impl TlsSpec {
    /// The directory of the files; paths start at `home`.
    #[must_use]
    pub fn directory(&self, home: &Path) -> PathBuf {
        home.join(self.directory.as_deref().unwrap_or(Path::new("certs")))
    }

    /// Where the files of `node` are, for which `own` says what differs; paths start at `home`.
    #[must_use]
    pub fn files(&self, own: Option<&Self>, home: &Path, node: &str) -> IdentityFiles {
        let of = |part: fn(&Self) -> &Option<PathBuf>| {
            let path = own
                .and_then(|own| part(own).as_ref())
                .or(part(self).as_ref());
            path.map(|path| home.join(path))
        };
        let directory = of(|spec| &spec.directory).unwrap_or_else(|| self.directory(home));
        let usual = IdentityFiles::in_directory(directory, node);
        IdentityFiles {
            ca: of(|spec| &spec.ca).unwrap_or(usual.ca),
            certificate: of(|spec| &spec.certificate).unwrap_or(usual.certificate),
            key: of(|spec| &spec.key).unwrap_or(usual.key),
            revoked: of(|spec| &spec.revoked).unwrap_or(usual.revoked),
        }
    }
}

/// Defaults of the file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// For edges.
    #[serde(default)]
    pub edge: EdgeDefaults,
}

/// Defaults of an edge.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeDefaults {
    /// Most frames on the edge. Default: 1024.
    #[serde(default)]
    #[schemars(range(min = *limits::CAPACITY.start(), max = *limits::CAPACITY.end()))]
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
    /// A page with decisions and the state of the graph. Default: none is served.
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
    /// Reaction to a thread that does not get the cores or the priority of its stage. Default: "warn".
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Where the state of the node's stages (indicators, windows, recurrent states) is saved, so that the node continues with
    /// the same bits after a restart. Default: the state is rebuilt by replaying the sources.
    #[serde(default)]
    pub state: Option<StateSpec>,
    /// Where its certificate is, as far as it differs from `[tls]`.
    #[serde(default)]
    pub tls: Option<TlsSpec>,
    /// Accepts that metrics and the page leave the machine as plain HTTP: on an address that other machines reach, they are
    /// otherwise served over HTTPS with the node's certificate. Default: false.
    #[serde(default)]
    pub insecure: bool,
    /// Nodes that may set the trading state of this node's stages, by name, from their page: over an edge between the two,
    /// proved by its certificate. Default: none, only this node's own page may.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub trading_state_from: Vec<String>,
    /// Nodes that this one watches, by name: it raises an alarm when one stalls, and may run a command.
    #[serde(default)]
    pub watch: BTreeMap<String, WatchSpec>,
}

/// Where and how often the state of a node's stages is saved.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The file; missing directories are created.
    pub path: PathBuf,
    /// Time between two snapshots; a last one is taken when the node leaves. Default: "30s".
    #[serde(default)]
    pub every: Option<Time>,
}

/// How the items of a source are recorded.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSpec {
    /// Directory of the recording; created when it is missing.
    pub path: PathBuf,
    /// Size kept beyond what a restart needs, MiB. Default: 256.
    #[serde(default)]
    #[schemars(range(max = 1_048_576))]
    pub keep_mib: Option<u64>,
    /// Whether each item is forced to the disk before it is emitted, against power cuts. Default: false.
    #[serde(default)]
    pub sync: bool,
}

/// When a watched node counts as stalled, and the command to run then.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchSpec {
    /// How long a link to it may be down, or frames may wait for it without progress. Default: "10s".
    #[serde(default)]
    #[schemars(extend("x-formerly" = "silence"))]
    pub stall_timeout: Option<Time>,
    /// How long it may take frames without sending any back. Default: no limit, because responses may be rare.
    #[serde(default)]
    #[schemars(extend("x-formerly" = "answer"))]
    pub response_timeout: Option<Time>,
    /// Program and arguments to run after each alarm, without a shell. The environment holds the name of the node in
    /// HEQIS_PEER and the cause of the alarm in HEQIS_ALARM. Default: none is run.
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
    /// `host:port` where it is served. An address that other machines reach needs a token: the one in the variable
    /// HEQIS_DASHBOARD_TOKEN, or a random one that is printed as a login link.
    pub address: String,
    /// Certificate chain of the server, PEM, such as one that browsers know; with `key`. It is then served over HTTPS at any
    /// address. Default: the node's own certificate, where other machines reach the address.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// Key of `certificate`, PEM, which only its owner may read.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Further names under which browsers may request it.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// List of stocks with their names, such as `stock_basic.csv` of `heqis-lab fetch`. Default: the page shows codes.
    #[serde(default)]
    pub names: Option<PathBuf>,
    /// `https://` address that gets a JSON object for each alarm, when it is raised and when it is cleared; `http://` for a
    /// loopback address, or where `insecure` accepts it. Default: none.
    #[serde(default)]
    #[schemars(regex(pattern = "^https?://"))]
    pub webhook: Option<String>,
    /// Seconds without a decision after which there is an alarm. Default: no limit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub silence_s: Option<u64>,
    /// How far the clocks of two joined nodes may differ, beyond the uncertainty of the measurement, before there is an
    /// alarm. Default: "50ms".
    #[serde(default)]
    pub clock_offset: Option<Time>,
    /// Whether the page may drain the node and set the trading state of its stages; needs a token everywhere. Default: false.
    #[serde(default)]
    pub control: bool,
    /// File in which requests to other nodes for a trading state are kept until they are answered, so that none is forgotten when
    /// this node is restarted; missing directories are created. Needed where `control` is set and a node names this one in
    /// `trading_state_from`.
    #[serde(default)]
    pub requests: Option<PathBuf>,
    /// Whether the node keeps serving the page when its stages have ended, until it is stopped. Default: false.
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
    /// For a source that gives its items once only: where they are recorded, so that they are replayed after a restart.
    /// Needs `state` of the node, which states what of the recording is still needed.
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
    #[schemars(range(min = *limits::PRIORITY.start(), max = *limits::PRIORITY.end()))]
    pub priority: Option<u8>,
    /// Copies of the stage; frames of one key go to one copy. Default: 1.
    #[serde(default)]
    #[schemars(range(min = *limits::WORKERS.start(), max = *limits::WORKERS.end()))]
    pub workers: Option<usize>,
    /// Micro-batching. Default: one frame at a time.
    #[serde(default)]
    pub batch: Option<BatchSpec>,
    /// Reaction to a failure.
    #[serde(default)]
    pub restart: Option<RestartSpec>,
}

/// Micro-batches of a stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchSpec {
    /// Most frames of one batch.
    #[schemars(range(min = *limits::BATCH.start(), max = *limits::BATCH.end()))]
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

/// An edge: carries frames from one stage to another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeSpec {
    /// Stage that makes the frames; of several output ports its port, as in "router.listed".
    pub from: String,
    /// Stage that takes them; of several input ports its port.
    pub to: String,
    /// What the edge does with a new frame when it is full.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Most frames on the edge.
    #[serde(default)]
    #[schemars(range(min = *limits::CAPACITY.start(), max = *limits::CAPACITY.end()))]
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
    /// The protocol below it.
    pub scheme: Scheme,
    /// Port of the receiving node, for "tcp" and "tls+tcp".
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of the socket file, for "ipc".
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Most frames that the receiving stage has not yet taken: the window by which back-pressure crosses. Default: 64.
    #[serde(default)]
    #[schemars(range(min = *limits::CREDIT.start(), max = *limits::CREDIT.end()))]
    pub credit: Option<usize>,
    /// Element type of tensors on the wire; a receiver that does not know it gets "f32". Default: "f32".
    #[serde(default)]
    pub encoding: Encoding,
    /// Largest wire frame in bytes; a longer one ends the connection. Default: 1048576.
    #[serde(default)]
    #[schemars(range(min = *limits::MAX_FRAME.start(), max = *limits::MAX_FRAME.end()))]
    pub max_frame: Option<usize>,
    /// Accepts that the edge leaves the machine as plain "tcp". Default: false.
    #[serde(default)]
    pub insecure: bool,
}

/// Protocol family of a transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransportKind {
    /// The scalability protocols of NNG.
    #[default]
    Nng,
}

/// The protocol below a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Scheme {
    /// TCP.
    #[serde(rename = "tcp")]
    Tcp,
    /// TCP with TLS 1.3: both nodes prove their names by certificates, see `[tls]`.
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
    /// First and last stage, and any between them that the path must pass.
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
    /// As `[tls]`.
    #[serde(default)]
    pub tls: Map<String, Value>,
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
