//! Which frames of a bridged edge are done, by ownership.
//!
//! The receiver gives each frame a [`Ticket`]. Every frame derived from it shares the ticket, and when the last of them is
//! dropped (written to a journal, aged out, acknowledged by the next node) the number is done. The sender therefore
//! retains a frame exactly as long as its effect could still be lost.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::outcome::{DropCause, FrameOutcome};
use crate::tracker::Tracker;

/// Keeps one frame unacknowledged for as long as it lives; that of a merged frame keeps all its parents.
#[derive(Debug)]
pub struct Ticket {
    hold: Hold,
    /// Index of the last stage that took the frame or one derived from it; [`NO_STAGE`] before the first one.
    stage: AtomicU16,
    outcome: AtomicU8,
    links: Mutex<Vec<Link>>,
}

thread_local! {
    static ABANDONS: Cell<bool> = const { Cell::new(false) };
}

/// Drops what a stage holds without having finished it: a frame that nothing else holds stays with its sender.
pub fn abandon<T>(held: T) {
    ABANDONS.set(true);
    drop(held);
    ABANDONS.set(false);
}

/// No stage has taken the frame.
pub const NO_STAGE: u16 = u16::MAX;

/// What a ticket keeps unacknowledged.
#[derive(Debug)]
enum Hold {
    One {
        tracker: Arc<Tracker>,
        seq: u64,
    },
    Parents(Box<Parents>),
    /// No number: the frame came from no other node, or the saved state includes it. The ticket states whether a stage holds it.
    Nothing,
    /// A frame that the program has taken out of the graph.
    Outside {
        ticket: Arc<Ticket>,
        held: Arc<AtomicU64>,
    },
    /// Nothing any more: passed on to a group.
    Spent,
}

#[derive(Debug)]
struct Parents {
    done: Vec<Arc<Ticket>>,
    group: Arc<Group>,
}

/// What a ticket holds besides its frame.
#[derive(Debug)]
enum Link {
    /// The ticket of a later copy of the frame, dropped with this one.
    Copy(Arc<Ticket>),
    /// The frame is done no sooner than this group.
    Group(Arc<Group>),
}

/// Frames that are done together: the parents that a merged frame completes. If a part of them were acknowledged, a killed
/// node would get only the others again, and make other frames of them.
#[derive(Debug, Default)]
struct Group {
    /// Tickets of members that nothing else holds.
    parked: Mutex<Vec<Ticket>>,
}

/// Numbers that get their outcome together.
#[derive(Default)]
struct Batch(Vec<(Arc<Tracker>, u64, Option<FrameOutcome>)>);

impl Ticket {
    /// The ticket of the frame with the number `seq` in the session of `tracker`.
    #[must_use]
    pub fn new(tracker: Arc<Tracker>, seq: u64) -> Arc<Self> {
        Arc::new(Self::holding(Hold::One { tracker, seq }))
    }

    /// The ticket of a frame that no other node waits for.
    pub fn local() -> Arc<Self> {
        Arc::new(Self::holding(Hold::Nothing))
    }

    /// Whether no other node waits for the frame.
    pub fn is_local(&self) -> bool {
        matches!(self.hold, Hold::Nothing)
    }

    fn holding(hold: Hold) -> Self {
        Self {
            hold,
            stage: AtomicU16::new(NO_STAGE),
            outcome: AtomicU8::new(FrameOutcome::Delivered.index() as u8),
            links: Mutex::default(),
        }
    }

    /// The ticket of a frame that completes frames with these tickets. They get their outcome together, when the merged
    /// frame and everything else derived from any of them is gone.
    pub fn merge(done: Vec<Arc<Self>>) -> Option<Arc<Self>> {
        if done.is_empty() {
            return None;
        }
        let group = Arc::<Group>::default();
        for parent in &done {
            lock(&parent.links).push(Link::Group(group.clone()));
        }
        let parents = Parents { done, group };
        Some(Arc::new(Self::holding(Hold::Parents(Box::new(parents)))))
    }

    /// The ticket of a frame that the program takes out of the graph: `held` counts it until the program has dropped it.
    pub fn outside(ticket: Arc<Self>, held: Arc<AtomicU64>) -> Arc<Self> {
        held.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self::holding(Hold::Outside { ticket, held }))
    }

    /// Holds the ticket of a later copy of the frame for as long as this one is held.
    pub fn follow(&self, copy: Arc<Self>) {
        lock(&self.links).push(Link::Copy(copy));
    }

    /// Sets the outcome of the frame, or of those that a merged frame completes; by default it counts as delivered.
    pub fn set(&self, outcome: FrameOutcome) {
        self.outcome.store(outcome.index() as u8, Ordering::Relaxed);
        match &self.hold {
            Hold::Parents(parents) => parents.done.iter().for_each(|parent| parent.set(outcome)),
            Hold::Outside { ticket, .. } => ticket.set(outcome),
            Hold::One { .. } | Hold::Nothing | Hold::Spent => {}
        }
    }

    /// Notes that the stage with this index has taken the frame.
    pub fn enter(&self, stage: u16) {
        self.stage.store(stage, Ordering::Relaxed);
        if let Hold::Parents(parents) = &self.hold {
            parents.done.iter().for_each(|parent| parent.enter(stage));
        }
    }

    /// Number of the frame in the session of `tracker`, if it belongs to that.
    pub fn seq_in(&self, tracker: &Arc<Tracker>) -> Option<u64> {
        match &self.hold {
            Hold::One { tracker: own, seq } if Arc::ptr_eq(own, tracker) => Some(*seq),
            _ => None,
        }
    }

    /// Number of the frame, and in which session, if it arrived over a bridge.
    pub fn number(&self) -> Option<(Arc<Tracker>, u64)> {
        match &self.hold {
            Hold::One { tracker, seq } => Some((tracker.clone(), *seq)),
            _ => None,
        }
    }

    /// What [`Ticket::enter`] noted last.
    pub fn stage(&self) -> u16 {
        self.stage.load(Ordering::Relaxed)
    }

    /// Releases what the ticket keeps: the first group that it belongs to takes it, or its numbers are added to `batch`.
    fn release(&mut self, batch: &mut Batch) {
        let hold = std::mem::replace(&mut self.hold, Hold::Spent);
        if matches!(hold, Hold::Spent) {
            return;
        }
        let outcome = self.outcome.load(Ordering::Relaxed);
        let mut links =
            std::mem::take(self.links.get_mut().unwrap_or_else(PoisonError::into_inner));
        // Groups wait for each other in the order of their addresses only, so that no circle of them can form.
        let groups = links
            .iter()
            .enumerate()
            .filter_map(|(at, link)| match link {
                Link::Group(group) => Some((Arc::as_ptr(group), at)),
                Link::Copy(_) => None,
            });
        if let Some((_, at)) = groups.min()
            && let Link::Group(group) = links.swap_remove(at)
        {
            lock(&group.parked).push(Self {
                hold,
                stage: AtomicU16::new(NO_STAGE),
                outcome: AtomicU8::new(outcome),
                links: Mutex::new(links),
            });
            return Group::release(group, batch);
        }
        match hold {
            Hold::One { tracker, seq } => {
                let outcome = FrameOutcome::from_index(usize::from(outcome));
                batch.0.push((tracker, seq, outcome));
            }
            Hold::Parents(parents) => {
                let Parents { done, group } = *parents;
                for parent in done {
                    Self::release_shared(parent, batch);
                }
                Group::release(group, batch);
            }
            Hold::Outside { ticket, held } => {
                Self::release_shared(ticket, batch);
                held.fetch_sub(1, Ordering::AcqRel);
            }
            Hold::Nothing | Hold::Spent => {}
        }
        let stays = FrameOutcome::Dropped(DropCause::Shutdown);
        for link in links {
            if let Link::Copy(copy) = link {
                if usize::from(outcome) == stays.index() {
                    copy.set(stays);
                }
                Self::release_shared(copy, batch);
            }
        }
    }

    fn release_shared(ticket: Arc<Self>, batch: &mut Batch) {
        if let Some(mut ticket) = Arc::into_inner(ticket) {
            ticket.release(batch);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if ABANDONS.get() && !matches!(self.hold, Hold::Spent) {
            self.set(FrameOutcome::Dropped(DropCause::Shutdown));
        }
        let links = self.links.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Hold::One { tracker, seq }, true) = (&self.hold, links.is_empty()) {
            let outcome = usize::from(self.outcome.load(Ordering::Relaxed));
            return tracker.complete(*seq, FrameOutcome::from_index(outcome));
        }
        let mut batch = Batch::default();
        self.release(&mut batch);
        batch.close();
    }
}

impl Group {
    /// Gives up one hold of the group; after the last one its members are released.
    fn release(group: Arc<Self>, batch: &mut Batch) {
        if let Some(mut group) = Arc::into_inner(group) {
            for mut ticket in group.take_parked() {
                ticket.release(batch);
            }
        }
    }

    fn take_parked(&mut self) -> Vec<Ticket> {
        std::mem::take(
            self.parked
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Batch {
    fn close(mut self) {
        self.0
            .sort_by_key(|(tracker, seq, _)| (Arc::as_ptr(tracker), *seq));
        for of_one in self.0.chunk_by(|(a, ..), (b, ..)| Arc::ptr_eq(a, b)) {
            if let [(tracker, ..), ..] = of_one {
                tracker.complete_together(of_one.iter().map(|(_, seq, outcome)| (*seq, *outcome)));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            tracker: Tracker::new(done, u64::MAX, true, 0, Arc::new(())),
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

    /// The ticket of record `n`.
    #[must_use]
    pub fn ticket(&self, n: u64) -> Arc<Ticket> {
        self.emitted.fetch_max(n, Ordering::Relaxed);
        Ticket::new(self.tracker.clone(), n)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::tracker::SaveDemand;

    #[test]
    fn a_number_is_done_when_the_last_frame_derived_from_it_is_dropped() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let ticket = Ticket::new(tracker.clone(), 1);
        let derived = ticket.clone();
        drop(ticket);
        assert_eq!(tracker.done(), 0);
        drop(derived);
        assert_eq!(tracker.done(), 1);
    }

    #[test]
    fn outcomes_are_counted_only_up_to_the_first_open_number() {
        let tracker = Tracker::new(10, 100, true, 0, Arc::new(()));
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
            let tracker = Tracker::new(0, 100, keeps, 0, Arc::new(()));
            tracker.complete(1, Some(FrameOutcome::Delivered));
            tracker.complete(2, Some(FrameOutcome::Dropped(DropCause::Shutdown)));
            assert_eq!(tracker.done(), done);
        }
    }

    #[test]
    fn skipped_numbers_cost_no_memory_and_have_no_outcome() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        tracker.skip(2, 1 << 62);
        tracker.skip(5, 4);
        tracker.complete((1 << 62) + 1, Some(FrameOutcome::Delivered));
        assert_eq!(tracker.done(), 0);
        tracker.complete(1, Some(FrameOutcome::Delivered));
        let (done, outcomes) = tracker.report();
        assert_eq!((done, outcomes.iter().sum::<u64>()), ((1 << 62) + 1, 2));
    }

    fn tickets(tracker: &Arc<Tracker>, numbers: impl Iterator<Item = u64>) -> Vec<Arc<Ticket>> {
        numbers
            .map(|seq| Ticket::new(tracker.clone(), seq))
            .collect()
    }

    #[test]
    fn the_parents_of_a_merged_frame_are_done_together_and_after_it() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let parents = tickets(&tracker, 1..=10);
        let last = parents[9].clone();
        let merged = Ticket::merge(parents);
        drop(merged);
        assert_eq!(tracker.done(), 0, "the stage still holds the last parent");
        drop(last);
        assert_eq!(tracker.done(), 10);

        let parents = tickets(&tracker, 11..=20);
        let merged = Ticket::merge(parents.clone());
        drop(parents);
        assert_eq!(tracker.done(), 10, "the merged frame holds them");
        drop(merged);
        assert_eq!(tracker.done(), 20);
    }

    #[test]
    fn what_an_abandoned_stage_held_alone_stays_with_the_sender() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let held = tickets(&tracker, 1..=3);
        let shared = held[0].clone();
        abandon(held);
        assert!(tracker.done() == 0 && !tracker.is_settled(3));
        drop(shared);
        assert!(tracker.done() == 1 && tracker.is_settled(3));
    }

    #[test]
    fn a_copy_of_a_frame_that_stays_with_the_sender_stays_too() {
        let trackers = [(); 2].map(|()| Tracker::new(0, 100, true, 0, Arc::new(())));
        let [first, copy] = trackers.clone().map(|tracker| Ticket::new(tracker, 1));
        copy.set(FrameOutcome::Duplicate);
        first.follow(copy);
        abandon(first);
        assert_eq!(trackers.map(|tracker| tracker.done()), [0, 0]);
    }

    #[test]
    fn a_number_of_a_node_that_saves_its_state_is_done_once_it_is_saved() {
        let saves = Arc::<SaveDemand>::default();
        let tracker = Tracker::saving(0, 100, 8, saves.clone(), Arc::new(()));
        let mut held = tickets(&tracker, 1..=6);
        held.truncate(3);
        assert_eq!((tracker.done(), tracker.unsaved()), (0, 3));
        let is_wanted = || saves.wanted().now_or_never().is_some();
        assert!(!is_wanted(), "3 of 8");
        held.truncate(2);
        assert!(is_wanted());
        saves.met();
        tracker.set_saved(4);
        assert_eq!((tracker.done(), tracker.unsaved()), (0, 2));
        drop(held);
        assert_eq!((tracker.done(), tracker.unsaved()), (4, 2));
        tracker.set_saved(6);
        assert_eq!((tracker.done(), tracker.unsaved()), (6, 0));
    }

    #[test]
    fn windows_of_windows_are_done_together_down_to_the_first_frame() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let first: Vec<_> = [1..=3, 4..=6, 7..=9]
            .into_iter()
            .filter_map(|window| Ticket::merge(tickets(&tracker, window)))
            .collect();
        let kept = first[2].clone();
        let second = Ticket::merge(first);
        drop(second);
        assert_eq!(tracker.done(), 0);
        drop(kept);
        assert_eq!(tracker.done(), 9);
    }

    #[test]
    fn windows_that_overlap_are_done_in_steps() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let frames = tickets(&tracker, 1..=15);
        let mut held = std::collections::VecDeque::from(frames.clone());
        drop(frames);
        let mut outputs = Vec::new();
        for window in 0..2 {
            outputs.push(Ticket::merge(held.drain(..5).collect()));
            assert_eq!(tracker.done(), 0, "window {window} is not done");
        }
        outputs.pop();
        assert_eq!(tracker.done(), 0);
        outputs.pop();
        assert_eq!((tracker.done(), held.len()), (10, 5));
    }

    #[test]
    fn two_outputs_of_the_same_parents_are_both_awaited() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let parents = tickets(&tracker, 1..=4);
        let outputs = [(); 2].map(|()| Ticket::merge(parents.clone()));
        drop(parents);
        let [first, second] = outputs;
        drop(second);
        assert_eq!(tracker.done(), 0);
        drop(first);
        assert_eq!(tracker.done(), 4);
    }

    #[test]
    fn a_dropped_merged_frame_gives_its_outcome_to_all_that_it_completes() {
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        let merged = Ticket::merge(tickets(&tracker, 1..=3)).expect("it has parents");
        merged.set(FrameOutcome::Dropped(DropCause::Age));
        drop(merged);
        let aged = FrameOutcome::Dropped(DropCause::Age).index();
        assert_eq!((tracker.done(), tracker.report().1[aged]), (3, 3));
    }

    #[test]
    fn windows_of_several_keys_are_acknowledged_at_a_common_boundary_while_there_is_room() {
        let tracker = Tracker::new(0, 100, true, 16, Arc::new(()));
        let odd = Ticket::merge(tickets(&tracker, [1, 3, 5].into_iter()));
        let even = Ticket::merge(tickets(&tracker, [2, 4, 6].into_iter()));
        drop(odd);
        assert_eq!(
            tracker.done(),
            0,
            "3 and 5 would be merged with later frames"
        );
        drop(even);
        assert_eq!((tracker.done(), tracker.split()), (6, 0));
        // Without a boundary within the window, the sender is not stopped.
        let open = Ticket::new(tracker.clone(), 8);
        let numbers = [7].into_iter().chain(9..=20);
        drop(Ticket::merge(tickets(&tracker, numbers)));
        assert_eq!((tracker.done(), tracker.split()), (7, 1));
        drop(open);
        assert_eq!(tracker.done(), 20);
    }

    proptest! {
        #[test]
        fn any_order_of_completion_ends_with_every_number_counted_once(
            order in Just((1u64..=60).collect::<Vec<_>>()).prop_shuffle()
        ) {
            let tracker = Tracker::new(0, 7, true, 0, Arc::new(()));
            for seq in &order {
                tracker.complete(*seq, Some(FrameOutcome::Delivered));
                tracker.complete(*seq, Some(FrameOutcome::Delivered));
            }
            let (done, outcomes) = tracker.report();
            prop_assert_eq!((done, outcomes.iter().sum::<u64>()), (60, 60));
        }
    }
}
