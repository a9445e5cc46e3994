//! Which frames of a bridged edge are done, by ownership.
//!
//! The receiver gives each frame a [`Ticket`]. Every frame derived from it shares the ticket, and when the last of them is
//! dropped (written to a journal, aged out, acknowledged by the next node) the number is done. The sender therefore
//! retains a frame exactly as long as its effect could still be lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::doorbell::Doorbell;
use crate::outcome::{DropCause, FrameOutcome};

/// Keeps one frame unacknowledged for as long as it lives.
#[derive(Debug)]
pub(crate) struct Ticket {
    tracker: Arc<Tracker>,
    seq: u64,
    outcome: AtomicU8,
    /// Tickets of later copies of the frame, dropped with this one.
    followers: Mutex<Vec<Arc<Ticket>>>,
}

impl Ticket {
    pub(crate) fn new(tracker: Arc<Tracker>, seq: u64) -> Arc<Self> {
        Arc::new(Self {
            tracker,
            seq,
            outcome: AtomicU8::new(FrameOutcome::Delivered.index() as u8),
            followers: Mutex::default(),
        })
    }

    /// Holds the ticket of a later copy of the frame for as long as this one is held.
    pub(crate) fn follow(&self, copy: Arc<Self>) {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(copy);
    }

    /// Sets the outcome of the frame; by default it counts as delivered.
    pub(crate) fn set(&self, outcome: FrameOutcome) {
        self.outcome.store(outcome.index() as u8, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tracker.complete(
            self.seq,
            FrameOutcome::from_index(usize::from(self.outcome.load(Ordering::Relaxed))),
        );
    }
}

/// Which of the records that a stage emits are delivered to everything downstream. Cheap to clone.
///
/// ```
/// let deliveries = heqis_actors::Deliveries::after(3);
/// assert_eq!((deliveries.done(), deliveries.emitted()), (3, 3));
/// ```
#[derive(Clone, Debug)]
pub struct Deliveries {
    tracker: Arc<Tracker>,
    /// The highest number emitted so far.
    emitted: Arc<AtomicU64>,
}

impl Deliveries {
    /// Deliveries of a stage whose records up to number `done` are known to be delivered.
    #[must_use]
    pub fn after(done: u64) -> Self {
        Self {
            tracker: Tracker::new(done, u64::MAX, true, Arc::default()),
            emitted: Arc::new(AtomicU64::new(done)),
        }
    }

    /// Every record up to this number was emitted by this process, or is delivered.
    #[must_use]
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Every record up to this number is delivered.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.tracker.done()
    }

    pub(crate) fn ticket(&self, n: u64) -> Arc<Ticket> {
        self.emitted.fetch_max(n, Ordering::Relaxed);
        Ticket::new(self.tracker.clone(), n)
    }
}

/// The numbers of one session that are done.
#[derive(Debug)]
pub(crate) struct Tracker {
    state: Mutex<State>,
    /// The highest `done` that an `Ack` has reported to the sender.
    reported: AtomicU64,
    /// The receiver is woken when this many numbers are done and not reported.
    every: u64,
    /// The receiver is woken for each number: the edge is about to end.
    eager: AtomicBool,
    /// A frame that this node drops because it ends has no outcome: its sender retains it for the successor.
    keeps: bool,
    bell: Arc<Doorbell>,
}

#[derive(Debug)]
struct State {
    /// Everything up to here has an outcome.
    done: u64,
    /// Outcomes above `done`, by the first number of a run: its last number, and its outcome unless the sender has
    /// booked it. Runs, because an at-most-once sender may skip any count of numbers at once.
    early: BTreeMap<u64, (u64, Option<FrameOutcome>)>,
    outcomes: [u64; FrameOutcome::COUNT],
}

impl Tracker {
    pub(crate) fn new(done: u64, every: u64, keeps: bool, bell: Arc<Doorbell>) -> Arc<Self> {
        let state = State {
            done,
            early: BTreeMap::new(),
            outcomes: [0; FrameOutcome::COUNT],
        };
        Arc::new(Self {
            state: Mutex::new(state),
            reported: AtomicU64::new(done),
            every: every.max(1),
            eager: AtomicBool::new(false),
            keeps,
            bell,
        })
    }

    /// Gives `seq` its outcome.
    pub(crate) fn complete(&self, seq: u64, outcome: Option<FrameOutcome>) {
        if !(self.keeps && outcome == Some(FrameOutcome::Dropped(DropCause::Shutdown))) {
            self.close(seq, seq, outcome);
        }
    }

    /// Skips the numbers from `first` to `last`, which their sender has booked as lost.
    pub(crate) fn skip(&self, first: u64, last: u64) {
        if first <= last {
            self.close(first, last, None);
        }
    }

    fn close(&self, first: u64, last: u64, outcome: Option<FrameOutcome>) {
        let done = {
            let mut state = self.lock();
            if first <= state.done {
                return;
            }
            state.early.insert(first, (last, outcome));
            while let Some((last, outcome)) = {
                let next = state.done + 1;
                state.early.remove(&next)
            } {
                state.done = last;
                if let Some(outcome) = outcome {
                    state.outcomes[outcome.index()] += 1;
                }
            }
            state.done
        };
        let unreported = done.saturating_sub(self.reported.load(Ordering::Relaxed));
        if unreported >= self.every || (unreported > 0 && self.eager.load(Ordering::Relaxed)) {
            self.bell.ring();
        }
    }

    /// Wakes the receiver for each further number.
    pub(crate) fn set_eager(&self) {
        self.eager.store(true, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.lock().done
    }

    /// The content of an `Ack` now.
    pub(crate) fn report(&self) -> (u64, Vec<u64>) {
        let state = self.lock();
        self.reported.store(state.done, Ordering::Relaxed);
        (state.done, state.outcomes.to_vec())
    }

    pub(crate) fn has_news(&self) -> bool {
        self.done() > self.reported.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_done_when_the_last_frame_derived_from_it_is_dropped() {
        let tracker = Tracker::new(0, 100, true, Arc::default());
        let ticket = Ticket::new(tracker.clone(), 1);
        let derived = ticket.clone();
        drop(ticket);
        assert_eq!(tracker.done(), 0);
        drop(derived);
        assert_eq!(tracker.done(), 1);
    }

    #[test]
    fn outcomes_are_counted_only_up_to_the_first_open_number() {
        let tracker = Tracker::new(10, 100, true, Arc::default());
        tracker.complete(12, Some(FrameOutcome::Dropped(DropCause::Age)));
        assert_eq!(tracker.report().1.iter().sum::<u64>(), 0);
        tracker.complete(11, Some(FrameOutcome::Delivered));
        let (done, outcomes) = tracker.report();
        assert_eq!(
            (
                done,
                outcomes[0],
                outcomes[FrameOutcome::Dropped(DropCause::Age).index()]
            ),
            (12, 1, 1)
        );
    }

    #[test]
    fn a_frame_dropped_because_the_node_ends_stays_with_its_sender() {
        for (keeps, done) in [(true, 1), (false, 2)] {
            let tracker = Tracker::new(0, 100, keeps, Arc::default());
            tracker.complete(1, Some(FrameOutcome::Delivered));
            tracker.complete(2, Some(FrameOutcome::Dropped(DropCause::Shutdown)));
            assert_eq!(tracker.done(), done);
        }
    }

    #[test]
    fn skipped_numbers_cost_no_memory_and_have_no_outcome() {
        let tracker = Tracker::new(0, 100, true, Arc::default());
        tracker.skip(2, 1 << 62);
        tracker.skip(5, 4);
        tracker.complete((1 << 62) + 1, Some(FrameOutcome::Delivered));
        assert_eq!(tracker.done(), 0);
        tracker.complete(1, Some(FrameOutcome::Delivered));
        let (done, outcomes) = tracker.report();
        assert_eq!((done, outcomes.iter().sum::<u64>()), ((1 << 62) + 1, 2));
    }

    proptest! {
        #[test]
        fn any_order_of_completion_ends_with_every_number_counted_once(
            order in Just((1u64..=60).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let tracker = Tracker::new(0, 7, true, Arc::default());
            for seq in &order {
                tracker.complete(*seq, Some(FrameOutcome::Delivered));
                tracker.complete(*seq, Some(FrameOutcome::Delivered));
            }
            let (done, outcomes) = tracker.report();
            prop_assert_eq!((done, outcomes.iter().sum::<u64>()), (60, 60));
        }
    }
}
