//! What a node's commit log already holds, so that a restarted node does nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{AnyFrame, Head, Origin};
use crate::payload::{Key, Payload};
use crate::position_set::PositionSet;
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
    positions: HashMap<u64, PositionSet>,
    /// Positions that the nodes after this one are done with.
    delivered: HashMap<u64, PositionSet>,
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
            .insert_range(first, last);
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
            .insert_range(first, last);
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

fn runs(positions: &HashMap<u64, PositionSet>) -> Vec<(u64, u64, u64)> {
    let mut runs: Vec<_> = positions
        .iter()
        .flat_map(|(&stream, runs)| runs.iter().map(move |(first, last)| (stream, first, last)))
        .collect();
    runs.sort_unstable();
    runs
}
