//! The decisions that the page lists: numbered in order of arrival, without duplicates, the oldest dropped beyond a capacity.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use heqis_quant::decision::{DecisionReason, Position};
use heqis_quant::{Date, Side, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inbox::NonBlockingInbox;

/// One decision, with its timings in the pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Stream and position of the source item that it derives from, of several items the newest; with instrument and time
    /// it identifies duplicates.
    pub origin: (u64, u64),
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price, CNY.
    pub close: f64,
    /// Buy, hold or sell.
    pub side: Side,
    /// Confidence.
    pub confidence: f64,
    /// Reason.
    pub reason: DecisionReason,
    /// Position after the decision.
    pub position: Position,
    /// Expected return to the next close.
    pub predicted_return: f64,
    /// Probabilities of down, flat, up.
    pub probabilities: [f64; 3],
    /// When each stage took and finished the frame, in pipeline order; empty where no timings were recorded.
    pub timings: Vec<StageTime>,
}

/// Origin, instrument and time: decisions that are made from several items may have the newest one in common.
type Identity = ((u64, u64), Symbol, i64);

impl Decision {
    fn identity(&self) -> Identity {
        (self.origin, self.symbol, self.time_ns)
    }

    /// Returns the side before filters; differs from the side exactly where a filter rejected it.
    #[must_use]
    pub fn wanted(&self) -> Side {
        self.reason.refused_side(self.position).unwrap_or(self.side)
    }
}

/// Times of one stage for one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// Name in the topology.
    #[serde(with = "shared")]
    #[schemars(with = "String")]
    pub stage: Arc<str>,
    /// Microseconds from the birth of the bar at its source until the stage took the frame.
    pub enter_us: f64,
    /// Microseconds from the birth of the bar at its source until the stage had processed the frame.
    pub leave_us: f64,
}

/// Serialisation of a name that thousands of decisions share.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// A filter of decisions; `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Instrument.
    pub symbol: Option<Symbol>,
    /// Side.
    pub side: Option<SideFilter>,
    /// Whether a buy or a sale was rejected by a filter.
    pub refused: Option<bool>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// Only decisions with a smaller number.
    pub before: Option<u64>,
}

/// A filter of sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SideFilter {
    /// Buy.
    Buy,
    /// Hold.
    Hold,
    /// Sell.
    Sell,
    /// Buy or sell.
    Trade,
}

impl SideFilter {
    fn matches(self, side: Side) -> bool {
        match self {
            Self::Buy => side == Side::Buy,
            Self::Hold => side == Side::Hold,
            Self::Sell => side == Side::Sell,
            Self::Trade => side != Side::Hold,
        }
    }
}

impl Filter {
    fn matches(&self, number: u64, decision: &Decision) -> bool {
        self.symbol.is_none_or(|symbol| symbol == decision.symbol)
            && self.side.is_none_or(|side| side.matches(decision.side))
            && self
                .refused
                .is_none_or(|refused| refused == (decision.wanted() != decision.side))
            && self.from.is_none_or(|from| from <= decision.date)
            && self.to.is_none_or(|to| decision.date <= to)
            && self.before.is_none_or(|before| number < before)
    }
}

/// A decision and its number.
pub type Numbered = (u64, Arc<Decision>);

/// The list, shared between the pipeline that fills it and the pages that show it.
#[derive(Debug)]
pub struct Decisions {
    /// Distinguishes this list from that of an earlier process, whose numbers differ.
    epoch: u64,
    listed: NonBlockingInbox<Listed, Decision>,
}

#[derive(Debug)]
struct Listed {
    capacity: usize,
    /// Number of the next decision; the first one has 1.
    next: u64,
    kept: VecDeque<Arc<Decision>>,
    known: HashSet<Identity>,
}

impl Listed {
    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    fn push(&mut self, decision: Decision) {
        if !self.known.insert(decision.identity()) {
            return;
        }
        if self.kept.len() == self.capacity
            && let Some(oldest) = self.kept.pop_front()
        {
            self.known.remove(&oldest.identity());
        }
        self.kept.push_back(Arc::new(decision));
        self.next += 1;
    }
}

impl Decisions {
    /// Returns an empty list of the last `capacity` decisions, at least one. `epoch` distinguishes it from the lists of other
    /// processes; the start time in nanoseconds serves.
    #[must_use]
    pub fn new(capacity: usize, epoch: u64) -> Self {
        let listed = Listed {
            capacity: capacity.max(1),
            next: 1,
            kept: VecDeque::new(),
            known: HashSet::new(),
        };
        Self {
            epoch,
            listed: NonBlockingInbox::new(listed, Listed::push),
        }
    }

    /// Adds a decision, unless one of the same source item is in the list.
    pub fn push(&self, decision: Decision) {
        self.listed.push(decision);
    }

    /// Returns the epoch of the list.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the number of the last decision, 0 for an empty list.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.listed.read().next - 1
    }

    /// Returns the decision with this number, `None` when it is not kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Arc<Decision>> {
        let listed = self.listed.read();
        let at = number.checked_sub(listed.first())?;
        listed.kept.get(usize::try_from(at).ok()?).cloned()
    }

    /// Returns the decisions after `number`, oldest first, or `None` when there are more than `most` or some are dropped.
    #[must_use]
    pub fn after(&self, number: u64, most: usize) -> Option<Vec<Numbered>> {
        let listed = self.listed.read();
        let missing = (listed.next - 1).checked_sub(number)?;
        let missing = usize::try_from(missing).ok()?;
        if missing > most || missing > listed.kept.len() {
            return None;
        }
        let rows = listed.kept.iter().skip(listed.kept.len() - missing);
        Some((number + 1..).zip(rows.cloned()).collect())
    }

    /// Returns the newest `most` decisions that match `filter`, newest first, and whether there are more.
    #[must_use]
    pub fn query(&self, filter: &Filter, most: usize) -> (Vec<Numbered>, bool) {
        let listed = self.listed.read();
        let newest_first = (listed.first()..listed.next)
            .rev()
            .zip(listed.kept.iter().rev());
        let mut matching = newest_first.filter(|(number, row)| filter.matches(*number, row));
        let rows = matching
            .by_ref()
            .take(most)
            .map(|(number, row)| (number, row.clone()))
            .collect();
        (rows, matching.next().is_some())
    }

    /// Returns the first day, the last day and the number of instruments of the list.
    #[must_use]
    pub fn extent(&self) -> (Option<Date>, Option<Date>, usize) {
        let listed = self.listed.read();
        let days = || listed.kept.iter().map(|row| row.date);
        let symbols: HashSet<Symbol> = listed.kept.iter().map(|row| row.symbol).collect();
        (days().min(), days().max(), symbols.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decision(position: u64) -> Option<Decision> {
        let date = Date::new(2024, 1, 2).ok()?;
        Some(Decision {
            origin: (1, position),
            symbol: Symbol::parse("600000.SH").ok()?,
            date,
            time_ns: date.close_time_ns(),
            close: position as f64,
            side: Side::Hold,
            confidence: 0.5,
            reason: DecisionReason::BelowEnter,
            position: Position::Flat,
            predicted_return: 0.0,
            probabilities: [0.2, 0.6, 0.2],
            timings: Vec::new(),
        })
    }

    proptest! {
        /// Compared with a plain list of all decisions ever added.
        #[test]
        fn a_reader_that_follows_the_numbers_gets_every_decision_or_a_refusal(
            positions in prop::collection::vec(0u64..40, 0..80),
            capacity in 1usize..30,
            most in 1usize..30,
            has in 0u64..50,
        ) {
            let decisions = Decisions::new(capacity, 7);
            let mut added: Vec<u64> = Vec::new();
            for position in positions {
                // A source item is a duplicate only while the list holds it.
                let known = added.iter().rev().take(capacity).any(|&added| added == position);
                if let Some(decision) = decision(position) {
                    decisions.push(decision);
                }
                added.extend((!known).then_some(position));
            }
            prop_assert_eq!(decisions.last(), added.len() as u64);
            let missed = added.len().checked_sub(has as usize);
            match decisions.after(has, most) {
                Some(rows) => {
                    let expected: Vec<(u64, u64)> = (has + 1..).zip(added[has as usize..].iter().copied()).collect();
                    let got: Vec<(u64, u64)> = rows.iter().map(|(n, row)| (*n, row.origin.1)).collect();
                    prop_assert_eq!(got, expected);
                }
                None => prop_assert!(missed.is_none_or(|missed| missed > most.min(capacity))),
            }
            for (number, position) in (1u64..).zip(&added) {
                let kept = added.len() as u64 - number < capacity as u64;
                prop_assert_eq!(decisions.get(number).map(|row| row.origin.1), kept.then_some(*position));
            }
            let (rows, more) = decisions.query(&Filter::default(), most);
            let newest: Vec<u64> = added.iter().rev().take(most.min(capacity)).copied().collect();
            prop_assert_eq!(rows.iter().map(|(_, row)| row.origin.1).collect::<Vec<_>>(), newest);
            prop_assert_eq!(more, added.len().min(capacity) > most);
        }
    }
}
