//! What a trade costs, from `rules/fees.csv` of this crate.

use serde::{Deserialize, Serialize};

use super::{Force, check_row, refuse, refuse_empty, refuse_overlap, rows};
use crate::{Date, Exchange, QuantError};

const FEES: &str = include_str!("../../rules/fees.csv");
const PLACE: &str = "fee table";
/// Rates are counted in ten-millionths, since 0.00255 percent has to be a whole number.
const PER_ONE: i64 = 10_000_000;
/// Ten trillion CNY: above the value of any market, and far below where an `i64` of cents ends.
const MAX_AMOUNT_CENTS: i64 = 1_000_000_000_000_000;
/// As many shares as a cent each would make the largest amount.
const MAX_SHARES: u64 = 1_000_000_000_000_000;
/// Every listed A share had a par value of 1 CNY while fees were counted on it, with few exceptions.
const PAR_CENTS: i64 = 100;

/// The side of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trade {
    /// Cash for shares.
    Buy,
    /// Shares for cash.
    Sell,
}

/// The kind of a fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fee {
    /// The tax of the state.
    StampDuty,
    /// The transfer fee of the clearing house.
    Transfer,
    /// What the broker takes.
    Commission,
}

/// What a rate is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The price times the shares.
    Amount,
    /// The par value of 1 CNY a share.
    Par,
}

/// One row: one fee in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeRule {
    /// The kind.
    pub fee: Fee,
    /// The exchange, or `None` for all.
    pub exchange: Option<Exchange>,
    /// The side that pays, or `None` for both.
    pub side: Option<Trade>,
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` when there is no end yet.
    pub to: Option<Date>,
    /// What the rate is taken of.
    pub basis: Basis,
    /// The rate in ten-millionths: 5,000 is 0.05 percent.
    pub rate_e7: i64,
    /// The least fee of one order in cents.
    pub min_cents: i64,
    /// Where the rule is written.
    pub source: String,
}

/// What one order costs, fee by fee, each rounded half up to a cent by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeBill {
    /// The tax in cents.
    pub stamp_duty_cents: i64,
    /// The transfer fee in cents.
    pub transfer_cents: i64,
    /// The commission in cents.
    pub commission_cents: i64,
}

/// The three fees in force for one exchange on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees<'a> {
    /// The tax.
    pub stamp_duty: &'a FeeRule,
    /// The transfer fee.
    pub transfer: &'a FeeRule,
    /// The commission.
    pub commission: &'a FeeRule,
}

impl FeeBill {
    /// Returns the sum in cents.
    #[must_use]
    pub fn total_cents(&self) -> i64 {
        // Each is at most the largest amount, so the sum is far inside an i64.
        self.stamp_duty_cents + self.transfer_cents + self.commission_cents
    }
}

impl FeeRule {
    /// The fee of a checked order. An order of nothing costs nothing, not even the minimum.
    fn cents(&self, trade: Trade, amount_cents: i64, shares: u64) -> i64 {
        if self.side.is_some_and(|side| side != trade) || (amount_cents == 0 && shares == 0) {
            return 0;
        }
        let base = match self.basis {
            Basis::Amount => i128::from(amount_cents),
            Basis::Par => i128::from(shares) * i128::from(PAR_CENTS),
        };
        let per_one = i128::from(PER_ONE);
        let rounded = (base * i128::from(self.rate_e7) + per_one / 2) / per_one;
        // A rate is at most one and a base at most 1e17, so nothing saturates.
        i64::try_from(rounded)
            .unwrap_or(i64::MAX)
            .max(self.min_cents)
    }
}

impl Fees<'_> {
    /// Returns the fees of an order that trades `shares` for `amount_cents` (price times shares).
    ///
    /// Each fee is rounded half up to a cent by itself, then the minimum of the commission is applied.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the amount is negative or above ten trillion CNY, or when there are more
    /// than 10¹⁵ shares.
    pub fn bill(
        &self,
        trade: Trade,
        amount_cents: i64,
        shares: u64,
    ) -> Result<FeeBill, QuantError> {
        if !(0..=MAX_AMOUNT_CENTS).contains(&amount_cents) {
            let rule = format!("must be in 0..={MAX_AMOUNT_CENTS}");
            return Err(QuantError::value(PLACE, "amount_cents", rule, amount_cents));
        }
        if shares > MAX_SHARES {
            let rule = format!("must be in 0..={MAX_SHARES}");
            return Err(QuantError::value(PLACE, "shares", rule, shares));
        }
        Ok(FeeBill {
            stamp_duty_cents: self.stamp_duty.cents(trade, amount_cents, shares),
            transfer_cents: self.transfer.cents(trade, amount_cents, shares),
            commission_cents: self.commission.cents(trade, amount_cents, shares),
        })
    }
}

/// All fee rules, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeTable {
    rules: Vec<FeeRule>,
}

impl FeeTable {
    /// Returns the A-share table that is part of this crate.
    ///
    /// # Errors
    /// Returns what [`FeeTable::parse`] returns; a test keeps the table of the crate good.
    pub fn ashare() -> Result<Self, QuantError> {
        Self::parse(FEES)
    }

    /// Parses a table with the columns `fee,exchange,side,from,to,basis,rate_e7,min_cents,source`.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] with the line for any cell that breaks its rule, and when two rows of one fee are
    /// in force on the same day for the same exchange.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        let mut rules: Vec<FeeRule> = Vec::new();
        for row in rows::<Row>(PLACE, text) {
            let (line, row) = row?;
            let rule = row.check(line)?;
            let clash = rules.iter().find(|other| {
                let same_exchange = other.exchange.is_none()
                    || rule.exchange.is_none()
                    || other.exchange == rule.exchange;
                other.fee == rule.fee && same_exchange && force(other).overlaps(force(&rule))
            });
            if let Some(other) = clash {
                return Err(refuse_overlap(PLACE, line, other.from, rule.from));
            }
            rules.push(rule);
        }
        if rules.is_empty() {
            return Err(refuse_empty(PLACE));
        }
        Ok(Self { rules })
    }

    /// Replaces the commission, for all days, by what was agreed with a broker.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the rate is not in 0..=10,000,000 or the minimum is negative.
    pub fn with_commission(mut self, rate_e7: i64, min_cents: i64) -> Result<Self, QuantError> {
        check_price(rate_e7, min_cents)
            .map_err(|(field, rule, value)| QuantError::value(PLACE, field, rule, value))?;
        for rule in self.rules.iter_mut().filter(|r| r.fee == Fee::Commission) {
            rule.rate_e7 = rate_e7;
            rule.min_cents = min_cents;
            "Agreed with the broker.".clone_into(&mut rule.source);
        }
        Ok(self)
    }

    /// Returns the fees in force.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when one of the three has no rule: a fee that nobody charges is a row with rate 0.
    pub fn on(&self, exchange: Exchange, date: Date) -> Result<Fees<'_>, QuantError> {
        let rule = |fee: Fee| {
            self.rules
                .iter()
                .find(|rule| {
                    rule.fee == fee
                        && rule.exchange.is_none_or(|only| only == exchange)
                        && force(rule).holds(date)
                })
                .ok_or_else(|| {
                    QuantError::value(
                        PLACE,
                        format!("{fee:?} of {exchange:?}"),
                        "must have a rule in force on the day",
                        date,
                    )
                })
        };
        Ok(Fees {
            stamp_duty: rule(Fee::StampDuty)?,
            transfer: rule(Fee::Transfer)?,
            commission: rule(Fee::Commission)?,
        })
    }

    /// Returns all rules in the order of the table.
    #[must_use]
    pub fn rules(&self) -> &[FeeRule] {
        &self.rules
    }
}

fn force(rule: &FeeRule) -> Force {
    Force {
        from: rule.from,
        to: rule.to,
    }
}

fn check_price(rate_e7: i64, min_cents: i64) -> Result<(), (&'static str, String, i64)> {
    if !(0..=PER_ONE).contains(&rate_e7) {
        return Err(("rate_e7", format!("must be in 0..={PER_ONE}"), rate_e7));
    }
    if !(0..=MAX_AMOUNT_CENTS).contains(&min_cents) {
        let rule = format!("must be in 0..={MAX_AMOUNT_CENTS}");
        return Err(("min_cents", rule, min_cents));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    fee: Fee,
    exchange: String,
    side: String,
    from: Date,
    to: Option<Date>,
    basis: Basis,
    rate_e7: i64,
    min_cents: i64,
    source: String,
}

impl Row {
    fn check(self, line: usize) -> Result<FeeRule, QuantError> {
        let exchange = match self.exchange.as_str() {
            "any" => None,
            "SH" => Some(Exchange::Shanghai),
            "SZ" => Some(Exchange::Shenzhen),
            "BJ" => Some(Exchange::Beijing),
            other => {
                let rule = "must be SH, SZ, BJ or any";
                return Err(refuse(PLACE, line, "exchange", rule, other));
            }
        };
        let side = match self.side.as_str() {
            "both" => None,
            "buy" => Some(Trade::Buy),
            "sell" => Some(Trade::Sell),
            other => {
                let rule = "must be buy, sell or both";
                return Err(refuse(PLACE, line, "side", rule, other));
            }
        };
        check_price(self.rate_e7, self.min_cents)
            .map_err(|(column, rule, value)| refuse(PLACE, line, column, rule, value))?;
        let rule = FeeRule {
            fee: self.fee,
            exchange,
            side,
            from: self.from,
            to: self.to,
            basis: self.basis,
            rate_e7: self.rate_e7,
            min_cents: self.min_cents,
            source: self.source,
        };
        check_row(PLACE, line, force(&rule), &rule.source)?;
        Ok(rule)
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
    use proptest::prelude::*;

    fn bill(exchange: Exchange, date: &str, trade: Trade, amount: i64, shares: u64) -> FeeBill {
        let table = FeeTable::ashare().unwrap();
        let fees = table.on(exchange, Date::parse(date).unwrap()).unwrap();
        fees.bill(trade, amount, shares).unwrap()
    }

    #[test]
    fn stamp_duty_follows_its_history_on_both_sides_of_every_change() {
        // A million CNY, so that a cent is a hundred-millionth.
        let duty =
            |date, trade| bill(Exchange::Shanghai, date, trade, 100_000_000, 1).stamp_duty_cents;
        for (date, buy, sell) in [
            ("1997-05-11", 300_000, 300_000),
            ("1997-05-12", 500_000, 500_000),
            ("1998-06-11", 500_000, 500_000),
            ("1998-06-12", 400_000, 400_000),
            ("2001-11-15", 400_000, 400_000),
            ("2001-11-16", 200_000, 200_000),
            ("2005-01-23", 200_000, 200_000),
            ("2005-01-24", 100_000, 100_000),
            ("2007-05-29", 100_000, 100_000),
            ("2007-05-30", 300_000, 300_000),
            ("2008-04-23", 300_000, 300_000),
            ("2008-04-24", 100_000, 100_000),
            ("2008-09-18", 100_000, 100_000),
            ("2008-09-19", 0, 100_000),
            ("2023-08-27", 0, 100_000),
            ("2023-08-28", 0, 50_000),
            ("2026-07-06", 0, 50_000),
        ] {
            assert_eq!(
                (duty(date, Trade::Buy), duty(date, Trade::Sell)),
                (buy, sell),
                "{date}"
            );
        }
    }

    #[test]
    fn the_transfer_fee_follows_exchange_and_date() {
        use Exchange::{Beijing, Shanghai, Shenzhen};
        for (exchange, date, expected) in [
            // 50,000 shares at 20 CNY: the par value counts in Shanghai, the amount in Shenzhen.
            (Shanghai, "2015-07-31", 15_00),
            (Shenzhen, "2015-07-31", 25_50),
            (Shanghai, "2015-08-01", 20_00),
            (Shenzhen, "2015-08-01", 20_00),
            (Shanghai, "2022-04-28", 20_00),
            (Beijing, "2022-04-28", 25_00),
            (Shanghai, "2022-04-29", 10_00),
            (Shenzhen, "2022-04-29", 10_00),
            (Beijing, "2022-04-29", 10_00),
        ] {
            for trade in [Trade::Buy, Trade::Sell] {
                let bill = bill(exchange, date, trade, 100_000_000, 50_000);
                assert_eq!(bill.transfer_cents, expected, "{exchange:?} {date}");
            }
        }
        let table = FeeTable::ashare().unwrap();
        let message = table
            .on(Beijing, Date::parse("2021-11-12").unwrap())
            .unwrap_err();
        assert!(message.to_string().contains("Transfer of Beijing"));
    }

    #[test]
    fn an_order_is_billed_as_on_a_broker_statement() {
        // 1,000 shares at 12.34 CNY: a commission of 3.085 is below the minimum, and the tax of 6.17 is exact.
        let sale = bill(
            Exchange::Shenzhen,
            "2024-01-02",
            Trade::Sell,
            1_234_000,
            1_000,
        );
        assert_eq!(
            (
                sale.commission_cents,
                sale.stamp_duty_cents,
                sale.transfer_cents
            ),
            (5_00, 6_17, 12)
        );
        assert_eq!(sale.total_cents(), 11_29);
        // A tax of exactly half a cent goes up, a little less goes down.
        assert_eq!(
            bill(Exchange::Shanghai, "2024-01-02", Trade::Sell, 1_000, 1).stamp_duty_cents,
            1
        );
        assert_eq!(
            bill(Exchange::Shanghai, "2024-01-02", Trade::Sell, 999, 1).stamp_duty_cents,
            0
        );
        assert_eq!(
            bill(Exchange::Shanghai, "2024-01-02", Trade::Buy, 0, 0),
            FeeBill::default()
        );
    }

    #[test]
    fn a_broker_can_be_cheaper_and_nothing_else_changes() {
        let table = FeeTable::ashare().unwrap();
        let cheap = table.clone().with_commission(1_000, 0).unwrap();
        let date = Date::parse("2024-01-02").unwrap();
        let bill = |table: &FeeTable| {
            let fees = table.on(Exchange::Shanghai, date).unwrap();
            fees.bill(Trade::Sell, 1_000_000, 1_000).unwrap()
        };
        assert_eq!(bill(&cheap).commission_cents, 1_00);
        assert_eq!(
            FeeBill {
                commission_cents: 5_00,
                ..bill(&cheap)
            },
            bill(&table)
        );
        for (rate, min) in [(-1, 0), (PER_ONE + 1, 0), (0, -1), (0, i64::MAX)] {
            assert!(
                table.clone().with_commission(rate, min).is_err(),
                "{rate} {min}"
            );
        }
    }

    #[test]
    fn every_rule_tells_its_source_and_no_day_since_1995_lacks_a_fee() {
        let table = FeeTable::ashare().unwrap();
        assert!(table.rules().iter().all(|rule| rule.source.len() > 20));
        let (from, to) = ("1995-01-01", "2030-01-01");
        let days = Date::parse(from).unwrap().days()..Date::parse(to).unwrap().days();
        for day in days {
            let date = Date::from_days(day).unwrap();
            assert!(table.on(Exchange::Shanghai, date).is_ok(), "{date}");
            assert!(table.on(Exchange::Shenzhen, date).is_ok(), "{date}");
        }
    }

    #[test]
    fn a_bad_table_is_refused_with_its_line() {
        let header = "fee,exchange,side,from,to,basis,rate_e7,min_cents,source\n";
        for (rows, reason) in [
            ("", "at least one rule"),
            (
                "tip,any,both,2020-01-01,,amount,1,0,x\n",
                "line 2: must be a rule",
            ),
            (
                "transfer,NY,both,2020-01-01,,amount,1,0,x\n",
                "line 2, column exchange",
            ),
            (
                "transfer,any,none,2020-01-01,,amount,1,0,x\n",
                "line 2, column side",
            ),
            (
                "transfer,any,both,2020-01-01,,moon,1,0,x\n",
                "line 2: must be a rule",
            ),
            (
                "transfer,any,both,2020-01-01,,amount,-1,0,x\n",
                "line 2, column rate_e7",
            ),
            (
                "transfer,any,both,2020-01-01,,amount,10000001,0,x\n",
                "line 2, column rate_e7",
            ),
            (
                "transfer,any,both,2020-01-01,,amount,1,-1,x\n",
                "line 2, column min_cents",
            ),
            (
                "transfer,any,both,2020-01-01,2019-12-31,amount,1,0,x\n",
                "line 2, column to",
            ),
            (
                "transfer,any,both,2020-01-01,,amount,1,0,\n",
                "line 2, column source",
            ),
            (
                "transfer,any,both,2020-01-01,,amount,1,0,x\ntransfer,SH,sell,2021-01-01,,amount,1,0,x\n",
                "line 3: must not overlap",
            ),
        ] {
            let message = FeeTable::parse(&format!("{header}{rows}"))
                .unwrap_err()
                .to_string();
            assert!(
                message.starts_with("fee table: ") && message.contains(reason),
                "{message}"
            );
        }
    }

    #[test]
    fn amounts_beyond_reason_are_refused_and_the_largest_one_is_billed() {
        let table = FeeTable::ashare().unwrap();
        let date = Date::parse("2000-01-04").unwrap();
        let fees = table.on(Exchange::Shanghai, date).unwrap();
        for (amount, shares) in [
            (-1, 1),
            (i64::MIN, 1),
            (MAX_AMOUNT_CENTS + 1, 1),
            (1, MAX_SHARES + 1),
        ] {
            assert!(fees.bill(Trade::Buy, amount, shares).is_err());
        }
        let bill = fees.bill(Trade::Buy, MAX_AMOUNT_CENTS, MAX_SHARES).unwrap();
        assert_eq!(bill.stamp_duty_cents, 4_000_000_000_000);
        assert_eq!(bill.transfer_cents, 30_000_000_000_000);
    }

    proptest! {
        #[test]
        fn fees_are_never_negative_and_never_fall_when_an_order_grows(
            day in 9_131i32..21_000, shanghai: bool, sell: bool, price in 1i64..1_000_000, shares in 0u64..1_000_000, more in 0u64..1_000_000
        ) {
            let table = FeeTable::ashare().unwrap();
            let exchange = if shanghai { Exchange::Shanghai } else { Exchange::Shenzhen };
            let fees = table.on(exchange, Date::from_days(day).unwrap()).unwrap();
            let trade = if sell { Trade::Sell } else { Trade::Buy };
            let bill = |shares: u64| fees.bill(trade, price * shares as i64, shares).unwrap();
            let (small, large) = (bill(shares), bill(shares + more));
            for (small, large) in [
                (small.stamp_duty_cents, large.stamp_duty_cents),
                (small.transfer_cents, large.transfer_cents),
                (small.commission_cents, large.commission_cents),
            ] {
                prop_assert!(0 <= small && small <= large, "{small} {large}");
            }
            // Half up means: within half a cent of the exact tax, upwards when in the middle.
            let exact_e7 = i128::from(price) * i128::from(shares) * i128::from(fees.stamp_duty.rate_e7);
            if fees.stamp_duty.side.is_none_or(|side| side == trade) {
                let off_e7 = i128::from(small.stamp_duty_cents) * 10_000_000 - exact_e7;
                prop_assert!(-5_000_000 < off_e7 && off_e7 <= 5_000_000, "{off_e7}");
            }
        }
    }
}
