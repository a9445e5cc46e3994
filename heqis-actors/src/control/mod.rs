//! The state of a running graph that its actors share: the signals to stop and to abandon, and what is paused or saved.
//!
//! `lifecycle`: which actors still run, and in which order they end.

mod lifecycle;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lifecycle::Lifecycle;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::doorbell::Doorbell;
use crate::error::StageError;
use crate::events::Event;
use crate::log_limit::LogLimit;
use crate::report::Waiting;
use crate::snapshot::ActorState;

/// Progress of the actors of one arbiter: batches done and turns taken. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(crate) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shared by every actor of a graph. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lifecycle: Lifecycle,
    /// An `Arc` of its own, for stages, which know nothing else of the control.
    stopping: Arc<AtomicBool>,
    abandoned: AtomicBool,
    /// When the drain has to be over.
    deadline: Mutex<Option<Instant>>,
    stop_begun: watch::Sender<bool>,
    failure: Mutex<Option<String>>,
    bells: Mutex<Vec<Arc<Doorbell>>>,
    /// One limit per kind of line and name, for every line that a peer or an input can cause.
    limits: Mutex<HashMap<(&'static str, String), LogLimit>>,
    /// By name of the arbiter.
    progress: Mutex<HashMap<String, Progress>>,
    /// Stages that wait to be rebuilt: why, and since when.
    paused: Mutex<BTreeMap<String, (String, i64)>>,
    /// Sources make no items, so that everything in flight ends and the node's state can be saved.
    sources_paused: AtomicBool,
    /// The states of actors that have ended.
    deposits: Mutex<Vec<ActorState>>,
    /// The position of each source up to which the node's state is on the disk.
    saved: Mutex<HashMap<String, u64>>,
    /// A source of this node makes its items once only.
    has_live: AtomicBool,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            lifecycle: Lifecycle::default(),
            stopping: Arc::default(),
            abandoned: AtomicBool::new(false),
            deadline: Mutex::new(None),
            stop_begun: watch::Sender::new(false),
            failure: Mutex::new(None),
            bells: Mutex::new(Vec::new()),
            limits: Mutex::default(),
            progress: Mutex::default(),
            paused: Mutex::default(),
            sources_paused: AtomicBool::new(false),
            deposits: Mutex::default(),
            saved: Mutex::default(),
            has_live: AtomicBool::new(false),
        }))
    }

    /// As [`Control::stop`], with a drain that must be over within `drain`.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the drain in real time, whatever the graph's clock is"
    )]
    pub(crate) fn stop_within(&self, drain: Duration) {
        *lock(&self.0.deadline) = Some(Instant::now() + drain);
        self.stop();
    }

    /// When the drain has to be over, once the graph has begun to drain; `drain` counts from now where no limit was set.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the drain in real time, whatever the graph's clock is"
    )]
    pub(crate) fn deadline(&self, drain: Duration) -> Instant {
        *lock(&self.0.deadline).get_or_insert_with(|| Instant::now() + drain)
    }

    /// Time left for the drain, milliseconds; `None` while the graph does not drain or its limit is not known.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the drain in real time, whatever the graph's clock is"
    )]
    pub(crate) fn drain_left_ms(&self) -> Option<u64> {
        let deadline = (*lock(&self.0.deadline))?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Ends sources and closes bridges; frames in flight are finished.
    pub(crate) fn stop(&self) {
        if !self.0.stopping.swap(true, Ordering::AcqRel) {
            self.0.stop_begun.send_replace(true);
            self.ring_all();
            Event::Stopping.publish();
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// The flag that [`Control::stopping`] reads.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        self.0.stopping.clone()
    }

    /// Completes when the graph has begun to drain.
    pub(crate) async fn stopped(&self) {
        let _ = self.0.stop_begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Drops every frame in flight, cause `shutdown`, because the drain timeout has passed.
    pub(crate) fn abandon(&self) {
        self.set_incomplete();
        self.0.stopping.store(true, Ordering::Release);
        self.0.abandoned.store(true, Ordering::Release);
        self.0.stop_begun.send_replace(true);
        self.ring_all();
    }

    pub(crate) fn abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Acquire)
    }

    /// Ends the graph with an error; the first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.stop();
    }

    /// Ends the graph with an error at once: frames in flight are dropped here, and the node that sent them keeps those
    /// that were not acknowledged.
    pub(crate) fn crash(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.abandon();
        Event::Stopping.publish();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }

    /// The progress of the actors of the arbiter `name`.
    pub(crate) fn progress(&self, name: &str) -> Progress {
        let mut progress = lock(&self.0.progress);
        progress.entry(name.to_owned()).or_default().clone()
    }

    /// Makes sources pause, or continue.
    pub(crate) fn pause_sources(&self, paused: bool) {
        self.0.sources_paused.store(paused, Ordering::Release);
        self.ring_all();
    }

    pub(crate) fn sources_paused(&self) -> bool {
        self.0.sources_paused.load(Ordering::Acquire)
    }

    /// The node's state is on the disk up to this position of a source.
    pub(crate) fn saved(&self, source: &str, position: u64) {
        lock(&self.0.saved).insert(source.to_owned(), position);
    }

    /// The position of a source up to which the node's state is on the disk.
    pub(crate) fn saved_position(&self, source: &str) -> u64 {
        lock(&self.0.saved).get(source).copied().unwrap_or(0)
    }

    /// Keeps the state of an actor that ends because the node leaves.
    pub(crate) fn deposit(&self, state: ActorState) {
        lock(&self.0.deposits).push(state);
    }

    pub(crate) fn take_deposits(&self) -> Vec<ActorState> {
        std::mem::take(&mut *lock(&self.0.deposits))
    }

    /// States that a source of this node makes its items once only: frames dropped here are lost.
    pub(crate) fn set_live_source(&self) {
        self.0.has_live.store(true, Ordering::Release);
    }

    pub(crate) fn is_resumable(&self) -> bool {
        !self.0.has_live.load(Ordering::Acquire)
    }

    /// States that a stage waits to be rebuilt.
    pub(crate) fn stage_paused(&self, stage: &str, reason: String, now_ns: i64) {
        let mut paused = lock(&self.0.paused);
        let since_ns = paused.get(stage).map_or(now_ns, |(_, since_ns)| *since_ns);
        paused.insert(stage.to_owned(), (reason, since_ns));
    }

    /// The stages that wait to be rebuilt.
    pub(crate) fn paused(&self) -> Vec<Waiting> {
        let waiting = |(stage, (reason, since_ns)): (&String, &(String, i64))| Waiting {
            subject: format!("stage '{stage}'"),
            reason: format!("to be rebuilt: {reason}"),
            since_ns: *since_ns,
        };
        lock(&self.0.paused).iter().map(waiting).collect()
    }

    /// Publishes an event that a peer or an input can cause any number of times, at a limited rate per `kind` and `name`.
    /// `event` gets the number of events left out since the last one.
    pub(crate) fn publish_limited(
        &self,
        kind: &'static str,
        name: &str,
        event: impl FnOnce(u64) -> Event,
    ) {
        if let Some(left_out) = self.admit(kind, name) {
            event(left_out).publish();
        }
    }

    /// Whether a line of this kind may be written now; as [`LogLimit::admit`].
    pub(crate) fn admit(&self, kind: &'static str, name: &str) -> Option<u64> {
        let mut limits = lock(&self.0.limits);
        let limit = limits
            .entry((kind, name.to_owned()))
            .or_insert_with(|| LogLimit::new(Clock::real()));
        limit.admit()
    }

    /// Reports a frame that a stage refused.
    pub(crate) fn refused(&self, stage: &str, reason: String) {
        self.publish_limited("refused", stage, |left_out| Event::FrameRefused {
            stage: stage.to_owned(),
            reason,
            left_out,
        });
    }

    pub(crate) fn stage_failed(&self, stage: &str, error: &StageError) {
        Event::StageFailed {
            stage: stage.to_owned(),
            reason: error.to_string(),
        }
        .publish();
    }

    pub(crate) fn stage_restarted(&self, stage: &str) {
        lock(&self.0.paused).remove(stage);
        Event::StageRestarted {
            stage: stage.to_owned(),
        }
        .publish();
    }

    /// Wakes every actor.
    pub(crate) fn ring_all(&self) {
        for bell in lock(&self.0.bells).iter() {
            bell.ring();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
