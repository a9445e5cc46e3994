//! Order sizes and the wait before a sale, from `rules/orders.csv` of this crate.

use super::{Force, check_row, refuse, refuse_empty, refuse_overlap, rows};
use crate::{Board, Calendar, Date, QuantError};

const ORDERS: &str = include_str!("../../rules/orders.csv");
const PLACE: &str = "order table";
/// Far above any order, and small enough that sums of sizes cannot leave a `u64`.
const MAX_SIZE: u64 = 1_000_000_000;

/// One row: the order sizes of one board in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRule {
    /// The board.
    pub board: Board,
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` when there is no end yet.
    pub to: Option<Date>,
    /// The smallest order in shares.
    pub min_shares: u64,
    /// Larger orders grow in steps of so many shares; the smallest order is a multiple of it.
    pub step_shares: u64,
    /// Shares bought on one trading day may be sold so many trading days later: 1 for T+1.
    pub sell_after_days: u32,
    /// Where the rule is written.
    pub source: String,
}

impl OrderRule {
    /// Returns the largest buy order of at most `wanted_shares`, or 0 when that is less than the smallest order.
    #[must_use]
    pub fn buyable(&self, wanted_shares: u64) -> u64 {
        match wanted_shares.checked_sub(self.min_shares) {
            Some(more) => wanted_shares - more % self.step_shares,
            None => 0,
        }
    }

    /// Returns the largest sell order of at most `wanted_shares` out of `holding_shares`, or 0 when there is none.
    /// Whoever wants to sell everything can: an odd remainder is sold whole.
    ///
    /// `holding_shares` are the shares that may be sold that day: see [`OrderRule::first_sale`].
    #[must_use]
    pub fn sellable(&self, wanted_shares: u64, holding_shares: u64) -> u64 {
        if wanted_shares >= holding_shares {
            return holding_shares;
        }
        let even = self.buyable(wanted_shares);
        let odd = holding_shares % self.step_shares;
        match wanted_shares.checked_sub(odd) {
            // With the whole remainder in the order, the rest of it only has to be a multiple of the step.
            Some(more) if odd > 0 => even.max(wanted_shares - more % self.step_shares),
            _ => even,
        }
    }

    /// Returns whether an order to sell `shares` out of `holding_shares` is one that the exchange takes: a good size,
    /// a good size together with the whole odd remainder, the remainder alone, or everything.
    #[must_use]
    pub fn may_sell(&self, shares: u64, holding_shares: u64) -> bool {
        shares > 0 && self.sellable(shares, holding_shares) == shares
    }

    /// Returns the first day on which shares bought on a day may be sold, or `None` beyond the calendar.
    #[must_use]
    pub fn first_sale(&self, bought: Date, calendar: &Calendar) -> Option<Date> {
        (0..self.sell_after_days).try_fold(bought, |day, _| calendar.next(day))
    }
}

/// All order rules, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTable {
    rules: Vec<OrderRule>,
}

impl OrderTable {
    /// Returns the A-share table that is part of this crate.
    ///
    /// # Errors
    /// Returns what [`OrderTable::parse`] returns; a test keeps the table of the crate good.
    pub fn ashare() -> Result<Self, QuantError> {
        Self::parse(ORDERS)
    }

    /// Parses a table with the columns `board,from,to,min_shares,step_shares,sell_after_days,source`.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] with the line for any cell that breaks its rule, and when two rows of one board
    /// are in force on the same day.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        let mut rules: Vec<OrderRule> = Vec::new();
        for row in rows::<Row>(PLACE, text) {
            let (line, row) = row?;
            let rule = row.check(line)?;
            let clash = rules
                .iter()
                .find(|other| other.board == rule.board && force(other).overlaps(force(&rule)));
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

    /// Returns the rule in force, or `None` when there is none.
    #[must_use]
    pub fn rule(&self, board: Board, date: Date) -> Option<&OrderRule> {
        self.rules
            .iter()
            .find(|rule| rule.board == board && force(rule).holds(date))
    }

    /// Returns all rules in the order of the table.
    #[must_use]
    pub fn rules(&self) -> &[OrderRule] {
        &self.rules
    }
}

fn force(rule: &OrderRule) -> Force {
    Force {
        from: rule.from,
        to: rule.to,
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    board: String,
    from: Date,
    to: Option<Date>,
    min_shares: u64,
    step_shares: u64,
    sell_after_days: u32,
    source: String,
}

impl Row {
    fn check(self, line: usize) -> Result<OrderRule, QuantError> {
        let board = match Board::from_name(&self.board) {
            Some(board) if board != Board::Other => board,
            _ => {
                let rule = "must be main, chinext, star or bse";
                return Err(refuse(PLACE, line, "board", rule, &self.board));
            }
        };
        if !(1..=MAX_SIZE).contains(&self.step_shares) {
            let rule = format!("must be in 1..={MAX_SIZE}");
            return Err(refuse(PLACE, line, "step_shares", rule, self.step_shares));
        }
        if !(1..=MAX_SIZE).contains(&self.min_shares)
            || !self.min_shares.is_multiple_of(self.step_shares)
        {
            let rule = format!("must be a multiple of step_shares in 1..={MAX_SIZE}");
            return Err(refuse(PLACE, line, "min_shares", rule, self.min_shares));
        }
        let rule = OrderRule {
            board,
            from: self.from,
            to: self.to,
            min_shares: self.min_shares,
            step_shares: self.step_shares,
            sell_after_days: self.sell_after_days,
            source: self.source,
        };
        check_row(PLACE, line, force(&rule), &rule.source)?;
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn rule(board: Board) -> OrderRule {
        let table = OrderTable::ashare().unwrap();
        table.rule(board, day("2024-01-02")).unwrap().clone()
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
        let table = OrderTable::ashare().unwrap();
        for (board, before, first) in [
            (Board::Main, "1994-12-31", "1995-01-01"),
            (Board::ChiNext, "2009-10-29", "2009-10-30"),
            (Board::Star, "2019-07-21", "2019-07-22"),
            (Board::Bse, "2021-11-14", "2021-11-15"),
        ] {
            assert_eq!(table.rule(board, day(before)), None, "{board:?}");
            assert!(table.rule(board, day(first)).is_some(), "{board:?}");
        }
        assert_eq!(table.rule(Board::Other, day("2024-01-02")), None);
        assert!(table.rules().iter().all(|rule| rule.source.len() > 20));
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

    #[test]
    fn a_bad_table_is_refused_with_its_line() {
        let header = "board,from,to,min_shares,step_shares,sell_after_days,source\n";
        for (rows, reason) in [
            ("", "at least one rule"),
            ("moon,2020-01-01,,100,100,1,x\n", "line 2, column board"),
            ("other,2020-01-01,,100,100,1,x\n", "line 2, column board"),
            ("main,2020-01-01,,0,100,1,x\n", "line 2, column min_shares"),
            (
                "main,2020-01-01,,150,100,1,x\n",
                "line 2, column min_shares",
            ),
            ("main,2020-01-01,,100,0,1,x\n", "line 2, column step_shares"),
            ("main,2020-01-01,,-1,1,1,x\n", "line 2: must be a rule"),
            ("main,2020-01-01,2019-12-31,100,100,1,x\n", "column to"),
            ("main,2020-01-01,,100,100,1, \n", "line 2, column source"),
            (
                "main,2020-01-01,,100,100,1,x\nmain,2021-01-01,,100,100,1,x\n",
                "line 3: must not overlap",
            ),
        ] {
            let message = OrderTable::parse(&format!("{header}{rows}"))
                .unwrap_err()
                .to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    fn any_rule() -> impl Strategy<Value = OrderRule> {
        prop::sample::select(vec![Board::Main, Board::Star, Board::Bse]).prop_map(rule)
    }

    proptest! {
        #[test]
        fn a_buy_order_never_exceeds_the_wish_and_no_larger_one_fits(rule in any_rule(), wanted in 0u64..5_000) {
            let good = |q: u64| q >= rule.min_shares && (q - rule.min_shares).is_multiple_of(rule.step_shares);
            let best = (1..=wanted).rev().find(|q| good(*q)).unwrap_or(0);
            prop_assert_eq!(rule.buyable(wanted), best);
        }

        #[test]
        fn a_sell_order_never_exceeds_the_holding_and_no_larger_one_fits(
            rule in any_rule(), wanted in 0u64..1_500, holding in 0u64..1_500
        ) {
            // The text of the exchanges: a good size, with or without the whole odd remainder, or everything.
            let odd = holding % rule.step_shares;
            let good = |q: u64| {
                q == holding
                    || (q.is_multiple_of(rule.step_shares) && q >= rule.min_shares)
                    || (odd > 0 && q % rule.step_shares == odd)
            };
            let best = (1..=wanted.min(holding)).rev().find(|q| good(*q)).unwrap_or(0);
            prop_assert_eq!(rule.sellable(wanted, holding), best);
            prop_assert_eq!(rule.may_sell(wanted, holding), wanted > 0 && wanted == best);
            // What is left can still be sold.
            prop_assert_eq!(rule.sellable(u64::MAX, holding - best), holding - best);
        }
    }
}
