//! What has to be known of a journal to go on after it.

use std::collections::BTreeMap;

use super::{Identity, Line, Place, Record, StreamName};
use crate::Symbol;

/// The state at a place in a journal: what is committed, and the last decision of each instrument.
///
/// Its size is bounded by the number of gaps between committed positions and by the number of instruments, not by the
/// number of decisions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(super) decisions: u64,
    pub(super) closed: bool,
    pub(super) identity: Identity,
    /// First and last positions of runs, by stream.
    pub(super) runs: BTreeMap<u64, BTreeMap<u64, u64>>,
    pub(super) last: BTreeMap<Symbol, (Place, Record)>,
    /// The stream named last, by source.
    pub(super) sources: BTreeMap<String, StreamName>,
}

impl State {
    /// Decisions so far, over all segments.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Whether the last line is a closing one. The header of a segment changes nothing of it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What the newest header says of who wrote.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The committed positions as runs: stream, first and last position, in this order.
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

    /// The last decision of each instrument with its place, by instrument.
    #[must_use]
    pub fn last(&self) -> Vec<(Place, Record)> {
        self.last.values().copied().collect()
    }

    /// The stream of `source` that was named last.
    #[must_use]
    pub fn source(&self, source: &str) -> Option<&StreamName> {
        self.sources.get(source)
    }

    /// Takes the next line, which a [`Scanner`](super::Scanner) has checked.
    pub fn take(&mut self, line: &Line) {
        match line {
            Line::Header(header) => self.identity = header.identity.clone(),
            Line::Stream(name) => {
                self.closed = false;
                if !name.source.is_empty() {
                    self.sources.insert(name.source.clone(), name.clone());
                }
            }
            Line::Decision(place, record) => {
                self.closed = false;
                self.decisions = place.n;
                commit(self.runs.entry(place.stream).or_default(), place.position);
                self.last.insert(record.symbol, (*place, *record));
            }
            Line::Closing { .. } => self.closed = true,
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
