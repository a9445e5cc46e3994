//! The rules of the market for one bar, and the checks that need the last state of its series.

use super::config::CleanConfig;
use super::plausible::MAX_PRICE;
use super::series::{Hole, SeriesState};
use crate::bar::{Bar, Marks};
use crate::reject::Reject;
use crate::rules::{LimitRule, Listing, Markets};
use crate::symbol::Exchange;

/// Adjusted prices that are rounded to a cent may miss a limit by this amount in CNY, plus ...
const ADJUSTED_SLACK_CNY: f64 = 0.0105;
/// ... this share of the price, since the true limit was rounded to a cent of a price of at least 1 CNY.
const ADJUSTED_SLACK: f64 = 0.005;

/// The rules of the market for one bar. Prices are whole numbers of the market's price units, or of hundredths if the
/// market is unknown.
pub(super) struct BarRules<'a> {
    pub(super) listing: Option<Listing<'a>>,
    pub(super) rule: Option<&'a LimitRule>,
    pub(super) st: bool,
    pub(super) per_price: f64,
    pub(super) is_traded_in_china: bool,
}

impl<'a> BarRules<'a> {
    pub(super) fn of(markets: &'a Markets, config: &CleanConfig, bar: &Bar) -> Self {
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

    /// Returns a checked price in units, rounded to the nearest. Prices are at most [`MAX_PRICE`], so the cast is exact enough
    /// for every market.
    pub(super) fn units(&self, price: f64) -> i64 {
        (price * self.per_price).round() as i64
    }

    /// Returns the close of a bar in units, or `None` if it is no plausible price.
    pub(super) fn plausible_close(&self, bar: &Bar) -> Option<i64> {
        let is_price = (0.0..=MAX_PRICE).contains(&bar.close) && bar.close > 0.0;
        is_price.then(|| self.units(bar.close))
    }

    /// Returns whether the bar has no limits: in the first days after an IPO, or on a configured day.
    pub(super) fn is_free(&self, series: &SeriesState) -> bool {
        if series.free_day {
            return true;
        }
        match (series.days_since_listing, self.rule) {
            (Some(days), Some(rule)) => days < rule.ipo_free_days,
            _ => false,
        }
    }

    /// Rejects bars outside the trading hours, whose times are most likely those of another zone.
    pub(super) fn check_session(&self, bar: &Bar) -> Result<(), Reject> {
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

    /// Returns whether limits allow a move from one close to another within a number of trading days, without an ex-right.
    pub(super) fn reaches(&self, from: i64, to: i64, days: u32) -> bool {
        let Some(rule) = self.rule else {
            return true;
        };
        let (least, most) = moved(from, rule.percent, days);
        (least..=most).contains(&to)
    }

    /// Checks the move of an adjusted bar. After a hole the move may be as large as the missing days allow. If the vendor
    /// subtracted dividends instead of multiplying by a factor, moves exceed those that traded: up to three times the limit
    /// they are marked.
    pub(super) fn check_adjusted(
        &self,
        bar: &mut Bar,
        before: &SeriesState,
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

    pub(super) fn outside(&self, bar: &Bar, reference: i64, percent: i64) -> Reject {
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
pub(super) fn moved(close: i64, percent: i64, days: u32) -> (i64, i64) {
    let days = days.min(1_000) as i32;
    let close = close as f64;
    let share = percent as f64 / 100.0;
    // Each day rounds by half a unit at most; a bound of one unit a day is sharp enough.
    let slack = f64::from(days);
    let least = close * (1.0 - share).powi(days) - slack;
    let most = close * (1.0 + share).powi(days) + slack;
    (least.floor() as i64, most.ceil() as i64)
}
