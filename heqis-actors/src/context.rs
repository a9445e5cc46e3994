//! What a stage gets from the framework while it is built.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::doorbell::Waker;
use heqis_core::Committed;
use heqis_core::Kept;
use heqis_core::{Clock, Counter, Note, StageCounters};

/// Everything that a stage gets from the framework while it is built: clock, paths, counters, commit log.
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
    pub(crate) saves_state: Arc<AtomicBool>,
    pub(crate) replaying: Arc<AtomicBool>,
    pub(crate) identity: Arc<RunIdentity>,
    pub(crate) kept: Kept,
}

/// What determines the decisions of a graph, for stages that record them: two runs with the same identity make the same
/// decisions from the same items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunIdentity {
    /// Name of the topology.
    pub topology: String,
    /// Hash of the decision rule's parameters; empty without one.
    pub rule: String,
    /// Hashes of the bundles that this node's stages name, in the order of the stages.
    pub bundles: Vec<String>,
}

impl BuildContext {
    /// A context for building a stage outside any graph. Relative paths start at `base`.
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
            saves_state: Arc::default(),
            replaying: Arc::default(),
            identity: Arc::default(),
            kept: Kept::default(),
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

    /// What the node's commit log holds; a commit-log stage fills it while it is built.
    #[must_use]
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// A counter exported as `heqis_stage_events_total{stage,event}`. `event` must come from a fixed, small set.
    #[must_use]
    pub fn counter(&self, event: &str) -> Counter {
        self.counters.counter(event)
    }

    /// A short text about the stage in the node's report, such as the backend that computes. `name` must come
    /// from a fixed, small set; the text may be anything short.
    #[must_use]
    pub fn note(&self, name: &str) -> Note {
        self.counters.note(name)
    }

    /// The counters and notes of the stage, for names that are known only while it runs.
    #[must_use]
    pub fn counters(&self) -> &StageCounters {
        &self.counters
    }

    /// Set when the graph begins to drain, so that a stage can end a long wait, for instance while it is built.
    #[must_use]
    pub fn stopping(&self) -> Arc<AtomicBool> {
        self.stopping.clone()
    }

    /// Whether the node saves the state of this stage, as [`Stage::snapshot`](crate::Stage::snapshot) gives it, and restores
    /// it after a kill. A stage that collects frames then drops their heads and keeps their [`Origins`](crate::Origins) in
    /// its state; on other nodes it holds the heads. Known from the first frame on.
    #[must_use]
    pub fn saves_state(&self) -> bool {
        self.saves_state.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether the next item of a source need not be paced: this node's log, a next node or the restored state has its
    /// outcome.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        self.replaying.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Identity of the run.
    #[must_use]
    pub fn identity(&self) -> &RunIdentity {
        &self.identity
    }

    /// Wakes a [`Source`](crate::Source) that answered [`Next::Waiting`](crate::Next::Waiting), from any thread, any number
    /// of times.
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
