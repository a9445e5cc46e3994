//! Settings of stages, edges and bridges, as the graph builder takes them.

use std::collections::BTreeMap;
use std::time::Duration;

use heqis_sp::{Endpoint, Security};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::link::requests::RequestPort;

/// Writes the setters of an options struct, and `new` where it has defaults: options grow, and a program that sets the fields
/// that it knows compiles with more of them.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($options:ident::new: $($fields:tt)*) => {
        impl $options {
            /// The defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
        }
        $crate::setters!($options: $($fields)*);
    };
    ($options:ident: $($field:ident: $value:ty),*) => {
        impl $options {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $value) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}

/// Name of the arbiter that stages share by default.
pub const PIPELINE: &str = "pipeline";

/// Ranges of the settings, the same for graphs built in code and for topologies.
pub mod limits {
    use std::ops::RangeInclusive;

    /// Frames that wait on an edge or in a ring buffer.
    pub const CAPACITY: RangeInclusive<usize> = 1..=16_777_216;
    /// Copies of a stage.
    pub const WORKERS: RangeInclusive<usize> = 1..=64;
    /// Frames of one batch.
    pub const BATCH: RangeInclusive<usize> = 1..=4096;
    /// Real-time priority of a thread.
    pub const PRIORITY: RangeInclusive<u8> = 1..=99;
    /// Credit of a bridged edge.
    pub const CREDIT: RangeInclusive<usize> = 1..=65_536;
    /// Bytes of the largest wire frame of a bridged edge.
    pub const MAX_FRAME: RangeInclusive<usize> = 1024..=67_108_864;
}

/// What an edge does with a new frame when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// The upstream stage waits. Nothing is lost; a slow consumer slows the source, over the wire too.
    #[default]
    Block,
    /// The oldest waiting frame is dropped, cause `capacity`: the consumer sees the newest window.
    DropOldest,
    /// The new frame is dropped, cause `capacity`: the consumer sees the oldest window.
    DropNewest,
    /// Only the newest frame waits; an older one is dropped, cause `superseded`. The capacity is 1.
    Latest,
    /// Only the newest frame of each key waits, in the order in which the keys first arrived; an older one of the same
    /// key is dropped, cause `superseded`. With more keys than capacity the oldest key is dropped, cause `capacity`.
    Conflate,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 5] = [
        Self::Block,
        Self::DropOldest,
        Self::DropNewest,
        Self::Latest,
        Self::Conflate,
    ];

    /// Name in topologies and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::Latest => "latest",
            Self::Conflate => "conflate",
        }
    }

    /// Most frames of an edge of this policy that may wait at a receiver with this credit, so that a policy that keeps only
    /// the newest frames keeps no older ones there.
    #[must_use]
    pub fn credit(self, credit: usize, capacity: usize) -> usize {
        match self {
            Self::Latest => credit.min(1),
            Self::Conflate => credit.min(capacity),
            Self::Block | Self::DropOldest | Self::DropNewest => credit,
        }
    }

    /// What a bridged edge of this policy promises where the topology does not set it.
    #[must_use]
    pub fn default_delivery(self) -> Delivery {
        if self == Self::Block {
            Delivery::AtLeastOnce
        } else {
            Delivery::AtMostOnce
        }
    }
}

/// What a bridged edge promises across a broken link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Delivery {
    /// The sender keeps frames until they are acknowledged and sends them again; the receiver drops duplicates, so
    /// that a stage sees each frame once.
    AtLeastOnce,
    /// A frame that the link lost is counted, cause `link_down`, and not sent again.
    AtMostOnce,
}

/// Settings of one edge.
///
/// ```
/// use heqis_actors::{Delivery, EdgeOptions, Policy};
///
/// let newest = EdgeOptions::new().policy(Policy::Conflate).capacity(64);
/// assert_eq!(newest.policy.name(), "conflate");
/// assert_eq!(newest.policy.default_delivery(), Delivery::AtMostOnce);
/// assert_eq!(EdgeOptions::default().policy, Policy::Block);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EdgeOptions {
    /// What happens when the edge is full.
    pub policy: Policy,
    /// Most frames that wait, at least 1; shared evenly by the lanes of a stage with several workers.
    pub capacity: usize,
    /// Frames older than this, counted from birth, are dropped at dequeue, cause `age`.
    pub max_age: Option<Duration>,
    /// Whether this edge shares the frames of its producer by key with the producer's other edges of this kind, instead of
    /// getting every frame.
    pub partition_by_key: bool,
}

impl Default for EdgeOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Block,
            capacity: 1024,
            max_age: None,
            partition_by_key: false,
        }
    }
}

setters!(EdgeOptions::new: policy: Policy, capacity: usize, max_age: impl Into<Option<Duration>>, partition_by_key: bool);

/// Number of frames that a stage takes before its flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOptions {
    /// Most frames of one batch, at least 1.
    pub max: usize,
    /// How long the first frame of a batch waits for more; zero takes the frames that are there, as any delay does on a
    /// replay clock. A stage with one input and an arbiter of its own waits on its thread, to the microsecond; any other
    /// waits on a timer, to a few milliseconds, while the other stages of the arbiter continue.
    pub max_delay: Duration,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            max: 1,
            max_delay: Duration::ZERO,
        }
    }
}

setters!(BatchOptions::new: max: usize, max_delay: Duration);

/// When a failed stage is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartOptions {
    /// Most restarts within `window`; 0 never restarts.
    pub max: u32,
    /// Length of the sliding window.
    pub window: Duration,
    /// Pause before the first restart; doubles with each further one in the window.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// What happens when the budget is used up.
    pub then: Exhausted,
}

impl Default for RestartOptions {
    fn default() -> Self {
        Self {
            max: 5,
            window: Duration::from_secs(300),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            then: Exhausted::StopGraph,
        }
    }
}

setters!(RestartOptions::new: max: u32, window: Duration, backoff_min: Duration, backoff_max: Duration, then: Exhausted);

/// What happens when a stage's restart budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Exhausted {
    /// The whole graph ends with an error at once: frames in flight are dropped here, cause `shutdown`, and the node that
    /// sent them keeps those that were not acknowledged.
    #[default]
    StopGraph,
    /// The stage drops its input, cause `stage_failed`, and the rest of the graph continues.
    StopStage,
}

/// Settings of one stage.
///
/// ```
/// use heqis_actors::{BatchOptions, StageOptions};
///
/// let options = StageOptions::new().arbiter("models").cores([2, 3]).priority(50).batch(BatchOptions::new().max(16));
/// assert_eq!((options.arbiter.as_deref(), options.priority, options.workers), (Some("models"), Some(50), 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageOptions {
    /// Name of the arbiter (one OS thread); stages that name the same one share it. `None`: one of its own for a
    /// blocking kind, else the node's `pipeline` arbiter.
    pub arbiter: Option<String>,
    /// Processors that the arbiter's thread may run on; empty leaves that to the kernel.
    pub cores: Vec<usize>,
    /// Real-time priority (SCHED_FIFO) of the arbiter's thread, 1 to 99; `None` leaves it with all others. Stages that
    /// share an arbiter share the highest.
    pub priority: Option<u8>,
    /// Copies of the stage, each on an arbiter of its own when above 1; frames of one key go to one copy.
    pub workers: usize,
    /// Micro-batching.
    pub batch: BatchOptions,
    /// Supervision.
    pub restart: RestartOptions,
}

impl Default for StageOptions {
    fn default() -> Self {
        Self {
            arbiter: None,
            cores: Vec::new(),
            priority: None,
            workers: 1,
            batch: BatchOptions::default(),
            restart: RestartOptions::default(),
        }
    }
}

setters!(StageOptions::new: cores: impl Into<Vec<usize>>, priority: impl Into<Option<u8>>, workers: usize, batch: BatchOptions,
    restart: RestartOptions);

impl StageOptions {
    /// Sets [`arbiter`](Self#structfield.arbiter).
    #[must_use]
    pub fn arbiter(mut self, name: impl Into<String>) -> Self {
        self.arbiter = Some(name.into());
        self
    }
}

/// What happens when a thread does not get the configured cores or priority: the process may lack the right, or the
/// machine the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scheduling {
    /// It is logged, and the graph runs.
    #[default]
    Warn,
    /// The graph does not start.
    Strict,
}

/// Settings of the NNG socket under a bridged edge. The receiving node listens, the sending node dials.
///
/// ```
/// use heqis_actors::{BridgeOptions, Delivery, Encoding};
///
/// let bridge = BridgeOptions::new("tcp://127.0.0.1:5560".parse()?).credit(16).encoding(Encoding::F16);
/// assert_eq!(bridge.delivery, Delivery::AtLeastOnce);
/// # Ok::<(), heqis_actors::sp::SpError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeOptions {
    /// Where the receiving node listens.
    pub endpoint: Endpoint,
    /// Most frames that the receiver's stage has not taken yet: the window that applies back-pressure over the wire.
    pub credit: usize,
    /// Promise across a broken link.
    pub delivery: Delivery,
    /// Largest wire frame, bytes; a longer announcement ends the connection before anything is allocated.
    pub max_frame: usize,
    /// Element type of tensors on the wire. The two halves agree on it whenever they connect: a peer that does not know
    /// it gets `f32`.
    pub encoding: Encoding,
    /// Who this node is and which node it talks to, for a `tls+tcp` endpoint; `heqis_tls::Identity::link_with` makes it.
    pub security: Option<Security>,
    /// Accepts that an endpoint off loopback is plain tcp: anyone on the network can read the frames and send others.
    pub insecure: bool,
}

setters!(BridgeOptions: credit: usize, delivery: Delivery, max_frame: usize, encoding: Encoding,
    security: impl Into<Option<Security>>, insecure: bool);

impl BridgeOptions {
    /// Credit where none is set, frames.
    pub const DEFAULT_CREDIT: usize = 64;
    /// Largest wire frame where none is set, bytes: a window of 1,000 rows of 200 values is 0.8 MB.
    pub const DEFAULT_MAX_FRAME: usize = 1024 * 1024;

    /// A bridge at `endpoint` that loses no frame, with the default limits and tensors in `f32`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            credit: Self::DEFAULT_CREDIT,
            delivery: Delivery::AtLeastOnce,
            max_frame: Self::DEFAULT_MAX_FRAME,
            encoding: Encoding::F32,
            security: None,
            insecure: false,
        }
    }
}

/// The other end of a bridged edge according to the topology.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LinkPeer {
    /// Name of the node; empty where it is not known.
    pub node: String,
    /// Properties of the frames on the edge by subject, as this node reads its files: those that it provides on a sending
    /// half, those that it requires on a receiving one. The two ends compare them when they connect.
    pub properties: BTreeMap<String, String>,
    /// Where the program exchanges requests with the node; `None` exchanges none.
    pub requests: Option<RequestPort>,
}

setters!(LinkPeer: properties: BTreeMap<String, String>, requests: impl Into<Option<RequestPort>>);

impl LinkPeer {
    /// The node called `name`, without properties.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            node: name.into(),
            ..Self::default()
        }
    }
}
