//! The decisions that the page lists: numbered as they come, each once, the oldest given up when there is no more room.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use heqis_quant::decision::{Carry, Stance, Verdict, VerdictReason};
use heqis_quant::{Date, Side, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tray::Tray;

/// One decision, with what is known of its way through the pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Stream and position of the source item that it derives from: the same item is not listed twice.
    pub origin: (u64, u64),
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price, CNY.
    pub close: f64,
    /// What to do.
    pub side: Side,
    /// How sure.
    pub confidence: f64,
    /// Why.
    pub reason: VerdictReason,
    /// Whether the instrument is in hand afterwards.
    pub stance: Stance,
    /// Expected return to the next close.
    pub predicted_return: f64,
    /// Probabilities of down, flat, up.
    pub probabilities: [f64; 3],
    /// When each stage took and gave the frame, in the order of the way; empty when nobody wrote it down.
    pub timings: Vec<StageTime>,
}

impl Decision {
    /// What would have been done had nothing refused it; differs from the side exactly where something did.
    #[must_use]
    pub fn wanted(&self) -> Side {
        let verdict = Verdict {
            side: self.side,
            confidence: self.confidence,
            reason: self.reason,
            stance: self.stance,
            carry: Carry::default(),
        };
        verdict.wanted()
    }
}

/// A stage's work on one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// Name in the topology.
    #[serde(with = "shared")]
    #[schemars(with = "String")]
    pub stage: Arc<str>,
    /// Microseconds from the birth of the bar at its source until the stage took the frame.
    pub enter_us: f64,
    /// Microseconds from the birth of the bar at its source until the stage was done with the frame.
    pub leave_us: f64,
}

/// A name that thousands of decisions share.
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

/// Which decisions are asked for; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Instrument.
    pub symbol: Option<Symbol>,
    /// Side, or only those that trade.
    pub side: Option<Wanted>,
    /// Whether something was wanted and refused.
    pub refused: Option<bool>,
    /// First day.
    pub from: Option<Date>,
    /// Last day.
    pub to: Option<Date>,
    /// Only those listed before this number.
    pub before: Option<u64>,
}

/// Which sides are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// To buy.
    Buy,
    /// To hold.
    Hold,
    /// To sell.
    Sell,
    /// To buy or to sell.
    Trade,
}

impl Wanted {
    fn holds(self, side: Side) -> bool {
        match self {
            Self::Buy => side == Side::Buy,
            Self::Hold => side == Side::Hold,
            Self::Sell => side == Side::Sell,
            Self::Trade => side != Side::Hold,
        }
    }
}

impl Filter {
    fn admits(&self, number: u64, decision: &Decision) -> bool {
        self.symbol.is_none_or(|symbol| symbol == decision.symbol)
            && self.side.is_none_or(|side| side.holds(decision.side))
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

/// The list. Shared between who fills it and who shows it.
#[derive(Debug)]
pub struct Decisions {
    /// Tells this list from the one of a process before it, whose numbers mean something else.
    epoch: u64,
    listed: Tray<Listed, Decision>,
}

#[derive(Debug)]
struct Listed {
    room: usize,
    /// Number of the next decision; the first one has 1.
    next: u64,
    kept: VecDeque<Arc<Decision>>,
    origins: HashSet<(u64, u64)>,
}

impl Listed {
    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    fn take(&mut self, decision: Decision) {
        if !self.origins.insert(decision.origin) {
            return;
        }
        if self.kept.len() == self.room
            && let Some(oldest) = self.kept.pop_front()
        {
            self.origins.remove(&oldest.origin);
        }
        self.kept.push_back(Arc::new(decision));
        self.next += 1;
    }
}

impl Decisions {
    /// An empty list that keeps the last `room` decisions, at least one. `epoch` tells it from lists of other
    /// processes, such as the time in nanoseconds.
    #[must_use]
    pub fn new(room: usize, epoch: u64) -> Self {
        let listed = Listed {
            room: room.max(1),
            next: 1,
            kept: VecDeque::new(),
            origins: HashSet::new(),
        };
        Self {
            epoch,
            listed: Tray::new(listed, Listed::take),
        }
    }

    /// Adds a decision, unless one of the same source item is kept.
    pub fn push(&self, decision: Decision) {
        self.listed.add(decision);
    }

    /// What tells this list from others.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of the last decision, 0 when there is none yet.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.listed.read().next - 1
    }

    /// The decision with this number, when it is still kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Arc<Decision>> {
        let listed = self.listed.read();
        let at = number.checked_sub(listed.first())?;
        listed.kept.get(usize::try_from(at).ok()?).cloned()
    }

    /// Everything behind `number`, oldest first, or `None` when that is more than `most` or no longer kept.
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

    /// The newest `most` decisions that `filter` admits, newest first, and whether there are more.
    #[must_use]
    pub fn query(&self, filter: &Filter, most: usize) -> (Vec<Numbered>, bool) {
        let listed = self.listed.read();
        let newest_first = (listed.first()..listed.next)
            .rev()
            .zip(listed.kept.iter().rev());
        let mut admitted = newest_first.filter(|(number, row)| filter.admits(*number, row));
        let rows = admitted
            .by_ref()
            .take(most)
            .map(|(number, row)| (number, row.clone()))
            .collect();
        (rows, admitted.next().is_some())
    }

    /// First day, last day and number of instruments of what is kept.
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
            reason: VerdictReason::BelowEnter,
            stance: Stance::Out,
            predicted_return: 0.0,
            probabilities: [0.2, 0.6, 0.2],
            timings: Vec::new(),
        })
    }

    proptest! {
        /// Against a plain list of everything that was ever added.
        #[test]
        fn a_reader_that_follows_the_numbers_misses_nothing_or_is_told(
            positions in prop::collection::vec(0u64..40, 0..80),
            room in 1usize..30,
            most in 1usize..30,
            has in 0u64..50,
        ) {
            let decisions = Decisions::new(room, 7);
            let mut added: Vec<u64> = Vec::new();
            for position in positions {
                // An item comes twice only while the list still knows it.
                let known = added.iter().rev().take(room).any(|&seen| seen == position);
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
                None => prop_assert!(missed.is_none_or(|missed| missed > most.min(room))),
            }
            for (number, position) in (1u64..).zip(&added) {
                let kept = added.len() as u64 - number < room as u64;
                prop_assert_eq!(decisions.get(number).map(|row| row.origin.1), kept.then_some(*position));
            }
            let (rows, more) = decisions.query(&Filter::default(), most);
            let newest: Vec<u64> = added.iter().rev().take(most.min(room)).copied().collect();
            prop_assert_eq!(rows.iter().map(|(_, row)| row.origin.1).collect::<Vec<_>>(), newest);
            prop_assert_eq!(more, added.len().min(room) > most);
        }
    }
}
