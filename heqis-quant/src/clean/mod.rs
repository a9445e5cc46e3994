//! Checks of bars. The cleaner passes a bar with its prices unchanged and with marks, or rejects it with a typed reason.
//! It never repairs, clamps or fills a traded price. The only number it can add is the reference price of a bar whose
//! vendor gave none, if an ex-right is known.
//!
//! **Holes.** If bars were rejected or are missing, the reference price of the next bar is the close of a bar that is not
//! there. It still decides on the limits, but not on the price level: unless prices could not have moved that far, the bar
//! is marked [`Marks::HOLE`], and its move is measured from the last good bar.
//!
//! **Adjusted prices** ([`Marks::ADJUSTED`]) are checked in returns: a move may exceed the limit by what the rounding of
//! the true and of the adjusted price allows.

mod config;
mod missing;
mod plausible;
mod rules;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::reject::Reject;
pub use config::{CleanConfig, StPeriod, is_free_day};

use crate::adjust::ExRights;
use crate::bar::{Bar, Marks};
use crate::calendar::Calendar;
use crate::error::QuantError;
use crate::rules::{Limits, Markets};
use crate::symbol::Symbol;
use config::DAY_MINUTES;
use plausible::{check_alone, check_mean_price};
use rules::{BarRules, moved};
use series::{Hole, SeriesState, values};

/// Without a vendor's reference price, a hole of more trading days than this is taken for a suspension.
const HOLE_DAYS: u32 = 5;

/// Checks the bars of any number of series, each against its own past.
///
/// Prices are compared as whole price units of their market (cents for stocks), rounded to the nearest, so the limits of
/// the exchange apply to a vendor's price that is off its tick by less than half a cent. Ex-right days that stay inside the
/// limits cannot be detected without the vendor's `pre_close` or a known event; the marks are a lower bound.
///
/// Configuration and rules are shared between clones, so that a clone for each of many series is cheap.
///
/// ```
/// use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Marks, QuantError, Reject, Symbol};
///
/// let date = Date::parse("2024-01-02")?;
/// let bar = Bar {
///     symbol: Symbol::parse("600000.SH")?,
///     time_ns: date.close_time_ns(),
///     date,
///     open: 6.63,
///     high: 6.68,
///     low: 6.61,
///     close: 6.62,
///     pre_close: None,
///     volume_shares: 17_000_000.0,
///     amount_cny: None,
///     marks: Marks::NONE,
/// };
/// let mut cleaner = Cleaner::new(CleanConfig::default())?;
/// assert_eq!(cleaner.check(bar).map(|bar| bar.marks), Ok(Marks::FIRST_BAR));
/// assert_eq!(cleaner.check(bar), Err(Reject::Duplicate));
///
/// // The next day may trade up to 6.62 + 10 %, which is 7.28.
/// let date = Date::parse("2024-01-03")?;
/// let beyond = Bar { date, time_ns: date.close_time_ns(), high: 7.30, ..bar };
/// let reject = cleaner.check(beyond).unwrap_err();
/// assert_eq!(reject.to_string(), "outside_limits: 6.61 to 7.3 against 10 percent of 6.62");
/// # Ok::<(), QuantError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cleaner {
    config: Arc<CleanConfig>,
    markets: Arc<Markets>,
    ex_rights: Arc<ExRights>,
    calendar: Option<Arc<Calendar>>,
    series: BTreeMap<Symbol, SeriesState>,
}

/// The state of a cleaner, series by series. A cleaner of the same configuration that restores it continues identically.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CleanState(BTreeMap<Symbol, SeriesState>);

impl Cleaner {
    /// Returns the state of each series.
    #[must_use]
    pub fn state(&self) -> CleanState {
        CleanState(self.series.clone())
    }

    /// Restores the state of a cleaner of the same configuration.
    pub fn restore(&mut self, state: CleanState) {
        self.series = state.0;
    }

    /// Takes the state of one series out, for a cleaner elsewhere; empty where the symbol is unknown.
    pub fn take(&mut self, symbol: Symbol) -> CleanState {
        CleanState(self.series.remove_entry(&symbol).into_iter().collect())
    }

    /// Adds series that this cleaner does not know yet.
    ///
    /// # Errors
    /// The state, when it knows one of them.
    pub fn put(&mut self, state: CleanState) -> Result<(), CleanState> {
        if state
            .0
            .keys()
            .any(|symbol| self.series.contains_key(symbol))
        {
            return Err(state);
        }
        self.series.extend(state.0);
        Ok(())
    }

    /// Makes a cleaner with the market rules of this crate and no calendar.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a configuration value is out of its range.
    pub fn new(config: CleanConfig) -> Result<Self, QuantError> {
        let drop = config.ex_right_max_drop;
        if !(drop > 0.0 && drop < 1.0) {
            return Err(QuantError::value(
                "clean",
                "ex_right_max_drop",
                "must lie between 0 and 1",
                drop,
            ));
        }
        if let Some(minutes) = config
            .bar_minutes
            .filter(|n| !(1..=DAY_MINUTES).contains(n))
        {
            let rule = format!("must lie in 1..={DAY_MINUTES}");
            return Err(QuantError::value("clean", "bar_minutes", rule, minutes));
        }
        for event in &config.ex_rights {
            event.check()?;
        }
        let ex_rights = match config.ex_rights.as_slice() {
            [] => ExRights::new(),
            events => ExRights::new().with_events(events.iter().copied()),
        };
        Ok(Self {
            config: Arc::new(config),
            markets: Arc::new(Markets::shipped()?),
            ex_rights: Arc::new(ex_rights),
            calendar: None,
            series: BTreeMap::new(),
        })
    }

    /// Computes the reference price of a bar without one from these ex-rights instead of the configured events.
    #[must_use]
    pub fn with_ex_rights(mut self, ex_rights: Arc<ExRights>) -> Self {
        self.ex_rights = ex_rights;
        self
    }

    /// Applies the rules of these markets instead of the shipped ones.
    #[must_use]
    pub fn with_markets(mut self, markets: Arc<Markets>) -> Self {
        self.markets = markets;
        self
    }

    /// Counts missing days by a calendar instead of by weekdays, and rejects bars of closed days, for Chinese instruments and
    /// the dates that the calendar covers.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = Some(Arc::new(calendar));
        self
    }

    /// Passes a bar with its marks, or rejects it. If the vendor gave no reference price, or a hole makes it useless, the
    /// first bar on or after a known ex-right gets one in `pre_close`; no other number of a bar changes. The marks that a
    /// table gave are kept, except [`Marks::HOLE`], which reports that rows right before the bar could not be read.
    ///
    /// # Errors
    /// Returns the first reason that applies, in the order of [`Reject::REASONS`]. A reject is an expected outcome to be
    /// counted, not a failure of the cleaner.
    pub fn check(&mut self, bar: Bar) -> Result<Bar, Reject> {
        let judged = self.judge(bar);
        if let Err(reject) = &judged
            && reject.loses_a_bar()
            && let Some(series) = self.series.get_mut(&bar.symbol)
        {
            let rules = BarRules::of(&self.markets, &self.config, &bar);
            series.lose(&bar, rules.plausible_close(&bar));
        }
        judged
    }

    fn judge(&mut self, mut bar: Bar) -> Result<Bar, Reject> {
        check_alone(&bar)?;
        let markets = Arc::clone(&self.markets);
        let rules = BarRules::of(&markets, &self.config, &bar);
        if rules.is_traded_in_china {
            // Some vendors fill the days of a suspension with rows of a volume near zero.
            if bar.volume_shares < 1.0 {
                if let Some(series) = self.series.get_mut(&bar.symbol) {
                    // If the prices of such a row moved, its volume is wrong and the bar did trade.
                    let close = rules.units(bar.close);
                    let stands = |before: f64| rules.units(before) == close;
                    let stood = close == series.close_units || bar.pre_close.is_some_and(stands);
                    match bar.high > bar.low || !stood {
                        true => series.lose(&bar, rules.plausible_close(&bar)),
                        false => series.silent = true,
                    }
                }
                return Err(Reject::NoTrade);
            }
            check_mean_price(&bar)?;
            rules.check_session(&bar)?;
        }
        let lost_before = bar.marks.contains(Marks::HOLE);
        bar.marks = bar.marks.and(Marks::FROM_TABLE);
        let closed = self.is_closed(&bar, &rules);
        let Some(series) = self.series.get(&bar.symbol) else {
            if closed {
                return Err(Reject::ClosedMarket);
            }
            bar.marks.insert(Marks::FIRST_BAR);
            let listed_today = self.config.list_dates.get(&bar.symbol) == Some(&bar.date);
            // The vendor's reference price of an IPO day is the issue price, to which no limit refers.
            self.series.insert(
                bar.symbol,
                SeriesState {
                    days_since_listing: listed_today.then_some(0),
                    free_day: self.config.is_free_day(bar.symbol, None, bar.date),
                    ..SeriesState::new(&bar, rules.units(bar.close))
                },
            );
            return Ok(bar);
        };
        match bar.time_ns.cmp(&series.time_ns) {
            std::cmp::Ordering::Less => return Err(Reject::OutOfOrder),
            std::cmp::Ordering::Equal if series.values == values(&bar) => {
                return Err(Reject::Duplicate);
            }
            std::cmp::Ordering::Equal => return Err(Reject::Contradiction),
            std::cmp::Ordering::Greater => {}
        }
        if closed {
            return Err(Reject::ClosedMarket);
        }
        let mut next = *series;
        if lost_before {
            next.lost_ns = Some(next.time_ns);
        }
        let new_day = bar.date != next.date;
        let has_reference = bar.pre_close.is_some();
        if new_day && bar.high > bar.low && next.values == values(&bar) {
            return Err(Reject::Repeated);
        }
        let hole = self.hole(&bar, &next, &rules);
        if hole.is_some_and(|hole| hole.lost) {
            bar.marks.insert(Marks::GAP);
        }
        let mut known_reference = None;
        if new_day {
            next.day_reference_units = Some(next.close_units);
            next.free_day = self
                .config
                .is_free_day(bar.symbol, Some(next.date), bar.date);
            next.days_since_listing = next.days_since_listing.map(|days| days.saturating_add(1));
            if self.missing_days(&bar, next.date, &rules) {
                bar.marks.insert(Marks::GAP);
            }
            // Only stocks, whose prices are in cents, have events and factors.
            known_reference = self
                .ex_rights
                .reference_cents(bar.symbol, next.date, next.close_units, bar.date)
                .filter(|reference| *reference != next.close_units && rules.per_price == 100.0);
            if let Some(reference) = known_reference
                && !has_reference
                && !bar.marks.contains(Marks::ADJUSTED)
            {
                next.day_reference_units = Some(reference);
                bar.pre_close = Some(reference as f64 / 100.0);
            }
        }
        if self.missing_minutes(&bar, &next, &rules) {
            bar.marks.insert(Marks::GAP);
        }
        if next.silent {
            bar.marks.insert(Marks::RESUMED);
        }
        if !rules.is_free(&next) {
            let judged = match bar.marks.contains(Marks::ADJUSTED) {
                true => rules.check_adjusted(&mut bar, &next, hole),
                false => {
                    let given = bar.pre_close.map(|price| rules.units(price));
                    match given.or(next.day_reference_units) {
                        Some(reference) => self.check_limits(
                            &mut bar,
                            &rules,
                            reference,
                            has_reference,
                            &next,
                            hole,
                        ),
                        None => Ok(()),
                    }
                }
            };
            if let Err(reject) = judged {
                if let Some(series) = self.series.get_mut(&bar.symbol) {
                    series.doubtful = Some((bar.date, rules.units(bar.close)));
                }
                return Err(reject);
            }
        }
        if let Some(hole) = hole.filter(|_| new_day)
            && has_reference
            && !bar.marks.contains(Marks::ADJUSTED)
            && let Some(given) = bar.pre_close
            && rules.units(given) != next.close_units
        {
            match known_reference {
                Some(reference) => bar.pre_close = Some(reference as f64 / 100.0),
                None => {
                    let given_units = rules.units(given);
                    let reached = |to: i64| rules.reaches(next.close_units, to, hole.days);
                    match next.lost_close {
                        // The reference is the close of the rejected bar.
                        Some(lost) if lost == given_units => bar.marks.insert(Marks::HOLE),
                        _ if reached(given_units) => bar.marks.insert(Marks::HOLE),
                        // An ex-right after the rejected bar: scales the last close as it scaled that bar's close.
                        Some(lost) if reached(lost) => {
                            bar.pre_close =
                                Some(next.close * given / (lost as f64 / rules.per_price));
                        }
                        _ => {}
                    }
                }
            }
        } else if hole.is_some_and(|hole| hole.lost) && !has_reference && !bar.marks.breaks_level()
        {
            bar.marks.insert(Marks::HOLE);
        }
        next = next.advance(&bar, rules.units(bar.close));
        if bar.marks.breaks_level() {
            // The reference of the new level is unknown, so later bars of this day are not checked against limits.
            next.day_reference_units = None;
        }
        self.series.insert(bar.symbol, next);
        Ok(bar)
    }

    fn check_limits(
        &self,
        bar: &mut Bar,
        rules: &BarRules<'_>,
        reference: i64,
        has_reference: bool,
        before: &SeriesState,
        hole: Option<Hole>,
    ) -> Result<(), Reject> {
        let (Some(listing), Some(rule)) = (rules.listing, rules.rule) else {
            return Ok(());
        };
        let (low, high) = (rules.units(bar.low), rules.units(bar.high));
        let possible = listing.references(bar.date, rules.st, low, high);
        let holds = |reference: i64| {
            possible.is_some_and(|(least, most)| least <= reference && reference <= most)
        };
        if holds(reference) {
            return Ok(());
        }
        // Missing bars may have moved the reference. A long hole is a suspension, which does not.
        if let Some(hole) =
            hole.filter(|hole| !has_reference && (hole.lost || hole.days <= HOLE_DAYS))
            && let Some((least, most)) = possible
        {
            let (lowest, highest) = moved(reference, rule.percent, hole.days);
            if least <= highest && lowest <= most {
                bar.marks.insert(Marks::GAP);
                bar.marks.insert(Marks::HOLE);
                return Ok(());
            }
        }
        // One tick beyond a limit is the vendor's rounding, or that of the exchange before it rounded half up.
        let tick = listing.tick(bar.date);
        if let Ok(Limits::Band { up, down }) = listing.limits(bar.date, rules.st, reference)
            && high <= up + tick
            && low >= down - tick
        {
            bar.marks.insert(Marks::BEYOND_LIMIT);
            return Ok(());
        }
        if bar.pre_close.is_none() {
            let floor = (1.0 - self.config.ex_right_max_drop) * reference as f64;
            if possible.is_some_and(|(_, most)| most < reference && most as f64 >= floor) {
                bar.marks.insert(Marks::EX_RIGHT_SUSPECTED);
                return Ok(());
            }
        }
        let doubtful = before.doubtful;
        if !has_reference && doubtful.is_some_and(|(date, close)| date < bar.date && holds(close)) {
            bar.marks.insert(Marks::LEVEL_RESET);
            // A known ex-right before the new level does not bridge the two.
            bar.pre_close = None;
            return Ok(());
        }
        Err(rules.outside(bar, reference, rule.percent))
    }
}
