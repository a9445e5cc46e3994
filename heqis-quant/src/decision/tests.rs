#![allow(clippy::unwrap_used)]
mod filters;
mod signals;
mod streams;

use super::*;
use crate::rules::Markets;
use crate::{Bar, Date, Marks, Symbol};

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

/// A prediction that enters in every mode.
fn rise() -> Prediction {
    says(0.02, [0.1, 0.2, 0.7])
}

/// A prediction that leaves in every mode.
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

/// One instrument on its way through market and strategy.
struct Run {
    markets: Markets,
    market: Market,
    memory: Memory,
    strategy: Strategy,
}

impl Run {
    fn new(filters: Filters) -> Self {
        let strategy = strategy(filters);
        strategy.validate().unwrap();
        Self {
            markets: Markets::shipped().unwrap(),
            market: Market::new(&strategy.gauges()).unwrap(),
            memory: Memory::default(),
            strategy,
        }
    }

    fn view(&mut self, bar: &Bar) -> View {
        self.market.update(&self.markets, false, bar).unwrap()
    }

    fn step(&mut self, bar: &Bar, prediction: Prediction) -> Verdict {
        let view = self.view(bar);
        self.strategy
            .decide(&mut self.memory, &view, &prediction, KillState::Active)
    }

    /// Feeds bars and predictions and tells side and reason of each decision.
    fn told(&mut self, steps: &[(Bar, Prediction)]) -> Vec<(Side, VerdictReason)> {
        steps
            .iter()
            .map(|(bar, prediction)| {
                let verdict = self.step(bar, *prediction);
                (verdict.side, verdict.reason)
            })
            .collect()
    }
}
