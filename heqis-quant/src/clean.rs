//! Which bars can be believed. The cleaner passes a bar with its prices unchanged, with notes, or rejects it with a typed
//! reason; it never repairs, clamps or fills a price that was traded. The one thing it can add is the reference price of
//! a bar whose vendor gave none, where an ex-right is known.
//!
//! **Holes.** Where bars were rejected or are missing, the next bar's reference price is the close of a bar that is not
//! there. It still decides over the limits, but not over the level: unless the reference lies so far off that prices could
//! not have moved there, the bar is marked [`Marks::HOLE`] and its move is the one from the last bar that is there.
//!
//! **Adjusted prices** ([`Marks::ADJUSTED`]) are judged in returns: a move may exceed the limit by what the rounding of
//! the true and of the adjusted price allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::reject::Reject;
use crate::rules::{Days, LimitRule, Limits, Listing, Markets};
use crate::{Bar, Calendar, Date, ExRight, ExRights, Exchange, Marks, QuantError, Symbol};

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
    /// Days from which on the next traded day has no price limit: the first of a delisting period, or of a listing that
    /// resumes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub free_days: BTreeMap<Symbol, BTreeSet<Date>>,
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
    /// 13:00 to 15:00 count as a gap too, and of a market that never closes all missing minutes. Without it only missing
    /// days do.
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

impl StPeriod {
    /// Returns whether a day lies in the period.
    #[must_use]
    pub fn holds(&self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }
}

/// Returns whether `date` is the first traded day from one of `days` on, when the last one was `before`.
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

    /// Returns whether a traded day is one of [`CleanConfig::free_days`]; `before` is the last traded day before it, `None`
    /// when none is known.
    #[must_use]
    pub fn is_free_day(&self, symbol: Symbol, before: Option<Date>, date: Date) -> bool {
        let free = self.free_days.get(&symbol);
        free.is_some_and(|days| is_free_day(days, before, date))
    }
}

/// What is known of one series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    time_ns: i64,
    date: Date,
    close_units: i64,
    close: f64,
    /// Open, high, low, close and volume of the last good bar, to know a copy.
    values: [f64; 5],
    /// The last close of the day before `date`, which the limits of `date` refer to.
    day_reference_units: Option<i64>,
    /// Trading days passed so far, counted only when the series starts on its listing day.
    days_since_listing: Option<u32>,
    /// Whether `date` is one of the configured free days.
    free_day: bool,
    /// Whether rows without a trade were rejected since the last good bar.
    silent: bool,
    /// Date and close of a bar rejected for its level after the last good bar.
    doubtful: Option<(Date, i64)>,
    /// The time of the first bar that was rejected after the last good one, of those that traded.
    lost_ns: Option<i64>,
    /// The close of the last of them.
    lost_close: Option<i64>,
}

impl Series {
    /// Notes that a bar that traded is not passed.
    fn lose(&mut self, bar: &Bar, ground: &Ground<'_>) {
        if bar.time_ns > self.time_ns {
            let first = self.lost_ns.map_or(bar.time_ns, |ns| ns.min(bar.time_ns));
            self.lost_ns = Some(first);
            let is_price = (0.0..=MAX_PRICE).contains(&bar.close) && bar.close > 0.0;
            self.lost_close = is_price.then(|| ground.units(bar.close));
        }
    }
}

/// What stands behind a bar that bars are missing before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    /// At least so many days of trading are missing.
    days: u32,
    /// Whether bars were there and could not be used, so that the hole is no suspension.
    lost: bool,
}

/// A hole of more trading days than this is taken for a suspension where the vendor gives no reference price.
const HOLE_DAYS: u32 = 5;
/// Prices that are adjusted and rounded to a cent may miss a limit by so much, in CNY ...
const ADJUSTED_SLACK_CNY: f64 = 0.0105;
/// ... and so much of the price, since the true limit was rounded to a cent of a price of at least 1 CNY.
const ADJUSTED_SLACK: f64 = 0.005;
/// Volumes above this many shares are taken for garbage; no instrument trades a thousandth of it in a day.
const MAX_VOLUME: f64 = 1e15;
/// The mean price of a day, amount over volume, may leave its bar by this factor: trades outside of the session, rounded
/// amounts. The next wrong unit is a factor of ten away.
const MEAN_PRICE_FACTOR: f64 = 2.0;

/// Checks the bars of any number of series, each against its own past.
///
/// Prices are compared as whole units of their market (cents for stocks), rounded to the nearest, so a vendor price that is off its tick by less than
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

/// What a cleaner remembers of each series. It serialises, and a cleaner of the same configuration continues with the same
/// judgement after a restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CleanState(BTreeMap<Symbol, Series>);

impl Cleaner {
    /// Returns what is remembered of each series.
    #[must_use]
    pub fn state(&self) -> CleanState {
        CleanState(self.series.clone())
    }

    /// Takes up what a cleaner of the same configuration remembered.
    pub fn restore(&mut self, state: CleanState) {
        self.series = state.0;
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

    /// Takes the reference price of a bar without one from what is known of ex-rights, instead of the configured events.
    #[must_use]
    pub fn with_ex_rights(mut self, ex_rights: Arc<ExRights>) -> Self {
        self.ex_rights = ex_rights;
        self
    }

    /// Judges by the rules of these markets instead of those of this crate.
    #[must_use]
    pub fn with_markets(mut self, markets: Arc<Markets>) -> Self {
        self.markets = markets;
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
    /// `pre_close` then, where the vendor gave none or a hole hides it; nothing else of a bar changes. What the table says
    /// of a bar stays in its marks; [`Marks::HOLE`] in a bar that comes in says that rows right before it could not be
    /// read.
    ///
    /// # Errors
    /// Returns the first reason, in the order of [`Reject::REASONS`], that the bar falls to. A reject is an expected
    /// outcome to be counted, not a failure of the cleaner.
    pub fn check(&mut self, bar: Bar) -> Result<Bar, Reject> {
        let judged = self.judge(bar);
        if let Err(reject) = &judged
            && reject.loses_a_bar()
            && let Some(series) = self.series.get_mut(&bar.symbol)
        {
            series.lose(&bar, &Ground::of(&self.markets, &self.config, &bar));
        }
        judged
    }

    fn judge(&mut self, mut bar: Bar) -> Result<Bar, Reject> {
        check_alone(&bar)?;
        let markets = Arc::clone(&self.markets);
        let ground = Ground::of(&markets, &self.config, &bar);
        if ground.is_traded_in_china {
            // Some vendors fill the days of a suspension with a volume that is hardly more than zero.
            if bar.volume_shares < 1.0 {
                if let Some(series) = self.series.get_mut(&bar.symbol) {
                    // Prices of a day without a trade stand still; of a row whose prices moved, the volume is wrong.
                    let close = ground.units(bar.close);
                    let stands = |before: f64| ground.units(before) == close;
                    let stood = close == series.close_units || bar.pre_close.is_some_and(stands);
                    match bar.high > bar.low || !stood {
                        true => series.lose(&bar, &ground),
                        false => series.silent = true,
                    }
                }
                return Err(Reject::NoTrade);
            }
            check_mean_price(&bar)?;
            ground.check_session(&bar)?;
        }
        let lost_before = bar.marks.contains(Marks::HOLE);
        bar.marks = bar.marks.and(Marks::FROM_TABLE);
        let closed = self.is_closed(&bar, &ground);
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
                    close_units: ground.units(bar.close),
                    close: bar.close,
                    values: values(&bar),
                    day_reference_units: None,
                    days_since_listing: listed_today.then_some(0),
                    free_day: self.config.is_free_day(bar.symbol, None, bar.date),
                    silent: false,
                    doubtful: None,
                    lost_ns: None,
                    lost_close: None,
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
        let told = bar.pre_close.is_some();
        if new_day && bar.high > bar.low && next.values == values(&bar) {
            return Err(Reject::Repeated);
        }
        let hole = self.hole(&bar, &next, &ground);
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
            if self.missing_days(&bar, next.date, &ground) {
                bar.marks.insert(Marks::GAP);
            }
            // Events and factors are those of stocks, whose prices are in cents.
            known_reference = self
                .ex_rights
                .reference_cents(bar.symbol, next.date, next.close_units, bar.date)
                .filter(|reference| *reference != next.close_units && ground.per_price == 100.0);
            if let Some(reference) = known_reference
                && !told
                && !bar.marks.contains(Marks::ADJUSTED)
            {
                next.day_reference_units = Some(reference);
                bar.pre_close = Some(reference as f64 / 100.0);
            }
        }
        if self.missing_minutes(&bar, &next, &ground) {
            bar.marks.insert(Marks::GAP);
        }
        if next.silent {
            bar.marks.insert(Marks::RESUMED);
        }
        if !ground.is_free(&next) {
            let judged = match bar.marks.contains(Marks::ADJUSTED) {
                true => ground.check_adjusted(&mut bar, &next, hole),
                false => {
                    let given = bar.pre_close.map(|price| ground.units(price));
                    match given.or(next.day_reference_units) {
                        Some(reference) => {
                            self.check_limits(&mut bar, &ground, reference, told, &next, hole)
                        }
                        None => Ok(()),
                    }
                }
            };
            if let Err(reject) = judged {
                if let Some(series) = self.series.get_mut(&bar.symbol) {
                    series.doubtful = Some((bar.date, ground.units(bar.close)));
                }
                return Err(reject);
            }
        }
        if let Some(hole) = hole.filter(|_| new_day)
            && told
            && !bar.marks.contains(Marks::ADJUSTED)
            && let Some(given) = bar.pre_close
            && ground.units(given) != next.close_units
        {
            match known_reference {
                Some(reference) => bar.pre_close = Some(reference as f64 / 100.0),
                None => {
                    let given_units = ground.units(given);
                    let reached = |to: i64| ground.reaches(next.close_units, to, hole.days);
                    match next.lost_close {
                        // The reference is the close of the bar that is not passed, whatever that came to.
                        Some(lost) if lost == given_units => bar.marks.insert(Marks::HOLE),
                        _ if reached(given_units) => bar.marks.insert(Marks::HOLE),
                        // An ex-right behind it: its share of that bar's close is taken off the last close too.
                        Some(lost) if reached(lost) => {
                            bar.pre_close =
                                Some(next.close * given / (lost as f64 / ground.per_price));
                        }
                        _ => {}
                    }
                }
            }
        } else if hole.is_some_and(|hole| hole.lost) && !told && !bar.marks.breaks_level() {
            bar.marks.insert(Marks::HOLE);
        }
        next.time_ns = bar.time_ns;
        next.date = bar.date;
        next.close_units = ground.units(bar.close);
        next.close = bar.close;
        next.values = values(&bar);
        next.silent = false;
        next.doubtful = None;
        next.lost_ns = None;
        next.lost_close = None;
        if bar.marks.breaks_level() {
            // Later bars of this day stand on the new level too; its reference is not known, so they are not limited.
            next.day_reference_units = None;
        }
        self.series.insert(bar.symbol, next);
        Ok(bar)
    }

    /// Returns what is missing right before a bar, or `None` when nothing is or a suspension explains it.
    fn hole(&self, bar: &Bar, before: &Series, ground: &Ground<'_>) -> Option<Hole> {
        // A row of the same time that is good makes up for one that was not.
        if before.lost_ns.is_some_and(|lost_ns| lost_ns < bar.time_ns) {
            let days = self.days_between(bar, before.date, ground).max(1);
            return Some(Hole { days, lost: true });
        }
        if bar.date == before.date || before.silent {
            return None;
        }
        // A day whose last bar is missing ended at another close than its last one here.
        let cut_off = ground.is_traded_in_china && before.time_ns < before.date.close_time_ns();
        match self.days_between(bar, before.date, ground) {
            0 if cut_off => Some(Hole {
                days: 1,
                lost: false,
            }),
            0 => None,
            days => Some(Hole { days, lost: false }),
        }
    }

    /// Returns how many trading days lie strictly between a day and that of a bar: by the calendar, by the holidays of the
    /// market, or by weekdays.
    fn days_between(&self, bar: &Bar, since: Date, ground: &Ground<'_>) -> u32 {
        let counted = self
            .calendar_of(bar)
            .and_then(|calendar| calendar.between(since, bar.date))
            .and_then(|days| u32::try_from(days).ok());
        if let Some(days) = counted {
            return days;
        }
        let Some(listing) = ground.listing else {
            return since.weekdays_until(bar.date);
        };
        let days = (since.days() + 1..bar.date.days()).filter_map(Date::from_days);
        let open = |day: &Date| listing.market.is_open(*day).unwrap_or(!day.is_weekend());
        u32::try_from(days.filter(open).count()).unwrap_or(u32::MAX)
    }

    /// Returns the calendar when it is the one of the bar's exchange: a foreign name has other holidays.
    fn calendar_of(&self, bar: &Bar) -> Option<&Calendar> {
        self.calendar
            .as_deref()
            .filter(|_| bar.symbol.exchange() != Exchange::Other)
    }

    fn missing_days(&self, bar: &Bar, since: Date, ground: &Ground<'_>) -> bool {
        let always_open = ground
            .listing
            .is_some_and(|listing| listing.market.days == Days::All);
        match self
            .calendar_of(bar)
            .and_then(|calendar| calendar.between(since, bar.date))
        {
            Some(missing) => missing > 0,
            None if always_open => self.days_between(bar, since, ground) > 0,
            None => since.weekdays_until(bar.date) > self.config.holiday_weekdays,
        }
    }

    /// Returns whether minutes of trading are missing since the last bar, or before the first of a new day.
    fn missing_minutes(&self, bar: &Bar, before: &Series, ground: &Ground<'_>) -> bool {
        let Some(length) = self.config.bar_minutes else {
            return false;
        };
        if ground
            .listing
            .is_some_and(|listing| listing.market.days == Days::All)
        {
            let step_ns = i64::from(length) * 60_000_000_000;
            return bar.time_ns - before.time_ns > step_ns;
        }
        let now = minutes_passed(bar.date, bar.time_ns);
        match (minutes_passed(before.date, before.time_ns), now) {
            _ if bar.symbol.exchange() == Exchange::Other => false,
            (last, now) if bar.date == before.date => now > last + length,
            (last, now) => last < DAY_MINUTES || now > length,
        }
    }

    fn is_closed(&self, bar: &Bar, ground: &Ground<'_>) -> bool {
        let rests = ground
            .listing
            .is_some_and(|listing| listing.market.days == Days::Weekdays);
        let weekend = (rests || bar.symbol.exchange() != Exchange::Other) && bar.date.is_weekend();
        // A day between two covered days is covered itself.
        weekend
            || self.calendar_of(bar).is_some_and(|calendar| {
                calendar.between(bar.date, bar.date).is_some() && !calendar.contains(bar.date)
            })
    }

    fn check_limits(
        &self,
        bar: &mut Bar,
        ground: &Ground<'_>,
        reference: i64,
        told: bool,
        before: &Series,
        hole: Option<Hole>,
    ) -> Result<(), Reject> {
        let (Some(listing), Some(rule)) = (ground.listing, ground.rule) else {
            return Ok(());
        };
        let (low, high) = (ground.units(bar.low), ground.units(bar.high));
        let possible = listing.references(bar.date, ground.st, low, high);
        let holds = |reference: i64| {
            possible.is_some_and(|(least, most)| least <= reference && reference <= most)
        };
        if holds(reference) {
            return Ok(());
        }
        // Bars that are not here may have moved the reference; a long hole is a suspension, which moves nothing.
        if let Some(hole) = hole.filter(|hole| !told && (hole.lost || hole.days <= HOLE_DAYS))
            && let Some((least, most)) = possible
        {
            let (lowest, highest) = moved(reference, rule.percent, hole.days);
            if least <= highest && lowest <= most {
                bar.marks.insert(Marks::GAP);
                bar.marks.insert(Marks::HOLE);
                return Ok(());
            }
        }
        // One tick beyond a limit is how a vendor rounded, or how the exchange did before it rounded half up.
        let tick = listing.tick(bar.date);
        if let Ok(Limits::Band { up, down }) = listing.limits(bar.date, ground.st, reference)
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
        if !told && doubtful.is_some_and(|(date, close)| date < bar.date && holds(close)) {
            bar.marks.insert(Marks::LEVEL_RESET);
            // A known ex-right before the new level does not bridge the two.
            bar.pre_close = None;
            return Ok(());
        }
        Err(ground.outside(bar, reference, rule.percent))
    }
}

/// What the rules of its market say of one bar. Prices are whole numbers of units of the market; where none is known, of
/// hundredths.
struct Ground<'a> {
    listing: Option<Listing<'a>>,
    rule: Option<&'a LimitRule>,
    st: bool,
    per_price: f64,
    is_traded_in_china: bool,
}

impl<'a> Ground<'a> {
    fn of(markets: &'a Markets, config: &CleanConfig, bar: &Bar) -> Self {
        let listing = markets.of(bar.symbol);
        let st = bar.marks.contains(Marks::SPECIAL) || config.is_st(bar.symbol, bar.date);
        let tradable = |listing: Listing<'_>| listing.class.untradable.is_none();
        Self {
            listing,
            rule: listing.and_then(|listing| listing.limit(bar.date, st)),
            st,
            per_price: listing.map_or(100.0, |l| l.market.units_per_price() as f64),
            is_traded_in_china: bar.symbol.exchange() != Exchange::Other
                && listing.is_some_and(tradable),
        }
    }

    /// Returns a checked price in units, to the nearest. Prices are at most [`MAX_PRICE`], so the cast is exact enough for
    /// every market.
    fn units(&self, price: f64) -> i64 {
        (price * self.per_price).round() as i64
    }

    /// Returns whether the bar lies in the free days after an IPO, or on a free day that is known.
    fn is_free(&self, series: &Series) -> bool {
        if series.free_day {
            return true;
        }
        match (series.days_since_listing, self.rule) {
            (Some(days), Some(rule)) => days < rule.ipo_free_days,
            _ => false,
        }
    }

    /// Refuses bars of hours in which nothing trades: their times are those of another zone.
    fn check_session(&self, bar: &Bar) -> Result<(), Reject> {
        let within = |shift_ns: i64| {
            let at = bar.time_ns.saturating_add(shift_ns);
            self.listing
                .is_none_or(|listing| listing.market.is_in_session(at))
        };
        // Auctions before the open and trades at a fixed price after the close are within half an hour.
        let slack_ns = 30 * 60 * 1_000_000_000;
        match [0, slack_ns, -slack_ns].into_iter().any(within) {
            true => Ok(()),
            false => Err(Reject::OutsideSession {
                time_ns: bar.time_ns,
            }),
        }
    }

    /// Returns whether a close could have moved to another price within some days of trading, without an ex-right. Without
    /// limits it always could.
    fn reaches(&self, from: i64, to: i64, days: u32) -> bool {
        let Some(rule) = self.rule else {
            return true;
        };
        let (least, most) = moved(from, rule.percent, days);
        (least..=most).contains(&to)
    }

    /// Judges the move of an adjusted bar. Behind a hole the last close says little, and a long way is let through. Where
    /// dividends were subtracted instead of factored in, moves are greater than those that traded: up to three times the
    /// limit they are marked.
    fn check_adjusted(
        &self,
        bar: &mut Bar,
        before: &Series,
        hole: Option<Hole>,
    ) -> Result<(), Reject> {
        let Some(rule) = self.rule else {
            return Ok(());
        };
        // Within a day the limits refer to the close of the day before.
        let reference = match before.day_reference_units {
            _ if bar.date != before.date => before.close,
            Some(reference) => reference as f64 / self.per_price,
            None => return Ok(()),
        };
        let share = rule.percent as f64 / 100.0;
        let days = hole.map_or(1, |hole| hole.days.min(100) + 1) as i32;
        let within = |share: f64| {
            let up = reference * (1.0 + share).powi(days);
            let down = reference * (1.0 - share).powi(days);
            bar.high <= up * (1.0 + ADJUSTED_SLACK) + ADJUSTED_SLACK_CNY
                && bar.low >= down * (1.0 - ADJUSTED_SLACK) - ADJUSTED_SLACK_CNY
        };
        let doubtful = before.doubtful.is_some_and(|(date, close)| {
            let close = close as f64 / self.per_price;
            date < bar.date
                && bar.high <= close * (1.0 + 2.0 * share)
                && bar.low >= close * (1.0 - 2.0 * share)
        });
        if within(share) || doubtful {
            return Ok(());
        }
        match within(3.0 * share) {
            true => {
                bar.marks.insert(Marks::BEYOND_LIMIT);
                Ok(())
            }
            false => Err(self.outside(bar, self.units(reference), rule.percent)),
        }
    }

    fn outside(&self, bar: &Bar, reference: i64, percent: i64) -> Reject {
        let price = |units: i64| units as f64 / self.per_price;
        Reject::OutsideLimits {
            low: bar.low,
            high: bar.high,
            reference: price(reference),
            percent,
        }
    }
}

/// Returns the lowest and highest close in units that limits allow after some days.
fn moved(close: i64, percent: i64, days: u32) -> (i64, i64) {
    let days = days.min(1_000) as i32;
    let close = close as f64;
    let share = percent as f64 / 100.0;
    // Each day rounds by half a cent at most; the bound need not be sharper than a cent a day.
    let slack = f64::from(days);
    let least = close * (1.0 - share).powi(days) - slack;
    let most = close * (1.0 + share).powi(days) + slack;
    (least.floor() as i64, most.ceil() as i64)
}

/// Holds amount over volume against the bar. Volumes of less than a lot and missing amounts say nothing; adjusted prices
/// are not those that the amount was paid at.
fn check_mean_price(bar: &Bar) -> Result<(), Reject> {
    let amount = bar.amount_cny.filter(|amount| *amount > 0.0);
    let (Some(amount_cny), false) = (amount, bar.marks.contains(Marks::ADJUSTED)) else {
        return Ok(());
    };
    // Vendors that count lots round to a hundred shares, and amounts to a thousand CNY.
    let most = (amount_cny + 1_000.0) / (bar.volume_shares - 100.0).max(1.0);
    let least = (amount_cny - 1_000.0) / (bar.volume_shares + 100.0);
    if most * MEAN_PRICE_FACTOR < bar.low || least > bar.high * MEAN_PRICE_FACTOR {
        return Err(Reject::ImplausibleAmount {
            amount_cny,
            volume_shares: bar.volume_shares,
        });
    }
    Ok(())
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
    if bar.volume_shares > MAX_VOLUME {
        return Err(Reject::ImplausibleVolume {
            value: bar.volume_shares,
        });
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

#[cfg(test)]
mod tests;
