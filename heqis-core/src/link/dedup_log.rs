//! Which frames a receiver has had, so that a restarted sender repeats nothing and loses nothing.
//!
//! A restarted sender sends its stream again from the start. What the receiver is *done* with is left out. What it has
//! received and is not done with may be sent again, and must not be acknowledged before the first copy is done: if this
//! node died in between, the sender would have to send it once more.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use super::messages::{MAX_RANGES_SENT, PositionRange};
use crate::frame::Head;
use crate::origins::{MERGED_PART as MERGED, Merged, Origin, OriginRun};
use crate::position_set::{Covered, PositionSet};
use crate::snapshot::SavedFrames;
use crate::ticket::Ticket;
use crate::tracker::Tracker;

/// Most position ranges that are kept, over all streams. A stage that drops most frames, or a policy that loses some,
/// leaves a gap between any two positions; beyond the limit the lowest gap of the stream is closed. A frame from a closed
/// gap, one that arrives more than this many gaps late, counts as a duplicate: it is booked as one and not processed.
const MAX_RANGES: usize = 65_536;
/// Most streams that are kept, each part of one counted; beyond the limit the one that is unused for longest is forgotten,
/// and its frames count as new if they are sent again. A source that is not replayable has a new stream at each start.
const MAX_STREAMS: usize = 1_024;

/// Most merged frames that complete no item and are remembered one by one; the oldest is forgotten first.
const MAX_OPEN: usize = 4_096;

/// Identity of a frame: its origins, and which of the frames of these it is. Two runs of a deterministic graph give the
/// same frame the same identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameId {
    pub origin: Origin,
    pub part: u32,
    pub merged: Option<Arc<Merged>>,
}

impl FrameId {
    pub fn of(head: &Head) -> Self {
        Self {
            origin: head.origin,
            part: head.part & !MERGED,
            merged: head.merged.clone(),
        }
    }

    /// The items by which the frame is recognised: its own, or those that a merged frame completes.
    pub fn items(&self) -> impl Iterator<Item = PositionRange> {
        let (part, own) = match self.merged {
            None => (self.part, Some(OriginRun::of(self.origin))),
            Some(_) => (self.part | MERGED, None),
        };
        let merged = self.merged.iter().flat_map(|merged| merged.done());
        own.into_iter().chain(merged).map(move |run| PositionRange {
            stream: run.stream,
            part,
            first: run.first,
            last: run.last,
        })
    }
}

impl FrameId {
    /// Whether the frames are the same one, or complete an item in common.
    fn shares(&self, other: &Self) -> bool {
        if self == other || self.merged.is_none() || other.merged.is_none() {
            return self == other;
        }
        let overlap = |one: PositionRange, two: PositionRange| {
            (one.stream, one.part) == (two.stream, two.part)
                && one.first <= two.last
                && two.first <= one.last
        };
        self.items()
            .any(|one| other.items().any(|two| overlap(one, two)))
    }
}

/// What is known of a frame that arrives.
pub enum Arrival {
    New,
    /// A part of what it completes was completed by other frames, which a deterministic stage does not do.
    Overlaps,
    /// It had arrived, and everything derived from it is done.
    Done,
    /// It had arrived; the ticket of the first copy is still held, or those of the frames that complete the same items.
    InFlight(Vec<Arc<Ticket>>),
}

/// The frames of an at-least-once edge over the life of the process. Its size is bounded by `MAX_RANGES`,
/// `MAX_STREAMS` and the frames in flight, which the sender's window bounds.
#[derive(Default)]
pub struct DedupLog {
    received: HashMap<(u64, u32), Stream>,
    /// Ranges of all streams.
    ranges: usize,
    /// Frames classified so far: the time by which streams are forgotten.
    classified: u64,
    /// Frames received and possibly not done, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Merged frames that complete no item, oldest first.
    open: VecDeque<FrameId>,
}

/// A frame that may not be done.
struct InFlight {
    id: FrameId,
    ticket: Weak<Ticket>,
    /// Its session and number there.
    number: Option<(Arc<Tracker>, u64)>,
}

impl InFlight {
    /// Whether nothing of the frame is left, although it has no outcome: the stage that held it has failed.
    fn has_stayed(&self) -> bool {
        let number = self.number.as_ref();
        self.ticket.strong_count() == 0
            && number.is_some_and(|(tracker, seq)| tracker.has_stayed(*seq))
    }

    fn is_open(&self) -> bool {
        self.ticket.strong_count() > 0 || self.has_stayed()
    }
}

#[derive(Default)]
struct Stream {
    positions: PositionSet,
    last_used: u64,
}

impl DedupLog {
    /// A log of the frames that a restored state includes.
    pub fn restored(saved: &SavedFrames) -> Self {
        let mut log = Self::default();
        for &(stream, part, first, last) in &saved.ranges {
            if first <= last {
                log.insert(PositionRange {
                    stream,
                    part,
                    first,
                    last,
                });
            }
        }
        for (part, origins) in &saved.open {
            log.open.push_back(FrameId {
                origin: origins.newest(),
                part: *part,
                merged: origins.merged().cloned(),
            });
        }
        log
    }

    /// The frames received, without those of `open`.
    pub fn saved(&self, open: &[FrameId]) -> SavedFrames {
        let ranges = self.without(open.iter()).into_iter();
        let known = self.open.iter().filter(|id| !open.contains(id));
        SavedFrames {
            ranges: ranges
                .map(|range| (range.stream, range.part, range.first, range.last))
                .collect(),
            open: known
                .filter_map(|id| Some((id.part, id.merged.clone()?.into())))
                .collect(),
        }
    }

    /// Classifies a frame, and adds it when it is new.
    pub fn classify(&mut self, id: &FrameId) -> Arrival {
        self.classified += 1;
        let (mut items, mut known) = (0, Covered::Nothing);
        for item in id.items() {
            let covered = self.insert(item);
            known = if items == 0 || covered == known {
                covered
            } else {
                Covered::Part
            };
            items += 1;
        }
        if items == 0 && id.merged.as_ref().is_some_and(|merged| !merged.is_empty()) {
            if self.open.contains(id) {
                known = Covered::All;
            } else {
                self.open.push_back(id.clone());
                self.open.drain(..self.open.len().saturating_sub(MAX_OPEN));
            }
        }
        match known {
            Covered::Nothing => return Arrival::New,
            Covered::Part => return Arrival::Overlaps,
            Covered::All => {}
        }
        // A stage that was not deterministic may have completed the items by other frames: all of these count.
        let (mut stayed, mut tickets) = (None, Vec::new());
        for (at, known) in self.in_flight.iter().enumerate() {
            if known.id.shares(id) && known.is_open() {
                match known.ticket.upgrade() {
                    Some(ticket) => tickets.push(ticket),
                    None => stayed = Some(at),
                }
            }
        }
        match stayed {
            Some(at) => {
                self.in_flight.remove(at);
                Arrival::New
            }
            None if tickets.is_empty() => Arrival::Done,
            None => Arrival::InFlight(tickets),
        }
    }

    /// Adds positions; returns how many of them were there.
    pub fn insert(&mut self, item: PositionRange) -> Covered {
        let key = (item.stream, item.part);
        if !self.received.contains_key(&key) && self.received.len() >= MAX_STREAMS {
            self.forget_oldest();
        }
        let stream = self.received.entry(key).or_default();
        stream.last_used = self.classified;
        let positions = &mut stream.positions;
        let covered = positions.covers(item.first, item.last);
        if covered != Covered::All {
            let before = positions.ranges();
            positions.insert_range(item.first, item.last);
            self.ranges = self.ranges + positions.ranges() - before;
            while self.ranges > MAX_RANGES && positions.close_lowest_gap() {
                self.ranges -= 1;
            }
        }
        covered
    }

    fn forget_oldest(&mut self) {
        let oldest = self.received.iter().min_by_key(|(_, s)| s.last_used);
        if let Some(key) = oldest.map(|(&key, _)| key)
            && let Some(stream) = self.received.remove(&key)
        {
            self.ranges -= stream.positions.ranges();
        }
    }

    /// Keeps track of the ticket of a new frame.
    pub fn track(&mut self, id: FrameId, ticket: &Arc<Ticket>) {
        while self.in_flight.front().is_some_and(|first| !first.is_open()) {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back(InFlight {
            id,
            ticket: Arc::downgrade(ticket),
            number: ticket.number(),
        });
    }

    /// The stage that took each frame that is not done last, as [`Ticket::stage`] gives it.
    pub fn open_stages(&self) -> impl Iterator<Item = u16> {
        let tickets = self.in_flight.iter().filter_map(|one| one.ticket.upgrade());
        tickets.map(|ticket| ticket.stage())
    }

    /// The longest ranges of frames that are done.
    pub fn done(&self) -> Vec<PositionRange> {
        let open = self.in_flight.iter().filter(|one| one.is_open());
        let mut done = self.without(open.map(|one| &one.id));
        done.sort_by_key(|range| Reverse(range.last - range.first));
        done.truncate(MAX_RANGES_SENT);
        done
    }

    /// The ranges of the frames received, without those of `open`.
    pub fn without<'a>(&self, open: impl Iterator<Item = &'a FrameId>) -> Vec<PositionRange> {
        let mut left: HashMap<(u64, u32), PositionSet> = HashMap::new();
        for item in open.flat_map(FrameId::items) {
            let key = (item.stream, item.part);
            if let Some(stream) = self.received.get(&key) {
                let left = left.entry(key).or_insert_with(|| stream.positions.clone());
                left.remove_range(item.first, item.last);
            }
        }
        let ranges = self.received.iter().flat_map(|(key, stream)| {
            let positions = left.get(key).unwrap_or(&stream.positions);
            positions.iter().map(|(first, last)| PositionRange {
                stream: key.0,
                part: key.1,
                first,
                last,
            })
        });
        ranges.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::origins::Origins;

    fn id(position: u64) -> FrameId {
        FrameId {
            origin: Origin {
                stream: 7,
                position,
            },
            part: 0,
            merged: None,
        }
    }

    #[test]
    fn a_copy_of_a_frame_in_flight_is_done_no_sooner_than_the_first() {
        let mut log = DedupLog::default();
        let tracker = Tracker::new(0, 100, true, 0, Arc::new(()));
        assert!(matches!(log.classify(&id(1)), Arrival::New));
        let first = Ticket::new(tracker.clone(), 1);
        log.track(id(1), &first);
        assert!(log.done().is_empty());
        let second_session = Tracker::new(0, 100, true, 0, Arc::new(()));
        let Arrival::InFlight(held) = log.classify(&id(1)) else {
            panic!("it is in flight")
        };
        held[0].follow(Ticket::new(second_session.clone(), 1));
        drop(held);
        assert_eq!(second_session.done(), 0);
        drop(first);
        assert_eq!((tracker.done(), second_session.done()), (1, 1));
        assert!(matches!(log.classify(&id(1)), Arrival::Done));
        assert_eq!(
            log.done(),
            [PositionRange {
                stream: 7,
                part: 0,
                first: 1,
                last: 1
            }]
        );
    }

    #[test]
    fn the_parts_of_one_position_are_different_frames() {
        let mut log = DedupLog::default();
        assert!(matches!(log.classify(&id(1)), Arrival::New));
        assert!(matches!(
            log.classify(&FrameId { part: 1, ..id(1) }),
            Arrival::New
        ));
        assert!(matches!(log.classify(&id(1)), Arrival::Done));
    }

    #[test]
    fn memory_is_bounded_on_an_edge_with_a_gap_after_every_position() {
        let mut log = DedupLog::default();
        let last = 2 * (MAX_RANGES as u64 + 1_000);
        for position in (2..=last).step_by(2) {
            assert!(matches!(log.classify(&id(position)), Arrival::New));
        }
        assert_eq!(log.ranges, MAX_RANGES);
        // Every frame received is still known; frames of closed gaps count as received, later ones do not.
        for position in [2, 3, 2_000, last - 2, last] {
            assert!(
                matches!(log.classify(&id(position)), Arrival::Done),
                "{position}"
            );
        }
        for position in [last - 1, last + 2] {
            assert!(
                matches!(log.classify(&id(position)), Arrival::New),
                "{position}"
            );
        }
        for stream in 0..2 * MAX_STREAMS as u64 {
            let mut other = id(1);
            other.origin.stream = 100 + stream;
            log.classify(&other);
        }
        let ranges: usize = log.received.values().map(|s| s.positions.ranges()).sum();
        assert_eq!((log.received.len(), log.ranges), (MAX_STREAMS, ranges));
    }

    fn merged(done: (u64, u64), kept: &[(u64, u64)]) -> FrameId {
        let run = |&(first, last): &(u64, u64)| OriginRun {
            stream: 7,
            first,
            last,
        };
        let done = (done.0 <= done.1).then(|| run(&done));
        let origins = Origins::from_parts(done, kept.iter().map(run), 0);
        FrameId::of(&Head::of(&origins, 0, 0))
    }

    #[test]
    fn a_merged_frame_is_recognised_by_what_it_completes_and_is_not_its_parents() {
        let mut log = DedupLog::default();
        assert!(matches!(log.classify(&id(10)), Arrival::New));
        for (first, last) in [(1, 10), (11, 20)] {
            let window = merged((first, last), &[]);
            assert!(matches!(log.classify(&window), Arrival::New));
            assert!(matches!(log.classify(&window), Arrival::Done));
        }
        assert!(matches!(
            log.classify(&merged((15, 24), &[])),
            Arrival::Overlaps
        ));
        let nothing = merged((1, 0), &[(20, 30)]);
        assert!(matches!(log.classify(&nothing), Arrival::New));
        assert!(matches!(log.classify(&nothing), Arrival::Done));
        assert!(matches!(
            log.classify(&merged((1, 0), &[(20, 31)])),
            Arrival::New
        ));
        assert!(matches!(log.classify(&id(11)), Arrival::New));
        // Windows need one range, however many there were.
        let parts: Vec<_> = log
            .done()
            .iter()
            .map(|range| (range.part, range.first, range.last))
            .collect();
        assert_eq!(parts, [(MERGED, 1, 24), (0, 10, 11)]);
    }

    proptest! {
        #[test]
        fn done_is_what_was_received_less_what_is_in_flight(
            positions in prop::collection::btree_set(1u64..60, 0..60),
            open in prop::collection::btree_set(1u64..60, 0..20),
        ) {
            let mut log = DedupLog::default();
            let tracker = Tracker::new(0, 1_000, true, 0, Arc::new(()));
            let mut held = Vec::new();
            for &position in &positions {
                log.classify(&id(position));
                let ticket = Ticket::new(tracker.clone(), position);
                log.track(id(position), &ticket);
                if open.contains(&position) {
                    held.push(ticket);
                }
            }
            let done: BTreeSet<u64> =
                log.done().into_iter().flat_map(|range| range.first..=range.last).collect();
            prop_assert_eq!(done, positions.difference(&open).copied().collect::<BTreeSet<_>>());
        }
    }
}
