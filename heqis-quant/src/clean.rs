//! Which bars can be believed. The cleaner passes a bar with its prices unchanged, with notes, or rejects it with a typed
//! reason; it never repairs, clamps or fills a price that was traded. The one thing it can add is the reference price of
//! a bar whose vendor gave none, where an ex-right is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::reject::Reject;
use crate::rules::{LimitRule, Listing, Markets, references};
use crate::{Bar, Board, Calendar, Date, ExRight, ExRights, Exchange, Marks, QuantError, Symbol};

/// Prices above this are taken for garbage; it keeps every product of cents and percent inside an `i64`.
const MAX_PRICE: f64 = 100_000_000.0;

/// What the cleaner has to know about its instruments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanConfig {
    /// The stocks under special treatment (ST) on all days, whose limits differ.
    pub st_symbols: BTreeSet<Symbol>,
    /// Periods of special treatment, for series that reach back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub st_periods: BTreeMap<Symbol, Vec<StPeriod>>,
    /// First trading days, where known: a series that starts on its listing day has free days after the first one.
    pub list_dates: BTreeMap<Symbol, Date>,
    /// Known ex-rights: the reference price of a bar without one follows from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ex_rights: Vec<ExRight>,
    /// How far below the last close an ex-right reference price may lie, as a fraction in (0, 1). A deeper fall is
    /// rejected. The default of 0.75 admits a bonus of three shares for one.
    pub ex_right_max_drop: f64,
    /// Without a calendar, a hole of more than this many weekdays counts as a gap. The default of 10 is the longest
    /// exchange holiday so far (lunar new year 2000).
    pub holiday_weekdays: u32,
    /// How many minutes a bar of a Chinese name lasts, 1 to 240: then missing minutes of the sessions 09:30 to 11:30 and
    /// 13:00 to 15:00 count as a gap too. Without it only missing days do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bar_minutes: Option<u32>,
}

/// Days of special treatment (ST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StPeriod {
    /// The first day.
    pub from: Date,
    /// The last day, or `None` when it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
}

impl Default for CleanConfig {
    fn default() -> Self {
        Self {
            st_symbols: BTreeSet::new(),
            st_periods: BTreeMap::new(),
            list_dates: BTreeMap::new(),
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
        let within =
            |period: &StPeriod| period.from <= date && period.to.is_none_or(|to| date <= to);
        let periods = self.st_periods.get(&symbol);
        self.st_symbols.contains(&symbol) || periods.is_some_and(|all| all.iter().any(within))
    }
}

/// What is known of one series.
#[derive(Clone, Copy, Debug)]
struct Series {
    time_ns: i64,
    date: Date,
    close_cents: i64,
    /// Open, high, low, close and volume of the last good bar, to know a copy.
    values: [f64; 5],
    /// The last close of the day before `date`, which the limits of `date` refer to.
    day_reference_cents: Option<i64>,
    /// Trading days passed so far, counted only when the series starts on its listing day.
    days_since_listing: Option<u32>,
    /// Whether rows without a trade were rejected since the last good bar.
    silent: bool,
    /// Date and close of a bar rejected for its level after the last good bar.
    doubtful: Option<(Date, i64)>,
}

/// Checks the bars of any number of series, each against its own past.
///
/// Prices are compared in integer cents, rounded to the nearest, so a vendor price that is off its tick by less than
/// half a cent is still judged by the limits of the exchange. Ex-right days that stay inside the limits cannot be seen
/// without the vendor's `pre_close` or a known event; the marks are a lower bound.
///
/// What it was told is shared between clones, so that a clone for each of many series is cheap.
#[derive(Clone, Debug)]
pub struct Cleaner {
    config: Arc<CleanConfig>,
    markets: Arc<Markets>,
    ex_rights: Arc<ExRights>,
    calendar: Option<Arc<Calendar>>,
    series: BTreeMap<Symbol, Series>,
}

impl Cleaner {
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

    /// Takes the reference price of a bar without one from what is known of ex-rights, instead of the configured events.
    #[must_use]
    pub fn with_ex_rights(mut self, ex_rights: Arc<ExRights>) -> Self {
        self.ex_rights = ex_rights;
        self
    }

    /// Counts missing days against a calendar instead of weekdays, and rejects bars of closed days, for Chinese names
    /// and the dates that the calendar covers.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = Some(Arc::new(calendar));
        self
    }

    /// Passes a bar with its marks, or rejects it. The first bar on or behind a known ex-right has its reference price in
    /// `pre_close` then, where the vendor gave none; nothing else of a bar changes.
    ///
    /// # Errors
    /// Returns the first reason, in the order of [`Reject::REASONS`], that the bar falls to. A reject is an expected
    /// outcome to be counted, not a failure of the cleaner.
    pub fn check(&mut self, mut bar: Bar) -> Result<Bar, Reject> {
        check_alone(&bar)?;
        let board = bar.symbol.board();
        let known = self.series.get_mut(&bar.symbol);
        if board != Board::Other && bar.volume_shares == 0.0 {
            if let Some(series) = known {
                series.silent = true;
            }
            return Err(Reject::NoTrade);
        }
        bar.marks = Marks::NONE;
        let closed = self.is_closed(&bar);
        let Some(series) = self.series.get(&bar.symbol) else {
            if closed {
                return Err(Reject::ClosedMarket);
            }
            bar.marks.insert(Marks::FIRST_BAR);
            let listed_today = self.config.list_dates.get(&bar.symbol) == Some(&bar.date);
            // The vendor's reference price of an IPO day is the issue price, which limits nothing.
            self.series.insert(
                bar.symbol,
                Series {
                    time_ns: bar.time_ns,
                    date: bar.date,
                    close_cents: cents(bar.close),
                    values: values(&bar),
                    day_reference_cents: None,
                    days_since_listing: listed_today.then_some(0),
                    silent: false,
                    doubtful: None,
                },
            );
            return Ok(bar);
        };
        match bar.time_ns.cmp(&series.time_ns) {
            std::cmp::Ordering::Less => return Err(Reject::OutOfOrder),
            std::cmp::Ordering::Equal => return Err(Reject::Duplicate),
            std::cmp::Ordering::Greater => {}
        }
        if closed {
            return Err(Reject::ClosedMarket);
        }
        let mut next = *series;
        let new_day = bar.date != next.date;
        let told = bar.pre_close.is_some();
        if new_day && bar.high > bar.low && next.values == values(&bar) {
            return Err(Reject::Repeated);
        }
        if new_day {
            next.day_reference_cents = Some(next.close_cents);
            next.days_since_listing = next.days_since_listing.map(|days| days.saturating_add(1));
            if self.missing_days(&bar, next.date) {
                bar.marks.insert(Marks::GAP);
            }
            if bar.pre_close.is_none()
                && let Some(reference) = self.ex_rights.reference_cents(
                    bar.symbol,
                    next.date,
                    next.close_cents,
                    bar.date,
                )
                && reference != next.close_cents
            {
                next.day_reference_cents = Some(reference);
                bar.pre_close = Some(reference as f64 / 100.0);
            }
        }
        if self.missing_minutes(&bar, &next) {
            bar.marks.insert(Marks::GAP);
        }
        if next.silent {
            bar.marks.insert(Marks::RESUMED);
        }
        if !self.is_free(&bar, &next) {
            let from_vendor = bar.pre_close.map(cents);
            if let Some(reference) = from_vendor.or(next.day_reference_cents)
                && let Err(reject) = self.check_limits(&mut bar, reference, told, next.doubtful)
            {
                if let Some(series) = self.series.get_mut(&bar.symbol) {
                    series.doubtful = Some((bar.date, cents(bar.close)));
                }
                return Err(reject);
            }
        }
        next.time_ns = bar.time_ns;
        next.date = bar.date;
        next.close_cents = cents(bar.close);
        next.values = values(&bar);
        next.silent = false;
        next.doubtful = None;
        if bar.marks.breaks_level() {
            // Later bars of this day stand on the new level too; its reference is not known, so they are not limited.
            next.day_reference_cents = None;
        }
        self.series.insert(bar.symbol, next);
        Ok(bar)
    }

    fn rule(&self, bar: &Bar) -> Option<&LimitRule> {
        let st = self.config.is_st(bar.symbol, bar.date);
        let listing = self.markets.of(bar.symbol).filter(Listing::is_in_cents)?;
        listing.limit(bar.date, st)
    }

    /// Returns whether the bar lies in the free days after an IPO.
    fn is_free(&self, bar: &Bar, series: &Series) -> bool {
        match (series.days_since_listing, self.rule(bar)) {
            (Some(days), Some(rule)) => days < rule.ipo_free_days,
            _ => false,
        }
    }

    /// Returns the calendar when it is the one of the bar's exchange: a foreign name has other holidays.
    fn calendar_of(&self, bar: &Bar) -> Option<&Calendar> {
        self.calendar
            .as_deref()
            .filter(|_| bar.symbol.exchange() != Exchange::Other)
    }

    fn missing_days(&self, bar: &Bar, since: Date) -> bool {
        match self
            .calendar_of(bar)
            .and_then(|calendar| calendar.between(since, bar.date))
        {
            Some(missing) => missing > 0,
            None => since.weekdays_until(bar.date) > self.config.holiday_weekdays,
        }
    }

    /// Returns whether minutes of trading are missing since the last bar, or before the first of a new day.
    fn missing_minutes(&self, bar: &Bar, before: &Series) -> bool {
        let Some(length) = self.config.bar_minutes else {
            return false;
        };
        let now = minutes_passed(bar.date, bar.time_ns);
        match (minutes_passed(before.date, before.time_ns), now) {
            _ if bar.symbol.exchange() == Exchange::Other => false,
            (last, now) if bar.date == before.date => now > last + length,
            (last, now) => last < DAY_MINUTES || now > length,
        }
    }

    fn is_closed(&self, bar: &Bar) -> bool {
        let weekend = bar.symbol.exchange() != Exchange::Other && bar.date.is_weekend();
        // A day between two covered days is covered itself.
        weekend
            || self.calendar_of(bar).is_some_and(|calendar| {
                calendar.between(bar.date, bar.date).is_some() && !calendar.contains(bar.date)
            })
    }

    fn check_limits(
        &self,
        bar: &mut Bar,
        reference_cents: i64,
        told: bool,
        doubtful: Option<(Date, i64)>,
    ) -> Result<(), Reject> {
        let Some(percent) = self.rule(bar).map(|rule| rule.percent) else {
            return Ok(());
        };
        let (low_cents, high_cents) = (cents(bar.low), cents(bar.high));
        let possible = references(low_cents, high_cents, percent, 1);
        let holds = |reference: i64| {
            possible.is_some_and(|(least, most)| least <= reference && reference <= most)
        };
        if holds(reference_cents) {
            return Ok(());
        }
        if bar.pre_close.is_none() {
            let floor = (1.0 - self.config.ex_right_max_drop) * reference_cents as f64;
            if possible.is_some_and(|(_, most)| most < reference_cents && most as f64 >= floor) {
                bar.marks.insert(Marks::EX_RIGHT_SUSPECTED);
                return Ok(());
            }
        }
        if !told && doubtful.is_some_and(|(date, close)| date < bar.date && holds(close)) {
            bar.marks.insert(Marks::LEVEL_RESET);
            // A known ex-right before the new level does not bridge the two.
            bar.pre_close = None;
            return Ok(());
        }
        Err(Reject::OutsideLimits {
            low_cents,
            high_cents,
            reference_cents,
            percent,
        })
    }
}

/// The checks that need nothing but the bar.
fn check_alone(bar: &Bar) -> Result<(), Reject> {
    let prices = [
        ("open", Some(bar.open)),
        ("high", Some(bar.high)),
        ("low", Some(bar.low)),
        ("close", Some(bar.close)),
        ("pre_close", bar.pre_close),
    ];
    let volumes = [
        ("volume_shares", Some(bar.volume_shares)),
        ("amount_cny", bar.amount_cny),
    ];
    for (field, value) in prices.into_iter().chain(volumes) {
        if value.is_some_and(|v| !v.is_finite()) {
            return Err(Reject::NotANumber { field });
        }
    }
    let given = prices
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)));
    for (field, value) in given.clone() {
        if value <= 0.0 {
            return Err(Reject::NonPositivePrice { field, value });
        }
    }
    for (field, value) in given {
        if value > MAX_PRICE {
            return Err(Reject::ImplausiblePrice { field, value });
        }
    }
    let (high, low) = (bar.high, bar.low);
    if high < low {
        return Err(Reject::HighBelowLow { high, low });
    }
    for (field, value) in [("open", bar.open), ("close", bar.close)] {
        if value < low || value > high {
            return Err(Reject::OpenOrCloseOutsideRange { field, value });
        }
    }
    for (field, value) in volumes {
        if let Some(value) = value.filter(|v| *v < 0.0) {
            return Err(Reject::NegativeVolume { field, value });
        }
    }
    Ok(())
}

/// Minutes of trading in a day.
const DAY_MINUTES: u32 = 240;

/// Returns how many minutes of trading of a day had passed at a time: 1 at 09:31, 120 from 11:30 to 13:00, 240 from 15:00.
fn minutes_passed(date: Date, time_ns: i64) -> u32 {
    let before_close = (date.close_time_ns() - time_ns).div_euclid(60_000_000_000);
    let left = match before_close {
        ..=0 => 0,
        minutes @ 1..=120 => minutes,
        121..=210 => 120,
        minutes => (minutes - 90).min(240),
    };
    DAY_MINUTES - u32::try_from(left).unwrap_or(DAY_MINUTES)
}

fn values(bar: &Bar) -> [f64; 5] {
    [bar.open, bar.high, bar.low, bar.close, bar.volume_shares]
}

/// Returns a checked price in cents, to the nearest. Prices are at most [`MAX_PRICE`], so the cast is exact.
fn cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}

#[cfg(test)]
mod tests;
