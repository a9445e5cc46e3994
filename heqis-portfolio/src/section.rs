//! One timestamp of all instruments, collected from predictions that come one by one.

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::{BarRef, MarketSnapshot, Prediction, QuantError, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PLACE: &str = "cross-section";

/// Which output of a model is the score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// The predicted return, or whatever else the model gives at this output.
    #[default]
    Return,
    /// The probability of up less that of down.
    Class,
}

impl ScoreKind {
    /// Returns the score of a prediction, not a number for an invalid one.
    #[must_use]
    pub fn of(self, prediction: &Prediction) -> f64 {
        let [down, _, up] = prediction.probabilities;
        match self {
            _ if !prediction.is_valid() => f64::NAN,
            Self::Return => prediction.predicted_return,
            Self::Class => up - down,
        }
    }
}

/// One instrument of a cross-section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The bar.
    pub bar: BarRef,
    /// The open, the reference and the limits of the day; [`MarketSnapshot::of_close`] where they are not known.
    pub snapshot: MarketSnapshot,
    /// What was predicted.
    pub prediction: Prediction,
    /// The score.
    pub score: f64,
}

/// The rows of one timestamp.
#[derive(Clone, Debug, PartialEq)]
pub struct Section<T = Row> {
    /// The number, from 1.
    pub number: u64,
    /// The timestamp, UTC nanoseconds.
    pub time_ns: i64,
    /// The rows, by symbol.
    pub rows: Vec<T>,
    /// The expected instruments that did not come, by symbol.
    pub missing: Vec<Symbol>,
    /// Whether the rows came after their cross-section was closed.
    pub is_late: bool,
}

/// When a cross-section is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SectionConfig {
    /// The instruments of each cross-section. Without it, those of the last `remember` ones are expected.
    pub symbols: Option<Vec<Symbol>>,
    /// For how many cross-sections an instrument that does not come is still expected.
    #[schemars(range(min = 1, max = 100_000))]
    pub remember: u32,
    /// An incomplete cross-section is closed once a prediction has come that is more than this number of seconds later.
    pub later_s: u64,
}

impl Default for SectionConfig {
    fn default() -> Self {
        Self {
            symbols: None,
            remember: 5,
            later_s: 0,
        }
    }
}

impl SectionConfig {
    /// Returns an error when a parameter is out of its range.
    ///
    /// # Errors
    /// [`QuantError::Value`] with the first parameter.
    pub fn validate(&self) -> Result<(), QuantError> {
        if !(1..=100_000).contains(&self.remember) {
            let rule = "must be in 1..=100000";
            return Err(QuantError::value(PLACE, "remember", rule, self.remember));
        }
        if self.later_s > 1_000_000_000 {
            let rule = "must be at most 1000000000";
            return Err(QuantError::value(PLACE, "later_s", rule, self.later_s));
        }
        if let Some(symbols) = &self.symbols {
            let mut seen = BTreeSet::new();
            if let Some(twice) = symbols.iter().find(|symbol| !seen.insert(**symbol)) {
                return Err(QuantError::value(PLACE, "symbols", "must differ", twice));
            }
            if symbols.is_empty() {
                return Err(QuantError::value(PLACE, "symbols", "must name one", "none"));
            }
        }
        Ok(())
    }
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Pushed<T> {
    /// It waits for the rest of its cross-section.
    Taken,
    /// Its cross-section is closed: a section of this row alone.
    Late(Section<T>),
    /// Its cross-section has a row of the instrument already.
    Twice(T),
}

/// A cross-section that is not closed.
#[derive(Clone, Debug)]
struct Open<T> {
    rows: BTreeMap<Symbol, T>,
    /// When the first row came, by the caller's clock.
    since_ns: i64,
}

/// Collects rows into cross-sections, which are closed in the order of their times: when complete, when a row has come that is
/// later by `later_s`, or when the caller's clock demands it.
///
/// ```
/// use heqis_portfolio::section::{Pushed, SectionCollector, SectionConfig};
/// use heqis_quant::Symbol;
///
/// let [a, b] = ["A", "B"].map(|name| Symbol::parse(name).unwrap());
/// let config = SectionConfig { symbols: Some(vec![a, b]), ..SectionConfig::default() };
/// let mut collector = SectionCollector::new(config)?;
/// assert_eq!(collector.push(100, a, "a1", 0), Pushed::Taken);
/// assert_eq!(collector.push(100, b, "b1", 0), Pushed::Taken);
/// assert_eq!(collector.next().unwrap().rows, ["a1", "b1"]);
/// collector.push(200, b, "b2", 0);
/// assert_eq!(collector.next(), None);
/// collector.push(300, a, "a3", 0);
/// assert_eq!(collector.next().unwrap().missing, [a]);
/// assert!(matches!(collector.push(200, a, "a2", 0), Pushed::Late(_)));
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SectionCollector<T> {
    config: SectionConfig,
    /// Number and time of the last closed one.
    last: Option<(u64, i64)>,
    /// The last cross-section of each instrument.
    seen: BTreeMap<Symbol, u64>,
    open: BTreeMap<i64, Open<T>>,
    /// The latest time that came.
    newest_ns: i64,
    /// Whether the last one is open again, because it was not recorded completely.
    is_again: bool,
}

impl<T> SectionCollector<T> {
    /// Makes an empty one.
    ///
    /// # Errors
    /// As [`SectionConfig::validate`].
    pub fn new(config: SectionConfig) -> Result<Self, QuantError> {
        config.validate()?;
        Ok(Self {
            config,
            last: None,
            seen: BTreeMap::new(),
            open: BTreeMap::new(),
            newest_ns: i64::MIN,
            is_again: false,
        })
    }

    /// Takes a row, at the time `now_ns` of the caller's clock.
    pub fn push(&mut self, time_ns: i64, symbol: Symbol, row: T, now_ns: i64) -> Pushed<T> {
        match self.last {
            Some((number, last_ns)) if time_ns <= last_ns => {
                self.seen.insert(symbol, number);
                Pushed::Late(Section {
                    number,
                    time_ns,
                    rows: vec![row],
                    missing: Vec::new(),
                    is_late: true,
                })
            }
            _ => self.take(time_ns, symbol, row, now_ns),
        }
    }

    /// Takes a row of the cross-section that is [open again](Self::set_again), or of a restored state.
    pub fn push_again(&mut self, time_ns: i64, symbol: Symbol, row: T, now_ns: i64) -> Pushed<T> {
        self.take(time_ns, symbol, row, now_ns)
    }

    fn take(&mut self, time_ns: i64, symbol: Symbol, row: T, now_ns: i64) -> Pushed<T> {
        self.newest_ns = self.newest_ns.max(time_ns);
        let open = self.open.entry(time_ns).or_insert_with(|| Open {
            rows: BTreeMap::new(),
            since_ns: now_ns,
        });
        match open.rows.entry(symbol) {
            std::collections::btree_map::Entry::Occupied(_) => Pushed::Twice(row),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(row);
                Pushed::Taken
            }
        }
    }

    /// Closes the oldest cross-section if it is complete or a later row demands it.
    #[allow(clippy::should_implement_trait, reason = "rows may come after a None")]
    pub fn next(&mut self) -> Option<Section<T>> {
        let (time_ns, open) = self.open.first_key_value()?;
        let later_ns = i64::try_from(self.config.later_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        let is_due = self.newest_ns > time_ns.saturating_add(later_ns);
        let is_complete = self.knows_all()
            && self
                .expected()
                .all(|symbol| open.rows.contains_key(&symbol));
        (!self.is_again && (is_due || is_complete)).then(|| self.close())?
    }

    /// Closes the oldest cross-section, whatever it has; `None` where none is open.
    pub fn close(&mut self) -> Option<Section<T>> {
        let (time_ns, open) = self.open.pop_first()?;
        let number = self.before().saturating_add(1);
        let missing = self
            .expected()
            .filter(|symbol| !open.rows.contains_key(symbol))
            .collect();
        self.is_again = false;
        self.last = Some((number, time_ns));
        for symbol in open.rows.keys() {
            self.seen.insert(*symbol, number);
        }
        let remember = u64::from(self.config.remember);
        self.seen
            .retain(|_, seen| seen.saturating_add(remember) > number);
        Some(Section {
            number,
            time_ns,
            rows: open.rows.into_values().collect(),
            missing,
            is_late: false,
        })
    }

    /// Returns when the first row of the oldest open cross-section came, by the caller's clock.
    #[must_use]
    pub fn waits_since_ns(&self) -> Option<i64> {
        self.open.first_key_value().map(|(_, open)| open.since_ns)
    }

    /// Returns how many rows wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.open.values().map(|open| open.rows.len()).sum()
    }

    /// Takes the record of a closed cross-section: it had a row of `symbol`. Records come in any order. `time_ns` is `None` for a
    /// row that came late, which does not say the time of the cross-section.
    pub fn recover(&mut self, number: u64, time_ns: Option<i64>, symbol: Symbol) {
        let (last, last_ns) = self.last.unwrap_or((0, i64::MIN));
        if number >= last {
            // The time of an earlier one is a bound for that of this one.
            let time_ns = time_ns.unwrap_or(i64::MIN).max(last_ns);
            self.last = Some((number, time_ns));
            self.newest_ns = self.newest_ns.max(time_ns);
        }
        let seen = self.seen.entry(symbol).or_default();
        *seen = number.max(*seen);
    }

    /// Says whether the last recorded cross-section is recorded only in part: it then takes rows by
    /// [`push_again`](Self::push_again), and [`close`](Self::close) closes it with the same number. Until then none is closed by
    /// itself.
    pub fn set_again(&mut self, is_again: bool) {
        self.is_again = is_again && self.last.is_some();
    }

    /// Drops the rows that wait for a recorded cross-section; of one that is recorded in part, those that are not `again` its own.
    pub fn forget_recorded(&mut self, again: impl Fn(&T) -> bool) {
        let Some((_, last_ns)) = self.last else {
            return;
        };
        let is_again = self.is_again;
        self.open.retain(|time_ns, open| {
            if *time_ns <= last_ns {
                open.rows.retain(|_, row| is_again && again(row));
            }
            !open.rows.is_empty()
        });
    }

    /// Returns number and time of the last closed one.
    #[must_use]
    pub fn last(&self) -> Option<(u64, i64)> {
        self.last
    }

    /// Returns the rows that wait, by time and symbol.
    pub fn rows(&self) -> impl Iterator<Item = &T> {
        self.open.values().flat_map(|open| open.rows.values())
    }

    /// Returns what [`restore`](Self::restore) takes: the last closed one, the last cross-section of each instrument, and the
    /// latest time that came.
    pub fn state(&self) -> (Option<(u64, i64)>, impl Iterator<Item = (Symbol, u64)>, i64) {
        let seen = self.seen.iter().map(|(symbol, number)| (*symbol, *number));
        (self.last, seen, self.newest_ns)
    }

    /// Restores a [`state`](Self::state); the rows that wait follow by [`push_again`](Self::push_again).
    pub fn restore(
        &mut self,
        last: Option<(u64, i64)>,
        seen: impl IntoIterator<Item = (Symbol, u64)>,
        newest_ns: i64,
    ) {
        (self.last, self.newest_ns) = (last, newest_ns);
        self.seen = seen.into_iter().collect();
    }

    /// The number of the last one before the one that is closed next.
    fn before(&self) -> u64 {
        let last = self.last.map_or(0, |(number, _)| number);
        last - u64::from(self.is_again && last > 0)
    }

    /// The instruments that are expected of the next cross-section, by symbol.
    fn expected(&self) -> impl Iterator<Item = Symbol> {
        let mut listed: Vec<Symbol> = self.config.symbols.iter().flatten().copied().collect();
        listed.sort_unstable();
        let is_listed = self.config.symbols.is_some();
        let (before, remember) = (self.before(), u64::from(self.config.remember));
        let is_expected = move |seen: u64| !is_listed && seen.saturating_add(remember) > before;
        let seen = self
            .seen
            .iter()
            .filter(move |(_, seen)| is_expected(**seen));
        listed.into_iter().chain(seen.map(|(symbol, _)| *symbol))
    }

    /// Whether the expected instruments are known.
    fn knows_all(&self) -> bool {
        self.config.symbols.is_some() || !self.seen.is_empty()
    }
}
