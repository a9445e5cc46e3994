//! Daily price limits.

use super::Force;
use crate::date::Date;
use crate::error::QuantError;

/// The limit of one class of instruments in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Whether the rule is for stocks under special treatment (ST); `None` means all stocks.
    pub st: Option<bool>,
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` without an end.
    pub to: Option<Date>,
    /// The limit in whole percent of the reference price, 1 to 99.
    pub percent: i64,
    /// The number of trading days after an IPO without a limit.
    pub ipo_free_days: u32,
    /// The source of the rule.
    pub source: String,
}

/// The price limits of one day, in price units of the market: cents for A-share stocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Prices from `down` to `up`, both included, may trade.
    Band {
        /// The highest price.
        up: i64,
        /// The lowest price.
        down: i64,
    },
    /// No rule limits the price.
    NoLimit,
}

impl LimitRule {
    pub(super) fn force(&self) -> Force {
        Force {
            from: self.from,
            to: self.to,
        }
    }

    pub(super) fn applies(&self, date: Date, st: bool) -> bool {
        self.st.is_none_or(|only| only == st) && self.force().holds(date)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let same_stocks = self.st.is_none() || other.st.is_none() || self.st == other.st;
        same_stocks && self.force().overlaps(other.force())
    }

    /// Returns the limits around a checked reference price.
    pub(super) fn around(&self, reference: i64, tick: i64) -> Limits {
        Limits::Band {
            up: bound(reference, 100 + self.percent, tick),
            down: bound(reference, 100 - self.percent, tick),
        }
    }
}

/// Reference × percent %, rounded half up to a tick.
///
/// Integer arithmetic is used because binary fractions would round some halves down.
fn bound(reference: i64, percent: i64, tick: i64) -> i64 {
    (reference * percent + 50 * tick) / (100 * tick) * tick
}

/// Returns the lowest and highest reference price whose limits contain a bar from `low` to `high`, or `None` if no single
/// reference does. All are in price units. This inverts [`bound`].
pub(super) fn references(low: i64, high: i64, percent: i64, tick: i64) -> Option<(i64, i64)> {
    // Prices off the tick are rounded into the bar.
    let (low, high) = (low.div_euclid(tick), (high + tick - 1).div_euclid(tick));
    let least = (100 * tick * high - 50 * tick + 99 + percent).div_euclid(100 + percent);
    let most = (100 * tick * low + 50 * tick - 1).div_euclid(100 - percent);
    (least <= most).then_some((least, most))
}

pub(super) fn check_reference(
    reference: i64,
    most: i64,
    place: impl FnOnce() -> String,
) -> Result<(), QuantError> {
    if (1..=most).contains(&reference) {
        return Ok(());
    }
    let rule = format!("must be in 1..={most}");
    Err(QuantError::value(super::PLACE, place(), rule, reference))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rules::Markets;
    use crate::symbol::Symbol;
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn band(symbol: &str, date: &str, st: bool, reference: i64) -> (i64, i64) {
        let symbol = Symbol::parse(symbol).unwrap();
        let markets = Markets::shipped().unwrap();
        match markets.limits(symbol, day(date), st, reference).unwrap() {
            Limits::Band { up, down } => (up, down),
            Limits::NoLimit => (i64::MAX, 0),
        }
    }

    #[test]
    fn limits_published_by_a_vendor_are_reproduced() {
        // Limits as published on the Tushare stk_limit page. Of all reference prices up to 100 CNY, only one gives both.
        for (symbol, st, pre_close, published) in [
            ("000001.SZ", false, 1369, (1506, 1232)),
            ("000019.SZ", false, 735, (809, 662)),
            ("000010.SZ", true, 334, (351, 317)),
            ("000018.SZ", true, 137, (144, 130)),
        ] {
            assert_eq!(
                band(symbol, "2019-06-25", st, pre_close),
                published,
                "{symbol}"
            );
            let percent = if st { 5 } else { 10 };
            let fits =
                |c: &i64| (bound(*c, 100 + percent, 1), bound(*c, 100 - percent, 1)) == published;
            assert_eq!(
                (1..=10_000).filter(fits).collect::<Vec<_>>(),
                [pre_close],
                "{symbol}"
            );
        }
    }

    #[test]
    fn the_rule_of_the_day_applies() {
        for (symbol, date, st, expected) in [
            ("600000.SH", "1996-12-13", false, (i64::MAX, 0)),
            ("600000.SH", "1996-12-16", false, (1100, 900)),
            ("300001.SZ", "2020-08-21", false, (1100, 900)),
            ("300001.SZ", "2020-08-24", false, (1200, 800)),
            ("300001.SZ", "2020-08-24", true, (1200, 800)),
            ("600000.SH", "2026-07-03", true, (1050, 950)),
            ("600000.SH", "2026-07-06", true, (1100, 900)),
            ("688001.SH", "2019-07-22", false, (1200, 800)),
            ("920001.BJ", "2024-01-02", false, (1300, 700)),
            ("510300.SH", "2024-01-02", false, (1100, 900)),
            ("588000.SH", "2024-01-02", false, (1200, 800)),
            ("159915.SZ", "2020-08-21", false, (1100, 900)),
            ("159915.SZ", "2020-08-24", false, (1200, 800)),
            ("113050.SH", "2022-07-29", false, (i64::MAX, 0)),
            ("113050.SH", "2022-08-01", false, (1200, 800)),
            ("000300.SH", "2024-01-02", false, (i64::MAX, 0)),
            ("AAPL", "2024-01-02", false, (i64::MAX, 0)),
            ("BTCUSDT", "2024-01-02", false, (i64::MAX, 0)),
            ("UNKNOWN.NAME", "2024-01-02", false, (i64::MAX, 0)),
        ] {
            assert_eq!(band(symbol, date, st, 1000), expected, "{symbol} {date}");
        }
    }

    #[test]
    fn every_price_up_to_a_thousand_agrees_with_exact_rational_rounding() {
        for reference in 1..=100_000i64 {
            for percent in [70, 80, 90, 95, 105, 110, 120, 130] {
                for tick in [1, 10] {
                    // Half up means: the result r is the only multiple of the tick with
                    // r - tick/2 <= reference * percent / 100 < r + tick/2.
                    let (r, exact) = (bound(reference, percent, tick), 2 * reference * percent);
                    assert!(
                        200 * r - 100 * tick <= exact && exact < 200 * r + 100 * tick,
                        "{reference} {percent} {tick}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_reference_out_of_bounds_is_refused() {
        let markets = Markets::shipped().unwrap();
        let symbol = Symbol::parse("600000.SH").unwrap();
        for cents in [0, -1, 10_000_000_001, i64::MAX, i64::MIN] {
            let limits = markets.limits(symbol, day("20240102"), false, cents);
            let message = limits.unwrap_err().to_string();
            assert!(message.contains("must be in 1..=10000000000"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn the_inverse_finds_exactly_the_references_that_contain_a_bar(
            low in 1i64..300, spread in 0i64..90, percent in prop::sample::select(vec![5i64, 10, 20, 30]),
            tick in prop::sample::select(vec![1i64, 5, 10])
        ) {
            let (low, high) = (low * tick, (low + spread) * tick);
            let holds = |r: &i64| bound(*r, 100 - percent, tick) <= low && high <= bound(*r, 100 + percent, tick);
            let all: Vec<i64> = (1..=6000).filter(holds).collect();
            match references(low, high, percent, tick) {
                Some((least, most)) => prop_assert_eq!(all, (least..=most).collect::<Vec<_>>()),
                None => prop_assert!(all.is_empty()),
            }
        }
    }
}
