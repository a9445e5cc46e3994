//! Which bars can be believed. The cleaner passes a bar unchanged, with notes, or rejects it with a typed reason;
//! it never repairs, clamps or fills a price.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use crate::reject::Reject;
use crate::rules::{LimitRule, LimitTable, references};
use crate::{Bar, Board, Calendar, Date, Exchange, Marks, QuantError, Symbol};

/// Prices above this are taken for garbage; it keeps every product of cents and percent inside an `i64`.
const MAX_PRICE: f64 = 100_000_000.0;

/// What the cleaner has to know about its instruments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CleanConfig {
    /// The stocks under special treatment (ST), whose limits differ.
    pub st_symbols: BTreeSet<Symbol>,
    /// First trading days, where known: a series that starts on its listing day has free days after the first one.
    pub list_dates: BTreeMap<Symbol, Date>,
    /// How far below the last close an ex-right reference price may lie, as a fraction in (0, 1). A deeper fall is
    /// rejected. The default of 0.75 admits a bonus of three shares for one.
    pub ex_right_max_drop: f64,
    /// Without a calendar, a hole of more than this many weekdays counts as a gap. The default of 10 is the longest
    /// exchange holiday so far (lunar new year 2000).
    pub holiday_weekdays: u32,
}

impl Default for CleanConfig {
    fn default() -> Self {
        Self {
            st_symbols: BTreeSet::new(),
            list_dates: BTreeMap::new(),
            ex_right_max_drop: 0.75,
            holiday_weekdays: 10,
        }
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
/// without the vendor's `pre_close`; the marks are a lower bound.
#[derive(Clone, Debug)]
pub struct Cleaner {
    config: CleanConfig,
    table: LimitTable,
    calendar: Option<Calendar>,
    series: BTreeMap<Symbol, Series>,
}

impl Cleaner {
    /// Makes a cleaner with the A-share limit table of this crate and no calendar.
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
        Ok(Self {
            config,
            table: LimitTable::ashare()?,
            calendar: None,
            series: BTreeMap::new(),
        })
    }

    /// Counts missing days against a calendar instead of weekdays, and rejects bars of closed days, for Chinese names
    /// and the dates that the calendar covers.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Calendar) -> Self {
        self.calendar = Some(calendar);
        self
    }

    /// Passes a bar with its marks, or rejects it.
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
        if new_day && bar.high > bar.low && next.values == values(&bar) {
            return Err(Reject::Repeated);
        }
        if new_day {
            next.day_reference_cents = Some(next.close_cents);
            next.days_since_listing = next.days_since_listing.map(|days| days.saturating_add(1));
            if self.missing_days(&bar, next.date) {
                bar.marks.insert(Marks::GAP);
            }
        }
        if next.silent {
            bar.marks.insert(Marks::RESUMED);
        }
        if !self.is_free(&bar, &next) {
            let from_vendor = bar.pre_close.map(cents);
            if let Some(reference) = from_vendor.or(next.day_reference_cents)
                && let Err(reject) = self.check_limits(&mut bar, reference, next.doubtful)
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
        let st = self.config.st_symbols.contains(&bar.symbol);
        self.table.rule(bar.symbol.board(), bar.date, st)
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
            .as_ref()
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
        doubtful: Option<(Date, i64)>,
    ) -> Result<(), Reject> {
        let Some(percent) = self.rule(bar).map(|rule| rule.percent) else {
            return Ok(());
        };
        let (low_cents, high_cents) = (cents(bar.low), cents(bar.high));
        let possible = references(low_cents, high_cents, percent);
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
            if doubtful.is_some_and(|(date, close)| date < bar.date && holds(close)) {
                bar.marks.insert(Marks::LEVEL_RESET);
                return Ok(());
            }
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

fn values(bar: &Bar) -> [f64; 5] {
    [bar.open, bar.high, bar.low, bar.close, bar.volume_shares]
}

/// Returns a checked price in cents, to the nearest. Prices are at most [`MAX_PRICE`], so the cast is exact.
fn cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn bar(symbol: &str, date: &str, prices: [f64; 4]) -> Bar {
        let date = Date::parse(date).unwrap();
        let [open, high, low, close] = prices;
        Bar {
            symbol: Symbol::parse(symbol).unwrap(),
            time_ns: date.close_time_ns(),
            date,
            open,
            high,
            low,
            close,
            pre_close: None,
            volume_shares: 1000.0,
            amount_cny: None,
            marks: Marks::NONE,
        }
    }

    fn stock(date: &str, prices: [f64; 4]) -> Bar {
        bar("600000.SH", date, prices)
    }

    fn cleaner() -> Cleaner {
        Cleaner::new(CleanConfig::default()).unwrap()
    }

    /// A cleaner that has seen one good bar at 10.00.
    fn started() -> Cleaner {
        let mut cleaner = cleaner();
        cleaner.check(stock("2024-01-02", [10.0; 4])).unwrap();
        cleaner
    }

    #[test]
    fn every_fault_has_its_own_reason() {
        let good = stock("2024-01-03", [10.0, 10.2, 9.9, 10.1]);
        for (reason, faulty) in [
            (
                "not_a_number",
                Bar {
                    close: f64::NAN,
                    ..good
                },
            ),
            (
                "not_a_number",
                Bar {
                    amount_cny: Some(f64::INFINITY),
                    ..good
                },
            ),
            ("non_positive_price", Bar { low: 0.0, ..good }),
            (
                "non_positive_price",
                Bar {
                    pre_close: Some(-1.0),
                    ..good
                },
            ),
            (
                "implausible_price",
                Bar {
                    high: 1e300,
                    ..good
                },
            ),
            ("high_below_low", Bar { high: 9.8, ..good }),
            ("open_or_close_outside_range", Bar { open: 10.3, ..good }),
            ("open_or_close_outside_range", Bar { close: 9.8, ..good }),
            (
                "negative_volume",
                Bar {
                    volume_shares: -1.0,
                    ..good
                },
            ),
            (
                "negative_volume",
                Bar {
                    amount_cny: Some(-1.0),
                    ..good
                },
            ),
            (
                "no_trade",
                Bar {
                    volume_shares: 0.0,
                    ..good
                },
            ),
            ("duplicate", stock("2024-01-02", [10.0; 4])),
            ("out_of_order", stock("2024-01-01", [10.0; 4])),
            (
                "outside_limits",
                Bar {
                    high: 11.01,
                    ..good
                },
            ),
            (
                "outside_limits",
                Bar {
                    high: 11.01,
                    low: 8.99,
                    ..good
                },
            ),
            (
                "outside_limits",
                Bar {
                    pre_close: Some(9.0),
                    ..good
                },
            ),
        ] {
            let mut cleaner = started();
            let reject = cleaner.check(faulty).unwrap_err();
            assert_eq!(reject.reason(), reason, "{faulty:?}");
            assert!(reject.to_string().starts_with(reason));
            assert!(
                cleaner.check(good).is_ok(),
                "{reason}: the good bar of the day must still pass"
            );
        }
    }

    #[test]
    fn the_limit_price_itself_passes_and_one_cent_beyond_does_not() {
        assert!(
            started()
                .check(stock("2024-01-03", [10.0, 11.0, 9.0, 11.0]))
                .is_ok()
        );
        assert!(
            started()
                .check(stock("2024-01-03", [10.0, 11.01, 10.0, 11.0]))
                .is_err()
        );
        let mut special = Cleaner::new(CleanConfig {
            st_symbols: [Symbol::parse("600000.SH").unwrap()].into(),
            ..CleanConfig::default()
        })
        .unwrap();
        special.check(stock("2024-01-02", [10.0; 4])).unwrap();
        assert!(
            special
                .check(stock("2024-01-03", [10.0, 10.51, 10.0, 10.5]))
                .is_err()
        );
        assert!(
            special
                .check(stock("2024-01-03", [10.0, 10.5, 10.0, 10.5]))
                .is_ok()
        );
    }

    #[test]
    fn a_fall_that_one_other_reference_explains_is_marked_and_a_wider_bar_is_not() {
        let marked = started()
            .check(stock("2024-01-03", [5.0, 5.4, 4.6, 5.2]))
            .unwrap();
        assert_eq!(marked.marks, Marks::EX_RIGHT_SUSPECTED);
        // 6.00 to 4.50 is wider than any ±10 % band, and 2.40 is deeper than a bonus of three for one.
        for prices in [[5.0, 6.0, 4.5, 5.0], [2.2; 4]] {
            assert_eq!(
                started()
                    .check(stock("2024-01-03", prices))
                    .unwrap_err()
                    .reason(),
                "outside_limits"
            );
        }
        // With the vendor's reference price there is nothing to suspect.
        let explained = Bar {
            pre_close: Some(5.0),
            ..stock("2024-01-03", [5.0, 5.4, 4.6, 5.2])
        };
        assert_eq!(started().check(explained).unwrap().marks, Marks::NONE);
    }

    #[test]
    fn two_bars_that_agree_on_a_new_level_reset_the_series() {
        let mut cleaner = started();
        assert_eq!(
            cleaner
                .check(stock("2024-01-03", [20.0; 4]))
                .unwrap_err()
                .reason(),
            "outside_limits"
        );
        // The same row once more, or another one of that day, is no second opinion.
        assert!(cleaner.check(stock("2024-01-03", [20.0; 4])).is_err());
        let second = cleaner
            .check(stock("2024-01-04", [20.0, 21.0, 19.0, 21.0]))
            .unwrap();
        assert_eq!(second.marks, Marks::LEVEL_RESET);
        assert_eq!(
            cleaner.check(stock("2024-01-05", [21.0; 4])).unwrap().marks,
            Marks::NONE
        );
        // A single wrong tick is rejected and forgotten.
        let mut cleaner = started();
        assert!(cleaner.check(stock("2024-01-03", [20.0; 4])).is_err());
        assert_eq!(
            cleaner.check(stock("2024-01-04", [10.0; 4])).unwrap().marks,
            Marks::NONE
        );
        assert!(cleaner.check(stock("2024-01-05", [20.0; 4])).is_err());
    }

    #[test]
    fn a_first_bar_passes_whatever_its_reference() {
        let listed = Bar {
            pre_close: Some(4.0),
            ..stock("2024-01-02", [10.0; 4])
        };
        assert_eq!(cleaner().check(listed).unwrap().marks, Marks::FIRST_BAR);
    }

    #[test]
    fn free_days_after_a_listing_follow_the_table() {
        let symbol = "688001.SH";
        let mut cleaner = Cleaner::new(CleanConfig {
            list_dates: [(
                Symbol::parse(symbol).unwrap(),
                Date::parse("2024-01-02").unwrap(),
            )]
            .into(),
            ..CleanConfig::default()
        })
        .unwrap();
        for (date, price) in [
            ("2024-01-02", 10.0),
            ("2024-01-03", 20.0),
            ("2024-01-04", 40.0),
            ("2024-01-05", 80.0),
            ("2024-01-08", 160.0),
        ] {
            assert!(
                cleaner.check(bar(symbol, date, [price; 4])).is_ok(),
                "{date}"
            );
        }
        assert!(
            cleaner
                .check(bar(symbol, "2024-01-09", [320.0; 4]))
                .is_err()
        );
    }

    #[test]
    fn days_that_the_vendor_made_up_are_rejected() {
        let friday = stock("2024-01-05", [10.0, 10.2, 9.9, 10.1]);
        let on = |date: &str| Bar {
            date: Date::parse(date).unwrap(),
            time_ns: Date::parse(date).unwrap().close_time_ns(),
            ..friday
        };
        let mut cleaner = started();
        cleaner.check(friday).unwrap();
        assert_eq!(cleaner.check(on("2024-01-06")), Err(Reject::ClosedMarket));
        assert_eq!(cleaner.check(on("2024-01-08")), Err(Reject::Repeated));
        assert!(
            cleaner
                .check(Bar {
                    volume_shares: 1001.0,
                    ..on("2024-01-08")
                })
                .is_ok()
        );
        let days = ["2024-01-02", "2024-01-05", "2024-01-09"].map(|d| Date::parse(d).unwrap());
        let mut cleaner = started().with_calendar(Calendar::new(days).unwrap());
        assert_eq!(cleaner.check(on("2024-01-08")), Err(Reject::ClosedMarket));
        let foreign = Bar {
            symbol: Symbol::parse("AAPL").unwrap(),
            ..on("2024-01-08")
        };
        assert!(cleaner.check(foreign).is_ok());
    }

    #[test]
    fn missing_days_and_silent_rows_are_marked() {
        let mut cleaner = started();
        let silent = Bar {
            volume_shares: 0.0,
            ..stock("2024-01-03", [10.0; 4])
        };
        assert!(cleaner.check(silent).is_err());
        assert_eq!(
            cleaner.check(stock("2024-01-04", [10.0; 4])).unwrap().marks,
            Marks::RESUMED
        );
        // 2024-01-04 to 2024-01-19 hides 10 weekdays: as long as a holiday. One day more is a gap.
        assert_eq!(
            cleaner.check(stock("2024-01-19", [10.0; 4])).unwrap().marks,
            Marks::NONE
        );
        assert_eq!(
            cleaner.check(stock("2024-02-06", [10.0; 4])).unwrap().marks,
            Marks::GAP
        );
        let days = ["2024-01-02", "2024-01-03", "2024-01-04"].map(|d| Date::parse(d).unwrap());
        let mut exact = started().with_calendar(Calendar::new(days).unwrap());
        assert_eq!(
            exact.check(stock("2024-01-04", [10.0; 4])).unwrap().marks,
            Marks::GAP
        );
    }

    #[test]
    fn bars_within_a_day_share_the_reference_of_the_day_before() {
        let mut cleaner = started();
        let minute = |hour_ns: i64, price: f64| {
            let day = stock("2024-01-03", [price; 4]);
            Bar {
                time_ns: day.time_ns - hour_ns,
                ..day
            }
        };
        assert!(cleaner.check(minute(3, 11.0)).is_ok());
        assert!(cleaner.check(minute(2, 9.0)).is_ok());
        assert_eq!(
            cleaner.check(minute(1, 11.5)).unwrap_err().reason(),
            "outside_limits"
        );
        // Two quiet minutes of one day may be alike to the share.
        let alike = |hour_ns| Bar {
            high: 10.1,
            ..minute(hour_ns, 10.0)
        };
        assert!(cleaner.check(alike(1)).is_ok());
        assert!(cleaner.check(alike(0)).is_ok());
    }

    #[test]
    fn an_ex_right_jump_is_marked_once_on_its_day() {
        let mut cleaner = started();
        let minute = |hour_ns: i64, price: f64| {
            let day = stock("2024-01-03", [price; 4]);
            Bar {
                time_ns: day.time_ns - hour_ns,
                ..day
            }
        };
        assert_eq!(
            cleaner.check(minute(2, 5.0)).unwrap().marks,
            Marks::EX_RIGHT_SUSPECTED
        );
        assert_eq!(cleaner.check(minute(1, 5.4)).unwrap().marks, Marks::NONE);
        assert_eq!(
            cleaner.check(stock("2024-01-04", [5.9; 4])).unwrap().marks,
            Marks::NONE
        );
    }

    #[test]
    fn the_configuration_is_strict() {
        assert!(serde_json::from_str::<CleanConfig>("{\"st\": []}").is_err());
        let config: CleanConfig =
            serde_json::from_str("{\"st_symbols\": [\"sh.600000\"]}").unwrap();
        assert_eq!(config.st_symbols.first().unwrap().as_str(), "600000.SH");
        for ex_right_max_drop in [0.0, 1.0, f64::NAN] {
            assert!(
                Cleaner::new(CleanConfig {
                    ex_right_max_drop,
                    ..CleanConfig::default()
                })
                .is_err()
            );
        }
    }

    proptest! {
        #[test]
        fn any_bar_passes_untouched_or_is_rejected(
            numbers in proptest::collection::vec(prop_oneof![any::<f64>(), 8.0f64..12.0], 6), days in 0i32..40_000, given in any::<bool>()
        ) {
            let mut cleaner = started();
            let date = Date::from_days(days).unwrap();
            let input = Bar {
                time_ns: date.close_time_ns(),
                date,
                pre_close: given.then_some(numbers[4]),
                volume_shares: numbers[5],
                ..stock("2024-01-02", [numbers[0], numbers[1], numbers[2], numbers[3]])
            };
            if let Ok(output) = cleaner.check(input) {
                prop_assert_eq!(Bar { marks: Marks::NONE, ..output }, input);
            }
        }
    }
}
