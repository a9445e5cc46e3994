//! The state of one series between two bars.

use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::date::Date;

/// What the cleaner knows of one series: its last good bar, and what happened since.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesState {
    pub(super) time_ns: i64,
    pub(super) date: Date,
    pub(super) close_units: i64,
    pub(super) close: f64,
    /// Open, high, low, close and volume of the last good bar, to recognize a copy.
    pub(super) values: [f64; 5],
    /// The last close of the day before `date`, the reference of the limits of `date`.
    pub(super) day_reference_units: Option<i64>,
    /// Trading days so far, counted only if the series starts on its listing day.
    pub(super) days_since_listing: Option<u32>,
    /// Whether `date` has no limits by [`CleanConfig::free_days`](super::CleanConfig::free_days).
    pub(super) free_day: bool,
    /// Whether rows without a trade were rejected since the last good bar.
    pub(super) silent: bool,
    /// Date and close of a bar after the last good one that was rejected for its price level.
    pub(super) doubtful: Option<(Date, i64)>,
    /// The time of the first traded bar that was rejected after the last good one.
    pub(super) lost_ns: Option<i64>,
    /// The close of the last such bar.
    pub(super) lost_close: Option<i64>,
}

impl SeriesState {
    /// The state after the first bar, whose close in price units is `close_units`.
    pub(super) fn new(bar: &Bar, close_units: i64) -> Self {
        Self {
            time_ns: bar.time_ns,
            date: bar.date,
            close_units,
            close: bar.close,
            values: values(bar),
            day_reference_units: None,
            days_since_listing: None,
            free_day: false,
            silent: false,
            doubtful: None,
            lost_ns: None,
            lost_close: None,
        }
    }

    /// Continues the series with a good bar.
    pub(super) fn advance(self, bar: &Bar, close_units: i64) -> Self {
        Self {
            day_reference_units: self.day_reference_units,
            days_since_listing: self.days_since_listing,
            free_day: self.free_day,
            ..Self::new(bar, close_units)
        }
    }

    /// Records that a traded bar is not passed; `close_units` is its close, `None` if that is no plausible price.
    pub(super) fn lose(&mut self, bar: &Bar, close_units: Option<i64>) {
        if bar.time_ns > self.time_ns {
            let first = self.lost_ns.map_or(bar.time_ns, |ns| ns.min(bar.time_ns));
            self.lost_ns = Some(first);
            self.lost_close = close_units;
        }
    }
}

/// Missing bars right before a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// The least number of missing trading days.
    pub(super) days: u32,
    /// Whether bars were there and could not be used, so that the hole is no suspension.
    pub(super) lost: bool,
}

/// Returns the numbers that a copy of a bar repeats.
pub(super) fn values(bar: &Bar) -> [f64; 5] {
    [bar.open, bar.high, bar.low, bar.close, bar.volume_shares]
}
