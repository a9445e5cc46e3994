//! The state of a running graph that its actors share: stop and abandon signals, who still runs, what was measured.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::doorbell::Doorbell;
use crate::error::StageError;
use crate::events::Event;
use crate::log_limit::LogLimit;
use crate::report::Waiting;
use crate::snapshot::Held;

/// How often the actors of one arbiter have got on: a batch done, a turn taken. Cheap to clone.
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
    /// An `Arc` of its own, for stages, which know nothing of the rest.
    stopping: Arc<AtomicBool>,
    abandoned: AtomicBool,
    alive: AtomicUsize,
    /// Those of `alive` that only wait for all others to end.
    finishing: AtomicUsize,
    /// Those of `alive` that have only their last word to exchange with another node.
    farewells: AtomicUsize,
    /// Sending halves of bridged edges that may still send a frame.
    senders: AtomicUsize,
    /// Those that have not ended: they may wait for the last word of another node.
    senders_alive: AtomicUsize,
    /// Something ended before it knew that nothing can come again.
    cut_short: AtomicBool,
    /// When the drain has to be over.
    deadline: Mutex<Option<Instant>>,
    /// One limit per kind of line and name, for every line that a peer or an input can cause.
    limits: Mutex<HashMap<(&'static str, String), LogLimit>>,
    all_ended: watch::Sender<bool>,
    stop_begun: watch::Sender<bool>,
    bells: Mutex<Vec<Arc<Doorbell>>>,
    failure: Mutex<Option<String>>,
    /// Sources give nothing, so that what is under way comes to its end and the node's state can be saved.
    sources_paused: AtomicBool,
    /// What actors that have ended held.
    deposits: Mutex<Vec<Held>>,
    /// The position of each source up to which the node's state is on the disk.
    saved: Mutex<HashMap<String, u64>>,
    /// By name of the arbiter.
    progress: Mutex<HashMap<String, Progress>>,
    /// Stages that wait to be rebuilt: why, and since when.
    paused: Mutex<BTreeMap<String, (String, i64)>>,
    /// A source of this node gives its items once only.
    has_live: AtomicBool,
    /// Stages and halves of bridged edges that have ended for good, by name.
    gone: Mutex<BTreeSet<String>>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            stopping: Arc::default(),
            abandoned: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            finishing: AtomicUsize::new(0),
            farewells: AtomicUsize::new(0),
            senders: AtomicUsize::new(0),
            senders_alive: AtomicUsize::new(0),
            cut_short: AtomicBool::new(false),
            deadline: Mutex::new(None),
            limits: Mutex::default(),
            all_ended: watch::Sender::new(false),
            stop_begun: watch::Sender::new(false),
            bells: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
            sources_paused: AtomicBool::new(false),
            deposits: Mutex::default(),
            saved: Mutex::default(),
            progress: Mutex::default(),
            paused: Mutex::default(),
            has_live: AtomicBool::new(false),
            gone: Mutex::new(BTreeSet::new()),
        }))
    }

    /// Counts an actor in; its doorbell is rung when the graph stops.
    pub(crate) fn enlist(&self, bell: Arc<Doorbell>) {
        self.0.alive.fetch_add(1, Ordering::AcqRel);
        lock(&self.0.bells).push(bell);
    }

    /// Counts the sending half of a bridged edge in; it says [`Control::sender_ended`] when it sends no frame any more, and
    /// [`Control::sender_gone`] when it ends.
    pub(crate) fn enlist_sender(&self) {
        self.0.senders.fetch_add(1, Ordering::AcqRel);
        self.0.senders_alive.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn sender_gone(&self) {
        if self.0.senders_alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ring_all();
        }
    }

    /// Whether this node waits for no other one's last word any more.
    pub(crate) fn senders_gone(&self) -> bool {
        self.0.senders_alive.load(Ordering::Acquire) == 0
    }

    pub(crate) fn sender_ended(&self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ring_all();
        }
    }

    /// Whether no frame leaves this node any more, so that no answer to one can come.
    pub(crate) fn senders_ended(&self) -> bool {
        self.0.senders.load(Ordering::Acquire) == 0
    }

    /// An actor has done everything but its last act.
    pub(crate) fn finishing(&self) {
        self.0.finishing.fetch_add(1, Ordering::AcqRel);
        self.wake_finishing();
    }

    /// An actor that was finishing is about to end.
    pub(crate) fn finished(&self) {
        self.0.finishing.fetch_sub(1, Ordering::AcqRel);
    }

    /// One half of a bridged edge has everything but the last word of the other half.
    pub(crate) fn enter_farewell(&self) {
        self.0.farewells.fetch_add(1, Ordering::AcqRel);
        self.wake_finishing();
    }

    /// A half that had entered its farewell is about to end.
    pub(crate) fn leave_farewell(&self) {
        self.0.farewells.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether nothing can come again: all that is left of the graph are stages that are finishing and halves of bridged
    /// edges that exchange their last words.
    pub(crate) fn may_finish(&self) -> bool {
        let (finishing, farewells) = (&self.0.finishing, &self.0.farewells);
        self.0.alive.load(Ordering::Acquire)
            == finishing.load(Ordering::Acquire) + farewells.load(Ordering::Acquire)
    }

    /// Whether every stage has had its last act, so that receivers may give their last word.
    pub(crate) fn may_part(&self) -> bool {
        self.0.alive.load(Ordering::Acquire) == self.0.farewells.load(Ordering::Acquire)
    }

    fn wake_finishing(&self) {
        if self.may_finish() {
            self.ring_all();
        }
    }

    /// Something ended before it knew that nothing can come again: no stage may take its stream for complete.
    pub(crate) fn cut_short(&self) {
        self.0.cut_short.store(true, Ordering::Release);
    }

    pub(crate) fn is_cut_short(&self) -> bool {
        self.0.cut_short.load(Ordering::Acquire)
    }

    /// As [`Control::stop`], and the drain has to be over within `drain`.
    pub(crate) fn stop_within(&self, drain: Duration) {
        *lock(&self.0.deadline) = Some(Instant::now() + drain);
        self.stop();
    }

    /// When the drain has to be over, once the graph has begun to drain; `drain` counts from then if nothing else was
    /// said.
    pub(crate) fn deadline(&self, drain: Duration) -> Instant {
        *lock(&self.0.deadline).get_or_insert_with(|| Instant::now() + drain)
    }

    /// What is left of the drain, milliseconds; `None` while the graph does not drain or its limit is not known.
    pub(crate) fn drain_left_ms(&self) -> Option<u64> {
        let deadline = (*lock(&self.0.deadline))?;
        let left = deadline.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Sources end, bridges take no further frames; what is under way is finished.
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

    /// The drain timeout has passed: everything under way is dropped, cause `shutdown`.
    pub(crate) fn abandon(&self) {
        self.cut_short();
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

    /// Ends the graph with an error at once: what is under way is dropped here, and whatever was not acknowledged stays
    /// with the node that sent it.
    pub(crate) fn crash(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.abandon();
        Event::Stopping.publish();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }

    /// An actor has ended for good.
    pub(crate) fn ended(&self, stage: &str) {
        lock(&self.0.gone).insert(stage.to_owned());
        Event::StageEnded {
            stage: stage.to_owned(),
        }
        .publish();
        if self.0.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_ended.send_replace(true);
        } else {
            self.wake_finishing();
        }
    }

    /// What the actors of the arbiter `name` count.
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

    /// Keeps what an actor held when it left.
    pub(crate) fn deposit(&self, held: Held) {
        lock(&self.0.deposits).push(held);
    }

    pub(crate) fn take_deposits(&self) -> Vec<Held> {
        std::mem::take(&mut *lock(&self.0.deposits))
    }

    /// A source of this node gives its items once only: what is dropped here does not come again.
    pub(crate) fn has_live_source(&self) {
        self.0.has_live.store(true, Ordering::Release);
    }

    pub(crate) fn is_resumable(&self) -> bool {
        !self.0.has_live.load(Ordering::Acquire)
    }

    /// A stage waits to be rebuilt.
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

    /// Whether an actor of this name has ended for good.
    pub(crate) fn has_ended(&self, stage: &str) -> bool {
        lock(&self.0.gone).contains(stage)
    }

    /// Completes when every enlisted actor has ended.
    pub(crate) async fn all_ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.all_ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Publishes what a peer or an input can cause any number of times, at a limited rate per `kind` and `name`. The event
    /// is made of how many were left out since the last one.
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

    /// Whether a line of this kind may be written now, as [`LogLimit::admit`].
    pub(crate) fn admit(&self, kind: &'static str, name: &str) -> Option<u64> {
        let mut limits = lock(&self.0.limits);
        let limit = limits
            .entry((kind, name.to_owned()))
            .or_insert_with(|| LogLimit::new(Clock::real()));
        limit.admit()
    }

    /// A stage does not take a frame, and is well.
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
