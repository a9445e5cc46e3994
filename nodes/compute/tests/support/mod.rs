//! What the tests of this crate share.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};

use heqis_actors::testing::StageTest;
use heqis_actors::{BuildContext, Clock, Config, Frame, Origin, Payload, Stage};
use heqis_messages::{DecisionMessage, PredictionMessage};
use heqis_quant::{
    BarRef, Date, DecisionRule, DecisionState, Filters, MarketSnapshot, Prediction, SignalMode,
    Strategy, Symbol, TradingState,
};
use serde_json::Value;

pub const STREAM: u64 = 0xab;

/// The repository, where models are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn context(base: impl Into<PathBuf>) -> BuildContext {
    BuildContext::detached("tested", base, Clock::virtual_at(0))
}

/// Parameters as a topology gives them.
pub fn config<C: serde::de::DeserializeOwned>(params: Value) -> C {
    serde_json::from_value(params).unwrap()
}

pub fn count(cx: &BuildContext, event: &str) -> u64 {
    cx.counter(event).get()
}

/// The close of a weekday, `day` weeks after the first.
pub fn bar(symbol: &str, day: i32) -> BarRef {
    let date = Date::from_days(Date::parse("2015-06-12").unwrap().days() + 7 * day).unwrap();
    BarRef {
        symbol: Symbol::parse(symbol).unwrap(),
        date,
        time_ns: date.close_time_ns(),
        close: 17.01,
    }
}

pub fn framed<P: Payload>(position: u64, payload: P) -> Frame<P> {
    Frame::detached(
        Origin {
            stream: STREAM,
            position,
        },
        0,
        payload,
    )
}

/// A stage, outside any graph.
pub fn build<S: Stage<Config: Config>>(cx: &BuildContext, params: Value) -> StageTest<S> {
    StageTest::with_context(config(params), cx.clone()).unwrap()
}

pub const RULE: DecisionRule = DecisionRule {
    enter: 0.01,
    exit: -0.01,
    min_confidence: 0.5,
    min_exit_confidence: 0.0,
};

/// Predictions of two symbols that enter, hover and leave, so that what is decided depends on what was.
pub fn predictions(count: u64) -> Vec<Frame<PredictionMessage>> {
    let swing = [0.02, 0.005, 0.0, -0.005, -0.02, 0.005, 0.0, 0.012, -0.002];
    (1..=count)
        .map(|position| {
            let symbol = if position % 3 == 0 {
                "002032.SZ"
            } else {
                "600000.SH"
            };
            let predicted_return = swing[(position as usize * 5) % swing.len()];
            let prediction = Prediction {
                predicted_return,
                probabilities: [0.1, 0.3, 0.6],
            };
            framed(
                position,
                PredictionMessage {
                    bar: bar(symbol, position as i32),
                    prediction,
                    snapshot: None,
                },
            )
        })
        .collect()
}

/// Decisions on [`predictions`], made by the rule alone.
pub fn decisions(count: u64) -> Vec<Frame<DecisionMessage>> {
    let strategy = Strategy {
        mode: SignalMode::Return,
        rule: RULE,
        filters: Filters::default(),
    };
    let mut states = std::collections::BTreeMap::<Symbol, DecisionState>::new();
    predictions(count)
        .into_iter()
        .map(|frame| {
            let decision = strategy.decide(
                states.entry(frame.bar.symbol).or_default(),
                &frame.bar,
                &MarketSnapshot::of_close(frame.bar.date, frame.bar.close),
                &frame.prediction,
                TradingState::Active,
            );
            framed(
                frame.head().origin.position,
                DecisionMessage::from(decision),
            )
        })
        .collect()
}
