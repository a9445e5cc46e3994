//! What a receiver remembers of source positions, so that a restarted sender repeats nothing and loses nothing.
//!
//! A sender that was restarted sends its stream again from the start. What the receiver has *done* need not come
//! again. What it has received and not yet done may come again, and must not be acknowledged before the first copy is
//! done: if this node died then, the sender would have to send it once more.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use super::messages::{Have, MAX_HAVE};
use crate::commit::Intervals;
use crate::ticket::Ticket;

/// A frame by where it comes from: a stream, and which of the frames of one position it is. Two runs of a
/// deterministic graph give the same frame the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: u64,
    pub(super) part: u32,
    pub(super) position: u64,
}

/// What is known of a frame that arrives.
pub(super) enum Known {
    New,
    /// It had arrived, and everything derived from it is done.
    Done,
    /// It had arrived; the ticket of the first copy is still held.
    UnderWay(Arc<Ticket>),
}

/// Bounded by the gaps between positions and by the frames under way.
#[derive(Default)]
pub(super) struct Memory {
    received: HashMap<(u64, u32), Intervals>,
    /// Frames received and possibly not done, oldest first.
    under_way: VecDeque<(Place, Weak<Ticket>)>,
}

impl Memory {
    /// Looks a place up, and remembers it when it is new.
    pub(super) fn meet(&mut self, place: Place) -> Known {
        let runs = self.received.entry((place.stream, place.part)).or_default();
        if runs.insert(place.position) {
            return Known::New;
        }
        let copies = self.under_way.iter().filter(|(met, _)| *met == place);
        match copies.filter_map(|(_, ticket)| ticket.upgrade()).next() {
            Some(ticket) => Known::UnderWay(ticket),
            None => Known::Done,
        }
    }

    /// Remembers the ticket of a new frame.
    pub(super) fn keep(&mut self, place: Place, ticket: &Arc<Ticket>) {
        while self
            .under_way
            .front()
            .is_some_and(|(_, ticket)| ticket.strong_count() == 0)
        {
            self.under_way.pop_front();
        }
        self.under_way.push_back((place, Arc::downgrade(ticket)));
    }

    /// The longest runs of places that are done.
    pub(super) fn have(&self) -> Vec<Have> {
        let mut have = Vec::new();
        for (&(stream, part), runs) in &self.received {
            let mut open: Vec<u64> = self
                .under_way
                .iter()
                .filter(|(place, ticket)| {
                    (place.stream, place.part) == (stream, part) && ticket.strong_count() > 0
                })
                .map(|(place, _)| place.position)
                .collect();
            open.sort_unstable();
            for (start, last) in runs.iter() {
                let mut first = start;
                for &position in open
                    .iter()
                    .filter(|position| (start..=last).contains(*position))
                {
                    if position > first {
                        have.push(Have {
                            stream,
                            part,
                            first,
                            last: position - 1,
                        });
                    }
                    first = position + 1;
                }
                if first <= last {
                    have.push(Have {
                        stream,
                        part,
                        first,
                        last,
                    });
                }
            }
        }
        have.sort_by_key(|run| Reverse(run.last - run.first));
        have.truncate(MAX_HAVE);
        have
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::ticket::Tracker;

    fn place(position: u64) -> Place {
        Place {
            stream: 7,
            part: 0,
            position,
        }
    }

    #[test]
    fn a_copy_of_a_frame_under_way_is_done_no_sooner_than_the_first() {
        let mut memory = Memory::default();
        let tracker = Tracker::new(0, 100, true, Arc::default());
        assert!(matches!(memory.meet(place(1)), Known::New));
        let first = Ticket::new(tracker.clone(), 1);
        memory.keep(place(1), &first);
        assert!(memory.have().is_empty());
        let second_session = Tracker::new(0, 100, true, Arc::default());
        let Known::UnderWay(held) = memory.meet(place(1)) else {
            panic!("it is under way")
        };
        held.follow(Ticket::new(second_session.clone(), 1));
        drop(held);
        assert_eq!(second_session.done(), 0);
        drop(first);
        assert_eq!((tracker.done(), second_session.done()), (1, 1));
        assert!(matches!(memory.meet(place(1)), Known::Done));
        assert_eq!(
            memory.have(),
            [Have {
                stream: 7,
                part: 0,
                first: 1,
                last: 1
            }]
        );
    }

    #[test]
    fn the_parts_of_one_position_are_different_frames() {
        let mut memory = Memory::default();
        assert!(matches!(memory.meet(place(1)), Known::New));
        assert!(matches!(
            memory.meet(Place {
                part: 1,
                ..place(1)
            }),
            Known::New
        ));
        assert!(matches!(memory.meet(place(1)), Known::Done));
    }

    proptest! {
        #[test]
        fn what_is_had_is_what_was_received_less_what_is_under_way(
            positions in prop::collection::btree_set(1u64..60, 0..60),
            open in prop::collection::btree_set(1u64..60, 0..20),
        ) {
            let mut memory = Memory::default();
            let tracker = Tracker::new(0, 1_000, true, Arc::default());
            let mut held = Vec::new();
            for &position in &positions {
                memory.meet(place(position));
                let ticket = Ticket::new(tracker.clone(), position);
                memory.keep(place(position), &ticket);
                if open.contains(&position) {
                    held.push(ticket);
                }
            }
            let had: BTreeSet<u64> =
                memory.have().into_iter().flat_map(|run| run.first..=run.last).collect();
            prop_assert_eq!(had, positions.difference(&open).copied().collect::<BTreeSet<_>>());
        }
    }
}
