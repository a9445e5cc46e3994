//! The configuration of the cleaner.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::adjust::ExRight;
use crate::date::Date;
use crate::symbol::Symbol;

/// Trading minutes of a day.
pub(super) const DAY_MINUTES: u32 = 240;

/// What the cleaner knows about its instruments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanConfig {
    /// The stocks under special treatment (ST) on all days, whose limits differ.
    pub st_symbols: BTreeSet<Symbol>,
    /// Periods of special treatment, for series that reach back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub st_periods: BTreeMap<Symbol, Vec<StPeriod>>,
    /// First trading days, if known: a series that starts on its listing day has further days without limits.
    pub list_dates: BTreeMap<Symbol, Date>,
    /// Days on or after which the next traded day has no price limit: the first day of a delisting period, or of a resumed
    /// listing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub free_days: BTreeMap<Symbol, BTreeSet<Date>>,
    /// Known ex-rights. The reference price of a bar without one is computed from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ex_rights: Vec<ExRight>,
    /// The largest fall from the last close to an ex-right reference price, as a fraction in (0, 1). A deeper fall is
    /// rejected. The default of 0.75 admits a bonus of three shares for one.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub ex_right_max_drop: f64,
    /// Without a calendar, a hole of more than this many weekdays counts as a gap. The default of 10 is the longest
    /// exchange holiday so far (lunar new year 2000).
    pub holiday_weekdays: u32,
    /// The length of a bar in minutes, 1 to 240. With it, missing minutes count as a gap: those of the sessions 09:30 to
    /// 11:30 and 13:00 to 15:00 for Chinese instruments, and all minutes in a market that never closes. Without it only
    /// missing days do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = DAY_MINUTES))]
    pub bar_minutes: Option<u32>,
}

/// Days of special treatment (ST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StPeriod {
    /// The first day.
    pub from: Date,
    /// The last day, or `None` while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
}

impl StPeriod {
    /// Returns whether a day is in the period.
    #[must_use]
    pub fn holds(&self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }
}

/// Returns whether `date` is the first traded day on or after one of `days`. `before` is the last traded day before it.
#[must_use]
pub fn is_free_day(days: &BTreeSet<Date>, before: Option<Date>, date: Date) -> bool {
    match before {
        Some(before) => days
            .range(..=date)
            .next_back()
            .is_some_and(|day| before < *day),
        None => days.contains(&date),
    }
}

impl Default for CleanConfig {
    fn default() -> Self {
        Self {
            st_symbols: BTreeSet::new(),
            st_periods: BTreeMap::new(),
            list_dates: BTreeMap::new(),
            free_days: BTreeMap::new(),
            ex_rights: Vec::new(),
            ex_right_max_drop: 0.75,
            holiday_weekdays: 10,
            bar_minutes: None,
        }
    }
}

impl CleanConfig {
    /// Returns whether a stock is under special treatment on a day.
    #[must_use]
    pub fn is_st(&self, symbol: Symbol, date: Date) -> bool {
        let periods = self.st_periods.get(&symbol);
        self.st_symbols.contains(&symbol)
            || periods.is_some_and(|all| all.iter().any(|period| period.holds(date)))
    }

    /// Returns whether a traded day has no limits by [`CleanConfig::free_days`]. `before` is the last traded day before it,
    /// `None` if unknown.
    #[must_use]
    pub fn is_free_day(&self, symbol: Symbol, before: Option<Date>, date: Date) -> bool {
        let free = self.free_days.get(&symbol);
        free.is_some_and(|days| is_free_day(days, before, date))
    }
}
