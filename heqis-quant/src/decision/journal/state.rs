//! The state of a journal from which its writer continues.

use std::collections::BTreeMap;

use super::{EntryId, Identity, JournalLine, StreamName};
use crate::decision::Decision;
use crate::symbol::Symbol;

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
        self.last.values().copied().collect()
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
                commit(self.runs.entry(id.stream).or_default(), id.position);
                self.last.insert(decision.symbol, (*id, *decision));
            }
            JournalLine::Closing { .. } => {}
        }
    }
}

/// Adds a position to disjoint runs that do not touch.
fn commit(runs: &mut BTreeMap<u64, u64>, position: u64) {
    let before = runs.range(..=position).next_back().map(|(&a, &b)| (a, b));
    let first = match before {
        Some((_, last)) if position <= last => return,
        Some((first, last)) if last.checked_add(1) == Some(position) => first,
        _ => position,
    };
    let after = position.checked_add(1).and_then(|next| runs.remove(&next));
    runs.insert(first, after.unwrap_or(position));
}
