//! Predictions become decisions, with a memory for each symbol that survives a restart.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::Path;

use heqis_actors::testing::StageTest;
use heqis_actors::{Frame, Stage, StageError};
use heqis_compute::Signal;
use heqis_messages::{DecisionMessage, PredictionMessage};
use heqis_quant::decision::{Band, DecisionReason};
use heqis_quant::{
    DecisionRule, DecisionState, Filters, MarketSnapshot, Prediction, Side, SignalMode,
    Strategy as Plan, TradingState,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{bar, build, config, context, count, decisions, framed, predictions};

fn rule() -> Value {
    json!({ "rule": { "enter": 0.01, "exit": -0.01, "min_confidence": 0.5 } })
}

fn made(frames: &[Frame<DecisionMessage>]) -> Vec<DecisionMessage> {
    frames.iter().map(|frame| (**frame).clone()).collect()
}

#[test]
fn decisions_are_those_of_the_rule_with_a_memory_for_each_symbol() {
    let mut signal: StageTest<Signal> = build(&context(""), rule());
    let got = signal.batch(&predictions(60)).unwrap();
    let expected = decisions(60);
    assert_eq!(made(&got), made(&expected));
    let sides: Vec<Side> = expected.iter().map(|frame| frame.decision.side).collect();
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
    let mut signal: StageTest<Signal> = build(&cx, rule());
    let got = signal.batch(&predictions(60)).unwrap();
    for (side, name) in [
        (Side::Buy, "buy"),
        (Side::Hold, "hold"),
        (Side::Sell, "sell"),
    ] {
        assert_eq!(
            count(&cx, name),
            got.iter()
                .filter(|frame| frame.decision.side == side)
                .count() as u64
        );
    }
    for reason in [DecisionReason::BelowEnter, DecisionReason::AboveExit] {
        let times = got
            .iter()
            .filter(|frame| frame.decision.reason == reason)
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
fn a_signal_that_recovers_the_last_decisions_continues_as_if_it_had_made_them() {
    let expected = made(&decisions(60));
    for killed_after in 0..60 {
        // What a journal would hand over.
        let cx = context("");
        for frame in &decisions(60)[..killed_after] {
            cx.committed()
                .record(frame.head().origin, (**frame).clone());
        }
        let mut signal: StageTest<Signal> = build(&cx, rule());
        for record in cx.committed().records() {
            signal.stage.recover(&record);
        }
        assert_eq!(
            made(&signal.batch(&predictions(60)[killed_after..]).unwrap()),
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
                framed(position, PredictionMessage { bar: bar(symbol, position as i32), prediction, snapshot: None })
            })
            .collect();
        let mut undisturbed: StageTest<Signal> = build(&context(""), rule());
        let expected = undisturbed.batch(&frames).unwrap();
        let cut = cut.index(frames.len());
        let cx = context("");
        for frame in &expected[..cut] {
            cx.committed().record(frame.head().origin, (**frame).clone());
        }
        let mut resumed: StageTest<Signal> = build(&cx, rule());
        for record in cx.committed().records() {
            resumed.stage.recover(&record);
        }
        prop_assert_eq!(made(&resumed.batch(&frames[cut..]).unwrap()), made(&expected[cut..]));
    }
}

#[test]
fn records_of_other_types_are_ignored() {
    let cx = context("");
    let prediction: PredictionMessage = (*predictions(1)[0]).clone();
    cx.committed()
        .record(framed(1, prediction.clone()).head().origin, prediction);
    let mut signal: StageTest<Signal> = build(&cx, rule());
    for record in cx.committed().records() {
        signal.stage.recover(&record);
    }
    assert_eq!(
        made(&signal.batch(&predictions(5)).unwrap()),
        made(&decisions(5))
    );
}

#[test]
fn an_invalid_prediction_holds_and_says_so() {
    let cx = context("");
    let mut signal: StageTest<Signal> = build(&cx, rule());
    for probabilities in [[f64::NAN, 0.5, 0.5], [0.9, 0.9, 0.9]] {
        let prediction = Prediction {
            predicted_return: 1.0,
            probabilities,
        };
        let message = PredictionMessage {
            bar: bar("600000.SH", 0),
            prediction,
            snapshot: None,
        };
        let got = signal.batch(&[framed(1, message)]).unwrap();
        assert_eq!(
            (got[0].decision.side, got[0].decision.reason),
            (Side::Hold, DecisionReason::InvalidPrediction)
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

/// A strategy whose filters remember, as parameters and as itself.
fn filtered() -> (Value, Plan) {
    let filters = json!({
        "limit_up_hold": true,
        "stop_loss": 0.05,
        "loss_cool_down_days": 2,
        "limit_lock_break": { "volume_ratio": 2.0, "ban_days": 1 },
    });
    let rule = rule()["rule"].clone();
    let strategy = Plan {
        mode: SignalMode::Return,
        rule: serde_json::from_value::<DecisionRule>(rule.clone()).unwrap(),
        filters: serde_json::from_value::<Filters>(filters.clone()).unwrap(),
    };
    (json!({ "rule": rule, "filters": filters }), strategy)
}

/// Predictions with a market that rises, falls, hits limits and breaks boards.
fn seen(count: usize) -> Vec<Frame<PredictionMessage>> {
    let closes = [10.0, 10.4, 11.0, 9.9, 10.0, 9.4, 10.3, 11.0, 9.9];
    let returns = [0.02, 0.0, -0.02, 0.02, 0.0, 0.02, -0.02];
    (0..count)
        .map(|n| {
            let bar = heqis_quant::BarRef {
                close: closes[n % closes.len()],
                ..bar("600000.SH", n as i32)
            };
            let snapshot = MarketSnapshot {
                limits: Some(Band {
                    down_cents: 990,
                    up_cents: 1_100,
                }),
                after_limit_lock: n % 5 == 4,
                volume_ratio: Some(1.0 + (n % 3) as f64),
                level_ratio: if n % 8 == 7 { 0.97 } else { 1.0 },
                ..MarketSnapshot::of_close(bar.date, bar.close)
            };
            let prediction = Prediction {
                predicted_return: returns[n % returns.len()],
                probabilities: [0.1, 0.3, 0.6],
            };
            framed(
                n as u64 + 1,
                PredictionMessage {
                    bar,
                    prediction,
                    snapshot: Some(snapshot),
                },
            )
        })
        .collect()
}

#[test]
fn filters_see_the_market_and_their_refusals_are_counted() {
    let (params, strategy) = filtered();
    let cx = context("");
    let mut signal: StageTest<Signal> = build(&cx, params);
    let frames = seen(80);
    let got = made(&signal.batch(&frames).unwrap());
    let mut state = DecisionState::default();
    for (got, frame) in got.iter().zip(&frames) {
        let snapshot = frame.snapshot.unwrap();
        let expected = strategy.decide(
            &mut state,
            &frame.bar,
            &snapshot,
            &frame.prediction,
            TradingState::Active,
        );
        assert_eq!(got.decision, expected);
    }
    for reason in [
        DecisionReason::LimitUp,
        DecisionReason::StopLoss,
        DecisionReason::CoolDown,
        DecisionReason::LimitLockBroken,
        DecisionReason::BuyBan,
    ] {
        let times = got
            .iter()
            .filter(|decision| decision.decision.reason == reason)
            .count();
        assert!(times > 0, "the market is no test of {reason}");
        assert_eq!(count(&cx, reason.name()), times as u64);
    }
}

#[test]
fn what_filters_remember_survives_a_restart() {
    let (params, _) = filtered();
    let frames = seen(80);
    let mut undisturbed: StageTest<Signal> = build(&context(""), params.clone());
    let expected = undisturbed.batch(&frames).unwrap();
    for cut in 0..frames.len() {
        let cx = context("");
        for frame in &expected[..cut] {
            cx.committed()
                .record(frame.head().origin, (**frame).clone());
        }
        let mut resumed: StageTest<Signal> = build(&cx, params.clone());
        for record in cx.committed().records() {
            resumed.stage.recover(&record);
        }
        assert_eq!(
            made(&resumed.batch(&frames[cut..]).unwrap()),
            made(&expected[cut..]),
            "cut {cut}"
        );
    }
}

#[test]
fn frames_without_the_indicators_of_the_filters_are_refused() {
    let refused = |filters: Value, snapshot: Option<MarketSnapshot>| {
        let params = json!({ "rule": rule()["rule"], "filters": filters });
        let mut signal: StageTest<Signal> = build(&context(""), params);
        let message = PredictionMessage {
            snapshot,
            ..(*seen(1)[0]).clone()
        };
        match signal.process(&framed(1, message)) {
            Err(StageError::Refused(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let snapshot = seen(1)[0].snapshot;
    let reason = refused(json!({ "stop_loss": 0.1 }), None);
    assert!(
        reason.contains("`market`") && reason.contains("sends none"),
        "{reason}"
    );
    let reason = refused(json!({ "rsi": { "bars": 6 } }), snapshot);
    assert!(
        reason.contains("[\"rsi_6_cn\"]") && reason.contains("sends others"),
        "{reason}"
    );
    // The predicted return is no matter of the market.
    let params = json!({ "rule": rule()["rule"], "filters": { "min_predicted_return": 0.5 } });
    let mut signal: StageTest<Signal> = build(&context(""), params);
    let got = signal.batch(&predictions(40)).unwrap();
    let reasons: Vec<_> = got.iter().map(|frame| frame.decision.reason).collect();
    assert!(reasons.contains(&DecisionReason::LowReturn));
    assert!(!reasons.contains(&DecisionReason::Entered));
}

#[test]
fn the_trading_state_file_is_read_before_each_batch_and_halts_when_it_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let params = json!({
        "rule": { "enter": 0.01, "exit": -0.01, "min_confidence": 0.5 },
        "trading_state_file": "kill",
    });
    let cx = context(dir.path());
    let mut signal: StageTest<Signal> = build(&cx, params.clone());
    let mut position = 0;
    let mut says = |predicted_return: f64| {
        position += 1;
        let prediction = Prediction {
            predicted_return,
            probabilities: [0.2, 0.2, 0.6],
        };
        let message = PredictionMessage {
            bar: bar("600000.SH", position),
            prediction,
            snapshot: None,
        };
        signal.batch(&[framed(position as u64, message)]).unwrap()[0]
            .decision
            .reason
    };
    let file = dir.path().join("kill");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("reducing\n");
    assert_eq!(says(0.02), DecisionReason::Reducing);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(says(0.02), DecisionReason::Entered);
    write("halted");
    assert_eq!(says(-0.02), DecisionReason::Halted);
    write("HALT!");
    assert_eq!(says(-0.02), DecisionReason::Halted);
    write("reducing");
    assert_eq!(says(-0.02), DecisionReason::Exited);
    write("active");
    assert_eq!(says(0.02), DecisionReason::Entered);
    // A pipe into which no one writes must not hold anything up, and neither may a device that never ends.
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    assert_eq!(says(-0.02), DecisionReason::Halted);
    let faults = Signal::check(&config(params.clone()), dir.path());
    assert!(
        faults.len() == 1 && faults[0].contains("must be a regular file"),
        "{faults:?}"
    );
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert_eq!(says(-0.02), DecisionReason::Halted);
    std::fs::remove_file(&file).unwrap();
    write(&" ".repeat(5_000));
    assert_eq!(says(-0.02), DecisionReason::Halted);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(says(-0.02), DecisionReason::Halted);
    // Without the file the setting holds.
    let mut halted = params;
    halted["trading_state"] = json!("halted");
    let mut signal: StageTest<Signal> = build(&context("nowhere"), halted);
    let reasons: Vec<_> = signal
        .batch(&predictions(40))
        .unwrap()
        .iter()
        .map(|d| d.decision.reason)
        .collect();
    assert!(reasons.contains(&DecisionReason::Halted));
    assert!(!reasons.contains(&DecisionReason::Entered));
}

#[test]
fn a_symbol_that_moves_in_mid_stream_keeps_its_position_and_its_filters() {
    let filters = json!({
        "rule": { "enter": 0.01, "exit": -0.01, "min_confidence": 0.5 },
        "filters": { "stop_loss": 0.05, "loss_cool_down_days": 3 },
    });
    let mut whole: StageTest<Signal> = build(&context(""), filters.clone());
    let mut stages: [StageTest<Signal>; 2] = [(); 2].map(|()| build(&context(""), filters.clone()));
    let all = seen(60);
    let moving = all[0].head().key;
    let expected = made(&whole.batch(&all).unwrap());
    let mut got = Vec::new();
    for (at, frame) in all.iter().enumerate() {
        let here = (at / 7) % 2;
        if at > 0 && at % 7 == 0 {
            let state = stages[1 - here].take_key(moving).unwrap().unwrap();
            stages[here].put_key(moving, &state).unwrap();
            let error = stages[here].put_key(moving, &state).unwrap_err();
            assert!(error.to_string().contains("has a state here"), "{error}");
        }
        let stage = if frame.head().key == moving { here } else { 0 };
        let frames = stages[stage].batch(std::slice::from_ref(frame)).unwrap();
        got.extend(made(&frames));
    }
    assert_eq!(got, expected);
}
