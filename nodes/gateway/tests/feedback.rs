//! The feedback stage counts the decisions that are returned.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use heqis_actors::testing::StageTest;
use heqis_gateway::Feedback;
use heqis_messages::DecisionMessage;
use heqis_quant::decision::{DecisionReason, Position, RiskState};
use heqis_quant::{Bar, BarRef, Date, Decision, Side};
use serde_json::json;
use support::{bar, build, context, count, nothing};

fn reference(bar: &Bar) -> BarRef {
    BarRef {
        symbol: bar.symbol,
        date: bar.date,
        time_ns: bar.time_ns,
        close: bar.close,
    }
}

#[test]
fn feedback_counts_decisions_by_side() {
    let cx = context("");
    let mut feedback: StageTest<Feedback> = build(&cx, json!({ "log": true }));
    let date = Date::parse("2015-06-01").unwrap();
    for (side, times) in [(Side::Buy, 3), (Side::Hold, 5), (Side::Sell, 2)] {
        for _ in 0..times {
            let reason = DecisionReason::AboveExit;
            let bar = reference(&bar("600000.SH", &date.to_string(), 10.0));
            let decision = Decision {
                symbol: bar.symbol,
                date: bar.date,
                time_ns: bar.time_ns,
                close: bar.close,
                side,
                confidence: 0.5,
                reason,
                position: Position::Long,
                risk: RiskState::default(),
                predicted_return: 0.0,
                probabilities: [0.2, 0.3, 0.5],
                ranked: None,
            };
            nothing(feedback.take(DecisionMessage::from(decision)).unwrap());
        }
    }
    assert_eq!(
        ["buy", "hold", "sell"].map(|side| count(&cx, side)),
        [3, 5, 2]
    );
}
