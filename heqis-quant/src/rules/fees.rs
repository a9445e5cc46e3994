//! Fees of trades.

use serde::{Deserialize, Serialize};

use super::Force;
use super::pattern::Pattern;
use crate::date::Date;
use crate::error::QuantError;
use crate::symbol::Symbol;

const PLACE: &str = "fee table";
/// Rates are in ten-millionths, so that 0.00255 percent is a whole number.
pub(super) const PER_ONE: i64 = 10_000_000;
/// Ten trillion CNY or USD: above the value of any market, and far within an `i64` of cents.
pub(super) const MAX_AMOUNT_CENTS: i64 = 1_000_000_000_000_000;
/// The largest amount at a price of one cent.
const MAX_SHARES: u64 = 1_000_000_000_000_000;
/// The rate of a fee on shares is money per share. With few exceptions, listed A shares had a par value of 1 CNY while fees
/// referred to it, so a rate on the par value is the same.
const SHARE_CENTS: i128 = 100;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fee {
    /// The tax of the state; in the US the fee of the SEC.
    StampDuty,
    /// The transfer fee of the clearing house; in the US the Trading Activity Fee of FINRA.
    Transfer,
    /// The commission of the broker.
    Commission,
}

/// The base of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// The price times the shares.
    Amount,
    /// The par value of 1 CNY a share.
    Par,
    /// The shares: the rate is money per share.
    Share,
}

/// One fee in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeRule {
    /// The kind.
    pub fee: Fee,
    /// The symbols that pay; empty means all of the market.
    pub symbols: Vec<Pattern>,
    /// The side that pays, or `None` for both.
    pub side: Option<Trade>,
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` without an end.
    pub to: Option<Date>,
    /// The base of the rate.
    pub basis: Basis,
    /// The rate in ten-millionths: 5,000 is 0.05 percent.
    pub rate_e7: i64,
    /// The least fee of one order in cents.
    pub min_cents: i64,
    /// The largest fee of one order in cents.
    pub max_cents: Option<i64>,
    /// The source of the rule.
    pub source: String,
}

/// The fees of one order, each rounded half up to a cent by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeBill {
    /// The tax in cents.
    pub stamp_duty_cents: i64,
    /// The transfer fee in cents.
    pub transfer_cents: i64,
    /// The commission in cents.
    pub commission_cents: i64,
}

/// The fees in force for one instrument on one day; `None` where the market has no such fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees<'a> {
    /// The tax.
    pub stamp_duty: Option<&'a FeeRule>,
    /// The transfer fee.
    pub transfer: Option<&'a FeeRule>,
    /// The commission.
    pub commission: Option<&'a FeeRule>,
    /// The number of quantity units of the market per share.
    pub units_per_share: i64,
}

impl Fee {
    /// Returns the name, the same as in market files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StampDuty => "stamp_duty",
            Self::Transfer => "transfer",
            Self::Commission => "commission",
        }
    }
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
    pub(super) fn force(&self) -> Force {
        Force {
            from: self.from,
            to: self.to,
        }
    }

    pub(super) fn is_of(&self, symbol: Symbol) -> bool {
        self.symbols.is_empty() || self.symbols.iter().any(|pattern| pattern.matches(symbol))
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let shared = || {
            let theirs = |mine: &Pattern| other.symbols.iter().any(|theirs| theirs.meets(mine));
            self.symbols.iter().any(theirs)
        };
        self.fee == other.fee
            && self.force().overlaps(other.force())
            && (self.symbols.is_empty() || other.symbols.is_empty() || shared())
    }

    /// Returns the fee of a checked order. An empty order costs nothing, not even the minimum.
    fn cents(&self, trade: Trade, amount_cents: i64, quantity: u64, units_per_share: i64) -> i64 {
        if self.side.is_some_and(|side| side != trade) || (amount_cents == 0 && quantity == 0) {
            return 0;
        }
        let (base, divisor) = match self.basis {
            Basis::Amount => (i128::from(amount_cents), 1),
            Basis::Par | Basis::Share => (
                i128::from(quantity) * SHARE_CENTS,
                i128::from(units_per_share),
            ),
        };
        let per_one = i128::from(PER_ONE) * divisor;
        let rounded = (base * i128::from(self.rate_e7) + per_one / 2) / per_one;
        // A rate is at most one and a base at most 1e17, so nothing saturates.
        i64::try_from(rounded)
            .unwrap_or(i64::MAX)
            .max(self.min_cents)
            .min(self.max_cents.unwrap_or(i64::MAX))
    }
}

impl Fees<'_> {
    /// Returns the fees of an order for a quantity, in quantity units of the market, at `amount_cents` (price times
    /// quantity).
    ///
    /// Each fee is rounded half up to a cent by itself, then its minimum and its maximum are applied.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the amount is negative or above ten trillion of the currency, or when there
    /// are more than 10¹⁵ shares.
    pub fn bill(
        &self,
        trade: Trade,
        amount_cents: i64,
        quantity: u64,
    ) -> Result<FeeBill, QuantError> {
        if !(0..=MAX_AMOUNT_CENTS).contains(&amount_cents) {
            let rule = format!("must be in 0..={MAX_AMOUNT_CENTS}");
            return Err(QuantError::value(PLACE, "amount_cents", rule, amount_cents));
        }
        if quantity / self.units_per_share.unsigned_abs() > MAX_SHARES {
            let rule = format!("must be at most {MAX_SHARES} shares");
            return Err(QuantError::value(PLACE, "quantity", rule, quantity));
        }
        let cents = |rule: Option<&FeeRule>| {
            rule.map_or(0, |rule| {
                rule.cents(trade, amount_cents, quantity, self.units_per_share)
            })
        };
        Ok(FeeBill {
            stamp_duty_cents: cents(self.stamp_duty),
            transfer_cents: cents(self.transfer),
            commission_cents: cents(self.commission),
        })
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
    use crate::rules::Markets;
    use crate::symbol::Exchange;
    use proptest::prelude::*;

    fn stock(exchange: Exchange) -> Symbol {
        let text = match exchange {
            Exchange::Shanghai => "600000.SH",
            Exchange::Shenzhen => "000001.SZ",
            _ => "920001.BJ",
        };
        Symbol::parse(text).unwrap()
    }

    fn fees(markets: &Markets, symbol: Symbol, date: Date) -> Result<Fees<'_>, QuantError> {
        markets.of(symbol).unwrap().fees(date)
    }

    fn bill_of(symbol: &str, date: &str, trade: Trade, amount: i64, quantity: u64) -> FeeBill {
        let markets = Markets::shipped().unwrap();
        let date = Date::parse(date).unwrap();
        let fees = fees(&markets, Symbol::parse(symbol).unwrap(), date).unwrap();
        fees.bill(trade, amount, quantity).unwrap()
    }

    fn bill(exchange: Exchange, date: &str, trade: Trade, amount: i64, shares: u64) -> FeeBill {
        bill_of(stock(exchange).as_str(), date, trade, amount, shares)
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
        let markets = Markets::shipped().unwrap();
        let day = Date::parse("2021-11-12").unwrap();
        let message = fees(&markets, stock(Beijing), day).unwrap_err().to_string();
        assert!(message.contains("fee transfer of 920001.BJ"), "{message}");
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
        // A tax of exactly half a cent is rounded up, slightly less is rounded down.
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
        let markets = Markets::shipped().unwrap();
        let cheap = markets.clone().with_commission(1_000, 0).unwrap();
        let date = Date::parse("2024-01-02").unwrap();
        let bill = |markets: &Markets| {
            let fees = fees(markets, stock(Exchange::Shanghai), date).unwrap();
            fees.bill(Trade::Sell, 1_000_000, 1_000).unwrap()
        };
        assert_eq!(bill(&cheap).commission_cents, 1_00);
        assert_eq!(
            FeeBill {
                commission_cents: 5_00,
                ..bill(&cheap)
            },
            bill(&markets)
        );
        for (rate, min) in [(-1, 0), (PER_ONE + 1, 0), (0, -1), (0, i64::MAX)] {
            assert!(
                markets.clone().with_commission(rate, min).is_err(),
                "{rate} {min}"
            );
        }
    }

    #[test]
    fn no_day_since_1995_lacks_a_fee() {
        let markets = Markets::shipped().unwrap();
        let (from, to) = ("1995-01-01", "2030-01-01");
        let days = Date::parse(from).unwrap().days()..Date::parse(to).unwrap().days();
        for day in days {
            let date = Date::from_days(day).unwrap();
            for exchange in [Exchange::Shanghai, Exchange::Shenzhen] {
                assert!(fees(&markets, stock(exchange), date).is_ok(), "{date}");
            }
        }
    }

    #[test]
    fn other_markets_have_their_own_fees() {
        // Amounts in cents and quantities in units of the market, then stamp duty, transfer fee and commission in cents.
        for (symbol, date, trade, amount, quantity, expected) in [
            // A fund pays a commission of 2.50 or the minimum of 5.00, and nothing else.
            (
                "510300.SH",
                "2024-01-02",
                Trade::Sell,
                1_000_000,
                2_500,
                (0, 0, 5_00),
            ),
            (
                "510300.SH",
                "2024-01-02",
                Trade::Sell,
                10_000_000,
                25_000,
                (0, 0, 25_00),
            ),
            // A bond: 0.02 percent of 12,345.00 is 2.469.
            (
                "113050.SH",
                "2024-01-02",
                Trade::Buy,
                1_234_500,
                100,
                (0, 0, 2_47),
            ),
            // 27.80 USD per million of 18,500.00 is 0.5143; 100 shares at 0.000166 are 0.0166.
            (
                "AAPL",
                "2024-06-03",
                Trade::Sell,
                1_850_000,
                100,
                (51, 2, 0),
            ),
            ("AAPL", "2024-06-03", Trade::Buy, 1_850_000, 100, (0, 0, 0)),
            // 100,000 shares at 0.000166 would be 16.60, and 8.30 is the most.
            (
                "AAPL",
                "2024-06-03",
                Trade::Sell,
                100_000_000,
                100_000,
                (27_80, 8_30, 0),
            ),
            ("AAPL", "2025-06-02", Trade::Sell, 1_850_000, 100, (0, 2, 0)),
            // 0.1 percent of 4,321.05 is 4.32105.
            (
                "BTCUSDT",
                "2024-01-06",
                Trade::Buy,
                432_105,
                100_000,
                (0, 0, 432),
            ),
        ] {
            let bill = bill_of(symbol, date, trade, amount, quantity);
            let got = (
                bill.stamp_duty_cents,
                bill.transfer_cents,
                bill.commission_cents,
            );
            assert_eq!(got, expected, "{symbol} {date}");
        }
    }

    #[test]
    fn amounts_beyond_reason_are_refused_and_the_largest_one_is_billed() {
        let markets = Markets::shipped().unwrap();
        let date = Date::parse("2000-01-04").unwrap();
        let fees = fees(&markets, stock(Exchange::Shanghai), date).unwrap();
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
            let markets = Markets::shipped().unwrap();
            let exchange = if shanghai { Exchange::Shanghai } else { Exchange::Shenzhen };
            let fees = fees(&markets, stock(exchange), Date::from_days(day).unwrap()).unwrap();
            let duty = fees.stamp_duty.unwrap();
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
            let exact_e7 = i128::from(price) * i128::from(shares) * i128::from(duty.rate_e7);
            if duty.side.is_none_or(|side| side == trade) {
                let off_e7 = i128::from(small.stamp_duty_cents) * 10_000_000 - exact_e7;
                prop_assert!(-5_000_000 < off_e7 && off_e7 <= 5_000_000, "{off_e7}");
            }
        }
    }
}
