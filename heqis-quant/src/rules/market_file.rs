//! Reading market files: TOML to [`MarketRules`], with every value checked.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde::Deserialize;

use super::fees::{Basis, Fee, FeeRule, MAX_AMOUNT_CENTS, PER_ONE, Trade};
use super::limits::LimitRule;
use super::market::{Class, Closures, DAY_SECONDS, Days, MarketRules, Session};
use super::orders::OrderRule;
use super::pattern::Pattern;
use super::{Force, PLACE};
use crate::date::Date;
use crate::error::QuantError;

/// Far above any order, and small enough that sums of sizes fit a `u64`.
const MAX_SIZE: i64 = 1_000_000_000_000_000;

impl MarketRules {
    /// Reads a market file, with the tables and keys of `markets/*.toml` of this crate and no others.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] with file, place and rule if a key is unknown or missing, a value is out of its range,
    /// the time zone is unknown, or two rules of one kind are in force on the same day.
    pub fn parse(text: &str, source_name: &str) -> Result<Self, QuantError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            let field = format!("{source_name} line {line}");
            QuantError::value(PLACE, field, "must be a market file", error.message())
        })?;
        file.check(&At(source_name.to_owned()))
    }
}

/// A place in a market file.
struct At(String);

impl At {
    fn down(&self, part: impl std::fmt::Display) -> Self {
        Self(format!("{}: {part}", self.0))
    }

    fn refuse(&self, field: &str, rule: impl Into<String>, value: impl ToString) -> QuantError {
        QuantError::value(PLACE, format!("{}: {field}", self.0), rule, value)
    }

    /// A decimal number as a whole number of units, within bounds.
    fn units(
        &self,
        field: &str,
        value: f64,
        per_one: i64,
        least: i64,
        most: i64,
    ) -> Result<i64, QuantError> {
        let scaled = value * per_one as f64;
        let units = scaled.round();
        // Nine digits hold any written number. A finer one is refused rather than rounded.
        if !scaled.is_finite() || (scaled - units).abs() > 1e-9 * units.abs().max(1.0) {
            let rule = format!("must be a multiple of {}", 1.0 / per_one as f64);
            return Err(self.refuse(field, rule, value));
        }
        if !(least as f64..=most as f64).contains(&units) {
            let bound = |units: i64| units as f64 / per_one as f64;
            let rule = format!("must be in {}..={}", bound(least), bound(most));
            return Err(self.refuse(field, rule, value));
        }
        Ok(units as i64)
    }

    fn text(&self, field: &str, value: String) -> Result<String, QuantError> {
        if value.trim().is_empty() {
            return Err(self.refuse(field, "must not be empty", "nothing"));
        }
        Ok(value)
    }

    fn force(&self, from: Date, to: Option<Date>) -> Result<Force, QuantError> {
        match to {
            Some(to) if to < from => Err(self.refuse("to", "must not lie before from", to)),
            _ => Ok(Force { from, to }),
        }
    }

    fn patterns(&self, texts: &[String]) -> Result<Vec<Pattern>, QuantError> {
        let pattern =
            |text: &String| Pattern::new(text).map_err(|rule| self.refuse("symbols", rule, text));
        texts.iter().map(pattern).collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    currency: String,
    timezone: String,
    days: Days,
    days_per_year: u32,
    sessions: Vec<[String; 2]>,
    price_decimals: u32,
    quantity_decimals: u32,
    class: Vec<ClassRow>,
    #[serde(default)]
    fee: Vec<FeeRow>,
    closed: Option<ClosedRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassRow {
    name: String,
    symbols: Vec<String>,
    untradable: Option<String>,
    #[serde(default)]
    limit: Vec<LimitRow>,
    #[serde(default)]
    order: Vec<OrderRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitRow {
    from: Date,
    to: Option<Date>,
    st: Option<bool>,
    percent: i64,
    #[serde(default)]
    ipo_free_days: u32,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderRow {
    from: Date,
    to: Option<Date>,
    min: f64,
    step: f64,
    tick: f64,
    sell_after_days: u32,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeeRow {
    kind: Fee,
    #[serde(default)]
    symbols: Vec<String>,
    side: Option<Trade>,
    from: Date,
    to: Option<Date>,
    basis: Basis,
    rate: f64,
    #[serde(default)]
    min: f64,
    max: Option<f64>,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosedRow {
    from: Date,
    to: Date,
    days: Vec<Date>,
    source: String,
}

impl File {
    fn check(self, at: &At) -> Result<MarketRules, QuantError> {
        let name = at.text("name", self.name)?;
        let letters = |text: &str| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
        if !letters(&self.currency) {
            let rule = "must be three capital letters, such as CNY";
            return Err(at.refuse("currency", rule, self.currency));
        }
        let timezone = TimeZone::get(&self.timezone).map_err(|_| {
            let rule = "must be a name of the IANA time zone database, such as Asia/Shanghai";
            at.refuse("timezone", rule, &self.timezone)
        })?;
        for (field, value, least, most) in [
            ("days_per_year", self.days_per_year, 1, 366),
            ("price_decimals", self.price_decimals, 2, 8),
            ("quantity_decimals", self.quantity_decimals, 0, 8),
        ] {
            if !(least..=most).contains(&value) {
                return Err(at.refuse(field, format!("must be in {least}..={most}"), value));
            }
        }
        let mut market = MarketRules {
            name,
            title: at.text("title", self.title)?,
            currency: self.currency,
            timezone,
            days: self.days,
            days_per_year: self.days_per_year,
            sessions: sessions(at, &self.sessions)?,
            price_decimals: self.price_decimals,
            quantity_decimals: self.quantity_decimals,
            classes: Vec::new(),
            fees: Vec::new(),
            closed: None,
        };
        if self.class.is_empty() {
            return Err(at.refuse("class", "must hold at least one class", 0));
        }
        let mut names = BTreeSet::new();
        for row in self.class {
            let class = row.check(at, &market)?;
            if !names.insert(class.name.clone()) {
                return Err(at.refuse("class", "must have each name once", class.name));
            }
            market.classes.push(class);
        }
        for (i, row) in self.fee.into_iter().enumerate() {
            let at = at.down(format_args!("fee {}", i + 1));
            let rule = row.check(&at)?;
            refuse_overlap(&at, &market.fees, &rule, FeeRule::overlaps, |rule| {
                rule.from
            })?;
            market.fees.push(rule);
        }
        market.closed = self.closed.map(|row| row.check(at)).transpose()?;
        Ok(market)
    }
}

impl ClassRow {
    fn check(self, at: &At, market: &MarketRules) -> Result<Class, QuantError> {
        let name = at.down("class").text("name", self.name)?;
        let at = at.down(format_args!("class {name}"));
        if self.symbols.is_empty() {
            return Err(at.refuse("symbols", "must hold at least one pattern", 0));
        }
        let mut class = Class {
            name,
            symbols: at.patterns(&self.symbols)?,
            untradable: match self.untradable {
                Some(reason) => Some(at.text("untradable", reason)?),
                None => None,
            },
            limits: Vec::new(),
            orders: Vec::new(),
        };
        if class.untradable.is_none() && self.order.is_empty() {
            let rule = "must hold an order rule, or the class must say why it is untradable";
            return Err(at.refuse("order", rule, 0));
        }
        for (i, row) in self.limit.into_iter().enumerate() {
            let at = at.down(format_args!("limit {}", i + 1));
            let rule = row.check(&at)?;
            refuse_overlap(&at, &class.limits, &rule, LimitRule::overlaps, |r| r.from)?;
            class.limits.push(rule);
        }
        for (i, row) in self.order.into_iter().enumerate() {
            let at = at.down(format_args!("order {}", i + 1));
            let rule = row.check(&at, market)?;
            let overlaps = |a: &OrderRule, b: &OrderRule| a.force().overlaps(b.force());
            refuse_overlap(&at, &class.orders, &rule, overlaps, |r| r.from)?;
            class.orders.push(rule);
        }
        Ok(class)
    }
}

impl LimitRow {
    fn check(self, at: &At) -> Result<LimitRule, QuantError> {
        let force = at.force(self.from, self.to)?;
        if !(1..=99).contains(&self.percent) {
            return Err(at.refuse("percent", "must be in 1..=99", self.percent));
        }
        Ok(LimitRule {
            st: self.st,
            from: force.from,
            to: force.to,
            percent: self.percent,
            ipo_free_days: self.ipo_free_days,
            source: at.text("source", self.source)?,
        })
    }
}

impl OrderRow {
    fn check(self, at: &At, market: &MarketRules) -> Result<OrderRule, QuantError> {
        let force = at.force(self.from, self.to)?;
        let per_share = market.units_per_share();
        let step = at.units("step", self.step, per_share, 1, MAX_SIZE)?;
        let min = at.units("min", self.min, per_share, 1, MAX_SIZE)?;
        if min % step != 0 {
            return Err(at.refuse("min", "must be a multiple of step", self.min));
        }
        let (per_price, most) = (market.units_per_price(), market.max_price());
        Ok(OrderRule {
            from: force.from,
            to: force.to,
            min: min.unsigned_abs(),
            step: step.unsigned_abs(),
            tick: at.units("tick", self.tick, per_price, 1, most)?,
            sell_after_days: self.sell_after_days,
            source: at.text("source", self.source)?,
        })
    }
}

impl FeeRow {
    fn check(self, at: &At) -> Result<FeeRule, QuantError> {
        let force = at.force(self.from, self.to)?;
        let cents = |field, value| at.units(field, value, 100, 0, MAX_AMOUNT_CENTS);
        let min_cents = cents("min", self.min)?;
        let max_cents = self.max.map(|max| cents("max", max)).transpose()?;
        if max_cents.is_some_and(|max| max < min_cents) {
            return Err(at.refuse("max", "must not lie below min", self.max.unwrap_or(0.0)));
        }
        Ok(FeeRule {
            fee: self.kind,
            symbols: at.patterns(&self.symbols)?,
            side: self.side,
            from: force.from,
            to: force.to,
            basis: self.basis,
            rate_e7: at.units("rate", self.rate, PER_ONE, 0, PER_ONE)?,
            min_cents,
            max_cents,
            source: at.text("source", self.source)?,
        })
    }
}

impl ClosedRow {
    fn check(self, at: &At) -> Result<Closures, QuantError> {
        let at = at.down("closed");
        at.force(self.from, Some(self.to))?;
        let within = |day: &&Date| self.from <= **day && **day <= self.to && !day.is_weekend();
        if let Some(day) = self.days.iter().find(|day| !within(day)) {
            let rule = "must be weekdays from `from` to `to`";
            return Err(at.refuse("days", rule, day));
        }
        Ok(Closures {
            from: self.from,
            to: self.to,
            days: self.days.into_iter().collect(),
            source: at.text("source", self.source)?,
        })
    }
}

fn sessions(at: &At, rows: &[[String; 2]]) -> Result<Vec<Session>, QuantError> {
    let seconds = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let two = |part: &str| (part.len() == 2).then(|| part.parse::<u32>().ok())?;
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        let seconds = hours * 3_600 + minutes * 60;
        (minutes < 60 && seconds <= DAY_SECONDS).then_some(seconds)
    };
    let mut sessions: Vec<Session> = Vec::with_capacity(rows.len());
    for [open, close] in rows {
        let text = format!("{open} to {close}");
        let (Some(open_s), Some(close_s)) = (seconds(open), seconds(close)) else {
            let rule = "must be times of a day, written 09:30, up to 24:00";
            return Err(at.refuse("sessions", rule, text));
        };
        let after = sessions.last().map_or(0, |last| last.close_s);
        if open_s >= close_s || open_s < after {
            let rule = "must open before they close, one after the other";
            return Err(at.refuse("sessions", rule, text));
        }
        sessions.push(Session { open_s, close_s });
    }
    if sessions.is_empty() {
        return Err(at.refuse("sessions", "must hold at least one session", 0));
    }
    Ok(sessions)
}

fn refuse_overlap<R>(
    at: &At,
    rules: &[R],
    rule: &R,
    overlaps: impl Fn(&R, &R) -> bool,
    from: impl Fn(&R) -> Date,
) -> Result<(), QuantError> {
    match rules.iter().find(|other| overlaps(other, rule)) {
        None => Ok(()),
        Some(other) => {
            let text = format!(
                "must not overlap the rule of the same kind from {}",
                from(other)
            );
            Err(at.refuse("from", text, from(rule)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
name = "tests"
title = "a market of tests"
currency = "EUR"
timezone = "Europe/Berlin"
days = "weekdays"
days_per_year = 254
sessions = [["09:00", "17:30"]]
price_decimals = 3
quantity_decimals = 2

[[class]]
name = "stock"
symbols = ["@@@.DE"]

[[class.limit]]
from = "2020-01-01"
percent = 10
source = "x"

[[class.order]]
from = "2020-01-01"
min = 1
step = 0.25
tick = 0.005
sell_after_days = 0
source = "x"

[[fee]]
kind = "commission"
from = "2020-01-01"
basis = "amount"
rate = 0.001
min = 1.5
max = 9
source = "x"

[closed]
from = "2024-01-01"
to = "2024-12-31"
days = ["2024-01-01"]
source = "x"
"#;

    #[test]
    fn decimals_of_a_file_are_read_as_units() {
        let market = MarketRules::parse(GOOD, "tests.toml").unwrap();
        let order = &market.classes[0].orders[0];
        assert_eq!((order.min, order.step, order.tick), (100, 25, 5));
        let fee = &market.fees[0];
        assert_eq!(
            (fee.rate_e7, fee.min_cents, fee.max_cents),
            (10_000, 150, Some(900))
        );
        // 12.345 a share: 1.23 shares are 15.18435, and 15.18 buys 1.22 shares.
        assert_eq!(market.amount_cents(12_345, 123), Some(1_518));
        assert_eq!(market.quantity_for(1_518, 12_345), 122);
        let open = |text: &str| market.is_open(Date::parse(text).unwrap());
        assert_eq!(open("2024-01-01"), Some(false));
        assert_eq!(open("2024-01-02"), Some(true));
        assert_eq!(open("2024-01-06"), Some(false));
        assert_eq!(open("2025-01-01"), None);
    }

    #[test]
    fn trading_hours_follow_the_time_zone_of_the_exchange() {
        let market = MarketRules::parse(GOOD, "tests.toml").unwrap();
        // Summer time begins on 2024-03-31: 09:00 is 08:00 UTC before and 07:00 UTC after.
        let ns = |text: &str| {
            let time: jiff::Timestamp = text.parse().unwrap();
            i64::try_from(time.as_nanosecond()).unwrap()
        };
        let march = |day: &str, minute: u32| market.time_ns(Date::parse(day).unwrap(), minute * 60);
        assert_eq!(march("2024-03-28", 541), Some(ns("2024-03-28T08:01:00Z")));
        assert_eq!(march("2024-04-02", 541), Some(ns("2024-04-02T07:01:00Z")));
        assert_eq!(march("2024-03-31", 1440), Some(ns("2024-03-31T22:00:00Z")));
        for (time, local, open) in [
            ("2024-03-28T07:59:00Z", "2024-03-28T08:59:00+01:00", false),
            ("2024-03-28T08:01:00Z", "2024-03-28T09:01:00+01:00", true),
            ("2024-04-02T07:01:00Z", "2024-04-02T09:01:00+02:00", true),
            ("2024-04-02T15:30:00Z", "2024-04-02T17:30:00+02:00", true),
            ("2024-04-02T15:31:00Z", "2024-04-02T17:31:00+02:00", false),
        ] {
            assert_eq!(market.local_time(ns(time)), local);
            assert_eq!(market.is_in_session(ns(time)), open, "{time}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place() {
        for (good, bad, reason) in [
            (
                "name = \"tests\"",
                "name = \" \"",
                "tests.toml: name: must not be empty",
            ),
            (
                "currency",
                "coin",
                "line 4: must be a market file, got unknown field `coin`",
            ),
            ("\"EUR\"", "\"eur\"", "currency: must be three capital"),
            (
                "Europe/Berlin",
                "Europe/Entenhausen",
                "timezone: must be a name of the IANA",
            ),
            ("\"weekdays\"", "\"mondays\"", "unknown variant `mondays`"),
            ("= 254", "= 367", "days_per_year: must be in 1..=366"),
            ("17:30", "08:30", "sessions: must open before"),
            ("17:30", "25:30", "sessions: must be times"),
            (
                "price_decimals = 3",
                "price_decimals = 1",
                "price_decimals: must be in 2..=8",
            ),
            ("@@@.DE", "@@ DE", "class stock: symbols: may hold only"),
            (
                "percent = 10",
                "percent = 100",
                "class stock: limit 1: percent: must be in 1..=99",
            ),
            (
                "step = 0.25",
                "step = 0.125",
                "order 1: step: must be a multiple of 0.01",
            ),
            (
                "step = 0.25",
                "step = 0.4",
                "order 1: min: must be a multiple of step",
            ),
            (
                "tick = 0.005",
                "tick = 0",
                "order 1: tick: must be in 0.001..=",
            ),
            (
                "rate = 0.001",
                "rate = 1.5",
                "fee 1: rate: must be in 0..=1",
            ),
            (
                "rate = 0.001",
                "rate = nan",
                "fee 1: rate: must be a multiple",
            ),
            ("max = 9", "max = 1", "fee 1: max: must not lie below min"),
            ("\"commission\"", "\"tip\"", "unknown variant `tip`"),
            (
                "days = [\"2024-01-01\"]",
                "days = [\"2024-01-06\"]",
                "closed: days: must be weekdays",
            ),
            (
                "to = \"2024-12-31\"",
                "to = \"2023-12-31\"",
                "closed: to: must not lie before from",
            ),
            (
                "[[fee]]",
                "[[class.order]]\nfrom = \"2021-01-01\"\nmin = 1\nstep = 1\ntick = 1\nsell_after_days = 0\nsource = \"x\"\n[[fee]]",
                "order 2: from: must not overlap the rule of the same kind from 2020-01-01",
            ),
        ] {
            let text = GOOD.replace(good, bad);
            match MarketRules::parse(&text, "tests.toml") {
                Ok(_) => assert!(reason.is_empty(), "{bad}"),
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        message.contains(reason) && !reason.is_empty(),
                        "{bad}: {message}"
                    );
                }
            }
        }
    }
}
