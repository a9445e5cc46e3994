//! Order sizes, ticks, and the waiting period before a sale.

use super::Force;
use crate::calendar::Calendar;
use crate::date::Date;

/// The orders of one class of instruments in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRule {
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` without an end.
    pub to: Option<Date>,
    /// The smallest order in quantity units of the market: shares for A-share stocks.
    pub min: u64,
    /// The step by which larger orders grow, in quantity units; the smallest order is a multiple of it.
    pub step: u64,
    /// The smallest step of a price, in price units of the market.
    pub tick: i64,
    /// The number of trading days between a buy and the first sale: 0 for T+0, 1 for T+1.
    pub sell_after_days: u32,
    /// The source of the rule.
    pub source: String,
}

impl OrderRule {
    pub(super) fn force(&self) -> Force {
        Force {
            from: self.from,
            to: self.to,
        }
    }

    /// Returns the largest buy order of at most `wanted_shares`, or 0 when that is less than the smallest order.
    #[must_use]
    pub fn buyable(&self, wanted_shares: u64) -> u64 {
        match wanted_shares.checked_sub(self.min) {
            Some(more) => wanted_shares - more % self.step,
            None => 0,
        }
    }

    /// Returns the largest sell order of at most `wanted_shares` out of `holding_shares`, or 0 if no order is possible. The
    /// whole holding can always be sold, and an odd remainder only as a whole.
    ///
    /// `holding_shares` are the shares that may be sold on the day: see [`OrderRule::first_sale`].
    #[must_use]
    pub fn sellable(&self, wanted_shares: u64, holding_shares: u64) -> u64 {
        if wanted_shares >= holding_shares {
            return holding_shares;
        }
        let even = self.buyable(wanted_shares);
        let odd = holding_shares % self.step;
        match wanted_shares.checked_sub(odd) {
            // An order with the whole odd remainder needs only the rest to be a multiple of the step.
            Some(more) if odd > 0 => even.max(wanted_shares - more % self.step),
            _ => even,
        }
    }

    /// Returns whether the exchange accepts an order to sell `shares` out of `holding_shares`: a valid size, a valid size
    /// plus the whole odd remainder, the remainder alone, or everything.
    #[must_use]
    pub fn may_sell(&self, shares: u64, holding_shares: u64) -> bool {
        shares > 0 && self.sellable(shares, holding_shares) == shares
    }

    /// Returns the first day on which shares bought on a day may be sold, or `None` beyond the end of the calendar.
    #[must_use]
    pub fn first_sale(&self, bought: Date, calendar: &Calendar) -> Option<Date> {
        (0..self.sell_after_days).try_fold(bought, |day, _| calendar.next(day))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rules::Markets;
    use crate::symbol::{Board, Symbol};
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn listing(symbol: &str, date: &str) -> Option<OrderRule> {
        let markets = Markets::shipped().unwrap();
        let listing = markets.of(Symbol::parse(symbol).unwrap()).unwrap();
        listing.order(day(date)).cloned()
    }

    fn rule(board: Board) -> OrderRule {
        let symbol = match board {
            Board::Main => "600000.SH",
            Board::ChiNext => "300001.SZ",
            Board::Star => "688001.SH",
            Board::Bse => "920001.BJ",
            Board::Other => "000300.SH",
        };
        listing(symbol, "2024-01-02").unwrap()
    }

    #[test]
    fn buy_orders_have_the_lots_of_their_board() {
        for (board, wanted, expected) in [
            (Board::Main, 99, 0),
            (Board::Main, 100, 100),
            (Board::Main, 199, 100),
            (Board::Main, 1_234, 1_200),
            (Board::ChiNext, 250, 200),
            (Board::Star, 199, 0),
            (Board::Star, 200, 200),
            (Board::Star, 201, 201),
            (Board::Bse, 99, 0),
            (Board::Bse, 100, 100),
            (Board::Bse, 101, 101),
            (Board::Main, u64::MAX, u64::MAX - 15),
        ] {
            assert_eq!(rule(board).buyable(wanted), expected, "{board:?} {wanted}");
        }
    }

    #[test]
    fn an_odd_remainder_is_sold_whole_or_not_at_all() {
        for (board, wanted, holding, expected) in [
            (Board::Main, 1_000, 250, 250),
            (Board::Main, 250, 250, 250),
            (Board::Main, 249, 250, 200),
            (Board::Main, 160, 250, 150),
            (Board::Main, 149, 250, 100),
            (Board::Main, 99, 250, 50),
            (Board::Main, 49, 250, 0),
            (Board::Main, 30, 30, 30),
            (Board::Main, 29, 30, 0),
            (Board::Star, 250, 399, 250),
            (Board::Star, 199, 399, 0),
            (Board::Star, 150, 150, 150),
            (Board::Star, 149, 150, 0),
            (Board::Bse, 101, 150, 101),
            (Board::Bse, 99, 150, 0),
            (Board::Bse, 99, 99, 99),
        ] {
            assert_eq!(
                rule(board).sellable(wanted, holding),
                expected,
                "{board:?} {wanted} of {holding}"
            );
        }
    }

    #[test]
    fn a_rule_is_in_force_from_its_first_day() {
        for (symbol, before, first) in [
            ("600000.SH", "1994-12-31", "1995-01-01"),
            ("300001.SZ", "2009-10-29", "2009-10-30"),
            ("688001.SH", "2019-07-21", "2019-07-22"),
            ("920001.BJ", "2021-11-14", "2021-11-15"),
        ] {
            assert_eq!(listing(symbol, before), None, "{symbol}");
            assert!(listing(symbol, first).is_some(), "{symbol}");
        }
        assert_eq!(listing("000300.SH", "2024-01-02"), None);
    }

    #[test]
    fn ticks_and_waiting_periods_follow_market_and_date() {
        for (symbol, date, tick, wait) in [
            ("600000.SH", "2024-01-02", 1, 1),
            ("510300.SH", "2024-01-02", 1, 1),
            ("518880.SH", "2015-01-16", 1, 1),
            ("518880.SH", "2015-01-19", 1, 0),
            ("110059.SH", "2022-07-29", 10, 0),
            ("110059.SH", "2022-08-01", 1, 0),
            ("128136.SZ", "2022-07-29", 1, 0),
            ("AAPL", "2024-01-02", 1, 0),
            ("BRK.B", "2024-01-02", 1, 0),
            ("BTC-USDT", "2024-01-06", 1, 0),
        ] {
            let rule = listing(symbol, date).unwrap();
            assert_eq!(
                (rule.tick, rule.sell_after_days),
                (tick, wait),
                "{symbol} {date}"
            );
        }
    }

    #[test]
    fn shares_bought_before_a_holiday_are_sold_after_it() {
        let calendar =
            Calendar::new(["20240207", "20240208", "20240219", "20240220"].map(day)).unwrap();
        let main = rule(Board::Main);
        assert_eq!(
            main.first_sale(day("20240208"), &calendar),
            Some(day("20240219"))
        );
        assert_eq!(main.first_sale(day("20240220"), &calendar), None);
    }

    fn any_rule() -> impl Strategy<Value = OrderRule> {
        prop::sample::select(vec![Board::Main, Board::Star, Board::Bse]).prop_map(rule)
    }

    proptest! {
        #[test]
        fn a_buy_order_never_exceeds_the_wanted_size_and_no_larger_one_fits(rule in any_rule(), wanted in 0u64..5_000) {
            let good = |q: u64| q >= rule.min && (q - rule.min).is_multiple_of(rule.step);
            let best = (1..=wanted).rev().find(|q| good(*q)).unwrap_or(0);
            prop_assert_eq!(rule.buyable(wanted), best);
        }

        #[test]
        fn a_sell_order_never_exceeds_the_holding_and_no_larger_one_fits(
            rule in any_rule(), wanted in 0u64..1_500, holding in 0u64..1_500
        ) {
            // The rule of the exchanges: a valid size, with or without the whole odd remainder, or everything.
            let odd = holding % rule.step;
            let good = |q: u64| {
                q == holding
                    || (q.is_multiple_of(rule.step) && q >= rule.min)
                    || (odd > 0 && q % rule.step == odd)
            };
            let best = (1..=wanted.min(holding)).rev().find(|q| good(*q)).unwrap_or(0);
            prop_assert_eq!(rule.sellable(wanted, holding), best);
            prop_assert_eq!(rule.may_sell(wanted, holding), wanted > 0 && wanted == best);
            // The rest can still be sold.
            prop_assert_eq!(rule.sellable(u64::MAX, holding - best), holding - best);
        }
    }
}
