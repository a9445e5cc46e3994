//! Dated A-share trading rules. They are data, the three tables in `rules/` of this crate, each row with its source:
//! a new rule is a new row, never a new branch.
//!
//! | file | type | what it rules |
//! |---|---|---|
//! | `rules/ashare.csv` | [`LimitTable`] | how far a price may move in a day |
//! | `rules/orders.csv` | [`OrderTable`] | how many shares an order may have, and when bought shares may be sold |
//! | `rules/fees.csv` | [`FeeTable`] | what a trade costs |
//!
//! [`RuleBook::on`] answers for one stock on one day. Money is in integer cents and shares are whole; every step that
//! rounds says so. [`breaches`] uses the same tables the other way round, to find the days of a series that break them.
//!
//! ```
//! use heqis_quant::rules::{RuleBook, Trade};
//! use heqis_quant::{Date, Symbol};
//!
//! let book = RuleBook::ashare()?;
//! let day = book.on(Symbol::parse("600000.SH")?, Date::parse("2024-01-02")?, false)?;
//! let shares = day.order.buyable(1_234);
//! let bill = day.fees.bill(Trade::Sell, 10_00 * 1_200, shares)?;
//! assert_eq!((shares, bill.total_cents()), (1_200, 5_00 + 6_00 + 12));
//! # Ok::<(), heqis_quant::QuantError>(())
//! ```

mod audit;
mod fees;
mod limits;
mod orders;
mod published;

use serde::de::DeserializeOwned;

pub use audit::{Breach, BreachReason, breaches};
pub use fees::{Basis, Fee, FeeBill, FeeRule, FeeTable, Fees, Trade};
pub(crate) use limits::references;
pub use limits::{LimitRule, LimitTable, Limits};
pub use orders::{OrderRule, OrderTable};
pub use published::{Published, check_published};

use crate::{Board, Date, QuantError, Symbol};

const PLACE: &str = "rule book";

/// All rules of a market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBook {
    limits: LimitTable,
    orders: OrderTable,
    fees: FeeTable,
}

/// The rules of one stock on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRules<'a> {
    /// The stock.
    pub symbol: Symbol,
    /// The day.
    pub date: Date,
    /// The price limit in force, or `None` when no rule limits the price of that day.
    pub limit: Option<&'a LimitRule>,
    /// The order sizes in force, and the wait before a sale.
    pub order: &'a OrderRule,
    /// The fees in force.
    pub fees: Fees<'a>,
}

impl RuleBook {
    /// Joins three tables.
    #[must_use]
    pub fn new(limits: LimitTable, orders: OrderTable, fees: FeeTable) -> Self {
        Self {
            limits,
            orders,
            fees,
        }
    }

    /// Returns the A-share rules that are part of this crate, with the default commission: see
    /// [`FeeTable::with_commission`].
    ///
    /// # Errors
    /// Returns what the parsers return; tests keep the tables of the crate good.
    pub fn ashare() -> Result<Self, QuantError> {
        Ok(Self::new(
            LimitTable::ashare()?,
            OrderTable::ashare()?,
            FeeTable::ashare()?,
        ))
    }

    /// Returns the rules of a stock on a day; `st` tells whether the stock is under special treatment.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the symbol is no A-share stock, or when the tables have no lots or no fees
    /// for that day. Days without a price limit are good: see [`DayRules::limit`].
    pub fn on(&self, symbol: Symbol, date: Date, st: bool) -> Result<DayRules<'_>, QuantError> {
        let board = symbol.board();
        if board == Board::Other {
            return Err(QuantError::value(
                PLACE,
                "symbol",
                "must be an A-share stock, since no rule is known for anything else",
                symbol,
            ));
        }
        let order = self.orders.rule(board, date).ok_or_else(|| {
            QuantError::value(
                PLACE,
                format!("orders of {symbol}"),
                "must have a rule in force on the day",
                date,
            )
        })?;
        Ok(DayRules {
            symbol,
            date,
            limit: self.limits.rule(board, date, st),
            order,
            fees: self.fees.on(symbol.exchange(), date)?,
        })
    }

    /// Returns the price limits.
    #[must_use]
    pub fn limits(&self) -> &LimitTable {
        &self.limits
    }

    /// Returns the order sizes.
    #[must_use]
    pub fn orders(&self) -> &OrderTable {
        &self.orders
    }

    /// Returns the fees.
    #[must_use]
    pub fn fees(&self) -> &FeeTable {
        &self.fees
    }
}

impl DayRules<'_> {
    /// Returns the price limits of the day, from the ex-right reference price in cents.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the reference price is not between 0.01 and 100,000,000.00 CNY.
    pub fn limits(&self, pre_close_cents: i64) -> Result<Limits, QuantError> {
        limits::limits(self.limit, self.symbol, self.date, pre_close_cents)
    }

    /// Returns the largest number of shares that may be bought at `price_cents` so that the shares and every fee
    /// together cost at most `cash_cents`; 0 when the cash is too little for the smallest order.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the cash is negative or the price not positive.
    pub fn affordable_shares(&self, cash_cents: i64, price_cents: i64) -> Result<u64, QuantError> {
        if cash_cents < 0 {
            return Err(QuantError::value(
                PLACE,
                "cash_cents",
                "must not be negative",
                cash_cents,
            ));
        }
        if price_cents <= 0 {
            return Err(QuantError::value(
                PLACE,
                "price_cents",
                "must be positive",
                price_cents,
            ));
        }
        // Cost never falls with the number of shares, so the answer is found by halving.
        let costs_at_most_cash = |shares: u64| -> Result<bool, QuantError> {
            // Never above the cash, since `shares` starts at cash over price.
            let amount = i64::try_from(shares).unwrap_or(i64::MAX) * price_cents;
            let fees = self.fees.bill(Trade::Buy, amount, shares)?.total_cents();
            Ok(fees <= cash_cents - amount)
        };
        let most = self
            .order
            .buyable(u64::try_from(cash_cents / price_cents).unwrap_or(0));
        let (mut good, mut unknown) = (0, most);
        while good < unknown {
            // Rounded up, so that the smallest size above `good` is tried last and the loop ends.
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

/// Reads the rows of a rule table, each with its line.
fn rows<'a, R: DeserializeOwned + 'a>(
    place: &'static str,
    text: &'a str,
) -> impl Iterator<Item = Result<(usize, R), QuantError>> + 'a {
    csv::Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .enumerate()
        .map(move |(i, row)| {
            let line = i + 2;
            match row {
                Ok(row) => Ok((line, row)),
                Err(error) => Err(QuantError::value(
                    place,
                    format!("line {line}"),
                    "must be a rule of this table",
                    error,
                )),
            }
        })
}

/// The days on which a rule is in force; no `to` means no end yet.
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

/// The two checks that every rule of a table has to pass.
fn check_row(
    place: &'static str,
    line: usize,
    force: Force,
    source: &str,
) -> Result<(), QuantError> {
    if let Some(to) = force.to.filter(|to| *to < force.from) {
        return Err(refuse(place, line, "to", "must not lie before from", to));
    }
    if source.trim().is_empty() {
        return Err(refuse(
            place,
            line,
            "source",
            "must tell where the rule is written",
            source,
        ));
    }
    Ok(())
}

fn refuse(
    place: &'static str,
    line: usize,
    column: &str,
    rule: impl Into<String>,
    value: impl ToString,
) -> QuantError {
    QuantError::value(place, format!("line {line}, column {column}"), rule, value)
}

fn refuse_overlap(place: &'static str, line: usize, other: Date, from: Date) -> QuantError {
    QuantError::value(
        place,
        format!("line {line}"),
        format!("must not overlap the rule of the same kind from {other}"),
        from,
    )
}

fn refuse_empty(place: &'static str) -> QuantError {
    QuantError::value(place, "rows", "must hold at least one rule", 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(
        clippy::inconsistent_digit_grouping,
        reason = "1_005_01 reads as 1,005.01 CNY"
    )]
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    #[test]
    fn one_question_answers_for_limits_lots_and_fees() {
        let book = RuleBook::ashare().unwrap();
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
            let rules = book
                .on(Symbol::parse(symbol).unwrap(), day(date), st)
                .unwrap();
            let limits = match band {
                Some((up_cents, down_cents)) => Limits::Band {
                    up_cents,
                    down_cents,
                },
                None => Limits::NoLimit,
            };
            assert_eq!(rules.limits(1000).unwrap(), limits, "{symbol} {date}");
            assert_eq!(rules.order.min_shares, smallest, "{symbol} {date}");
            assert_eq!(rules.order.sell_after_days, 1);
            let bill = rules.fees.bill(Trade::Sell, 100_000_00, 10_000).unwrap();
            assert_eq!(bill.total_cents(), sale, "{symbol} {date}");
        }
    }

    #[test]
    fn what_has_no_rules_is_an_error_and_not_a_free_trade() {
        let book = RuleBook::ashare().unwrap();
        for (symbol, date, reason) in [
            ("AAPL", "2024-01-02", "must be an A-share stock"),
            ("000300.SH", "2024-01-02", "must be an A-share stock"),
            ("600000.SH", "1994-12-30", "orders of 600000.SH"),
            ("688001.SH", "2019-07-19", "orders of 688001.SH"),
        ] {
            let symbol = Symbol::parse(symbol).unwrap();
            let message = book.on(symbol, day(date), false).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
        let rules = book
            .on(
                Symbol::parse("600000.SH").unwrap(),
                day("2024-01-02"),
                false,
            )
            .unwrap();
        assert!(rules.limits(0).is_err());
        assert!(rules.affordable_shares(-1, 1000).is_err());
        assert!(rules.affordable_shares(1000, 0).is_err());
        assert!(rules.affordable_shares(i64::MAX, 1).is_err());
    }

    #[test]
    fn cash_buys_what_it_can_pay_with_the_fees() {
        let book = RuleBook::ashare().unwrap();
        let rules = |symbol| {
            book.on(Symbol::parse(symbol).unwrap(), day("2024-01-02"), false)
                .unwrap()
        };
        // 100 shares at 10.00 cost 1,000.00, a commission of 5.00 and a transfer fee of 0.01.
        let main = rules("600000.SH");
        assert_eq!(main.affordable_shares(1_005_01, 10_00).unwrap(), 100);
        assert_eq!(main.affordable_shares(1_005_00, 10_00).unwrap(), 0);
        let star = rules("688001.SH");
        assert_eq!(star.affordable_shares(2_005_02, 10_00).unwrap(), 200);
        assert_eq!(star.affordable_shares(2_015_02, 10_00).unwrap(), 201);
        assert_eq!(star.affordable_shares(1_999_99, 10_00).unwrap(), 0);
    }

    proptest! {
        #[test]
        fn a_purchase_never_exceeds_the_cash_and_one_step_more_would(
            cash in 0i64..100_000_000, price in 1i64..100_000,
            symbol in prop::sample::select(vec!["600000.SH", "300001.SZ", "688001.SH", "920001.BJ"]), date in 18_950i32..20_500
        ) {
            let book = RuleBook::ashare().unwrap();
            let rules = book.on(Symbol::parse(symbol).unwrap(), Date::from_days(date).unwrap(), false).unwrap();
            let cost = |shares: u64| {
                let amount = shares as i64 * price;
                amount + rules.fees.bill(Trade::Buy, amount, shares).unwrap().total_cents()
            };
            let shares = rules.affordable_shares(cash, price).unwrap();
            prop_assert_eq!(rules.order.buyable(shares), shares);
            prop_assert!(shares == 0 || cost(shares) <= cash);
            let next = if shares == 0 { rules.order.min_shares } else { shares + rules.order.step_shares };
            prop_assert!(cost(next) > cash, "{next} would cost {}", cost(next));
        }
    }
}
