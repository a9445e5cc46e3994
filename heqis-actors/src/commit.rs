//! What a node's commit log already holds, so that a restarted node does nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{AnyFrame, Head, Origin};
use crate::payload::{Key, Payload};

/// A node's shared memory of its commit log. Cheap to clone.
///
/// The stage that owns the log (a journal) fills it while it is built. Bridges then drop frames whose origin is in
/// it, and stages are handed the last record of each key through [`crate::Stage::recover`]. Bounded by the number of
/// *gaps* between committed positions, not by their count.
#[derive(Clone, Debug, Default)]
pub struct Committed(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    positions: HashMap<u64, Intervals>,
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

    #[test]
    fn the_ends_of_the_number_range_do_not_overflow() {
        let mut intervals = Intervals::default();
        assert!(
            intervals.insert(u64::MAX) && intervals.insert(0) && intervals.insert(u64::MAX - 1)
        );
        assert!(!intervals.insert(u64::MAX));
    }
}
