//! The state of a journal from which its writer continues.

use std::collections::{BTreeMap, VecDeque};

use super::{EntryId, Identity, JournalLine, MadeFrom, StreamName};
use crate::decision::Decision;
use crate::symbol::Symbol;

/// Most decisions that complete no item; beyond it the oldest is forgotten, and counts as new if it is made again.
const MAX_OPEN: usize = 65_536;

/// The state after a line of a journal: the committed positions, and the last decision of each instrument.
///
/// Its size is bounded by the number of gaps between committed positions and by the number of instruments, not by the
/// number of decisions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JournalState {
    pub(super) decisions: u64,
    pub(super) closed: bool,
    pub(super) identity: Identity,
    /// First and last positions of runs, by stream.
    pub(super) runs: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// Decisions that complete no item, until others have completed what they keep.
    pub(super) open: VecDeque<MadeFrom>,
    pub(super) last: BTreeMap<Symbol, (EntryId, Decision)>,
    /// The stream named last, by source.
    pub(super) sources: BTreeMap<String, StreamName>,
}

impl JournalState {
    /// Returns the number of decisions so far, over all segments.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Returns whether the journal is closed; the header of a later segment does not change that.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the identity in the newest header.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the committed positions as runs: stream, first and last position, in this order.
    #[must_use]
    pub fn runs(&self) -> Vec<(u64, u64, u64)> {
        let of_stream = |(&stream, runs): (&u64, &BTreeMap<u64, u64>)| {
            let runs: Vec<_> = runs
                .iter()
                .map(|(&first, &last)| (stream, first, last))
                .collect();
            runs
        };
        self.runs.iter().flat_map(of_stream).collect()
    }

    /// Returns the last decision of each instrument with its id, by instrument.
    #[must_use]
    pub fn last(&self) -> Vec<(EntryId, Decision)> {
        self.last.values().cloned().collect()
    }

    /// Returns what the decisions are made from that complete no source item, as long as one of their items is not
    /// committed, oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<MadeFrom> {
        self.open.iter().cloned().collect()
    }

    /// Returns the stream of `source` that was named last.
    #[must_use]
    pub fn source(&self, source: &str) -> Option<&StreamName> {
        self.sources.get(source)
    }

    /// Takes the next line, which a [`Scanner`](super::Scanner) has checked.
    pub fn take(&mut self, line: &JournalLine) {
        self.closed = line.closes().unwrap_or(self.closed);
        match line {
            JournalLine::Header(header) => self.identity = header.identity.clone(),
            JournalLine::Stream(name) if name.source.is_empty() => {}
            JournalLine::Stream(name) => {
                self.sources.insert(name.source.clone(), name.clone());
            }
            JournalLine::Decision(id, decision) => {
                self.decisions = id.n;
                match &id.made_from {
                    None => self.commit(id.stream, id.position, id.position),
                    Some(items) => self.commit_all(items),
                }
                self.last.insert(decision.symbol, (id.clone(), *decision));
            }
            JournalLine::Closing { .. } => {}
        }
    }

    fn commit_all(&mut self, items: &MadeFrom) {
        for run in &items.done {
            self.commit(run.stream, run.first, run.last);
        }
        if items.done.is_empty() {
            if self.open.len() >= MAX_OPEN {
                self.open.pop_front();
            }
            self.open.push_back(items.clone());
        } else if !self.open.is_empty() {
            let runs = &self.runs;
            let is_committed = |&(stream, first, last): &(u64, u64, u64)| {
                let of_stream = runs.get(&stream);
                let before = of_stream.and_then(|runs| runs.range(..=first).next_back());
                before.is_some_and(|(_, &end)| last <= end)
            };
            let kept = |open: &MadeFrom| {
                let mut runs = open
                    .kept
                    .iter()
                    .map(|run| (run.stream, run.first, run.last));
                !runs.all(|run| is_committed(&run))
            };
            self.open.retain(|open| kept(open));
        }
    }

    /// Adds positions to the disjoint runs of a stream, which do not touch.
    fn commit(&mut self, stream: u64, mut first: u64, mut last: u64) {
        let runs = self.runs.entry(stream).or_default();
        while let Some((&start, &end)) = runs.range(..=last.saturating_add(1)).next_back()
            && end.saturating_add(1) >= first
        {
            if start <= first && last <= end {
                return;
            }
            runs.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        runs.insert(first, last);
    }
}
