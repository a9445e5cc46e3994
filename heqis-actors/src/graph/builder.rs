//! Collects the stages and edges of a graph.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::handle::StopHandle;
use super::moves::FirstMoves;
use crate::actor::RingBufferConfig;
use crate::context::RunIdentity;
use crate::control::Control;
use crate::registry::{Prepared, fnv1a};
use crate::stage::{Source, Stage};
use crate::tap::Tap;
use heqis_core::PayloadType;
use heqis_core::{
    BridgeOptions, Clock, EdgeOptions, Events, LinkPeer, Metrics, RecordingOptions, Scheduling,
    StageOptions, StateOptions, stage_of,
};
use heqis_sp::Inproc;

/// How long a drain may take where nothing else is said; as in a topology.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Collects the stages and edges of one node.
///
/// ```
/// use std::time::Duration;
///
/// use heqis_actors::*;
///
/// #[derive(Payload)]
/// struct Count(u64);
///
/// /// Neither stage has parameters.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct None {}
///
/// struct CountDown(u64);
///
/// impl Source for CountDown {
///     type Config = None;
///     type Out = Count;
///     const KIND: &'static str = "count-down";
///     const ABOUT: &'static str = "counts from 3 to 1";
///     const REPLAYABLE: bool = true;
///
///     fn build(_: &None, _: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self(4))
///     }
///
///     fn next(&mut self) -> Result<Next<Count>, StageError> {
///         self.0 -= 1;
///         Ok(if self.0 == 0 { Next::End } else { Next::Item(Count(self.0)) })
///     }
/// }
///
/// struct Sum(Counter);
///
/// impl Stage for Sum {
///     type Config = None;
///     type In = Count;
///     type Out = Nothing;
///     const KIND: &'static str = "sum";
///     const ABOUT: &'static str = "adds counts up";
///
///     fn build(_: &None, cx: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self(cx.counter("sum")))
///     }
///
///     fn process(&mut self, frame: &Frame<Count>, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
///         self.0.add(frame.0);
///         Ok(())
///     }
/// }
///
/// let report = GraphBuilder::new("sums")
///     .source::<CountDown>("count", None {}, StageOptions::default())
///     .stage::<Sum>("sum", None {}, StageOptions::default())
///     .edge("count", "sum", EdgeOptions::default())
///     .run(Duration::from_secs(1))?;
/// assert!(report.is_clean());
/// assert_eq!(report.edges[0].delivered, 3);
/// let sum = report.stages.iter().find(|stage| stage.stage == "sum").expect("it is reported");
/// assert_eq!(sum.events, [("sum".to_owned(), 6)]);
/// # Ok::<(), GraphError>(())
/// ```
#[derive(Debug)]
pub struct GraphBuilder {
    pub(super) name: String,
    pub(super) node: String,
    pub(super) base: PathBuf,
    pub(super) clock: Clock,
    pub(super) metrics: Option<Metrics>,
    pub(super) inproc: Inproc,
    pub(super) stages: Vec<StageEntry>,
    pub(super) edges: Vec<EdgeEntry>,
    pub(super) budgets: Vec<(Vec<String>, Duration)>,
    pub(super) taps: HashMap<String, Tap>,
    pub(super) peers: HashMap<u32, LinkPeer>,
    pub(super) state: Option<StateOptions>,
    pub(super) recordings: HashMap<String, RecordingOptions>,
    /// Identities of the sources' items, as the program states them.
    pub(super) streams: HashMap<String, u64>,
    pub(super) identity: RunIdentity,
    pub(super) scheduling: Scheduling,
    pub(super) drain_timeout: Duration,
    pub(super) stop_on_signals: bool,
    pub(super) control: Control,
    pub(super) first_moves: FirstMoves,
    /// Names of no stage, for which options were given.
    pub(super) unknown_options: Vec<String>,
    /// Whether the caller has logged the warnings of the check.
    pub(super) warned: bool,
}

#[derive(Debug)]
pub(super) struct StageEntry {
    pub(super) name: String,
    /// Absent for a stage that another node runs.
    pub(super) local: Option<(Prepared, StageOptions)>,
}

impl StageEntry {
    pub(super) fn is_source(&self) -> bool {
        (self.local.as_ref()).is_some_and(|(prepared, _)| prepared.kind.is_source())
    }

    pub(super) fn is_log(&self) -> bool {
        (self.local.as_ref()).is_some_and(|(prepared, _)| prepared.kind.commit_log)
    }

    /// Whether it is a commit log that emits the frames it has recorded.
    pub(super) fn relays(&self) -> bool {
        (self.local.as_ref()).is_some_and(|(Prepared { kind, .. }, _)| {
            let passes_on = matches!((kind.inputs, kind.outputs), ([one], [other]) if one.payload == other.payload);
            kind.commit_log && passes_on
        })
    }
}

#[derive(Debug)]
pub(super) struct EdgeEntry {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) options: EdgeOptions,
    pub(super) span: Span,
}

impl EdgeEntry {
    /// The stages at its ends.
    pub(super) fn stages(&self) -> (&str, &str) {
        (stage_of(&self.from), stage_of(&self.to))
    }
}

#[derive(Debug)]
pub(super) enum Span {
    Local,
    Out(u32, PayloadType, BridgeOptions),
    In(u32, PayloadType, BridgeOptions),
}

impl GraphBuilder {
    /// An empty graph called `name`, on a node called `local`, with the machine's clock.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: "local".to_owned(),
            base: PathBuf::from("."),
            clock: Clock::real(),
            metrics: None,
            inproc: Inproc::new(),
            stages: Vec::new(),
            edges: Vec::new(),
            budgets: Vec::new(),
            taps: HashMap::new(),
            peers: HashMap::new(),
            state: None,
            recordings: HashMap::new(),
            streams: HashMap::new(),
            identity: RunIdentity::default(),
            scheduling: Scheduling::default(),
            drain_timeout: DRAIN_TIMEOUT,
            stop_on_signals: false,
            control: Control::new(),
            first_moves: FirstMoves::default(),
            unknown_options: Vec::new(),
            warned: false,
        }
    }

    /// A handle that stops the graph, also while it is being built: it then ends as soon as it is built.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.control.clone())
    }

    /// Every event of the graph from its start on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.control.events()
    }

    /// Bounds a drain that begins without a limit of its own: at a signal, a failure, [`StopHandle::stop`], or when the
    /// handle is dropped. Five seconds by default.
    #[must_use]
    pub fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// Logs no warnings of the [check](GraphBuilder::check) when the graph starts: the caller has, with their places in a file.
    #[must_use]
    pub fn warned(mut self) -> Self {
        self.warned = true;
        self
    }

    /// Drains the graph at SIGTERM or ctrl-c; a second signal ends the drain. The program's own handlers take no signal
    /// meanwhile, and are restored when the graph has ended.
    #[must_use]
    pub fn stop_on_signals(mut self) -> Self {
        self.stop_on_signals = true;
        self
    }

    /// Names the node.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        self.node = node.to_owned();
        self
    }

    /// Sets the directory at which relative paths of stages start.
    #[must_use]
    pub fn base(mut self, base: impl Into<PathBuf>) -> Self {
        self.base = base.into();
        self
    }

    /// Replaces the clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the metrics, for instance with ones that a server already exports.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Sets what happens when a thread does not get its cores or its priority.
    #[must_use]
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// Sets the hub that connects the `inproc://` endpoints of several graphs in one process.
    #[must_use]
    pub fn inproc(mut self, hub: Inproc) -> Self {
        self.inproc = hub;
        self
    }

    /// Adds a source.
    #[must_use]
    pub fn source<S: Source>(self, name: &str, config: S::Config, options: StageOptions) -> Self {
        self.prepared(name, Prepared::source::<S>(config), options)
    }

    /// Adds a stage.
    #[must_use]
    pub fn stage<S: Stage>(self, name: &str, config: S::Config, options: StageOptions) -> Self {
        self.prepared(name, Prepared::stage::<S>(config), options)
    }

    /// Adds a ring buffer.
    #[must_use]
    pub fn ring_buffer(self, name: &str, config: RingBufferConfig, options: StageOptions) -> Self {
        self.prepared(name, Prepared::ring_buffer(config), options)
    }

    /// Adds a stage whose parameters a [`StageKind`](crate::StageKind) has read.
    #[must_use]
    pub fn prepared(mut self, name: &str, prepared: Prepared, options: StageOptions) -> Self {
        self.stages.push(StageEntry {
            name: name.to_owned(),
            local: Some((prepared, options)),
        });
        self
    }

    /// Declares a stage that another node runs. Nodes of one graph declare all stages in the same order, so that
    /// [`crate::Stamp::stage`] means the same everywhere.
    #[must_use]
    pub fn remote(mut self, name: &str) -> Self {
        self.stages.push(StageEntry {
            name: name.to_owned(),
            local: None,
        });
        self
    }

    /// Connects two stages of this node. Of several ports each has a name: `split.up` is the port `up` of the stage `split`.
    #[must_use]
    pub fn edge(self, from: &str, to: &str, options: EdgeOptions) -> Self {
        self.with_edge((from, to), options, Span::Local)
    }

    /// Adds the sending half of an edge to another node. Both nodes write its ends alike, ports included. Where the node's commit log takes the frames of the same stage and
    /// emits what it has recorded, the edge carries those: nothing leaves the node before it is recorded. Both halves have
    /// the same `route`, the edge's index in the graph.
    #[must_use]
    pub fn edge_out(
        self,
        route: u32,
        ends: (&str, &str),
        payload: PayloadType,
        options: EdgeOptions,
        bridge: BridgeOptions,
    ) -> Self {
        self.with_edge(ends, options, Span::Out(route, payload, bridge))
    }

    /// Adds the receiving half of an edge from another node.
    #[must_use]
    pub fn edge_in(
        self,
        route: u32,
        ends: (&str, &str),
        payload: PayloadType,
        options: EdgeOptions,
        bridge: BridgeOptions,
    ) -> Self {
        self.with_edge(ends, options, Span::In(route, payload, bridge))
    }

    /// Saves the state of the stages, so that the node continues with the same bits after a restart.
    #[must_use]
    pub fn state(mut self, options: StateOptions) -> Self {
        self.state = Some(options);
        self
    }

    /// Records the items of the source `name`, so that it can be replayed.
    #[must_use]
    pub fn record(mut self, name: &str, options: RecordingOptions) -> Self {
        self.recordings.insert(name.to_owned(), options);
        self
    }

    /// States the identity of what the source `name` reads, such as the name and date of a feed: two runs with the same `id`
    /// give the same items. A source of a closure or an iterator is replayable only with it. A replayable source whose kind derives no identity ([`Source::identity`]) needs it to be resumed
    /// after a restart; without it each process has a stream of its own.
    #[must_use]
    pub fn stream(mut self, name: &str, id: impl Display) -> Self {
        self.streams
            .insert(name.to_owned(), fnv1a(id.to_string().as_bytes()));
        self
    }

    /// Sets the identity of the run, for stages that record its results.
    #[must_use]
    pub fn identity(mut self, identity: RunIdentity) -> Self {
        self.identity = identity;
        self
    }

    /// Sets the node at the other end of the bridged edge `route` and the properties of its frames. The two ends compare
    /// both when they connect, and report what differs. Without it the properties are what the stages of this node state.
    #[must_use]
    pub fn peer(mut self, route: u32, peer: LinkPeer) -> Self {
        self.peers.insert(route, peer);
        self
    }

    fn with_edge(mut self, (from, to): (&str, &str), options: EdgeOptions, span: Span) -> Self {
        self.edges.push(EdgeEntry {
            from: from.to_owned(),
            to: to.to_owned(),
            options,
            span,
        });
        self
    }

    /// Observes every frame that `stage` takes. A stage has one tap at most; stages of other nodes, sources and ring buffers
    /// have none.
    #[must_use]
    pub fn tap(mut self, stage: &str, tap: Tap) -> Self {
        self.taps.insert(stage.to_owned(), tap);
        self
    }

    /// Sets a limit on the age of frames when the last stage of `path` is done with them; older ones are counted.
    #[must_use]
    pub fn budget(mut self, path: &[&str], max_age: Duration) -> Self {
        self.budgets.push((
            path.iter().map(|&stage| stage.to_owned()).collect(),
            max_age,
        ));
        self
    }
}
