//! Which numbers of a session are done, in order and with their outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outcome::{DropCause, FrameOutcome};

/// Wakes what waits for news of a [`Tracker`].
pub trait Ring: std::fmt::Debug + Send + Sync {
    /// Wakes it, from any thread.
    fn ring(&self);
}

impl Ring for () {
    fn ring(&self) {}
}

/// The numbers of one session that are done.
#[derive(Debug)]
pub struct Tracker {
    state: Mutex<State>,
    /// The highest `done` that an `Ack` has reported to the sender.
    reported: AtomicU64,
    /// The receiver is woken when this many numbers are done and not reported.
    every: u64,
    /// The receiver is woken for each number: the edge is about to end.
    eager: AtomicBool,
    any_stayed: AtomicBool,
    /// A frame that this node drops because it ends has no outcome: its sender retains it for the successor.
    keeps: bool,
    /// The most numbers without an outcome, where `done` stops only between the frames that were done together; 0 where it
    /// stops anywhere.
    window: u64,
    /// How the node is asked to save its state, and with how many numbers that only wait for it.
    saves: Option<Arc<SaveDemand>>,
    demand: u64,
    bell: Arc<dyn Ring>,
}

/// Asks the node to save its state before the next regular time.
#[derive(Debug, Default)]
pub struct SaveDemand {
    wanted: AtomicBool,
    notify: tokio::sync::Notify,
}

impl SaveDemand {
    /// Asks for the state to be saved.
    pub fn demand(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Waits until the state is wanted. It stays wanted until [`SaveDemand::met`].
    pub async fn wanted(&self) {
        while !self.wanted.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }

    /// The state is about to be saved.
    pub fn met(&self) {
        self.wanted.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct State {
    /// Everything up to here has an outcome.
    done: u64,
    /// Outcomes above `done`, by the first number of a run: its last number, and its outcome unless the sender has
    /// booked it. Runs, because an at-most-once sender may skip any count of numbers at once.
    early: BTreeMap<u64, (u64, Option<FrameOutcome>)>,
    outcomes: [u64; FrameOutcome::COUNT],
    /// Up to here the state that the node has saved includes the frames. Of later ones only the outcome is known: they are
    /// done when they are saved.
    saved: u64,
    unsaved: BTreeMap<u64, Option<FrameOutcome>>,
    /// Numbers without an outcome for good, because this node ends: they stay with the sender.
    stayed: BTreeSet<u64>,
    /// First and last numbers above `done` that were done together, where they do not overlap.
    spans: BTreeMap<u64, u64>,
    /// Times that `done` had to stop within such a span.
    split: u64,
}

impl State {
    /// Keeps the outcome of a number until `done` reaches it.
    fn set(&mut self, seq: u64, outcome: Option<FrameOutcome>) {
        if seq > self.saved {
            self.unsaved.insert(seq, outcome);
        } else {
            self.early.insert(seq, (seq, outcome));
        }
    }

    /// Adds numbers that were done together, and unites them with those between which they lie.
    fn add_span(&mut self, mut first: u64, mut last: u64) {
        while let Some((&start, &end)) = self.spans.range(..=last).next_back()
            && end >= first
        {
            self.spans.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.spans.insert(first, last);
    }

    /// Whether every number from `first` to `last` has an outcome.
    fn has_all(&self, first: u64, last: u64) -> bool {
        let mut next = first;
        for (&at, &(end, _)) in self.early.range(first..) {
            if at != next || next > last {
                break;
            }
            next = end + 1;
        }
        next > last
    }

    /// Moves `done` over the numbers that have an outcome.
    fn advance(&mut self, window: u64) {
        loop {
            let next = self.done + 1;
            if let Some((&first, &last)) = self.spans.first_key_value()
                && first <= next
            {
                let has_all = self.has_all(next, last);
                // The sender would stop: a later loss of this node is then less bad than a standstill.
                let is_full = self.early.len() as u64 >= window - window / 4;
                if !has_all && !is_full {
                    return;
                }
                self.split += u64::from(!has_all);
                self.spans.remove(&first);
                if has_all {
                    while self.done < last && self.take_next() {}
                }
            } else if !self.take_next() {
                return;
            }
        }
    }

    /// Moves `done` over the next number, or the next run of numbers, if it has an outcome.
    fn take_next(&mut self) -> bool {
        let Some((last, outcome)) = self.early.remove(&(self.done + 1)) else {
            return false;
        };
        self.done = last;
        if let Some(outcome) = outcome {
            self.outcomes[outcome.index()] += 1;
        }
        true
    }
}

impl Tracker {
    /// `window` is the most numbers without an outcome on an edge where `done` stops only between the frames that were done
    /// together, else 0.
    pub fn new(done: u64, every: u64, keeps: bool, window: u64, bell: Arc<dyn Ring>) -> Arc<Self> {
        let state = State {
            done,
            early: BTreeMap::new(),
            outcomes: [0; FrameOutcome::COUNT],
            saved: u64::MAX,
            unsaved: BTreeMap::new(),
            stayed: BTreeSet::new(),
            spans: BTreeMap::new(),
            split: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            reported: AtomicU64::new(done),
            every: every.max(1),
            eager: AtomicBool::new(false),
            any_stayed: AtomicBool::new(false),
            keeps,
            window,
            saves: None,
            demand: u64::MAX,
            bell,
        })
    }

    /// A tracker of a node that saves its state: a number is done when the saved state includes it as well. `window` is the
    /// most numbers without an outcome; at half of it the node is asked to save its state.
    pub fn saving(
        done: u64,
        every: u64,
        window: u64,
        saves: Arc<SaveDemand>,
        bell: Arc<dyn Ring>,
    ) -> Arc<Self> {
        let mut tracker = Self::new(done, every, true, 0, bell);
        if let Some(tracker) = Arc::get_mut(&mut tracker) {
            tracker.saves = Some(saves);
            tracker.demand = (window / 2).max(1);
            tracker
                .state
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .saved = done;
        }
        tracker
    }

    /// Gives `seq` its outcome.
    pub fn complete(&self, seq: u64, outcome: Option<FrameOutcome>) {
        let mut state = self.lock();
        if seq > state.done {
            match self.stays(outcome) {
                true => drop(state.stayed.insert(seq)),
                false => state.set(seq, outcome),
            }
            self.advance(state);
        }
    }

    /// Gives numbers their outcomes at once.
    pub fn complete_together(&self, numbers: impl Iterator<Item = (u64, Option<FrameOutcome>)>) {
        let mut state = self.lock();
        let (mut first, mut last) = (u64::MAX, 0);
        for (seq, outcome) in numbers {
            if seq > state.done {
                match self.stays(outcome) {
                    true => drop(state.stayed.insert(seq)),
                    false => state.set(seq, outcome),
                }
                (first, last) = (first.min(seq), last.max(seq));
            }
        }
        if self.window > 0 && first < last {
            state.add_span(first, last);
        }
        self.advance(state);
    }

    /// Skips the numbers from `first` to `last`, which their sender has booked as lost.
    pub fn skip(&self, first: u64, last: u64) {
        let mut state = self.lock();
        if first <= last && first > state.done {
            state.early.insert(first, (last, None));
            self.advance(state);
        }
    }

    /// Whether a frame with this outcome stays with its sender.
    fn stays(&self, outcome: Option<FrameOutcome>) -> bool {
        let stays = self.keeps && outcome == Some(FrameOutcome::Dropped(DropCause::Shutdown));
        if stays {
            self.any_stayed.store(true, Ordering::Relaxed);
        }
        stays
    }

    /// Whether any number stays with its sender.
    pub fn any_stayed(&self) -> bool {
        self.any_stayed.load(Ordering::Relaxed)
    }

    /// Whether a number stays with its sender, because what was made of its frame is lost: it gets its outcome when it is
    /// sent again.
    pub fn has_stayed(&self, seq: u64) -> bool {
        self.any_stayed() && self.lock().stayed.contains(&seq)
    }

    fn advance(&self, mut state: MutexGuard<'_, State>) {
        state.advance(self.window);
        let (done, unsaved) = (state.done, state.unsaved.len() as u64);
        drop(state);
        if unsaved >= self.demand
            && let Some(saves) = &self.saves
        {
            saves.demand();
        }
        let unreported = done.saturating_sub(self.reported.load(Ordering::Relaxed));
        if unreported >= self.every || (unreported > 0 && self.eager.load(Ordering::Relaxed)) {
            self.bell.ring();
        }
    }

    /// Times that a number was done before all of those with which it was done together, because the window was full.
    pub fn split(&self) -> u64 {
        self.lock().split
    }

    /// The numbers up to `seq` are in the state that the node has saved.
    pub fn set_saved(&self, seq: u64) {
        let mut state = self.lock();
        state.saved = state.saved.max(seq);
        let later = match seq.checked_add(1) {
            Some(next) => state.unsaved.split_off(&next),
            None => BTreeMap::new(),
        };
        for (seq, outcome) in std::mem::replace(&mut state.unsaved, later) {
            state.early.insert(seq, (seq, outcome));
        }
        self.advance(state);
    }

    /// Gives every number up to `last` that has no outcome that of a delivered one.
    pub fn deliver_rest(&self, last: u64) {
        let mut state = self.lock();
        let next = state.done + 1;
        for seq in next..=last {
            let outcome = Some(FrameOutcome::Delivered);
            state.early.entry(seq).or_insert((seq, outcome));
        }
        self.advance(state);
    }

    /// How many numbers only wait to be saved.
    pub fn unsaved(&self) -> u64 {
        self.lock().unsaved.len() as u64
    }

    /// Whether every number up to `last` is done, or can get no outcome from this process any more.
    pub fn is_settled(&self, last: u64) -> bool {
        let state = self.lock();
        let known =
            state.early.len() as u64 + state.unsaved.len() as u64 + state.stayed.len() as u64;
        state.done >= last || (self.keeps && state.done + known >= last)
    }

    /// Wakes the receiver for each further number.
    pub fn set_eager(&self) {
        self.eager.store(true, Ordering::Relaxed);
    }

    /// Everything up to here has an outcome.
    pub fn done(&self) -> u64 {
        self.lock().done
    }

    /// The content of an `Ack` now.
    pub fn report(&self) -> (u64, Vec<u64>) {
        let state = self.lock();
        self.reported.store(state.done, Ordering::Relaxed);
        (state.done, state.outcomes.to_vec())
    }

    /// Whether [`Tracker::report`] would say more than the last time.
    pub fn has_news(&self) -> bool {
        self.done() > self.reported.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
