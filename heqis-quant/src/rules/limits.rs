//! Daily price limits, from `rules/ashare.csv` of this crate.

use crate::{Board, Date, QuantError, Symbol};

const ASHARE: &str = include_str!("../../rules/ashare.csv");
const PLACE: &str = "limit table";
/// 100 million CNY a share: far above any price, far below where cents times percent could leave an `i64`.
const MAX_PRICE_CENTS: i64 = 10_000_000_000;

/// One row: the limit of one board in one span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// The board.
    pub board: Board,
    /// Whether the row is for stocks under special treatment (ST); `None` means for both.
    pub st: Option<bool>,
    /// The first day in force.
    pub from: Date,
    /// The last day in force, or `None` when there is no end yet.
    pub to: Option<Date>,
    /// The limit in whole percent of the reference price, 1 to 99.
    pub percent: i64,
    /// How many trading days after an IPO have no limit.
    pub ipo_free_days: u32,
    /// Where the rule is written.
    pub source: String,
}

/// The price limits of one day, in integer cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Prices from `down_cents` to `up_cents`, both included, may trade.
    Band {
        /// The highest price.
        up_cents: i64,
        /// The lowest price.
        down_cents: i64,
    },
    /// No rule limits the price.
    NoLimit,
}

/// All limit rules, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTable {
    rules: Vec<LimitRule>,
}

impl LimitTable {
    /// Returns the A-share table that is part of this crate.
    ///
    /// # Errors
    /// Returns what [`LimitTable::parse`] returns; a test keeps the table of the crate good.
    pub fn ashare() -> Result<Self, QuantError> {
        Self::parse(ASHARE)
    }

    /// Parses a table with the columns `board,st,from,to,percent,ipo_free_days,source`.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] with the line for any cell that breaks its rule, and when two rows of one board
    /// are in force on the same day for the same stocks.
    pub fn parse(text: &str) -> Result<Self, QuantError> {
        let mut rules: Vec<LimitRule> = Vec::new();
        for (i, row) in csv::Reader::from_reader(text.as_bytes())
            .into_deserialize()
            .enumerate()
        {
            let line = i + 2;
            let row: Row = row.map_err(|e| {
                QuantError::value(PLACE, format!("line {line}"), "must be a limit rule", e)
            })?;
            let rule = row.check(line)?;
            if let Some(other) = rules.iter().find(|other| other.overlaps(&rule)) {
                return Err(QuantError::value(
                    PLACE,
                    format!("line {line}"),
                    format!(
                        "must not overlap the rule of {} from {}",
                        other.board.name(),
                        other.from
                    ),
                    rule.from,
                ));
            }
            rules.push(rule);
        }
        if rules.is_empty() {
            return Err(QuantError::value(
                PLACE,
                "rows",
                "must hold at least one rule",
                0,
            ));
        }
        Ok(Self { rules })
    }

    /// Returns the rule in force, or `None` when there is none.
    #[must_use]
    pub fn rule(&self, board: Board, date: Date, st: bool) -> Option<&LimitRule> {
        self.rules.iter().find(|rule| {
            rule.board == board
                && rule.st.is_none_or(|only| only == st)
                && rule.from <= date
                && rule.to.is_none_or(|to| date <= to)
        })
    }

    /// Returns the price limits of a stock on a day.
    ///
    /// `st` tells whether the stock is under special treatment, `pre_close_cents` is the ex-right reference price in
    /// cents. Days after an IPO are the caller's to know: see [`LimitRule::ipo_free_days`].
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the reference price is not between 0.01 and 100,000,000.00 CNY.
    pub fn limits(
        &self,
        symbol: Symbol,
        date: Date,
        st: bool,
        pre_close_cents: i64,
    ) -> Result<Limits, QuantError> {
        limits(
            self.rule(symbol.board(), date, st),
            symbol,
            date,
            pre_close_cents,
        )
    }

    /// Returns all rules in the order of the table.
    #[must_use]
    pub fn rules(&self) -> &[LimitRule] {
        &self.rules
    }
}

/// Returns the limits that a rule, or no rule, puts around a reference price.
pub(super) fn limits(
    rule: Option<&LimitRule>,
    symbol: Symbol,
    date: Date,
    pre_close_cents: i64,
) -> Result<Limits, QuantError> {
    if !(1..=MAX_PRICE_CENTS).contains(&pre_close_cents) {
        return Err(QuantError::value(
            PLACE,
            format!("pre_close_cents of {symbol} on {date}"),
            format!("must be in 1..={MAX_PRICE_CENTS}"),
            pre_close_cents,
        ));
    }
    Ok(match rule {
        Some(rule) => Limits::Band {
            up_cents: up_cents(pre_close_cents, rule.percent),
            down_cents: down_cents(pre_close_cents, rule.percent),
        },
        None => Limits::NoLimit,
    })
}

/// The highest price: reference × (100 + percent) %, rounded half up to a cent.
///
/// The rounding is done on integers, since binary fractions round some of the halves down.
fn up_cents(reference_cents: i64, percent: i64) -> i64 {
    (reference_cents * (100 + percent) + 50) / 100
}

/// The lowest price: reference × (100 − percent) %, rounded half up to a cent.
fn down_cents(reference_cents: i64, percent: i64) -> i64 {
    (reference_cents * (100 - percent) + 50) / 100
}

/// Returns the lowest and highest reference price, in cents, whose limits would hold a bar from `low` to `high`, or
/// `None` when no single reference does. This inverts the two formulas above.
pub(crate) fn references(low_cents: i64, high_cents: i64, percent: i64) -> Option<(i64, i64)> {
    let least = (100 * high_cents - 50 + 99 + percent).div_euclid(100 + percent);
    let most = (100 * low_cents + 49).div_euclid(100 - percent);
    (least <= most).then_some((least, most))
}

impl LimitRule {
    fn overlaps(&self, other: &Self) -> bool {
        let same_stocks = self.st.is_none() || other.st.is_none() || self.st == other.st;
        self.board == other.board
            && same_stocks
            && self.to.is_none_or(|to| other.from <= to)
            && other.to.is_none_or(|to| self.from <= to)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    board: String,
    st: String,
    from: Date,
    to: Option<Date>,
    percent: i64,
    ipo_free_days: u32,
    source: String,
}

impl Row {
    fn check(self, line: usize) -> Result<LimitRule, QuantError> {
        let refuse = |field: &str, rule: &str, value: &dyn ToString| {
            Err(QuantError::value(
                PLACE,
                format!("line {line}, column {field}"),
                rule,
                value.to_string(),
            ))
        };
        let board = match Board::from_name(&self.board) {
            Some(board) if board != Board::Other => board,
            _ => return refuse("board", "must be main, chinext, star or bse", &self.board),
        };
        let st = match self.st.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            "any" => None,
            _ => return refuse("st", "must be yes, no or any", &self.st),
        };
        if let Some(to) = self.to.filter(|to| *to < self.from) {
            return refuse("to", "must not lie before from", &to);
        }
        if !(1..=99).contains(&self.percent) {
            return refuse("percent", "must be in 1..=99", &self.percent);
        }
        if self.source.trim().is_empty() {
            return refuse(
                "source",
                "must tell where the rule is written",
                &self.source,
            );
        }
        Ok(LimitRule {
            board,
            st,
            from: self.from,
            to: self.to,
            percent: self.percent,
            ipo_free_days: self.ipo_free_days,
            source: self.source,
        })
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

    fn band(symbol: &str, date: &str, st: bool, pre_close_cents: i64) -> (i64, i64) {
        let table = LimitTable::ashare().unwrap();
        match table
            .limits(
                Symbol::parse(symbol).unwrap(),
                day(date),
                st,
                pre_close_cents,
            )
            .unwrap()
        {
            Limits::Band {
                up_cents,
                down_cents,
            } => (up_cents, down_cents),
            Limits::NoLimit => (i64::MAX, 0),
        }
    }

    #[test]
    fn limits_published_by_the_vendor_are_reproduced() {
        // Up and down limits as published on the Tushare stk_limit page. The reference price is the only one, among all
        // up to 100 CNY, that gives both.
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
            let fits = |c: &i64| (up_cents(*c, percent), down_cents(*c, percent)) == published;
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
            ("000300.SH", "2024-01-02", false, (i64::MAX, 0)),
            ("AAPL", "2024-01-02", false, (i64::MAX, 0)),
        ] {
            assert_eq!(band(symbol, date, st, 1000), expected, "{symbol} {date}");
        }
    }

    #[test]
    fn every_cent_price_up_to_a_thousand_agrees_with_exact_rational_rounding() {
        for cents in 1..=100_000i64 {
            for percent in [5, 10, 20, 30] {
                for (ours, numerator) in [
                    (up_cents(cents, percent), cents * (100 + percent)),
                    (down_cents(cents, percent), cents * (100 - percent)),
                ] {
                    // Half up means: the result r is the only integer with r - 1/2 <= numerator/100 < r + 1/2.
                    assert!(
                        200 * ours - 100 <= 2 * numerator && 2 * numerator < 200 * ours + 100,
                        "{cents} {percent}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_bad_table_is_refused_with_its_line() {
        let header = "board,st,from,to,percent,ipo_free_days,source\n";
        for (rows, reason) in [
            ("", "at least one rule"),
            ("moon,any,2020-01-01,,10,0,x\n", "line 2, column board"),
            ("main,maybe,2020-01-01,,10,0,x\n", "line 2, column st"),
            (
                "main,any,2020-01-01,2019-01-01,10,0,x\n",
                "line 2, column to",
            ),
            ("main,any,2020-01-01,,100,0,x\n", "line 2, column percent"),
            ("main,any,2020-01-01,,10,0,\n", "line 2, column source"),
            ("main,any,yesterday,,10,0,x\n", "line 2"),
            (
                "main,no,2020-01-01,,10,0,x\nmain,any,2021-01-01,,20,0,x\n",
                "line 3: must not overlap",
            ),
        ] {
            let message = LimitTable::parse(&format!("{header}{rows}"))
                .unwrap_err()
                .to_string();
            assert!(message.contains(reason), "{message}");
        }
        let table = LimitTable::ashare().unwrap();
        let symbol = Symbol::parse("600000.SH").unwrap();
        for cents in [0, -1, i64::MAX, i64::MIN] {
            assert!(table.limits(symbol, day("20240102"), false, cents).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_inverse_finds_exactly_the_references_that_hold_a_bar(
            low in 1i64..3000, spread in 0i64..900, percent in prop::sample::select(vec![5i64, 10, 20, 30])
        ) {
            let high = low + spread;
            let holds = |r: &i64| down_cents(*r, percent) <= low && high <= up_cents(*r, percent);
            let all: Vec<i64> = (1..=6000).filter(holds).collect();
            match references(low, high, percent) {
                Some((least, most)) => prop_assert_eq!(all, (least..=most).collect::<Vec<_>>()),
                None => prop_assert!(all.is_empty()),
            }
        }
    }
}
