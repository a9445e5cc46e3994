//! What an author of a stage writes: config → build → one synchronous process function.
//!
//! A stage never spawns, never names a neighbour and never sees a queue. The framework calls it on the arbiter that
//! the topology gave it, with one frame at a time, and carries what it emits.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::actor::{RawEmitter, Waker};
use crate::bridge::Deliveries;
use crate::clock::Clock;
use crate::commit::Committed;
use crate::frame::{AnyFrame, Frame, Head, Origin};
use crate::metrics::{Counter, Note, StageCounters};
use crate::payload::{Key, Payload};
use crate::terms::Terms;

/// Why a stage could not be built or could not process a frame.
///
/// An expected outcome (a rejected bar, an empty window) is a value of the stage's own types, not an error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StageError {
    /// The configuration or something it names is unusable; restarting will not help.
    #[error("{0}")]
    Config(String),
    /// The stage broke while working; it is rebuilt within its restart budget. A frame on which it breaks twice is
    /// taken to be the reason and is dropped.
    #[error("{0}")]
    Failed(String),
    /// Something that the stage needs is not there now (a full disk, a device that went away); no frame is to blame.
    /// The stage is rebuilt within its restart budget and every frame is kept.
    #[error("{0}")]
    Unavailable(String),
    /// This one frame cannot be processed, and the stage is well: the frame is dropped, cause `refused`, with an alarm, and
    /// the stage continues with the next one. For [`Stage::process`] only; elsewhere it counts as [`StageError::Failed`].
    #[error("{0}")]
    Refused(String),
}

impl StageError {
    /// A [`StageError::Config`] from anything that can be printed.
    pub fn config(reason: impl std::fmt::Display) -> Self {
        Self::Config(reason.to_string())
    }

    /// A [`StageError::Unavailable`] from anything that can be printed.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self::Unavailable(reason.to_string())
    }

    /// A [`StageError::Refused`] from anything that can be printed.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    /// A [`StageError::Failed`] from anything that can be printed.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// What a stage holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The stage holds something and cannot say what: a node with such a stage takes no snapshots.
    Unsupported,
    /// Nothing that a later frame would miss.
    Nothing,
    /// Bytes that [`Stage::restore`] of the same version and parameters takes up.
    State(Vec<u8>),
}

impl Snapshot {
    /// The snapshot that holds `state`; [`Snapshot::Unsupported`] when it does not serialise, which is a fault of its type.
    pub fn of(state: &impl serde::Serialize) -> Self {
        match postcard::to_stdvec(state) {
            Ok(bytes) => Self::State(bytes),
            Err(error) => {
                tracing::error!(%error, "the state of a stage does not serialise");
                Self::Unsupported
            }
        }
    }

    /// Reads what [`Snapshot::of`] has written.
    ///
    /// # Errors
    /// [`StageError::Config`] when the bytes are not a `T`.
    pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StageError> {
        postcard::from_bytes(bytes).map_err(|error| StageError::config(format!("state: {error}")))
    }
}

/// How a stream of frames ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its sources have ended: no further frame exists.
    Complete,
    /// A node on the way leaves (restart, upgrade, stop): the stream continues when it comes back.
    Left,
}

impl Ending {
    /// The ending of a stage whose inputs ended as `self` and as `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Left { self } else { other }
    }
}

/// Marker bound of configurations: a strict serde struct (`deny_unknown_fields`) whose JSON schema documents it.
pub trait Config: DeserializeOwned + JsonSchema + Send + Sync + 'static {}
impl<T: DeserializeOwned + JsonSchema + Send + Sync + 'static> Config for T {}

/// A stage that takes frames and emits frames.
pub trait Stage: Sized + 'static {
    /// Typed parameters from the topology.
    type Config: Config;
    /// Payload of incoming frames.
    type In: Payload;
    /// Payload of emitted frames; [`crate::Nothing`] for a sink.
    type Out: Payload;
    /// Kind name in topologies, kebab-case.
    const KIND: &'static str;
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str;
    /// Whether `process` may block its thread for long; such a stage gets an arbiter of its own unless told otherwise.
    const BLOCKING: bool = false;
    /// Whether the stage is a commit log: it tells [`BuildContext::committed`] what it holds. What is committed is
    /// known per node, so a node has one commit log at most.
    const COMMIT_LOG: bool = false;

    /// Whether the stage may stand at the end of a graph although it makes frames: what it emits without an edge is dropped.
    const OUTPUT_OPTIONAL: bool = false;
    /// Whether the stage is shown items of the past ([`Source::past`]), which only fill what stages hold. A stage that decides,
    /// records or delivers is not.
    const TAKES_PAST: bool = true;
    /// Whether the stage takes its state from the records of the commit log, through [`Stage::recover`]. It is then not
    /// shown frames whose outcome the log holds: its state has them already.
    const RECOVERS: bool = false;

    /// Checks what a schema cannot say (files, hashes, ranges) before anything starts. Returns every fault found.
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Tells, of parameters that have passed [`Stage::check`], what the frames must be that the stage takes and what
    /// those are that it makes. A stage that says nothing fits to everything of its payload types.
    fn terms(_config: &Self::Config, _base: &Path) -> Terms {
        Terms::default()
    }

    /// Builds the stage on its arbiter; also called for each restart.
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(config: &Self::Config, cx: &BuildContext) -> Result<Self, StageError>;

    /// Tells the stage, before its first frame, the last committed record of each key from the node's commit log,
    /// so that it can take up the state that the record implies. Other types than its own are ignored.
    fn recover(&mut self, _record: &AnyFrame) {}

    /// Called after [`Stage::recover`] and before the first frame, so that a stage can emit again what it had recorded and
    /// not delivered.
    ///
    /// # Errors
    /// As for [`Stage::process`].
    fn resume(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// What the stage holds of the frames that it has processed (indicators, windows, recurrent states), so that a node
    /// that comes back continues with the same bits. Called between two frames, when nothing is under way on the node.
    fn snapshot(&self) -> Snapshot {
        Snapshot::Unsupported
    }

    /// Takes up what [`Stage::snapshot`] returned in an earlier process, before the first frame.
    ///
    /// # Errors
    /// When `state` is not that of a stage of these parameters; the node then starts without any state.
    fn restore(&mut self, _state: &[u8]) -> Result<(), StageError> {
        Err(StageError::config("the stage takes up no state"))
    }

    /// Processes one frame.
    ///
    /// # Errors
    /// [`StageError::Failed`] makes the framework rebuild the stage and try the frame once more;
    /// [`StageError::Unavailable`] as often as the restart budget allows.
    fn process(
        &mut self,
        frame: &Frame<Self::In>,
        out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError>;

    /// Called after each batch: `batch.max` frames were processed, or `batch.max_delay` has passed since the first of
    /// them, or nothing more is waiting. A stage that collects in [`Stage::process`] works here.
    ///
    /// # Errors
    /// As for [`Stage::process`]; the frames of the batch are then processed again, once.
    fn flush(&mut self, _out: &mut Emitter<'_, Self::Out>) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once when every input has ended, after the last flush. With [`Ending::Left`] the node leaves in mid-stream
    /// and what the stage holds is taken up again at the next start; only [`Ending::Complete`] is the end of the data.
    ///
    /// # Errors
    /// Reported as an alarm; the stage ends all the same.
    fn drain(
        &mut self,
        _ending: Ending,
        _out: &mut Emitter<'_, Self::Out>,
    ) -> Result<(), StageError> {
        Ok(())
    }

    /// Called once after [`Stage::drain`] when every input was complete, everything emitted is done and every node that
    /// sends to this one has heard the last acknowledgement: nothing can come again.
    ///
    /// # Errors
    /// Reported as an alarm; the stage ends all the same.
    fn finish(&mut self) -> Result<(), StageError> {
        Ok(())
    }
}

/// What a source has to say when asked for the next item.
#[derive(Debug)]
pub enum Next<P> {
    /// The next item.
    Item(P),
    /// Ask again when the clock has reached this time, nanoseconds.
    At(i64),
    /// Ask again after the [`Waker`] from [`BuildContext::waker`] was used.
    Waiting,
    /// No further item will come.
    End,
}

/// A stage that makes frames out of the outside world. It is asked only when there is room downstream.
pub trait Source: Sized + 'static {
    /// Typed parameters from the topology.
    type Config: Config;
    /// Payload of the frames it makes.
    type Out: Payload;
    /// Kind name in topologies, kebab-case.
    const KIND: &'static str;
    /// One line for `heqis-runtime stages`.
    const ABOUT: &'static str;
    /// Whether two builds from one config give the same items in the same order. A replayable source resumes after
    /// the last acknowledged frame when its process restarts.
    const REPLAYABLE: bool;

    /// As [`Stage::check`].
    fn check(_config: &Self::Config, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// What the items of a replayable source are made of: two configurations with the same identity give the same items,
    /// however fast and from wherever. `None` takes the parameters as they are written.
    ///
    /// # Errors
    /// [`StageError`] when what is read cannot be read; the node does not report ready.
    fn identity(_config: &Self::Config, _base: &Path) -> Result<Option<u64>, StageError> {
        Ok(None)
    }

    /// As [`Stage::build`].
    ///
    /// # Errors
    /// [`StageError`] with the reason; the node does not report ready.
    fn build(config: &Self::Config, cx: &BuildContext) -> Result<Self, StageError>;

    /// Gives the next item of the past, oldest first, and `None` after the last: items from before this source, such as those
    /// of a data set, that fill what stages hold. Nothing of them leaves the node, they have no position, and they are
    /// asked for before any other item, unless the node has taken up a saved state.
    ///
    /// # Errors
    /// As for [`Source::next`].
    fn past(&mut self) -> Result<Option<Self::Out>, StageError> {
        Ok(None)
    }

    /// Gives the next item. Must not block.
    ///
    /// # Errors
    /// [`StageError::Failed`] ends the source with an alarm: a source that was rebuilt could repeat items.
    fn next(&mut self) -> Result<Next<Self::Out>, StageError>;
}

/// Hands frames to the framework. Emitting never blocks and never fails: what finds no room on the edges waits in
/// the actor, which takes no further input meanwhile.
pub struct Emitter<'a, P> {
    raw: &'a mut RawEmitter,
    payload: PhantomData<fn(P)>,
}

impl<'a, P: Payload> Emitter<'a, P> {
    pub(crate) fn new(raw: &'a mut RawEmitter) -> Self {
        Self {
            raw,
            payload: PhantomData,
        }
    }

    /// Emits `payload`, derived from the frame whose head is `parent`: it keeps the parent's origin and birth time,
    /// carries its stamps and keeps it unacknowledged until the derived frame is done.
    pub fn emit(&mut self, parent: &Head, payload: P) {
        let key = payload.key();
        self.raw
            .emit(parent, key, |head| AnyFrame::new(head, payload));
    }

    /// Emits `payload` as number `n` of what the stage has recorded. It derives from `parent`, but does not keep it
    /// unacknowledged: the record takes its place, and `deliveries` tells when the frame is done.
    pub fn emit_recorded(&mut self, parent: &Head, payload: P, n: u64, deliveries: &Deliveries) {
        let key = payload.key();
        let ticket = deliveries.ticket(n);
        self.raw.emit(parent, key, |mut head| {
            head.ticket = Some(ticket);
            AnyFrame::new(head, payload)
        });
    }

    /// Emits `payload` again, which the stage had recorded in an earlier process as number `n`, made of `origin`.
    pub fn emit_again(&mut self, origin: Origin, payload: P, n: u64, deliveries: &Deliveries) {
        let now_ns = self.raw.now_ns();
        let parent = Head::new(origin, payload.key(), now_ns);
        self.emit_recorded(&parent, payload, n, deliveries);
    }
}

/// Collects what a stage emits, for tests and benches of a stage outside any graph.
pub struct Probe {
    raw: RawEmitter,
}

impl Probe {
    /// An empty probe whose stamps read `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            raw: RawEmitter::new(0, clock),
        }
    }

    /// An emitter into this probe.
    pub fn emitter<P: Payload>(&mut self) -> Emitter<'_, P> {
        Emitter::new(&mut self.raw)
    }

    /// Takes what was emitted so far, oldest first.
    pub fn take<P: Payload>(&mut self) -> Vec<Frame<P>> {
        self.raw
            .staged
            .drain(..)
            .filter_map(|frame| Frame::typed(frame).ok())
            .collect()
    }
}

/// The world as the framework hands it to a stage while it is built.
#[derive(Clone)]
pub struct BuildContext {
    pub(crate) node: Arc<str>,
    pub(crate) stage: Arc<str>,
    pub(crate) base: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) stages: Arc<[String]>,
    pub(crate) committed: Committed,
    pub(crate) counters: StageCounters,
    pub(crate) waker: Waker,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) replaying: Arc<AtomicBool>,
    pub(crate) identity: Arc<RunIdentity>,
}

/// What a graph decides by, for whoever keeps its results: two runs with the same identity decide the same of the same
/// items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunIdentity {
    /// Name of the topology.
    pub topology: String,
    /// Hash of the decision rule's parameters; empty where there is none.
    pub rule: String,
    /// Hashes of the bundles that this node's stages name, in the order of the stages.
    pub bundles: Vec<String>,
}

impl BuildContext {
    /// A context for building a stage by hand, outside any graph. Relative paths start at `base`.
    #[must_use]
    pub fn detached(stage: &str, base: impl Into<PathBuf>, clock: Clock) -> Self {
        Self {
            node: "detached".into(),
            stage: stage.into(),
            base: base.into(),
            clock,
            stages: Arc::from([stage.to_owned()]),
            committed: Committed::default(),
            counters: StageCounters::detached(stage),
            waker: Waker::default(),
            stopping: Arc::default(),
            replaying: Arc::default(),
            identity: Arc::default(),
        }
    }

    /// Name of the node that runs the stage.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Name of the stage in the topology.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Names of all stages of the graph, indexed as in [`crate::Stamp::stage`].
    #[must_use]
    pub fn stage_names(&self) -> &Arc<[String]> {
        &self.stages
    }

    /// Resolves a path of the topology: relative ones start at the graph's base directory.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }

    /// The graph's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The node's memory of what its commit log holds; a commit-log stage fills it while it is built.
    #[must_use]
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// A counter exported as `heqis_stage_events_total{stage,event}`. `event` must come from a fixed, small set.
    #[must_use]
    pub fn counter(&self, event: &str) -> Counter {
        self.counters.counter(event)
    }

    /// Something that the stage says of itself in the node's report, such as the backend that computes. `name` must come
    /// from a fixed, small set; the text may be anything short.
    #[must_use]
    pub fn note(&self, name: &str) -> Note {
        self.counters.note(name)
    }

    /// Everything that the stage counts and says of itself, for what is only known while it runs.
    #[must_use]
    pub fn counters(&self) -> &StageCounters {
        &self.counters
    }

    /// Raised when the graph begins to drain, so that whatever a stage waits long for, as while it is built, can be broken
    /// off.
    #[must_use]
    pub fn stopping(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    /// Whether the next item of a source need not be paced: its outcome is held by this node's log or by the nodes after
    /// it, or by the state that the node has taken up.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.replaying.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What the graph decides by.
    #[must_use]
    pub fn identity(&self) -> &RunIdentity {
        &self.identity
    }

    /// Wakes a [`Source`] that answered [`Next::Waiting`]; may be used from any thread, any number of times.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

impl std::fmt::Debug for BuildContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildContext")
            .field("node", &self.node)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// A key type's partition among `lanes`; the same on every machine and in every run.
#[must_use]
pub fn partition(key: Key, lanes: usize) -> usize {
    // Fibonacci hashing over the folded key: cheap, and stable unlike the standard library's seeded hasher.
    let folded = (key as u64) ^ ((key >> 64) as u64);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) as usize) % lanes.max(1)
}
