//! What a node's commit log already holds, so that a restarted node does nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{AnyFrame, Head, Origin};
use crate::payload::{Key, Payload};
use crate::ticket::Deliveries;

/// A node's shared memory of its commit log. Cheap to clone.
///
/// The stage that owns the log (a journal) fills it while it is built. Bridges then drop frames whose origin is in
/// it, and stages are handed the last record of each key through [`crate::Stage::recover`]. Bounded by the number of
/// *gaps* between committed positions, not by their count.
#[derive(Clone, Debug, Default)]
pub struct Committed(Arc<Mutex<Inner>>);

/// A source's sequence of items, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStream {
    /// Name of the source in the topology.
    pub source: String,
    /// Identity of its sequence of items.
    pub stream: u64,
    /// Whether the same stream comes again, item by item, when the source starts again.
    pub replayable: bool,
}

#[derive(Debug, Default)]
struct Inner {
    positions: HashMap<u64, Intervals>,
    /// Positions that the nodes after this one are done with.
    delivered: HashMap<u64, Intervals>,
    /// What the log's records have come to, over rebuilds of the stage that owns it.
    deliveries: Option<Deliveries>,
    /// Sources of this node and of those before it, as far as they have said so.
    streams: BTreeMap<String, SourceStream>,
    records: BTreeMap<(&'static str, Key), AnyFrame>,
}

impl Committed {
    /// Remembers that the log holds the outcome of `origin`.
    pub fn insert(&self, origin: Origin) {
        self.lock()
            .positions
            .entry(origin.stream)
            .or_default()
            .insert(origin.position);
    }

    /// Whether the log holds the outcome of `origin`.
    #[must_use]
    pub fn contains(&self, origin: Origin) -> bool {
        self.lock()
            .positions
            .get(&origin.stream)
            .is_some_and(|positions| positions.contains(origin.position))
    }

    /// Remembers that the log holds the outcome of every position of `stream` from `first` to `last`.
    pub fn insert_run(&self, stream: u64, first: u64, last: u64) {
        let mut inner = self.lock();
        inner
            .positions
            .entry(stream)
            .or_default()
            .insert_run(first, last);
    }

    /// The runs of positions whose outcome the log holds, as stream, first and last.
    #[must_use]
    pub fn runs(&self) -> Vec<(u64, u64, u64)> {
        runs(&self.lock().positions)
    }

    /// Remembers that the nodes after this one are done with the positions from `first` to `last`.
    pub(crate) fn deliver_run(&self, stream: u64, first: u64, last: u64) {
        let mut inner = self.lock();
        inner
            .delivered
            .entry(stream)
            .or_default()
            .insert_run(first, last);
    }

    /// Whether the outcome of `origin` is held by this node's log, or by a node after it.
    pub(crate) fn is_settled(&self, origin: Origin) -> bool {
        let inner = self.lock();
        [&inner.positions, &inner.delivered]
            .iter()
            .any(|positions| {
                positions
                    .get(&origin.stream)
                    .is_some_and(|positions| positions.contains(origin.position))
            })
    }

    /// The deliveries of the log's records. They outlive the stage that owns the log: `done` counts only for the first call
    /// in the life of the process.
    #[must_use]
    pub fn deliveries_after(&self, done: u64) -> Deliveries {
        let mut inner = self.lock();
        let deliveries = inner
            .deliveries
            .get_or_insert_with(|| Deliveries::after(done));
        deliveries.clone()
    }

    /// Remembers which stream a source sends.
    pub(crate) fn name_stream(&self, stream: SourceStream) {
        self.lock().streams.insert(stream.source.clone(), stream);
    }

    /// The sources of this node and of those before it, as far as they have said so.
    #[must_use]
    pub fn streams(&self) -> Vec<SourceStream> {
        self.lock().streams.values().cloned().collect()
    }

    /// Remembers `payload` as the last record of its type and key, and its origin as committed. For what a log is found
    /// to hold when it is opened.
    pub fn record<P: Payload>(&self, origin: Origin, payload: P) {
        self.insert(origin);
        self.keep(origin, payload);
    }

    /// Remembers `payload` as the last record of its type and key. For what is added to a log: a stage that is rebuilt
    /// while its process lives on takes up its state from there.
    pub fn keep<P: Payload>(&self, origin: Origin, payload: P) {
        let key = payload.key();
        let frame = AnyFrame::new(Head::new(origin, key, 0), payload);
        self.lock().records.insert((P::NAME, key), frame);
    }

    /// The last record of each type and key.
    #[must_use]
    pub fn records(&self) -> Vec<AnyFrame> {
        self.lock().records.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn runs(positions: &HashMap<u64, Intervals>) -> Vec<(u64, u64, u64)> {
    let mut runs: Vec<_> = positions
        .iter()
        .flat_map(|(&stream, runs)| runs.iter().map(move |(first, last)| (stream, first, last)))
        .collect();
    runs.sort_unstable();
    runs
}

/// A set of positions, kept as disjoint, non-adjacent inclusive intervals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Adds `position`; returns whether it was new.
    pub(crate) fn insert(&mut self, position: u64) -> bool {
        let before = self
            .0
            .range(..=position)
            .next_back()
            .map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| position <= last) {
            return false;
        }
        let mut first = position;
        let mut last = position;
        if let Some((start, end)) = before
            && end.checked_add(1) == Some(position)
        {
            first = start;
        }
        if let Some(next) = position.checked_add(1)
            && let Some(end) = self.0.remove(&next)
        {
            last = end;
        }
        self.0.insert(first, last);
        true
    }

    /// Adds the positions from `first` to `last`; nothing when they are the wrong way round.
    pub(crate) fn insert_run(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        // Everything that overlaps the run or touches it becomes part of it.
        let reach = last.saturating_add(1);
        let touched: Vec<u64> = self
            .0
            .range(..=reach)
            .rev()
            .take_while(|(_, end)| end.saturating_add(1) >= first)
            .map(|(&start, _)| start)
            .collect();
        for start in touched {
            if let Some(end) = self.0.remove(&start) {
                first = first.min(start);
                last = last.max(end);
            }
        }
        self.0.insert(first, last);
    }

    /// The intervals, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(&first, &last)| (first, last))
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.0
            .range(..=position)
            .next_back()
            .is_some_and(|(_, &last)| position <= last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn intervals_hold_exactly_what_was_inserted(positions in prop::collection::vec(0u64..200, 0..300)) {
            let mut intervals = Intervals::default();
            let mut model = BTreeSet::new();
            for position in positions {
                prop_assert_eq!(intervals.insert(position), model.insert(position));
            }
            for position in 0..201 {
                prop_assert_eq!(intervals.contains(position), model.contains(&position));
            }
            // Adjacent intervals are merged: that is what bounds the memory.
            let starts: Vec<_> = intervals.0.iter().collect();
            prop_assert!(starts.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
        }
    }

    proptest! {
        #[test]
        fn runs_are_the_positions_one_by_one(
            mut before in prop::collection::btree_set(0u64..60, 0..30),
            (first, last) in (0u64..60, 0u64..60),
        ) {
            let mut intervals = Intervals::default();
            before.iter().for_each(|&position| { intervals.insert(position); });
            intervals.insert_run(first, last);
            before.extend(first..=last);
            for position in 0..61 {
                prop_assert_eq!(intervals.contains(position), before.contains(&position));
            }
            let starts: Vec<_> = intervals.0.iter().collect();
            prop_assert!(starts.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
        }
    }

    #[test]
    fn the_ends_of_the_number_range_do_not_overflow() {
        let mut intervals = Intervals::default();
        assert!(
            intervals.insert(u64::MAX) && intervals.insert(0) && intervals.insert(u64::MAX - 1)
        );
        assert!(!intervals.insert(u64::MAX));
    }
}
