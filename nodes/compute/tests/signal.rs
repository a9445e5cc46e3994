//! Predictions become decisions, with a memory for each symbol that survives a restart.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use heqis_actors::{Frame, Stage};
use heqis_compute::Signal;
use heqis_messages::{Decision, PredictionMessage};
use heqis_quant::decision::VerdictReason;
use heqis_quant::{Prediction, Side};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Bench, bar, config, context, count, decisions, framed, predictions};

fn rule() -> Value {
    json!({ "rule": { "enter": 0.01, "exit": -0.01, "min_confidence": 0.5 } })
}

fn made(frames: &[Frame<Decision>]) -> Vec<Decision> {
    frames.iter().map(|frame| (**frame).clone()).collect()
}

#[test]
fn decisions_are_those_of_the_rule_with_a_memory_for_each_symbol() {
    let mut signal: Bench<Signal> = Bench::build(&context(""), rule());
    let got = signal.batch(&predictions(60));
    let expected = decisions(60);
    assert_eq!(made(&got), made(&expected));
    let sides: Vec<Side> = expected.iter().map(|frame| frame.verdict.side).collect();
    for side in [Side::Buy, Side::Hold, Side::Sell] {
        assert!(
            sides.contains(&side),
            "the predictions are no test without a {side}"
        );
    }
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got.head().origin, expected.head().origin);
    }
}

#[test]
fn sides_and_reasons_are_counted() {
    let cx = context("");
    let mut signal: Bench<Signal> = Bench::build(&cx, rule());
    let got = signal.batch(&predictions(60));
    for (side, name) in [
        (Side::Buy, "buy"),
        (Side::Hold, "hold"),
        (Side::Sell, "sell"),
    ] {
        assert_eq!(
            count(&cx, name),
            got.iter()
                .filter(|frame| frame.verdict.side == side)
                .count() as u64
        );
    }
    for reason in [VerdictReason::BelowEnter, VerdictReason::AboveExit] {
        let times = got
            .iter()
            .filter(|frame| frame.verdict.reason == reason)
            .count() as u64;
        assert!(times > 0);
        assert_eq!(count(&cx, reason.name()), times);
    }
    assert_eq!(
        count(&cx, "buy") + count(&cx, "hold") + count(&cx, "sell"),
        60
    );
}

#[test]
fn a_signal_that_is_told_the_last_decisions_goes_on_as_if_it_had_made_them() {
    let expected = made(&decisions(60));
    for killed_after in 0..60 {
        // What a journal would hand over.
        let cx = context("");
        for frame in &decisions(60)[..killed_after] {
            cx.committed()
                .record(frame.head().origin, (**frame).clone());
        }
        let mut signal: Bench<Signal> = Bench::build(&cx, rule());
        for record in cx.committed().records() {
            signal.stage.recover(&record);
        }
        assert_eq!(
            made(&signal.batch(&predictions(60)[killed_after..])),
            expected[killed_after..]
        );
    }
}

proptest! {
    /// Any predictions of any symbols, valid or not, interrupted anywhere.
    #[test]
    fn an_interruption_anywhere_changes_no_later_decision(
        asked in prop::collection::vec((0usize..4, -0.03f64..0.03, 0.0f64..=1.1), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let frames: Vec<Frame<PredictionMessage>> = asked
            .iter()
            .zip(1..)
            .map(|(&(symbol, predicted_return, up), position)| {
                let symbol = ["600000.SH", "002032.SZ", "430047.BJ", "AAPL"][symbol];
                let prediction = Prediction { predicted_return, probabilities: [1.0 - up, 0.0, up] };
                framed(position, PredictionMessage { bar: bar(symbol, position as i32), prediction })
            })
            .collect();
        let mut undisturbed: Bench<Signal> = Bench::build(&context(""), rule());
        let expected = undisturbed.batch(&frames);
        let cut = cut.index(frames.len());
        let cx = context("");
        for frame in &expected[..cut] {
            cx.committed().record(frame.head().origin, (**frame).clone());
        }
        let mut resumed: Bench<Signal> = Bench::build(&cx, rule());
        for record in cx.committed().records() {
            resumed.stage.recover(&record);
        }
        prop_assert_eq!(made(&resumed.batch(&frames[cut..])), made(&expected[cut..]));
    }
}

#[test]
fn records_of_other_types_tell_a_signal_nothing() {
    let cx = context("");
    let prediction: PredictionMessage = (*predictions(1)[0]).clone();
    cx.committed()
        .record(framed(1, prediction.clone()).head().origin, prediction);
    let mut signal: Bench<Signal> = Bench::build(&cx, rule());
    for record in cx.committed().records() {
        signal.stage.recover(&record);
    }
    assert_eq!(made(&signal.batch(&predictions(5))), made(&decisions(5)));
}

#[test]
fn an_invalid_prediction_holds_and_says_so() {
    let cx = context("");
    let mut signal: Bench<Signal> = Bench::build(&cx, rule());
    for probabilities in [[f64::NAN, 0.5, 0.5], [0.9, 0.9, 0.9]] {
        let prediction = Prediction {
            predicted_return: 1.0,
            probabilities,
        };
        let message = PredictionMessage {
            bar: bar("600000.SH", 0),
            prediction,
        };
        let got = signal.batch(&[framed(1, message)]);
        assert_eq!(
            (got[0].verdict.side, got[0].verdict.reason),
            (Side::Hold, VerdictReason::InvalidPrediction)
        );
    }
    assert_eq!(count(&cx, "invalid_prediction"), 2);
}

#[test]
fn a_rule_that_cannot_work_is_refused_by_check_and_by_build() {
    let params = json!({ "rule": { "enter": 0.01, "exit": 0.02, "min_confidence": 0.5 } });
    let faults = Signal::check(&config(params.clone()), Path::new(""));
    assert!(
        faults.len() == 1 && faults[0].contains("exit: must lie below enter"),
        "{faults:?}"
    );
    let refused = Signal::build(&config(params), &context("")).unwrap_err();
    assert_eq!(refused.to_string(), faults[0]);
}
