//! Which frames a receiver has had, so that a restarted sender repeats nothing and loses nothing.
//!
//! A restarted sender sends its stream again from the start. What the receiver is *done* with is left out. What it has
//! received and is not done with may be sent again, and must not be acknowledged before the first copy is done: if this
//! node died in between, the sender would have to send it once more.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use super::messages::{MAX_RANGES_SENT, PositionRange};
use crate::position_set::PositionSet;
use crate::ticket::Ticket;

/// Most position ranges that are kept, over all streams. A stage that drops most frames, or a policy that loses some,
/// leaves a gap between any two positions; beyond the limit the lowest gap of the stream is closed. A frame from a closed
/// gap, one that arrives more than this many gaps late, counts as a duplicate: it is booked as one and not processed.
const MAX_RANGES: usize = 65_536;
/// Most streams that are kept, each part of one counted; beyond the limit the one that is unused for longest is forgotten,
/// and its frames count as new if they are sent again. A source that is not replayable has a new stream at each start.
const MAX_STREAMS: usize = 1_024;

/// Identity of a frame: its stream, its position, and which of the frames of that position it is. Two runs of a
/// deterministic graph give the same frame the same identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameId {
    pub(super) stream: u64,
    pub(super) part: u32,
    pub(super) position: u64,
}

/// What is known of a frame that arrives.
pub(super) enum Arrival {
    New,
    /// It had arrived, and everything derived from it is done.
    Done,
    /// It had arrived; the ticket of the first copy is still held.
    InFlight(Arc<Ticket>),
}

/// The frames of an at-least-once edge over the life of the process. Its size is bounded by [`MAX_RANGES`],
/// [`MAX_STREAMS`] and the frames in flight, which the sender's window bounds.
#[derive(Default)]
pub(super) struct DedupLog {
    received: HashMap<(u64, u32), Stream>,
    /// Ranges of all streams.
    ranges: usize,
    /// Frames classified so far: the time by which streams are forgotten.
    classified: u64,
    /// Frames received and possibly not done, oldest first.
    in_flight: VecDeque<(FrameId, Weak<Ticket>)>,
}

#[derive(Default)]
struct Stream {
    positions: PositionSet,
    last_used: u64,
}

impl DedupLog {
    /// Classifies a frame, and adds it when it is new.
    pub(super) fn classify(&mut self, id: FrameId) -> Arrival {
        let key = (id.stream, id.part);
        if !self.received.contains_key(&key) && self.received.len() >= MAX_STREAMS {
            self.forget_oldest();
        }
        self.classified += 1;
        let stream = self.received.entry(key).or_default();
        stream.last_used = self.classified;
        let positions = &mut stream.positions;
        let before = positions.ranges();
        if positions.insert(id.position) {
            self.ranges = self.ranges + positions.ranges() - before;
            while self.ranges > MAX_RANGES && positions.close_lowest_gap() {
                self.ranges -= 1;
            }
            return Arrival::New;
        }
        let copies = self.in_flight.iter().filter(|(known, _)| *known == id);
        match copies.filter_map(|(_, ticket)| ticket.upgrade()).next() {
            Some(ticket) => Arrival::InFlight(ticket),
            None => Arrival::Done,
        }
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
    pub(super) fn track(&mut self, id: FrameId, ticket: &Arc<Ticket>) {
        while self
            .in_flight
            .front()
            .is_some_and(|(_, ticket)| ticket.strong_count() == 0)
        {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back((id, Arc::downgrade(ticket)));
    }

    /// The longest ranges of frames that are done.
    pub(super) fn done(&self) -> Vec<PositionRange> {
        let mut done = Vec::new();
        for (&(stream, part), received) in &self.received {
            let mut open: Vec<u64> = self
                .in_flight
                .iter()
                .filter(|(id, ticket)| {
                    (id.stream, id.part) == (stream, part) && ticket.strong_count() > 0
                })
                .map(|(id, _)| id.position)
                .collect();
            open.sort_unstable();
            let mut add = |first, last| {
                if first <= last {
                    done.push(PositionRange {
                        stream,
                        part,
                        first,
                        last,
                    });
                }
            };
            for (start, last) in received.positions.iter() {
                let mut first = start;
                let within = |position: &&u64| (start..=last).contains(*position);
                for &position in open.iter().filter(within) {
                    if position > first {
                        add(first, position - 1);
                    }
                    first = position + 1;
                }
                add(first, last);
            }
        }
        done.sort_by_key(|range| Reverse(range.last - range.first));
        done.truncate(MAX_RANGES_SENT);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::tracker::Tracker;

    fn id(position: u64) -> FrameId {
        FrameId {
            stream: 7,
            part: 0,
            position,
        }
    }

    #[test]
    fn a_copy_of_a_frame_in_flight_is_done_no_sooner_than_the_first() {
        let mut log = DedupLog::default();
        let tracker = Tracker::new(0, 100, true, 0, Arc::default());
        assert!(matches!(log.classify(id(1)), Arrival::New));
        let first = Ticket::new(tracker.clone(), 1);
        log.track(id(1), &first);
        assert!(log.done().is_empty());
        let second_session = Tracker::new(0, 100, true, 0, Arc::default());
        let Arrival::InFlight(held) = log.classify(id(1)) else {
            panic!("it is in flight")
        };
        held.follow(Ticket::new(second_session.clone(), 1));
        drop(held);
        assert_eq!(second_session.done(), 0);
        drop(first);
        assert_eq!((tracker.done(), second_session.done()), (1, 1));
        assert!(matches!(log.classify(id(1)), Arrival::Done));
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
        assert!(matches!(log.classify(id(1)), Arrival::New));
        assert!(matches!(
            log.classify(FrameId { part: 1, ..id(1) }),
            Arrival::New
        ));
        assert!(matches!(log.classify(id(1)), Arrival::Done));
    }

    #[test]
    fn memory_is_bounded_on_an_edge_with_a_gap_after_every_position() {
        let mut log = DedupLog::default();
        let last = 2 * (MAX_RANGES as u64 + 1_000);
        for position in (2..=last).step_by(2) {
            assert!(matches!(log.classify(id(position)), Arrival::New));
        }
        assert_eq!(log.ranges, MAX_RANGES);
        // Every frame received is still known; frames of closed gaps count as received, later ones do not.
        for position in [2, 3, 2_000, last - 2, last] {
            assert!(
                matches!(log.classify(id(position)), Arrival::Done),
                "{position}"
            );
        }
        for position in [last - 1, last + 2] {
            assert!(
                matches!(log.classify(id(position)), Arrival::New),
                "{position}"
            );
        }
        for stream in 0..2 * MAX_STREAMS as u64 {
            log.classify(FrameId {
                stream: 100 + stream,
                ..id(1)
            });
        }
        let ranges: usize = log.received.values().map(|s| s.positions.ranges()).sum();
        assert_eq!((log.received.len(), log.ranges), (MAX_STREAMS, ranges));
    }

    proptest! {
        #[test]
        fn done_is_what_was_received_less_what_is_in_flight(
            positions in prop::collection::btree_set(1u64..60, 0..60),
            open in prop::collection::btree_set(1u64..60, 0..20),
        ) {
            let mut log = DedupLog::default();
            let tracker = Tracker::new(0, 1_000, true, 0, Arc::default());
            let mut held = Vec::new();
            for &position in &positions {
                log.classify(id(position));
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
