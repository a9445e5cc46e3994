//! A set of positions of a stream, kept as ranges.

use std::collections::BTreeMap;

/// How much of something a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    /// None of them.
    Nothing,
    /// Some of them.
    Part,
    /// All of them.
    All,
}

/// Disjoint, non-adjacent inclusive ranges of positions: last position by first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PositionSet(BTreeMap<u64, u64>);

impl PositionSet {
    /// Adds `position`; returns whether it was new.
    #[cfg(test)]
    fn insert(&mut self, position: u64) -> bool {
        let is_new = !self.contains(position);
        if is_new {
            self.insert_range(position, position);
        }
        is_new
    }

    /// Adds the positions from `first` to `last`; nothing when `first` is above `last`.
    pub fn insert_range(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        // Every range that overlaps the new one or touches it becomes part of it.
        let reach = last.saturating_add(1);
        while let Some((&start, &end)) = self.0.range(..=reach).next_back()
            && end.saturating_add(1) >= first
        {
            self.0.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// Whether the position is in the set.
    pub fn contains(&self, position: u64) -> bool {
        let below = self.0.range(..=position).next_back();
        below.is_some_and(|(_, &last)| position <= last)
    }

    /// Removes the positions from `first` to `last`.
    pub fn remove_range(&mut self, first: u64, last: u64) {
        while let Some((&start, &end)) = self.0.range(..=last).next_back()
            && end >= first
            && first <= last
        {
            self.0.remove(&start);
            if end > last {
                self.0.insert(last + 1, end);
            }
            if start < first {
                self.0.insert(start, first - 1);
            }
        }
    }

    /// How much of the positions from `first` to `last` is in the set.
    pub fn covers(&self, first: u64, last: u64) -> Covered {
        match self.count_within(first, last) {
            0 => Covered::Nothing,
            some if some > last - first => Covered::All,
            _ => Covered::Part,
        }
    }

    fn count_within(&self, first: u64, last: u64) -> u64 {
        let ranges = self.0.range(..=last).rev();
        let within = ranges.take_while(|(_, end)| **end >= first);
        within.fold(0u64, |count, (&start, &end)| {
            count.saturating_add((end.min(last) - start.max(first)).saturating_add(1))
        })
    }

    /// The highest position.
    pub fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, &last)| last)
    }

    /// The ranges, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(&first, &last)| (first, last))
    }

    /// Number of ranges.
    pub fn ranges(&self) -> usize {
        self.0.len()
    }

    /// Adds the positions between the two lowest ranges; returns whether there were two.
    pub fn close_lowest_gap(&mut self) -> bool {
        let mut ranges = self.0.iter();
        let (Some((&first, _)), Some((&second, &last))) = (ranges.next(), ranges.next()) else {
            return false;
        };
        self.0.remove(&second);
        self.0.insert(first, last);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_holds_exactly_what_was_inserted(positions in prop::collection::vec(0u64..200, 0..300)) {
            let mut set = PositionSet::default();
            let mut model = BTreeSet::new();
            for position in positions {
                prop_assert_eq!(set.insert(position), model.insert(position));
            }
            for position in 0..201 {
                prop_assert_eq!(set.contains(position), model.contains(&position));
            }
            // Adjacent ranges are merged, which bounds the memory.
            let starts: Vec<_> = set.0.iter().collect();
            prop_assert!(starts.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
        }
    }

    proptest! {
        #[test]
        fn a_range_is_its_positions_one_by_one(
            mut before in prop::collection::btree_set(0u64..60, 0..30),
            (first, last) in (0u64..60, 0u64..60),
        ) {
            let mut set = PositionSet::default();
            before.iter().for_each(|&position| { set.insert(position); });
            set.insert_range(first, last);
            before.extend(first..=last);
            for position in 0..61 {
                prop_assert_eq!(set.contains(position), before.contains(&position));
            }
            let starts: Vec<_> = set.0.iter().collect();
            prop_assert!(starts.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
        }

        #[test]
        fn a_range_is_counted_and_removed_position_by_position(
            mut before in prop::collection::btree_set(0u64..60, 0..30),
            (first, last) in (0u64..60, 0u64..60),
        ) {
            let mut set = PositionSet::default();
            before.iter().for_each(|&position| { set.insert(position); });
            if first <= last {
                prop_assert_eq!(set.count_within(first, last), before.range(first..=last).count() as u64);
            }
            set.remove_range(first, last);
            before.retain(|position| !(first..=last).contains(position));
            for position in 0..61 {
                prop_assert_eq!(set.contains(position), before.contains(&position));
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_range_do_not_overflow() {
        let mut set = PositionSet::default();
        assert!(set.insert(u64::MAX) && set.insert(0) && set.insert(u64::MAX - 1));
        assert!(!set.insert(u64::MAX));
    }

    #[test]
    fn the_lowest_gap_is_closed_first() {
        let mut set = PositionSet::default();
        for position in [10, 1, 5] {
            set.insert(position);
        }
        assert!(set.close_lowest_gap());
        assert!(set.contains(3) && !set.contains(7));
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, 5), (10, 10)]);
        assert!(set.close_lowest_gap() && !set.close_lowest_gap());
        assert_eq!(set.ranges(), 1);
    }
}
