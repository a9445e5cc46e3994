//! The source items that a frame is made from, also where it is made from several frames.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::position_set::{Covered, PositionSet};

/// Most records of [`Coverage`] that complete no item; beyond it the oldest is forgotten, and counts as new if it is made
/// again.
const MAX_OPEN: usize = 65_536;

/// Added to the part of merged frames, so that they are not taken for the frames that they are made from.
pub const MERGED_PART: u32 = 1 << 31;

/// The source item that a frame derives from: the source's stream and the position in it.
///
/// Every frame derived from a source item keeps the item's origin, on every node. A replayable source has the same
/// `stream` on each run, so that positions can be compared across restarts; a live source has a fresh one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Identity of the source's sequence of items.
    pub stream: u64,
    /// Position in the stream, from 1.
    pub position: u64,
}

/// An inclusive run of positions of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OriginRun {
    /// Identity of the source's sequence of items.
    pub stream: u64,
    /// First position.
    pub first: u64,
    /// Last position, not below `first`.
    pub last: u64,
}

/// The source items that a frame is made from. Cheap to clone.
///
/// A stage that holds frames only by its state collects their origins here and saves them with it; the frame that it emits
/// later is made `with` them.
///
/// ```
/// use heqis_actors::{Origin, OriginRun, Origins};
///
/// let mut held = Origins::default();
/// for position in 1..=3 {
///     held.add(&Origin { stream: 7, position }.into());
/// }
/// assert_eq!(held.done(), [OriginRun { stream: 7, first: 1, last: 3 }]);
/// assert_eq!(held.newest(), Origin { stream: 7, position: 3 });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Origins(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    One(Origin),
    Merged(Arc<Merged>),
}

/// The source items of a frame that is made from several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Items that no later frame is made from.
    done: Runs,
    /// Items that later frames are made from too.
    kept: Runs,
    /// Distinguishes frames made from the same items.
    pub tag: u64,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    done: Vec<OriginRun>,
    kept: Vec<OriginRun>,
    tag: u64,
}

impl From<Parts> for Origins {
    fn from(parts: Parts) -> Self {
        Self::from_parts(parts.done, parts.kept, parts.tag)
    }
}

impl From<Origins> for Parts {
    fn from(origins: Origins) -> Self {
        Self {
            done: origins.done(),
            kept: origins.kept(),
            tag: origins.tag(),
        }
    }
}

impl Default for Origins {
    /// The origins of a frame that is made from no item.
    fn default() -> Self {
        Self(Repr::Merged(Arc::default()))
    }
}

impl From<Origin> for Origins {
    fn from(origin: Origin) -> Self {
        Self(Repr::One(origin))
    }
}

impl From<Arc<Merged>> for Origins {
    fn from(merged: Arc<Merged>) -> Self {
        Self(Repr::Merged(merged))
    }
}

impl Origins {
    /// The origins with these runs; the inverse of [`Origins::done`], [`Origins::kept`] and [`Origins::tag`].
    #[must_use]
    pub fn from_parts(
        done: impl IntoIterator<Item = OriginRun>,
        kept: impl IntoIterator<Item = OriginRun>,
        tag: u64,
    ) -> Self {
        let merged = Merged {
            done: done.into_iter().collect(),
            kept: kept.into_iter().collect(),
            tag,
        };
        Self::from(merged)
    }

    /// The last position of the stream with the highest number; stream and position 0 without any item. It depends on the
    /// items alone and not on their order of arrival, so that two runs give the same frame the same one.
    #[must_use]
    pub fn newest(&self) -> Origin {
        match &self.0 {
            Repr::One(origin) => *origin,
            Repr::Merged(merged) => merged.newest(),
        }
    }

    /// The items that no later frame is made from, ascending.
    #[must_use]
    pub fn done(&self) -> Vec<OriginRun> {
        match &self.0 {
            Repr::One(origin) => vec![OriginRun::of(*origin)],
            Repr::Merged(merged) => merged.done.iter().collect(),
        }
    }

    /// The items that later frames are made from too, as in overlapping windows; ascending.
    #[must_use]
    pub fn kept(&self) -> Vec<OriginRun> {
        match &self.0 {
            Repr::One(_) => Vec::new(),
            Repr::Merged(merged) => merged.kept.iter().collect(),
        }
    }

    /// What `Merge::tag` set.
    #[must_use]
    pub fn tag(&self) -> u64 {
        match &self.0 {
            Repr::One(_) => 0,
            Repr::Merged(merged) => merged.tag,
        }
    }

    /// Adds the items of `other`.
    pub fn add(&mut self, other: &Self) {
        let mut merged = match std::mem::take(self).0 {
            Repr::One(origin) => Arc::new(Merged::of(origin)),
            Repr::Merged(merged) => merged,
        };
        Arc::make_mut(&mut merged).add(other);
        self.0 = Repr::Merged(merged);
    }

    /// Removes every item that `other` holds.
    pub fn remove(&mut self, other: &Self) {
        let mut merged = match std::mem::take(self).0 {
            Repr::One(origin) => Arc::new(Merged::of(origin)),
            Repr::Merged(merged) => merged,
        };
        let left = Arc::make_mut(&mut merged);
        for run in other.done().into_iter().chain(other.kept()) {
            left.done.remove(run);
            left.kept.remove(run);
        }
        self.0 = Repr::Merged(merged);
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Repr::One(_) => false,
            Repr::Merged(merged) => merged.is_empty(),
        }
    }

    /// What a head holds of these; `None` for a single item, which is the head's own origin.
    pub fn merged(&self) -> Option<&Arc<Merged>> {
        match &self.0 {
            Repr::One(_) => None,
            Repr::Merged(merged) => Some(merged),
        }
    }
}

impl std::fmt::Display for Origins {
    /// The streams with their positions, those that later frames are made from too in brackets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let write = |f: &mut std::fmt::Formatter<'_>, run: &OriginRun| match run.first == run.last {
            true => write!(f, " {}", run.last),
            false => write!(f, " {}-{}", run.first, run.last),
        };
        let mut stream = None;
        for (run, is_kept) in (self.done().iter().map(|run| (run, false)))
            .chain(self.kept().iter().map(|run| (run, true)))
        {
            if stream.replace(run.stream) != Some(run.stream) {
                write!(f, "stream {:016x}:", run.stream)?;
            }
            match is_kept {
                true => {
                    f.write_str(" (")?;
                    write(f, run)?;
                    f.write_str(" )")?;
                }
                false => write(f, run)?,
            }
        }
        Ok(())
    }
}

impl From<Merged> for Origins {
    fn from(mut merged: Merged) -> Self {
        let kept = std::mem::take(&mut merged.kept);
        merged.kept = kept.without(&merged.done);
        Self(Repr::Merged(Arc::new(merged)))
    }
}

impl Merged {
    fn of(origin: Origin) -> Self {
        Self {
            done: std::iter::once(OriginRun::of(origin)).collect(),
            ..Self::default()
        }
    }

    /// The newest origin of all streams.
    pub fn newest(&self) -> Origin {
        let newest = self.done.newest().max(self.kept.newest());
        newest.unwrap_or(Origin {
            stream: 0,
            position: 0,
        })
    }

    /// The items that no later frame is made from.
    pub fn done(&self) -> impl Iterator<Item = OriginRun> {
        self.done.iter()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.kept.is_empty()
    }

    /// Adds the origins of another frame.
    pub fn add(&mut self, other: &Origins) {
        match &other.0 {
            Repr::One(origin) => self.done.insert(OriginRun::of(*origin)),
            Repr::Merged(other) => {
                other.done.iter().for_each(|run| self.done.insert(run));
                other.kept.iter().for_each(|run| self.kept.insert(run));
            }
        }
    }

    /// Adds origins that the frame only keeps, and does not complete.
    pub fn keep(&mut self, other: &Origins) {
        for run in other.done().into_iter().chain(other.kept()) {
            self.kept.insert(run);
        }
    }
}

impl OriginRun {
    /// The run of one item.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        Self {
            stream: origin.stream,
            first: origin.position,
            last: origin.position,
        }
    }
}

/// Sets of positions, by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(BTreeMap<u64, PositionSet>);

impl Runs {
    /// Adds a run.
    pub fn insert(&mut self, run: OriginRun) {
        let positions = self.0.entry(run.stream).or_default();
        positions.insert_range(run.first, run.last);
    }

    fn remove(&mut self, run: OriginRun) {
        if let Some(positions) = self.0.get_mut(&run.stream) {
            positions.remove_range(run.first, run.last);
            if positions.ranges() == 0 {
                self.0.remove(&run.stream);
            }
        }
    }

    fn without(mut self, other: &Self) -> Self {
        other.iter().for_each(|run| self.remove(run));
        self
    }

    /// The runs, by stream and first position.
    pub fn iter(&self) -> impl Iterator<Item = OriginRun> {
        self.0.iter().flat_map(|(&stream, positions)| {
            let run = move |(first, last)| OriginRun {
                stream,
                first,
                last,
            };
            positions.iter().map(run)
        })
    }

    /// Whether there is no run.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an origin lies in a run.
    pub fn contains(&self, origin: Origin) -> bool {
        let positions = self.0.get(&origin.stream);
        positions.is_some_and(|positions| positions.contains(origin.position))
    }

    /// Whether all of `run` is held.
    pub fn contains_run(&self, run: OriginRun) -> bool {
        self.covers(run) == Covered::All
    }

    /// How much of `run` is held.
    fn covers(&self, run: OriginRun) -> Covered {
        let positions = self.0.get(&run.stream);
        positions.map_or(Covered::Nothing, |positions| {
            positions.covers(run.first, run.last)
        })
    }

    fn newest(&self) -> Option<Origin> {
        let (&stream, positions) = self.0.last_key_value()?;
        let position = positions.last()?;
        Some(Origin { stream, position })
    }
}

impl FromIterator<OriginRun> for Runs {
    fn from_iter<I: IntoIterator<Item = OriginRun>>(runs: I) -> Self {
        let mut all = Self::default();
        runs.into_iter()
            .filter(|run| run.first <= run.last)
            .for_each(|run| all.insert(run));
        all
    }
}

/// Which frames a log holds, by the items that they are made from. Its size is bounded by the gaps between positions and by
/// `MAX_OPEN`.
///
/// A merged frame is held when every item that it completes is. A frame that completes no item is remembered by itself,
/// until other frames have completed its items.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// The runs of completed origins.
    pub done: Runs,
    open: VecDeque<Arc<Merged>>,
}

impl Coverage {
    #[cfg(test)]
    fn covers(&self, origins: &Origins) -> Covered {
        match &origins.0 {
            Repr::One(origin) if self.done.contains(*origin) => Covered::All,
            Repr::One(_) => Covered::Nothing,
            Repr::Merged(merged) => self.covers_merged(merged),
        }
    }

    /// How much of a frame is covered: of its item, or of what it completes where it is merged.
    pub fn covers_head(&self, origin: Origin, merged: Option<&Merged>) -> Covered {
        match merged {
            None if self.done.contains(origin) => Covered::All,
            None => Covered::Nothing,
            Some(merged) => self.covers_merged(merged),
        }
    }

    /// How much of what a merged frame completes is covered.
    pub fn covers_merged(&self, merged: &Merged) -> Covered {
        let all = |runs: &Runs| {
            let mut covered = runs.iter().map(|run| self.done.covers(run));
            let first = covered.next()?;
            Some(covered.fold(
                first,
                |all, run| if all == run { all } else { Covered::Part },
            ))
        };
        match all(&merged.done) {
            Some(covered) => covered,
            None if all(&merged.kept) == Some(Covered::All) => Covered::All,
            None if self.open.iter().any(|open| **open == *merged) => Covered::All,
            None => Covered::Nothing,
        }
    }

    /// Adds what a frame completes.
    pub fn insert(&mut self, origins: &Origins) {
        match &origins.0 {
            Repr::One(origin) => self.done.insert(OriginRun::of(*origin)),
            Repr::Merged(merged) => self.insert_merged(merged),
        }
    }

    /// Adds what a merged frame completes.
    pub fn insert_merged(&mut self, merged: &Arc<Merged>) {
        merged.done.iter().for_each(|run| self.done.insert(run));
        if !self.open.is_empty() && !merged.done.is_empty() {
            let done = &self.done;
            let is_open =
                |open: &Merged| open.kept.iter().any(|run| done.covers(run) != Covered::All);
            self.open.retain(|open| is_open(open));
        }
        if merged.done.is_empty() && !merged.kept.is_empty() {
            if self.open.len() >= MAX_OPEN {
                self.open.pop_front();
            }
            self.open.push_back(merged.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, last: u64) -> OriginRun {
        OriginRun {
            stream: 1,
            first,
            last,
        }
    }

    fn origins(done: &[(u64, u64)], kept: &[(u64, u64)], tag: u64) -> Origins {
        let runs = |all: &[(u64, u64)]| -> Vec<OriginRun> {
            all.iter().map(|&(first, last)| run(first, last)).collect()
        };
        Origins::from_parts(runs(done), runs(kept), tag)
    }

    #[test]
    fn a_merged_frame_is_held_when_everything_that_it_completes_is() {
        let mut log = Coverage::default();
        log.insert(&origins(&[(1, 10)], &[], 0));
        for (frame, expected) in [
            (origins(&[(1, 10)], &[], 0), Covered::All),
            (origins(&[(1, 5)], &[(6, 15)], 0), Covered::All),
            (origins(&[(8, 17)], &[], 0), Covered::Part),
            (origins(&[(10, 10), (12, 12)], &[], 0), Covered::Part),
            (origins(&[(11, 20)], &[], 0), Covered::Nothing),
            (Origins::default(), Covered::Nothing),
        ] {
            assert_eq!(log.covers(&frame), expected, "{frame:?}");
        }
    }

    #[test]
    fn frames_that_complete_nothing_are_known_by_themselves_until_their_items_are_done() {
        let mut log = Coverage::default();
        log.insert(&origins(&[], &[(1, 5)], 10));
        assert_eq!(log.covers(&origins(&[], &[(1, 5)], 10)), Covered::All);
        for new in [
            origins(&[], &[(1, 5)], 15),
            origins(&[], &[(1, 6)], 10),
            origins(&[(1, 5)], &[], 20),
        ] {
            assert_eq!(log.covers(&new), Covered::Nothing, "{new:?}");
        }
        log.insert(&origins(&[(1, 5)], &[], 20));
        assert!(log.open.is_empty());
        assert_eq!(log.covers(&origins(&[], &[(1, 5)], 10)), Covered::All);
    }

    #[test]
    fn what_a_frame_completes_is_not_kept_and_its_newest_item_is_the_same_in_any_order() {
        let merged = origins(&[(1, 5)], &[(3, 9)], 0);
        assert_eq!(
            (merged.done(), merged.kept()),
            (vec![run(1, 5)], vec![run(6, 9)])
        );
        let items = [(2, 7), (1, 90), (2, 3)].map(|(stream, position)| Origin { stream, position });
        let mut forward = Origins::default();
        items.iter().for_each(|&item| forward.add(&item.into()));
        let mut backward = Origins::default();
        items
            .iter()
            .rev()
            .for_each(|&item| backward.add(&item.into()));
        assert_eq!(forward, backward);
        assert_eq!(forward.newest(), items[0]);
        forward.remove(&items[0].into());
        assert_eq!(forward.newest(), items[2]);
    }
}
