//! Modes, confidences, kill state and reports: what needs no market.

use proptest::prelude::*;

use super::*;
use crate::decision::Strategy;
use VerdictReason as Why;

fn view() -> View {
    View::of_close(day(1), 10.0)
}

fn decide(mode: SignalMode, stance: Stance, prediction: Prediction) -> Verdict {
    let strategy = Strategy {
        mode,
        ..strategy(Filters::default())
    };
    let mut memory = Memory {
        stance,
        ..Memory::default()
    };
    let verdict = strategy.decide(&mut memory, &view(), &prediction, KillState::Active);
    assert_eq!(verdict.stance, memory.stance);
    assert!(verdict.carry.is_empty());
    verdict
}

#[test]
fn every_case_of_the_return_mode_has_its_verdict() {
    let (up, down, flat) = ([0.2, 0.2, 0.6], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2]);
    for (stance, expected, probabilities, side, confidence, reason) in [
        (Stance::Out, 0.010, up, Side::Buy, 0.6, Why::Entered),
        (Stance::Out, 0.0099, up, Side::Hold, 0.6, Why::BelowEnter),
        (Stance::Out, 0.02, flat, Side::Hold, 0.6, Why::LowConfidence),
        (Stance::Out, -0.02, down, Side::Hold, 0.6, Why::BelowEnter),
        (Stance::In, 0.02, up, Side::Hold, 0.6, Why::AboveExit),
        (Stance::In, -0.004, down, Side::Hold, 0.6, Why::AboveExit),
        (Stance::In, -0.005, down, Side::Sell, 0.6, Why::Exited),
        (
            Stance::In,
            -0.02,
            flat,
            Side::Hold,
            0.6,
            Why::LowExitConfidence,
        ),
        (
            Stance::In,
            f64::NAN,
            up,
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
        (
            Stance::Out,
            0.02,
            [0.0, 0.0, 0.9],
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
        (
            Stance::Out,
            0.02,
            [-0.2, 0.2, 1.0],
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
    ] {
        let verdict = decide(SignalMode::Return, stance, says(expected, probabilities));
        assert_eq!(
            (verdict.side, verdict.confidence, verdict.reason),
            (side, confidence, reason)
        );
    }
}

#[test]
fn the_class_mode_reads_the_classes_alone() {
    let mode = SignalMode::Class;
    for (stance, expected, probabilities, side, reason) in [
        // The returns speak against what is done.
        (Stance::Out, -0.5, [0.2, 0.2, 0.6], Side::Buy, Why::Entered),
        (Stance::In, 0.5, [0.6, 0.2, 0.2], Side::Sell, Why::Exited),
        (Stance::Out, 0.5, [0.2, 0.6, 0.2], Side::Hold, Why::NotUp),
        (Stance::In, -0.5, [0.2, 0.6, 0.2], Side::Hold, Why::NotDown),
        // A draw is no majority.
        (Stance::Out, 0.5, [0.5, 0.0, 0.5], Side::Hold, Why::NotUp),
        (Stance::In, -0.5, [0.5, 0.0, 0.5], Side::Hold, Why::NotDown),
        (
            Stance::Out,
            0.5,
            [0.3, 0.25, 0.45],
            Side::Hold,
            Why::LowConfidence,
        ),
    ] {
        let verdict = decide(mode, stance, says(expected, probabilities));
        assert_eq!((verdict.side, verdict.reason), (side, reason));
    }
}

#[test]
fn a_doubtful_class_does_not_leave() {
    let careful = Strategy {
        mode: SignalMode::Class,
        rule: DecisionRule {
            min_exit_confidence: 0.8,
            ..RULE
        },
        filters: Filters::default(),
    };
    let mut memory = Memory {
        stance: Stance::In,
        ..Memory::default()
    };
    let verdict = careful.decide(&mut memory, &view(), &fall(), KillState::Active);
    assert_eq!(verdict.reason, Why::LowExitConfidence);
}

#[test]
fn both_heads_have_to_agree_in_the_mode_of_both() {
    let mode = SignalMode::Both;
    let (up, down) = ([0.1, 0.2, 0.7], [0.7, 0.2, 0.1]);
    for (stance, expected, probabilities, side, reason) in [
        (Stance::Out, 0.02, up, Side::Buy, Why::Entered),
        (Stance::Out, 0.0, up, Side::Hold, Why::BelowEnter),
        (Stance::Out, 0.02, down, Side::Hold, Why::NotUp),
        (Stance::In, -0.02, down, Side::Sell, Why::Exited),
        (Stance::In, 0.0, down, Side::Hold, Why::AboveExit),
        (Stance::In, -0.02, up, Side::Hold, Why::NotDown),
    ] {
        let verdict = decide(mode, stance, says(expected, probabilities));
        assert_eq!((verdict.side, verdict.reason), (side, reason));
    }
}

#[test]
fn a_prediction_that_hovers_around_one_threshold_trades_once() {
    let strategy = strategy(Filters::default());
    for threshold in [RULE.enter, RULE.exit] {
        let mut memory = Memory::default();
        let trades = (0..100)
            .map(|i| threshold + if i % 2 == 0 { 0.001 } else { -0.001 })
            .map(|r| says(r, [0.4, 0.0, 0.6]))
            .filter(|p| {
                let verdict = strategy.decide(&mut memory, &view(), p, KillState::Active);
                verdict.side != Side::Hold
            })
            .count();
        assert_eq!(trades, usize::from(threshold == RULE.enter));
    }
}

#[test]
fn the_kill_state_stands_above_every_signal() {
    let strategy = strategy(Filters {
        stop_loss: Some(0.1),
        ..Filters::default()
    });
    let inside = Memory {
        stance: Stance::In,
        carry: Carry {
            entry_price: Some(10.0),
            ..Carry::default()
        },
        last_date: Some(day(0)),
    };
    let crash = View::of_close(day(1), 8.9);
    for (kill, memory, view, prediction, side, reason, wanted) in [
        (
            KillState::Active,
            Memory::default(),
            view(),
            rise(),
            Side::Buy,
            Why::Entered,
            Side::Buy,
        ),
        (
            KillState::Reducing,
            Memory::default(),
            view(),
            rise(),
            Side::Hold,
            Why::Reducing,
            Side::Buy,
        ),
        (
            KillState::Halted,
            Memory::default(),
            view(),
            rise(),
            Side::Hold,
            Why::Halted,
            Side::Buy,
        ),
        (
            KillState::Reducing,
            inside,
            view(),
            fall(),
            Side::Sell,
            Why::Exited,
            Side::Sell,
        ),
        (
            KillState::Halted,
            inside,
            view(),
            fall(),
            Side::Hold,
            Why::Halted,
            Side::Sell,
        ),
        (
            KillState::Reducing,
            inside,
            crash,
            rise(),
            Side::Sell,
            Why::StopLoss,
            Side::Sell,
        ),
        (
            KillState::Halted,
            inside,
            crash,
            rise(),
            Side::Hold,
            Why::Halted,
            Side::Sell,
        ),
        // Where nothing is wanted, nothing is refused.
        (
            KillState::Halted,
            inside,
            view(),
            rise(),
            Side::Hold,
            Why::AboveExit,
            Side::Hold,
        ),
    ] {
        let mut after = memory;
        let verdict = strategy.decide(&mut after, &view, &prediction, kill);
        assert_eq!(
            (verdict.side, verdict.reason, verdict.wanted()),
            (side, reason, wanted),
            "{kill:?}"
        );
        if side == Side::Hold {
            assert_eq!((after.stance, after.carry), (memory.stance, memory.carry));
        }
    }
}

#[test]
fn a_broker_corrects_what_the_path_assumed() {
    let strategy = strategy(Filters {
        stop_loss: Some(0.1),
        loss_cool_down_days: Some(3),
        ..Filters::default()
    });
    let mut memory = Memory::default();
    let verdict = strategy.decide(&mut memory, &view(), &rise(), KillState::Active);
    assert_eq!(verdict.carry.entry_price, Some(10.0));
    let bought = memory;
    strategy.report(&mut memory, Report::NotBought);
    assert_eq!(
        (memory.stance, memory.carry),
        (Stance::Out, Carry::default())
    );
    // Bought dearer than assumed: what looked like a gain is a loss, and the stop comes sooner.
    memory = bought;
    strategy.report(&mut memory, Report::Bought { price: 10.5 });
    let mut stopped = memory;
    let verdict = strategy.decide(
        &mut stopped,
        &View::of_close(day(2), 9.45),
        &rise(),
        KillState::Active,
    );
    assert_eq!(verdict.reason, Why::StopLoss);
    let verdict = strategy.decide(
        &mut memory,
        &View::of_close(day(2), 10.4),
        &fall(),
        KillState::Active,
    );
    assert_eq!(
        (verdict.side, verdict.carry.cool_down_days),
        (Side::Sell, 4)
    );
    strategy.report(&mut memory, Report::Sold { price: 10.6 });
    assert_eq!(memory.carry.cool_down_days, 0);
    strategy.report(&mut memory, Report::Sold { price: 10.49 });
    assert_eq!(memory.carry.cool_down_days, 4);
    strategy.report(&mut memory, Report::NotSold);
    assert_eq!(
        (memory.stance, memory.carry.cool_down_days),
        (Stance::In, 0)
    );
    assert_eq!(memory.carry.entry_price, Some(10.5));
}

#[test]
fn a_rule_that_cannot_work_is_refused() {
    let off = Filters::default();
    assert!(strategy(off).validate().is_ok());
    for (rule, field) in [
        (DecisionRule { exit: 0.01, ..RULE }, "exit"),
        (
            DecisionRule {
                enter: f64::NAN,
                ..RULE
            },
            "enter",
        ),
        (
            DecisionRule {
                min_confidence: 1.1,
                ..RULE
            },
            "min_confidence",
        ),
        (
            DecisionRule {
                min_exit_confidence: f64::NAN,
                ..RULE
            },
            "min_exit_confidence",
        ),
    ] {
        let message = Strategy {
            rule,
            ..strategy(off)
        }
        .validate()
        .unwrap_err()
        .to_string();
        assert!(
            message.starts_with(&format!("decision rule: {field}: ")),
            "{message}"
        );
    }
    assert!(
        serde_json::from_str::<DecisionRule>(
            "{\"enter\":1,\"exit\":0,\"min_confidence\":0,\"x\":1}"
        )
        .is_err()
    );
    assert!(serde_json::from_str::<DecisionRule>("{\"enter\":1,\"exit\":0}").is_err());
}

#[test]
fn reasons_are_named_as_in_json_and_refuse_nothing_but_holds() {
    for reason in VerdictReason::ALL {
        assert_eq!(
            serde_json::to_string(&reason).unwrap(),
            format!("\"{reason}\"")
        );
        assert!(!reason.is_refusal() || reason.side() == Side::Hold);
    }
}

/// The rule as it was before there were modes and filters, written down once more.
fn before_filters(rule: &DecisionRule, inside: &mut bool, p: &Prediction) -> (Side, f64, Why) {
    let [down, flat, up] = p.probabilities;
    let largest = down.max(flat).max(up);
    if !p.is_valid() {
        return (Side::Hold, 0.0, Why::InvalidPrediction);
    }
    if *inside {
        if p.predicted_return > rule.exit {
            (Side::Hold, largest, Why::AboveExit)
        } else if down < rule.min_exit_confidence {
            (Side::Hold, largest, Why::LowExitConfidence)
        } else {
            *inside = false;
            (Side::Sell, down, Why::Exited)
        }
    } else if p.predicted_return < rule.enter {
        (Side::Hold, largest, Why::BelowEnter)
    } else if up < rule.min_confidence {
        (Side::Hold, largest, Why::LowConfidence)
    } else {
        *inside = true;
        (Side::Buy, up, Why::Entered)
    }
}

proptest! {
    #[test]
    fn without_filters_decisions_are_those_of_the_rule_bit_for_bit(
        asked in prop::collection::vec((-0.03f64..0.03, 0.0f64..=1.05, 0.0f64..=1.0), 1..80),
    ) {
        let strategy = strategy(Filters::default());
        let (mut inside, mut memory) = (false, Memory::default());
        for (predicted_return, up, rest) in asked {
            let prediction = says(predicted_return, [(1.0 - up) * rest, (1.0 - up) * (1.0 - rest), up]);
            let (side, confidence, reason) = before_filters(&RULE, &mut inside, &prediction);
            let verdict = strategy.decide(&mut memory, &view(), &prediction, KillState::Active);
            prop_assert_eq!((verdict.side, verdict.reason), (side, reason));
            prop_assert_eq!(verdict.confidence.to_bits(), confidence.to_bits());
            prop_assert_eq!(verdict.stance == Stance::In, inside);
            // Nothing new in a journal.
            let json = serde_json::to_string(&verdict).unwrap();
            prop_assert!(!json.contains("carry"), "{json}");
        }
    }
}
