#![allow(clippy::unwrap_used)]
mod filters;
mod limits;
mod parameters;
mod risk;
mod signals;
mod streams;

use super::*;
use crate::bar::{Bar, BarRef, Marks};
use crate::date::Date;
use crate::rules::Markets;
use crate::symbol::Symbol;

const RULE: DecisionRule = DecisionRule {
    enter: 0.01,
    exit: -0.005,
    min_confidence: 0.5,
    min_exit_confidence: 0.3,
};

fn says(predicted_return: f64, probabilities: [f64; 3]) -> Prediction {
    Prediction {
        predicted_return,
        probabilities,
    }
}

/// A prediction that buys in every mode.
fn rise() -> Prediction {
    says(0.02, [0.1, 0.2, 0.7])
}

/// A prediction that sells in every mode.
fn fall() -> Prediction {
    says(-0.02, [0.7, 0.2, 0.1])
}

fn strategy(filters: Filters) -> Strategy {
    Strategy {
        mode: SignalMode::Return,
        rule: RULE,
        filters,
    }
}

/// Decides on the close of a snapshot of 600000.SH.
fn decided(
    strategy: &Strategy,
    state: &mut DecisionState,
    snapshot: &MarketSnapshot,
    prediction: &Prediction,
    trading: TradingState,
) -> Decision {
    let bar = BarRef {
        symbol: Symbol::parse("600000.SH").unwrap(),
        date: snapshot.date,
        time_ns: snapshot.date.close_time_ns(),
        close: snapshot.close,
    };
    strategy.decide(state, &bar, snapshot, prediction, trading)
}

/// The trading day `n` weekdays after 2024-01-02, for n in 0..=18 without the weekends.
fn day(n: usize) -> Date {
    let days: Vec<Date> = (2..=26)
        .filter_map(|d| Date::new(2024, 1, d).ok())
        .filter(|date| !date.is_weekend())
        .collect();
    days[n]
}

/// A bar of 600000.SH: open, high, low, close and volume.
fn bar(n: usize, [open, high, low, close]: [f64; 4], volume_shares: f64) -> Bar {
    let date = day(n);
    Bar {
        symbol: Symbol::parse("600000.SH").unwrap(),
        time_ns: date.close_time_ns(),
        date,
        open,
        high,
        low,
        close,
        pre_close: None,
        volume_shares,
        amount_cny: None,
        marks: if n == 0 {
            Marks::FIRST_BAR
        } else {
            Marks::NONE
        },
    }
}

/// A bar that opens at `open` and closes at `close`.
fn simple(n: usize, open: f64, close: f64) -> Bar {
    bar(n, [open, open.max(close), open.min(close), close], 1_000.0)
}

/// One instrument with its market and its strategy.
struct Run {
    markets: Markets,
    market: MarketState,
    state: DecisionState,
    strategy: Strategy,
}

impl Run {
    fn new(filters: Filters) -> Self {
        let strategy = strategy(filters);
        strategy.validate().unwrap();
        Self {
            markets: Markets::shipped().unwrap(),
            market: MarketState::new(&strategy.filter_indicators()).unwrap(),
            state: DecisionState::default(),
            strategy,
        }
    }

    fn snapshot(&mut self, bar: &Bar) -> MarketSnapshot {
        self.market.update(&self.markets, false, bar).unwrap()
    }

    fn step(&mut self, bar: &Bar, prediction: Prediction) -> Decision {
        let snapshot = self.snapshot(bar);
        decided(
            &self.strategy,
            &mut self.state,
            &snapshot,
            &prediction,
            TradingState::Active,
        )
    }

    /// Returns side and reason of the decision on each bar.
    fn outcomes(&mut self, steps: &[(Bar, Prediction)]) -> Vec<(Side, DecisionReason)> {
        steps
            .iter()
            .map(|(bar, prediction)| {
                let decision = self.step(bar, *prediction);
                (decision.side, decision.reason)
            })
            .collect()
    }
}

/// A quiet first bar at 10.00.
fn start() -> (Bar, Prediction) {
    (simple(0, 10.0, 10.0), says(0.0, [0.2, 0.6, 0.2]))
}
