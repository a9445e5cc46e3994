//! Edges: the bounded queue in front of each consumer, with its policy and its books.
//!
//! An edge has one lane per worker of its consumer. A lane is a short queue under a lock that is held for a few
//! instructions. One structure serves all five policies, so that they differ in `push` only. Actors are woken through
//! [`Doorbell`]s: when a lane stops being empty, and when an edge that turned a producer away has room again.

mod lane;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

pub(crate) use lane::Pop;
use lane::{Lane, Queue};

use crate::doorbell::Doorbell;
use heqis_core::AnyFrame;
use heqis_core::{
    Books, DropCause, EdgeOptions, EdgeReport, EdgeSide, Ending, FrameOutcome, Gauge, InDoubt,
    Metrics, Policy, Timer, duration_ns, partition,
};

/// One edge, shared by its producers and its consumers.
pub(crate) struct Edge {
    pub(crate) name: Arc<str>,
    pub(crate) books: Books,
    policy: Policy,
    max_age_ns: Option<i64>,
    lanes: Vec<Lane>,
    /// Frames that left a lane and have no outcome yet: processed by the consumer, or on the wire.
    in_process: AtomicU64,
    /// Producers that have not ended, and whether one of the others left in mid-stream.
    open_producers: AtomicUsize,
    left: AtomicBool,
    producers: OnceLock<Vec<Arc<Doorbell>>>,
    /// Rung when the last producer has ended, besides the consumers: the actor of an output.
    observer: OnceLock<Arc<Doorbell>>,
    depth: Gauge,
    wait: Timer,
    side: EdgeSide,
    /// The node that a half of a bridged edge waits for, and why; `None` while it has a connection.
    waits: Mutex<Option<String>>,
    /// Why a half of a bridged edge carries nothing further although it has a connection.
    full: Mutex<Option<String>>,
    /// Frames whose outcome the sending half did not know when it ended.
    in_doubt: Mutex<Option<InDoubt>>,
    /// Whether the edge promises to lose no frame.
    lossless: AtomicBool,
    /// Frames made from items of which other frames had completed a part.
    overlapping: AtomicU64,
}

impl Edge {
    pub(crate) fn new(
        name: &str,
        side: EdgeSide,
        options: EdgeOptions,
        lanes: usize,
        producers: usize,
        metrics: &Metrics,
    ) -> Arc<Self> {
        let lossless = options.policy == Policy::Block;
        let capacity = match (options.policy, side) {
            (Policy::Latest, _) => 1,
            // The credit bounds all lanes together; one lane may use all of it.
            (_, EdgeSide::Receiver) => options.capacity.max(1),
            _ => options.capacity.max(1).div_ceil(lanes),
        };
        Arc::new(Self {
            name: name.into(),
            books: Books::open(metrics, name),
            policy: options.policy,
            max_age_ns: options.max_age.map(duration_ns),
            lanes: (0..lanes)
                .map(|_| Lane::new(options.policy, capacity))
                .collect(),
            in_process: AtomicU64::new(0),
            open_producers: AtomicUsize::new(producers),
            left: AtomicBool::new(false),
            producers: OnceLock::new(),
            observer: OnceLock::new(),
            depth: metrics.edge_depth(name),
            wait: metrics.edge_wait(name),
            side,
            waits: Mutex::default(),
            full: Mutex::default(),
            in_doubt: Mutex::default(),
            lossless: AtomicBool::new(lossless),
            overlapping: AtomicU64::new(0),
        })
    }

    /// Withdraws the promise of the policy, because a broken link may lose frames.
    pub(crate) fn allow_loss(&self) {
        self.lossless.store(false, Ordering::Relaxed);
    }

    /// Counts a frame made from items of which other frames had completed a part.
    pub(crate) fn overlaps(&self) {
        self.overlapping.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_waits(&self, why: Option<String>) {
        *locked(&self.waits) = why;
    }

    pub(crate) fn waits(&self) -> Option<String> {
        locked(&self.waits).clone()
    }

    pub(crate) fn set_full(&self, why: Option<String>) {
        *locked(&self.full) = why;
    }

    pub(crate) fn full(&self) -> Option<String> {
        locked(&self.full).clone()
    }

    pub(crate) fn set_in_doubt(&self, frames: InDoubt) {
        *locked(&self.in_doubt) = Some(frames);
    }

    /// How the edge has ended, once it is empty.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.lanes.iter().try_fold(Ending::Complete, |all, lane| {
            let state = lane.lock();
            let ended = state.ended.filter(|_| state.queue.len() == 0)?;
            Some(all.and(ended))
        })
    }

    /// Sets the doorbells of both ends. Called once, before anything runs.
    pub(crate) fn connect(&self, producers: Vec<Arc<Doorbell>>, consumers: &[Arc<Doorbell>]) {
        let _ = self.producers.set(producers);
        for (lane, consumer) in self.lanes.iter().zip(consumers) {
            let _ = lane.consumer.set(consumer.clone());
        }
    }

    /// Sets the doorbell that is rung when the last producer has ended.
    pub(crate) fn observe_end(&self, bell: Arc<Doorbell>) {
        let _ = self.observer.set(bell);
    }

    /// Whether every producer has ended.
    pub(crate) fn producers_ended(&self) -> bool {
        self.open_producers.load(Ordering::Acquire) == 0
    }

    /// Turns every further frame away. Frames that wait are still taken.
    pub(crate) fn close(&self) {
        for lane in &self.lanes {
            lane.lock().closed = true;
        }
        self.wake_producers();
    }

    /// Whether a frame finds room now, or never; otherwise the producer is woken when there is room.
    pub(crate) fn has_room(&self) -> bool {
        self.lanes.iter().all(|lane| {
            let mut state = lane.lock();
            let full = self.policy == Policy::Block && state.queue.len() >= lane.capacity;
            state.producer_waits |= full;
            state.closed || !full
        })
    }

    /// Whether [`Edge::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.lanes.iter().any(|lane| lane.lock().closed)
    }

    /// Puts a frame on the edge; gives it back when the policy is `block` and its lane is full, or the edge is closed. The
    /// producer is then woken when there is room.
    pub(crate) fn push(&self, frame: AnyFrame) -> Result<(), AnyFrame> {
        let lane = &self.lanes[if self.lanes.len() == 1 {
            0
        } else {
            partition(frame.head.key, self.lanes.len())
        }];
        let mut state = lane.lock();
        let full = state.queue.len() >= lane.capacity;
        if state.closed || (full && self.policy == Policy::Block) {
            state.producer_waits = true;
            return Err(frame);
        }
        self.books.sent(1);
        let was_empty = state.queue.len() == 0;
        let mut lost = None;
        match &mut state.queue {
            Queue::Fifo(frames) => {
                if full && self.policy == Policy::DropNewest {
                    lost = Some((frame, DropCause::Capacity));
                } else {
                    if full {
                        let cause = if self.policy == Policy::Latest {
                            DropCause::Superseded
                        } else {
                            DropCause::Capacity
                        };
                        lost = frames.pop_front().map(|oldest| (oldest, cause));
                    }
                    frames.push_back(frame);
                }
            }
            Queue::Slots { order, frames } => {
                let key = frame.head.key;
                if let Some(older) = frames.insert(key, frame) {
                    lost = Some((older, DropCause::Superseded));
                } else {
                    if full && let Some(oldest) = order.pop_front() {
                        lost = frames
                            .remove(&oldest)
                            .map(|frame| (frame, DropCause::Capacity));
                    }
                    order.push_back(key);
                }
            }
            Queue::Closed => lost = Some((frame, DropCause::Shutdown)),
        }
        if state.consumer_waits {
            lane.more.notify_one();
        }
        drop(state);
        if let Some((frame, cause)) = lost {
            self.drop_frame(frame, cause);
        }
        if was_empty {
            lane.wake_consumer();
        }
        Ok(())
    }

    /// Takes the next frame that is young enough. It counts as in flight until [`Edge::done`].
    pub(crate) fn pop(&self, lane: usize, now_ns: i64) -> Pop {
        let lane = &self.lanes[lane];
        loop {
            let mut state = lane.lock();
            if state.held {
                return Pop::Empty;
            }
            let Some(mut frame) = state.queue.pop() else {
                return state.ended.map_or(Pop::Empty, Pop::Ended);
            };
            // Waking at half capacity spares a producer that fills the lane again at once from being woken per frame.
            let wake_producer = state.producer_waits && state.queue.len() <= lane.capacity / 2;
            if wake_producer {
                state.producer_waits = false;
            }
            self.in_process.fetch_add(1, Ordering::Relaxed);
            drop(state);
            if wake_producer {
                self.wake_producers();
            }
            if self
                .max_age_ns
                .is_some_and(|max| now_ns.saturating_sub(frame.head.born_ns) > max)
            {
                self.in_process.fetch_sub(1, Ordering::Relaxed);
                self.drop_frame(frame, DropCause::Age);
                continue;
            }
            self.wait.observe_ns(now_ns - frame.head.last_leave_ns());
            frame.head.enter_ns = now_ns;
            return Pop::Frame(frame);
        }
    }

    /// Gives the consumer nothing, not even the end of the edge, until it is called again.
    pub(crate) fn hold(&self, held: bool) {
        for lane in &self.lanes {
            lane.lock().held = held;
            if !held {
                lane.more.notify_one();
                lane.wake_consumer();
            }
        }
    }

    /// Passes every waiting frame to `take`.
    pub(crate) fn waiting(&self, mut take: impl FnMut(&AnyFrame)) {
        for lane in &self.lanes {
            lane.lock().queue.iter().for_each(&mut take);
        }
    }

    /// Frames that left a lane and have no outcome yet.
    pub(crate) fn in_process(&self) -> u64 {
        self.in_process.load(Ordering::Relaxed)
    }

    /// Books a frame that the consumer got from elsewhere, as if it had been on the edge.
    pub(crate) fn adopt(&self) {
        self.books.sent(1);
        self.in_process.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks to be woken, as a producer that was not turned away, when a lane is at most half full.
    pub(crate) fn request_room(&self) {
        let mut room = false;
        for lane in &self.lanes {
            let mut state = lane.lock();
            room |= state.queue.len() <= lane.capacity / 2;
            state.producer_waits = true;
        }
        if room {
            self.wake_producers();
        }
    }

    /// Books frames that found no room on the edge as sent and dropped, cause `shutdown`.
    pub(crate) fn drop_unsent(&self, frames: u64) {
        self.books.sent(frames);
        self.books.dropped(DropCause::Shutdown, frames);
    }

    /// Blocks the calling thread until the lane has a frame or `timeout` has passed.
    pub(crate) fn wait_for_more(&self, lane: usize, timeout: Duration) {
        let lane = &self.lanes[lane];
        let mut state = lane.lock();
        if (state.queue.len() == 0 && state.ended.is_none()) || state.held {
            state.consumer_waits = true;
            let (mut state, _) = lane
                .more
                .wait_timeout(state, timeout)
                .unwrap_or_else(PoisonError::into_inner);
            state.consumer_waits = false;
        }
    }

    /// Closes the books on `frames` that were popped.
    pub(crate) fn done(&self, outcome: FrameOutcome, frames: u64) {
        self.books.close(outcome, frames);
        self.in_process.fetch_sub(frames, Ordering::Relaxed);
    }

    /// Drops one popped frame for `cause`.
    pub(crate) fn drop_popped(&self, frame: AnyFrame, cause: DropCause) {
        self.in_process.fetch_sub(1, Ordering::Relaxed);
        self.drop_frame(frame, cause);
    }

    /// Books a dropped frame, also at the bridge over which it arrived.
    fn drop_frame(&self, frame: AnyFrame, cause: DropCause) {
        self.books.dropped(cause, 1);
        if let Some(ticket) = &frame.head.ticket {
            ticket.set(FrameOutcome::Dropped(cause));
        }
    }

    /// Ends one producer; after the last one, consumers find [`Pop::Ended`] once the lane is empty.
    pub(crate) fn end_producer(&self, ending: Ending) {
        if ending == Ending::Left {
            self.left.store(true, Ordering::Release);
        }
        if self.open_producers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ending = match self.left.load(Ordering::Acquire) {
                true => Ending::Left,
                false => Ending::Complete,
            };
            for lane in &self.lanes {
                lane.lock().ended = Some(ending);
                lane.more.notify_one();
                lane.wake_consumer();
            }
            if let Some(observer) = self.observer.get() {
                observer.ring();
            }
        }
    }

    /// Drops every waiting frame and each one that is pushed from now on, because the consumer is gone.
    pub(crate) fn abandon(&self) {
        for lane in &self.lanes {
            let mut waiting = std::mem::replace(&mut lane.lock().queue, Queue::Closed);
            while let Some(frame) = waiting.pop() {
                self.drop_frame(frame, DropCause::Shutdown);
            }
        }
        self.wake_producers();
    }

    /// Frames waiting on one lane.
    pub(crate) fn queued_on(&self, lane: usize) -> usize {
        self.lanes[lane].lock().queue.len()
    }

    /// Frames waiting on all lanes.
    pub(crate) fn queued(&self) -> usize {
        self.lanes.iter().map(|lane| lane.lock().queue.len()).sum()
    }

    /// Which part of an edge this is.
    pub(crate) fn side(&self) -> EdgeSide {
        self.side
    }

    pub(crate) fn report(&self) -> EdgeReport {
        let queued = self.queued();
        self.depth.set(i64::try_from(queued).unwrap_or(i64::MAX));
        let mut report = self.books.report(
            &self.name,
            self.side,
            queued as u64 + self.in_process.load(Ordering::Relaxed),
        );
        report.waits = self.waits().or_else(|| self.full());
        report.in_doubt = *locked(&self.in_doubt);
        report.overlapping = self.overlapping.load(Ordering::Relaxed);
        report.lossless = self.lossless.load(Ordering::Relaxed);
        report
    }

    fn wake_producers(&self) {
        for producer in self.producers.get().into_iter().flatten() {
            producer.ring();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
