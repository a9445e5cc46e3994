//! Dated trading rules of any number of markets. The rules are data: the files in `markets/` of this crate, each row with
//! its source. A new rule is a new row, and a new market a new file, never a new branch.
//!
//! | type | content |
//! |---|---|
//! | [`Markets`] | market and class of a symbol |
//! | [`MarketRules`] | currency, time zone, trading days and hours, decimals of prices and quantities |
//! | [`LimitRule`] | the price limit of a day |
//! | [`OrderRule`] | order sizes, tick, and the waiting period before a sale |
//! | [`FeeRule`] | a fee of trades |
//!
//! [`Markets::on`] returns the rules of one instrument on one day. Prices and quantities are integers in units of their market
//! (cents and shares for A-share stocks) and money is in integer cents; every step that rounds documents it.
//! [`breaches`](crate::breaches) uses the same rules to find the days of a series that break them.
//!
//! ```
//! use heqis_quant::rules::{Markets, Trade};
//! use heqis_quant::{Date, Symbol};
//!
//! let markets = Markets::shipped()?;
//! let day = markets.on(Symbol::parse("600000.SH")?, Date::parse("2024-01-02")?, false)?;
//! let shares = day.order.buyable(1_234);
//! let bill = day.fees.bill(Trade::Sell, 10_00 * 1_200, shares)?;
//! assert_eq!((shares, bill.total_cents()), (1_200, 5_00 + 6_00 + 12));
//!
//! // Half a coin at 40,000.00 USD, in units of 10⁻⁶ and 10⁻⁸.
//! let day = markets.on(Symbol::parse("BTC-USD")?, Date::parse("2024-01-06")?, false)?;
//! assert_eq!(day.listing.market.amount_cents(40_000_00000000, 500_000), Some(20_000_00));
//! # Ok::<(), heqis_quant::QuantError>(())
//! ```

mod fees;
mod limits;
mod market;
mod market_file;
mod markets;
mod orders;
mod pattern;
mod published;

pub use fees::{Basis, Fee, FeeBill, FeeRule, Fees, Trade};

pub use limits::{LimitRule, Limits};
pub use market::{Class, Closures, Days, MarketRules, Session, utc_time};
pub use markets::{Listing, Markets};
pub use orders::OrderRule;
pub use pattern::Pattern;
pub use published::{Published, check_published};

use crate::date::Date;
use crate::error::QuantError;
use limits::check_reference;

const PLACE: &str = "market rules";

/// The rules of one instrument on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRules<'a> {
    /// The instrument in its market.
    pub listing: Listing<'a>,
    /// The day.
    pub date: Date,
    /// The price limit in force, if any.
    pub limit: Option<&'a LimitRule>,
    /// The order rule in force.
    pub order: &'a OrderRule,
    /// The fees in force.
    pub fees: Fees<'a>,
}

impl DayRules<'_> {
    /// Returns the price limits of the day, from the ex-right reference price in price units.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the reference price is not between one unit and 100,000,000 of the currency.
    pub fn limits(&self, reference: i64) -> Result<Limits, QuantError> {
        let most = self.listing.market.max_price();
        check_reference(reference, most, || {
            format!(
                "reference price of {} on {}",
                self.listing.symbol, self.date
            )
        })?;
        let tick = self.order.tick;
        Ok(self
            .limit
            .map_or(Limits::NoLimit, |rule| rule.around(reference, tick)))
    }

    /// Returns the largest quantity that may be bought at a price, both in units of the market, so that it and every fee
    /// together cost at most `cash_cents`; 0 when the cash is too little for the smallest order.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the cash is negative or the price not positive.
    pub fn affordable(&self, cash_cents: i64, price: i64) -> Result<u64, QuantError> {
        if cash_cents < 0 {
            return Err(QuantError::value(
                PLACE,
                "cash_cents",
                "must not be negative",
                cash_cents,
            ));
        }
        if price <= 0 {
            return Err(QuantError::value(PLACE, "price", "must be positive", price));
        }
        // Cost never falls with the quantity, so bisection finds the answer.
        let market = self.listing.market;
        let costs_at_most_cash = |quantity: u64| -> Result<bool, QuantError> {
            let Some(amount) = market.amount_cents(price, quantity) else {
                return Ok(false);
            };
            let fees = self.fees.bill(Trade::Buy, amount, quantity)?.total_cents();
            Ok(fees <= cash_cents - amount)
        };
        // Amounts are rounded to a cent, so one that exceeds the cash by less than half a cent may be paid.
        let most = market.quantity_for(cash_cents.saturating_add(1), price);
        let most = self.order.buyable(most);
        let (mut good, mut unknown) = (0, most);
        while good < unknown {
            // Rounded up, so that the smallest size above `good` is tried last and the loop terminates.
            let middle = self.order.buyable(good + (unknown - good).div_ceil(2));
            let tried = if middle > good { middle } else { unknown };
            if costs_at_most_cash(tried)? {
                good = tried;
            } else {
                unknown = self.order.buyable(tried - 1);
            }
        }
        Ok(good)
    }
}

/// The days on which a rule is in force; `to` is `None` without an end.
#[derive(Clone, Copy)]
struct Force {
    from: Date,
    to: Option<Date>,
}

impl Force {
    fn holds(self, date: Date) -> bool {
        self.from <= date && self.to.is_none_or(|to| date <= to)
    }

    fn overlaps(self, other: Self) -> bool {
        self.to.is_none_or(|to| other.from <= to) && other.to.is_none_or(|to| self.from <= to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(
        clippy::inconsistent_digit_grouping,
        reason = "1_005_01 reads as 1,005.01 CNY"
    )]
    use super::*;
    use crate::symbol::Symbol;
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn rules_of_a_day_hold_limits_lots_and_fees() {
        let markets = Markets::shipped().unwrap();
        for (symbol, date, st, band, smallest, sale) in [
            // Limits of a reference of 10.00, the smallest order, the fees of selling for 100,000.00.
            (
                "600000.SH",
                "1996-12-13",
                false,
                None,
                100,
                25_00 + 300_00 + 3_00,
            ),
            (
                "600000.SH",
                "2015-07-31",
                false,
                Some((1100, 900)),
                100,
                25_00 + 100_00 + 3_00,
            ),
            (
                "000001.SZ",
                "2015-07-31",
                false,
                Some((1100, 900)),
                100,
                25_00 + 100_00 + 2_55,
            ),
            (
                "300001.SZ",
                "2020-08-24",
                true,
                Some((1200, 800)),
                100,
                25_00 + 100_00 + 2_00,
            ),
            (
                "600000.SH",
                "2023-08-25",
                true,
                Some((1050, 950)),
                100,
                25_00 + 100_00 + 1_00,
            ),
            (
                "600000.SH",
                "2023-08-28",
                true,
                Some((1050, 950)),
                100,
                25_00 + 50_00 + 1_00,
            ),
            (
                "688001.SH",
                "2024-01-02",
                false,
                Some((1200, 800)),
                200,
                25_00 + 50_00 + 1_00,
            ),
            (
                "920001.BJ",
                "2024-01-02",
                false,
                Some((1300, 700)),
                100,
                25_00 + 50_00 + 1_00,
            ),
        ] {
            let rules = markets
                .on(Symbol::parse(symbol).unwrap(), day(date), st)
                .unwrap();
            let limits = match band {
                Some((up, down)) => Limits::Band { up, down },
                None => Limits::NoLimit,
            };
            assert_eq!(rules.limits(1000).unwrap(), limits, "{symbol} {date}");
            assert_eq!(rules.order.min, smallest, "{symbol} {date}");
            assert_eq!(rules.order.sell_after_days, 1);
            let bill = rules.fees.bill(Trade::Sell, 100_000_00, 10_000).unwrap();
            assert_eq!(bill.total_cents(), sale, "{symbol} {date}");
        }
    }

    #[test]
    fn an_instrument_without_rules_is_an_error() {
        let markets = Markets::shipped().unwrap();
        for (symbol, date, reason) in [
            (
                "UNKNOWN.NAME",
                "2024-01-02",
                "must be a symbol of a market file",
            ),
            ("000300.SH", "2024-01-02", "must be tradable, got an index"),
            ("900901.SH", "2024-01-02", "must be tradable, got B shares"),
            (
                "600000.SH",
                "1994-12-30",
                "600000.SH: must have an order rule",
            ),
            (
                "688001.SH",
                "2019-07-19",
                "688001.SH: must have an order rule",
            ),
        ] {
            let symbol = Symbol::parse(symbol).unwrap();
            let message = markets
                .on(symbol, day(date), false)
                .unwrap_err()
                .to_string();
            assert!(message.contains(reason), "{message}");
        }
        let rules = markets
            .on(
                Symbol::parse("600000.SH").unwrap(),
                day("2024-01-02"),
                false,
            )
            .unwrap();
        assert!(rules.limits(0).is_err());
        assert!(rules.affordable(-1, 1000).is_err());
        assert!(rules.affordable(1000, 0).is_err());
        assert!(rules.affordable(i64::MAX, 1).is_err());
    }

    #[test]
    fn cash_buys_the_quantity_that_it_can_pay_with_fees() {
        let markets = Markets::shipped().unwrap();
        let rules = |symbol| {
            markets
                .on(Symbol::parse(symbol).unwrap(), day("2024-01-02"), false)
                .unwrap()
        };
        // 100 shares at 10.00 cost 1,000.00, a commission of 5.00 and a transfer fee of 0.01.
        let main = rules("600000.SH");
        assert_eq!(main.affordable(1_005_01, 10_00).unwrap(), 100);
        assert_eq!(main.affordable(1_005_00, 10_00).unwrap(), 0);
        let star = rules("688001.SH");
        assert_eq!(star.affordable(2_005_02, 10_00).unwrap(), 200);
        assert_eq!(star.affordable(2_015_02, 10_00).unwrap(), 201);
        assert_eq!(star.affordable(1_999_99, 10_00).unwrap(), 0);
    }

    #[test]
    fn every_symbol_finds_its_market() {
        let markets = Markets::shipped().unwrap();
        for (symbol, market, class) in [
            ("600000.SH", "ashare", "main"),
            ("000001.SZ", "ashare", "main"),
            ("301001.SZ", "ashare", "chinext"),
            ("689009.SH", "ashare", "star"),
            ("920001.BJ", "ashare", "bse"),
            ("510300.SH", "ashare-funds", "fund"),
            ("588000.SH", "ashare-funds", "star-fund"),
            ("159919.SZ", "ashare-funds", "fund"),
            ("159915.SZ", "ashare-funds", "chinext-fund"),
            ("161725.SZ", "ashare-funds", "fund"),
            ("511880.SH", "ashare-funds", "same-day-fund"),
            ("508000.SH", "ashare-funds", "reit"),
            ("113050.SH", "convertible-bonds", "shanghai"),
            ("128136.SZ", "convertible-bonds", "shenzhen"),
            ("000001.SH", "untradable", "index"),
            ("399001.SZ", "untradable", "index"),
            ("899050.BJ", "untradable", "index"),
            ("930050.CSI", "untradable", "index"),
            ("900901.SH", "untradable", "b-share"),
            ("200002.SZ", "untradable", "b-share"),
            ("EURUSD", "untradable", "currency"),
            ("AAPL", "us", "stock"),
            ("F", "us", "stock"),
            ("BRK.B", "us", "stock"),
            ("BTCUSD", "crypto", "spot"),
            ("BTC-USD", "crypto", "spot"),
            ("btcusdt", "crypto", "spot"),
            ("1000PEPEUSDT", "crypto", "spot"),
            ("BTC_USDT", "crypto", "spot"),
        ] {
            let listing = markets.of(Symbol::parse(symbol).unwrap()).unwrap();
            let found = (&listing.market.name[..], &listing.class.name[..]);
            assert_eq!(found, (market, class), "{symbol}");
        }
        for symbol in [
            "204001.SH",
            "SAP.DE",
            "VOD.L",
            "10005050.SH",
            "CL=F",
            "TOOLONG",
        ] {
            let symbol = Symbol::parse(symbol).unwrap();
            assert_eq!(markets.of(symbol), None, "{symbol}");
            assert!(markets.untradable(symbol).unwrap().contains("no market"));
        }
    }

    #[test]
    fn every_rule_has_a_source() {
        let markets = Markets::shipped().unwrap();
        for market in markets.all() {
            let fees = market.fees.iter().map(|rule| &rule.source);
            let classes = market.classes.iter().flat_map(|class| {
                let limits = class.limits.iter().map(|rule| &rule.source);
                limits.chain(class.orders.iter().map(|rule| &rule.source))
            });
            for source in fees.chain(classes) {
                assert!(source.len() > 15, "{}: {source}", market.name);
            }
        }
    }

    #[test]
    fn holidays_are_the_weekdays_without_a_bar_of_the_index() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/ashare/000300.SH.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let days: std::collections::BTreeSet<Date> = text
            .lines()
            .skip(1)
            .map(|line| day(line.split(',').next().unwrap()))
            .collect();
        let markets = Markets::shipped().unwrap();
        let market = markets
            .of(Symbol::parse("600000.SH").unwrap())
            .unwrap()
            .market;
        for date in (day("2006-01-06").days()..=day("2025-12-31").days()).map(Date::from_days) {
            let date = date.unwrap();
            assert_eq!(market.is_open(date), Some(days.contains(&date)), "{date}");
        }
        assert_eq!(market.is_open(day("2026-01-01")), None);
    }

    #[test]
    fn a_market_of_a_user_takes_precedence_over_the_shipped_ones() {
        let file = |name: &str, symbols: &str| {
            format!(
                "name = '{name}'\ntitle = 'mine'\ncurrency = 'USD'\ntimezone = 'UTC'\ndays = 'all'\n\
                 days_per_year = 365\nsessions = [['00:00', '24:00']]\nprice_decimals = 2\nquantity_decimals = 0\n\
                 [[class]]\nname = 'c'\nsymbols = ['{symbols}']\nuntradable = 'mine'\n"
            )
        };
        let name_of = |markets: &Markets, symbol: &str| {
            let listing = markets.of(Symbol::parse(symbol).unwrap());
            listing.map(|listing| listing.market.name.clone())
        };
        let shipped = Markets::shipped().unwrap();
        let mine = shipped
            .clone()
            .with(&file("mine", "@@@@"), "mine.toml")
            .unwrap();
        assert_eq!(name_of(&mine, "AAPL").as_deref(), Some("mine"));
        assert_eq!(name_of(&mine, "F").as_deref(), Some("us"));
        let exact = mine
            .clone()
            .with(&file("exact", "AAPL"), "exact.toml")
            .unwrap();
        assert_eq!(name_of(&exact, "AAPL").as_deref(), Some("exact"));
        assert_eq!(name_of(&exact, "MSFT").as_deref(), Some("mine"));
        for (name, symbols, reason) in [
            ("mine", "ZZZ", "added before"),
            (
                "other",
                "@???",
                "must not match symbols that @@@@ of class c in mine matches as well",
            ),
        ] {
            let error = mine
                .clone()
                .with(&file(name, symbols), "other.toml")
                .unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        let replaced = shipped.with(&file("us", "@@@@"), "us.toml").unwrap();
        assert_eq!(name_of(&replaced, "AAPL").as_deref(), Some("us"));
        assert_eq!(name_of(&replaced, "F"), None);
    }

    #[test]
    fn fractions_are_bought_up_to_the_cash() {
        let markets = Markets::shipped().unwrap();
        let day = markets
            .on(Symbol::parse("BTCUSDT").unwrap(), day("2024-01-06"), false)
            .unwrap();
        // 1,000.00 with a fee of 0.1 percent at 40,000.00: 0.024975 are 999.00 and a fee of 1.00 (0.999), and a millionth
        // more is 999.04 and 1.00.
        assert_eq!(day.affordable(1_000_00, 40_000_00000000).unwrap(), 24_975);
        assert_eq!(day.affordable(0, 40_000_00000000).unwrap(), 0);
    }

    proptest! {
        #[test]
        fn a_purchase_never_exceeds_the_cash_and_one_step_more_would(
            cash in 0i64..100_000_000, price in 1i64..100_000,
            symbol in prop::sample::select(vec!["600000.SH", "300001.SZ", "688001.SH", "920001.BJ"]), date in 18_950i32..20_500
        ) {
            let markets = Markets::shipped().unwrap();
            let rules = markets.on(Symbol::parse(symbol).unwrap(), Date::from_days(date).unwrap(), false).unwrap();
            let cost = |shares: u64| {
                let amount = shares as i64 * price;
                amount + rules.fees.bill(Trade::Buy, amount, shares).unwrap().total_cents()
            };
            let shares = rules.affordable(cash, price).unwrap();
            prop_assert_eq!(rules.order.buyable(shares), shares);
            prop_assert!(shares == 0 || cost(shares) <= cash);
            let next = if shares == 0 { rules.order.min } else { shares + rules.order.step };
            prop_assert!(cost(next) > cash, "{next} would cost {}", cost(next));
        }
    }
}
