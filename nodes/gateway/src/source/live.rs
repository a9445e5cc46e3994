//! What every live source asks of a bar before it lets it in: that its day has come, and that its symbol is one of a
//! bounded number.

use std::collections::HashSet;

use heqis_actors::{BuildContext, Clock, Counter};
use heqis_quant::{Bar, Date, Symbol};

use crate::log_limit::LogLimit;

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;
/// A clock that stands before this year has not been set yet, and says nothing about the day.
const SET_FROM: i16 = 2020;

/// Lets bars of a live source in, or counts why not: `future_bar` and `refused_symbol`.
#[derive(Debug)]
pub(super) struct LiveGate {
    stage: String,
    clock: Clock,
    symbols: HashSet<Symbol>,
    max_symbols: usize,
    refused_symbol: Counter,
    future_bar: Counter,
    log: LogLimit,
}

impl LiveGate {
    pub(super) fn new(cx: &BuildContext, max_symbols: usize) -> Self {
        Self {
            stage: cx.stage().to_owned(),
            clock: cx.clock().clone(),
            symbols: HashSet::new(),
            max_symbols,
            refused_symbol: cx.counter("refused_symbol"),
            future_bar: cx.counter("future_bar"),
            log: LogLimit::new(),
        }
    }

    /// Returns whether a bar is let in. One of a day after tomorrow would make all later bars of its symbol look late; a
    /// symbol above the limit would make every stage keep something for it.
    pub(super) fn admit(&mut self, bar: &Bar) -> bool {
        if is_future(bar.date, self.clock.now_ns()) {
            self.future_bar.inc();
            if self.log.admit() {
                tracing::warn!(stage = %self.stage, symbol = %bar.symbol, date = %bar.date, "bar refused: its day has not come");
            }
            return false;
        }
        if self.symbols.len() >= self.max_symbols && !self.symbols.contains(&bar.symbol) {
            self.refused_symbol.inc();
            return false;
        }
        self.symbols.insert(bar.symbol);
        true
    }
}

/// Returns whether a day lies after tomorrow, by UTC: somewhere it is tomorrow already.
fn is_future(date: Date, now_ns: i64) -> bool {
    let today = i32::try_from(now_ns.div_euclid(DAY_NS))
        .ok()
        .and_then(Date::from_days);
    today.is_some_and(|today| today.year() >= SET_FROM && date.days() > today.days() + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_days_after_tomorrow_have_not_come() {
        let day = |text: &str| Date::parse(text).unwrap();
        let noon = |text: &str| i64::from(day(text).days()) * DAY_NS + DAY_NS / 2;
        for (date, now, future) in [
            ("2026-11-26", "2026-11-26", false),
            ("2026-11-27", "2026-11-26", false),
            ("2026-11-28", "2026-11-26", true),
            ("2062-11-26", "2026-11-26", true),
            ("1999-11-10", "2026-11-26", false),
            // A board that has just started without a clock of its own.
            ("2026-11-26", "1970-01-01", false),
        ] {
            assert_eq!(is_future(day(date), noon(now)), future, "{date} on {now}");
        }
    }
}
