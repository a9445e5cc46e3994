//! The rules of one market.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::fees::FeeRule;
use super::limits::LimitRule;
use super::orders::OrderRule;
use super::pattern::Pattern;
use crate::date::Date;

/// 100 million of the currency: far above any price, and units times percent still fit an `i64`.
const MAX_PRICE: i64 = 100_000_000;
pub(super) const DAY_SECONDS: u32 = 86_400;

/// The days on which a market trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Days {
    /// Mondays to Fridays, less holidays.
    Weekdays,
    /// Every day.
    All,
}

/// Trading hours, in seconds of the local day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The open.
    pub open_s: u32,
    /// The close, after the open; 86,400 at midnight.
    pub close_s: u32,
}

/// Weekdays without trading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closures {
    /// The first day that the list covers.
    pub from: Date,
    /// The last day that the list covers.
    pub to: Date,
    /// The weekdays of these years on which the market was closed.
    pub days: BTreeSet<Date>,
    /// The source of the days.
    pub source: String,
}

/// Instruments that share their rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The name, such as `main` or `star-fund`.
    pub name: String,
    /// The symbols.
    pub symbols: Vec<Pattern>,
    /// Why instruments of this class cannot be traded, or `None` if they can.
    pub untradable: Option<String>,
    /// The price limits; days without a rule have none.
    pub limits: Vec<LimitRule>,
    /// The order sizes.
    pub orders: Vec<OrderRule>,
}

/// The rules of one market. Prices are integers in units of 10^-`price_decimals` of the currency, quantities in units of
/// 10^-`quantity_decimals` of a share (bond, coin); amounts of money are in hundredths of the currency everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketRules {
    /// The short name, such as `ashare`.
    pub name: String,
    /// The name for display.
    pub title: String,
    /// Three letters, such as `CNY`.
    pub currency: String,
    /// The time zone of the exchange.
    pub timezone: TimeZone,
    /// The days of trading.
    pub days: Days,
    /// The trading days of a year, for figures per year.
    pub days_per_year: u32,
    /// The trading hours, in order.
    pub sessions: Vec<Session>,
    /// Decimals of a price unit, 2 to 8.
    pub price_decimals: u32,
    /// Decimals of a quantity unit, 0 to 8.
    pub quantity_decimals: u32,
    /// The classes.
    pub classes: Vec<Class>,
    /// The fees.
    pub fees: Vec<FeeRule>,
    /// Holidays, if known.
    pub closed: Option<Closures>,
}

impl MarketRules {
    /// Returns the number of price units per unit of the currency.
    #[must_use]
    pub fn units_per_price(&self) -> i64 {
        10i64.pow(self.price_decimals)
    }

    /// Returns the number of quantity units per share.
    #[must_use]
    pub fn units_per_share(&self) -> i64 {
        10i64.pow(self.quantity_decimals)
    }

    /// Returns the largest price in units.
    #[must_use]
    pub fn max_price(&self) -> i64 {
        MAX_PRICE * self.units_per_price()
    }

    /// Returns a price in units, rounded to the nearest.
    #[must_use]
    pub fn price_units(&self, price: f64) -> i64 {
        (price * self.units_per_price() as f64).round() as i64
    }

    /// Returns the cost in cents, rounded half up, of a quantity at a price, both in units; `None` if it exceeds an `i64`.
    #[must_use]
    pub fn amount_cents(&self, price: i64, quantity: u64) -> Option<i64> {
        let product = i128::from(price).checked_mul(i128::from(quantity))?;
        let units_per_cent = self.units_per_cent();
        i64::try_from((product + units_per_cent / 2).div_euclid(units_per_cent)).ok()
    }

    /// Returns the largest quantity, in units, whose exact value at a price, in units, is at most `cents`; 0 for a
    /// price that is not positive.
    #[must_use]
    pub fn quantity_for(&self, cents: i64, price: i64) -> u64 {
        let value = i128::from(cents.max(0)) * self.units_per_cent();
        let quantity = value.checked_div(i128::from(price)).unwrap_or(0);
        u64::try_from(quantity.max(0)).unwrap_or(u64::MAX)
    }

    /// The number of price units times quantity units per cent. Prices have two decimals or more.
    fn units_per_cent(&self) -> i128 {
        10i128.pow(self.price_decimals + self.quantity_decimals - 2)
    }

    /// Returns whether the market trades on a day, or `None` for a weekday of a year without known holidays.
    #[must_use]
    pub fn is_open(&self, date: Date) -> Option<bool> {
        match (self.days, &self.closed) {
            (Days::All, _) => Some(true),
            (Days::Weekdays, _) if date.is_weekend() => Some(false),
            (Days::Weekdays, Some(closed)) if closed.from <= date && date <= closed.to => {
                Some(!closed.days.contains(&date))
            }
            (Days::Weekdays, _) => None,
        }
    }

    /// Returns whether a bar that ends at a time, in nanoseconds since the Unix epoch, is within trading hours. Both ends
    /// count: some vendors give the opening auction as a bar of its own.
    #[must_use]
    pub fn is_in_session(&self, time_ns: i64) -> bool {
        let Some(zoned) = local(time_ns, &self.timezone) else {
            return false;
        };
        let time = zoned.time();
        let second = i64::from(time.hour()) * 3_600
            + i64::from(time.minute()) * 60
            + i64::from(time.second())
            + i64::from(time.subsec_nanosecond() > 0);
        self.sessions.iter().any(|session| {
            let (open, close) = (i64::from(session.open_s), i64::from(session.close_s));
            // Midnight is also the end of the day before.
            let is_midnight = second == 0 && session.close_s == DAY_SECONDS;
            (open <= second && second <= close) || is_midnight
        })
    }

    /// Returns a price in units as a decimal number, for display.
    #[must_use]
    pub fn price_text(&self, units: i64) -> String {
        let per_price = self.units_per_price();
        let decimals = self.price_decimals as usize;
        format!("{}.{:0decimals$}", units / per_price, units % per_price)
    }

    /// Returns a quantity in units as a decimal number without trailing zeros, for display.
    #[must_use]
    pub fn quantity_text(&self, units: u64) -> String {
        let per_share = self.units_per_share().unsigned_abs();
        let decimals = self.quantity_decimals as usize;
        match units % per_share {
            0 => (units / per_share).to_string(),
            part => {
                let text = format!("{}.{part:0decimals$}", units / per_share);
                text.trim_end_matches('0').to_owned()
            }
        }
    }

    /// Returns the time, in nanoseconds since the Unix epoch, of a second of a day at the exchange; 86,400 is the midnight
    /// after it. A local time that occurs twice means the first; one that summer time skips is shifted by the gap.
    #[must_use]
    pub fn time_ns(&self, date: Date, second: u32) -> Option<i64> {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let day = jiff::Span::new().try_days(date.days()).ok()?;
        let second = jiff::Span::new().try_seconds(second).ok()?;
        let local = epoch
            .checked_add(day)
            .ok()?
            .at(0, 0, 0, 0)
            .checked_add(second)
            .ok()?;
        let time = self.timezone.to_timestamp(local).ok()?;
        i64::try_from(time.as_nanosecond()).ok()
    }

    /// Returns a time, in nanoseconds since the Unix epoch, as local time of the exchange with its offset, such as
    /// `2024-03-08T09:31:00-05:00`.
    #[must_use]
    pub fn local_time(&self, time_ns: i64) -> String {
        time_text(time_ns, &self.timezone)
    }
}

/// Returns a time, in nanoseconds since the Unix epoch, in UTC, such as `2024-03-08T14:31:00+00:00`.
#[must_use]
pub fn utc_time(time_ns: i64) -> String {
    time_text(time_ns, &TimeZone::UTC)
}

fn time_text(time_ns: i64, zone: &TimeZone) -> String {
    local(time_ns, zone).map_or_else(
        || time_ns.to_string(),
        |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    )
}

fn local(time_ns: i64, zone: &TimeZone) -> Option<jiff::ZonedDateTime> {
    let timestamp = jiff::Timestamp::from_nanosecond(time_ns.into()).ok()?;
    Some(timestamp.to_zoned_datetime(zone.clone()))
}
