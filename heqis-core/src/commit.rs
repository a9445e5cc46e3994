//! Which positions a node's commit log already holds, so that a restarted node does nothing twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{AnyFrame, Head};
use crate::key::Key;
use crate::origins::{Coverage, Origin, OriginRun, Origins, Runs};
use crate::payload::Payload;
use crate::position_set::Covered;
use crate::ticket::Deliveries;

/// The positions and last records in a node's commit log. Cheap to clone.
///
/// The stage that owns the log (a journal) fills it while it is built. Bridges then drop frames whose origin is in it, and
/// stages get the last record of each key through `Stage::recover`. Its size is bounded by the number of *gaps*
/// between committed positions, not by their count.
///
/// ```
/// use heqis_actors::{Committed, Origin};
///
/// let committed = Committed::default();
/// committed.insert_run(7, 1, 100);
/// assert!(committed.contains(Origin { stream: 7, position: 42 }));
/// assert_eq!(committed.runs(), [(7, 1, 100)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Committed(Arc<Mutex<Inner>>);

/// What a commit log holds of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// An earlier process has recorded what it completes: it is made again.
    Before,
    /// This process has recorded what it completes. The frames that one process makes of one item are different ones.
    Now,
    /// A part of what it completes is recorded, by frames that were made otherwise.
    Partly,
    /// Nothing of it.
    Not,
}

/// A source's sequence of items, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStream {
    /// Name of the source in the topology.
    pub source: String,
    /// Identity of its sequence of items.
    pub stream: u64,
    /// Whether a restarted source sends the same stream again, item by item.
    pub replayable: bool,
}

impl SourceStream {
    /// The stream with this identity of the source with this name.
    #[must_use]
    pub fn new(source: impl Into<String>, stream: u64, replayable: bool) -> Self {
        Self {
            source: source.into(),
            stream,
            replayable,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    held: Coverage,
    /// What the log held when the graph began.
    before: Coverage,
    /// Positions that the next nodes are done with.
    delivered: Runs,
    /// Deliveries of the log's records, kept over rebuilds of the stage that owns it.
    deliveries: Option<Deliveries>,
    /// Sources of this node and of those in front of it, as far as they are known.
    streams: BTreeMap<String, SourceStream>,
    records: BTreeMap<(&'static str, Key), AnyFrame>,
}

impl Committed {
    /// States that the log holds the outcome of `origin`.
    pub fn insert(&self, origin: Origin) {
        self.lock().held.done.insert(OriginRun::of(origin));
    }

    /// States that the log holds a record made from `origins`: the outcome of the items that it completes.
    pub fn insert_origins(&self, origins: &Origins) {
        self.lock().held.insert(origins);
    }

    /// States that the log holds the record made from the frame with this head.
    pub fn insert_head(&self, head: &Head) {
        let held = &mut self.lock().held;
        match &head.merged {
            None => held.done.insert(OriginRun::of(head.origin)),
            Some(merged) => held.insert_merged(merged),
        }
    }

    /// Whether the log holds the record made from the frame with this head: the outcome of the items that it completes.
    #[must_use]
    pub fn holds(&self, head: &Head) -> bool {
        self.covers(head) == Covered::All
    }

    /// The graph begins: what the log holds now was recorded by an earlier process.
    pub fn begin(&self) {
        let inner = &mut *self.lock();
        inner.before = inner.held.clone();
    }

    /// What the log holds of the frame with this head, and since when.
    pub fn recorded(&self, head: &Head) -> Recorded {
        let (inner, merged) = (self.lock(), head.merged.as_deref());
        if inner.before.covers_head(head.origin, merged) == Covered::All {
            return Recorded::Before;
        }
        match inner.held.covers_head(head.origin, merged) {
            Covered::All => Recorded::Now,
            Covered::Part => Recorded::Partly,
            Covered::Nothing => Recorded::Not,
        }
    }

    /// How much of the frame with this head the log holds.
    pub fn covers(&self, head: &Head) -> Covered {
        let inner = self.lock();
        inner.held.covers_head(head.origin, head.merged.as_deref())
    }

    /// Whether the log holds the outcome of `origin`.
    #[must_use]
    pub fn contains(&self, origin: Origin) -> bool {
        self.lock().held.done.contains(origin)
    }

    /// States that the log holds the outcome of every position of `stream` from `first` to `last`.
    pub fn insert_run(&self, stream: u64, first: u64, last: u64) {
        let run = OriginRun {
            stream,
            first,
            last,
        };
        self.lock().held.done.insert(run);
    }

    /// The runs of positions whose outcome the log holds, as stream, first and last.
    #[must_use]
    pub fn runs(&self) -> Vec<(u64, u64, u64)> {
        let runs = |run: OriginRun| (run.stream, run.first, run.last);
        self.lock().held.done.iter().map(runs).collect()
    }

    /// As [`Committed::runs`], of what an earlier process has recorded.
    pub fn runs_before(&self) -> Vec<(u64, u64, u64)> {
        let runs = |run: OriginRun| (run.stream, run.first, run.last);
        self.lock().before.done.iter().map(runs).collect()
    }

    /// States that the next nodes are done with the positions from `first` to `last`.
    pub fn deliver_run(&self, stream: u64, first: u64, last: u64) {
        let run = OriginRun {
            stream,
            first,
            last,
        };
        self.lock().delivered.insert(run);
    }

    /// Whether this node's log or a next node holds the outcome of `origin`.
    pub fn is_settled(&self, origin: Origin) -> bool {
        let inner = self.lock();
        inner.held.done.contains(origin) || inner.delivered.contains(origin)
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

    /// Sets the stream of a source.
    pub fn name_stream(&self, stream: SourceStream) {
        self.lock().streams.insert(stream.source.clone(), stream);
    }

    /// The sources of this node and of those in front of it, as far as they are known.
    #[must_use]
    pub fn streams(&self) -> Vec<SourceStream> {
        self.lock().streams.values().cloned().collect()
    }

    /// Sets `payload` as the last record of its type and key, and its origins as committed. For records found in a log when
    /// it is opened.
    pub fn record<P: Payload>(&self, origins: impl Into<Origins>, payload: P) {
        let origins = origins.into();
        self.insert_origins(&origins);
        self.keep(origins, payload);
    }

    /// Sets `payload` as the last record of its type and key. For records added to a log: a stage that is rebuilt while its
    /// process continues restores its state from them.
    pub fn keep<P: Payload>(&self, origins: impl Into<Origins>, payload: P) {
        let key = payload.key();
        let frame = AnyFrame::new(Head::of(&origins.into(), key, 0), payload);
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
