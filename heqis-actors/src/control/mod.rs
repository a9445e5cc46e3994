//! The state of a running graph that its actors share: the signals to stop and to abandon, and what is paused or saved.
//!
//! `lifecycle`: which actors still run, and in which order they end.

mod lifecycle;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use lifecycle::Life;
use lifecycle::Lifecycle;
use tokio::sync::watch;

use crate::doorbell::Doorbell;
use heqis_core::{
    ActorState, Clock, Event, EventBus, Events, LogLimit, SaveDemand, StageError, Waiting,
};

/// A longer drain has no limit in practice; a sum with the time of now must not overflow.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 86_400);

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
    events: EventBus,
    /// An `Arc` of its own, for stages, which know nothing else of the control.
    stopping: Arc<AtomicBool>,
    abandoned: AtomicBool,
    killed: AtomicBool,
    /// When the drain has to be over.
    deadline: watch::Sender<Option<Instant>>,
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
    /// Frames from other nodes are acknowledged when the saved state includes them.
    saves_received: AtomicBool,
    /// Asks for the state to be saved.
    save_demand: Arc<SaveDemand>,
    /// The states of actors that have ended.
    deposits: Mutex<Vec<ActorState>>,
    /// The position of each source up to which the node's state is on the disk.
    saved: Mutex<HashMap<String, u64>>,
    /// A source of this node makes its items once only, or makes them again in the next process.
    has_live: AtomicBool,
    has_replayable: AtomicBool,
    /// Frames of other nodes that programs have taken out of the graph and not dropped.
    held_outside: Arc<AtomicU64>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            lifecycle: Lifecycle::default(),
            events: EventBus::default(),
            stopping: Arc::default(),
            abandoned: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            deadline: watch::Sender::new(None),
            stop_begun: watch::Sender::new(false),
            failure: Mutex::new(None),
            bells: Mutex::new(Vec::new()),
            limits: Mutex::default(),
            progress: Mutex::default(),
            paused: Mutex::default(),
            sources_paused: AtomicBool::new(false),
            saves_received: AtomicBool::new(false),
            save_demand: Arc::default(),
            deposits: Mutex::default(),
            saved: Mutex::default(),
            has_live: AtomicBool::new(false),
            has_replayable: AtomicBool::new(false),
            held_outside: Arc::default(),
        }))
    }

    pub(crate) fn publish(&self, event: Event) {
        self.0.events.publish(event);
    }

    /// The bus alone, for what publishes and knows nothing else of the control.
    pub(crate) fn event_bus(&self) -> EventBus {
        self.0.events.clone()
    }

    /// Every event of this graph from now on.
    pub(crate) fn events(&self) -> Events {
        self.0.events.subscribe()
    }

    /// The graph has ended: its events end, and no actor is woken any more.
    pub(crate) fn end(&self) {
        self.0.events.close();
        lock(&self.0.bells).clear();
    }

    /// As [`Control::stop`], with a drain that must be over within `drain`; the last call counts.
    pub(crate) fn stop_within(&self, drain: Duration) {
        self.0.deadline.send_replace(Some(after(drain)));
        self.stop();
    }

    /// When the drain has to be over, once the graph has begun to drain: `drain` from now where no limit was set. Follow it,
    /// because a later call of [`Control::stop_within`] changes it.
    pub(crate) fn deadline(&self, drain: Duration) -> watch::Receiver<Option<Instant>> {
        self.0.deadline.send_if_modified(|deadline| {
            let unknown = deadline.is_none();
            deadline.get_or_insert_with(|| after(drain));
            unknown
        });
        self.0.deadline.subscribe()
    }

    /// Time left for the drain, milliseconds; `None` while the graph does not drain or its limit is not known.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the drain in real time, whatever the graph's clock is"
    )]
    pub(crate) fn drain_left_ms(&self) -> Option<u64> {
        let deadline = (*self.0.deadline.borrow())?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Ends sources and closes bridges; frames in flight are finished.
    pub(crate) fn stop(&self) {
        if !self.0.stopping.swap(true, Ordering::AcqRel) {
            self.0.stop_begun.send_replace(true);
            self.ring_all();
            self.publish(Event::Stopping);
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

    /// As [`Control::abandon`], for a test of a process that is killed: nothing is saved or acknowledged any more.
    pub(crate) fn kill(&self) {
        self.0.killed.store(true, Ordering::Release);
        self.abandon();
    }

    pub(crate) fn killed(&self) -> bool {
        self.0.killed.load(Ordering::Acquire)
    }

    /// Whether no actor has been rung that has not checked its edges since.
    pub(crate) fn is_quiet(&self) -> bool {
        lock(&self.0.bells).iter().all(|bell| !bell.is_rung())
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
        self.publish(Event::Stopping);
    }

    /// States why the graph did not end well; the first reason is kept.
    pub(crate) fn set_failure(&self, reason: &str) {
        lock(&self.0.failure).get_or_insert_with(|| reason.to_owned());
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

    /// Sets whether frames from other nodes are acknowledged only when the saved state includes them.
    pub(crate) fn set_saves_received(&self, saves: bool) {
        self.0.saves_received.store(saves, Ordering::Release);
    }

    pub(crate) fn saves_received(&self) -> bool {
        self.0.saves_received.load(Ordering::Acquire)
    }

    pub(crate) fn save_demand(&self) -> &Arc<SaveDemand> {
        &self.0.save_demand
    }

    /// Keeps the state of an actor that ends because the node leaves.
    pub(crate) fn deposit(&self, state: ActorState) {
        lock(&self.0.deposits).push(state);
    }

    pub(crate) fn take_deposits(&self) -> Vec<ActorState> {
        std::mem::take(&mut *lock(&self.0.deposits))
    }

    /// States whether a source of this node makes its items again in the next process. Frames of another one that are
    /// dropped here are lost.
    pub(crate) fn add_source(&self, again: bool) {
        let sources = match again {
            true => &self.0.has_replayable,
            false => &self.0.has_live,
        };
        sources.store(true, Ordering::Release);
    }

    /// Whether every source of this node makes its items once only.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_resumable() && !self.0.has_replayable.load(Ordering::Acquire)
    }

    pub(crate) fn is_resumable(&self) -> bool {
        !self.0.has_live.load(Ordering::Acquire)
    }

    /// The count of frames of other nodes that programs have taken out of the graph and not dropped.
    pub(crate) fn held_outside(&self) -> Arc<AtomicU64> {
        self.0.held_outside.clone()
    }

    /// States that a stage waits to be rebuilt.
    pub(crate) fn stage_paused(&self, stage: &str, reason: String, now_ns: i64) {
        let mut paused = lock(&self.0.paused);
        let since_ns = paused.get(stage).map_or(now_ns, |(_, since_ns)| *since_ns);
        paused.insert(stage.to_owned(), (reason, since_ns));
    }

    /// The stages that wait to be rebuilt.
    pub(crate) fn paused(&self) -> Vec<Waiting> {
        let waiting = |(stage, (reason, since_ns)): (&String, &(String, i64))| {
            let reason = format!("to be rebuilt: {reason}");
            Waiting::new(format!("stage '{stage}'"), reason, *since_ns)
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
            self.publish(event(left_out));
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

    /// Reports a frame made from items of which other frames had completed a part.
    pub(crate) fn frames_overlap(&self, edge: &str, reason: String) {
        self.publish_limited("overlap", edge, |left_out| Event::FramesOverlap {
            edge: edge.to_owned(),
            reason,
            left_out,
        });
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
        self.publish(Event::StageFailed {
            stage: stage.to_owned(),
            reason: error.to_string(),
        });
    }

    pub(crate) fn stage_restarted(&self, stage: &str) {
        lock(&self.0.paused).remove(stage);
        self.publish(Event::StageRestarted {
            stage: stage.to_owned(),
        });
    }

    /// Wakes every actor.
    pub(crate) fn ring_all(&self) {
        for bell in lock(&self.0.bells).iter() {
            bell.ring();
        }
    }
}

/// The end of a drain that begins now.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the drain in real time, whatever the graph's clock is"
)]
fn after(drain: Duration) -> Instant {
    Instant::now() + drain.min(LONGEST_DRAIN)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
