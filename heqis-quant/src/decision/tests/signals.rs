//! Modes, confidences, trading state and execution reports: decisions that need no market.

use proptest::prelude::*;

use super::*;
use crate::decision::Strategy;
use DecisionReason as Why;

fn snapshot() -> MarketSnapshot {
    MarketSnapshot::of_close(day(1), 10.0)
}

fn decide(mode: SignalMode, position: Position, prediction: Prediction) -> Decision {
    let strategy = Strategy {
        mode,
        ..strategy(Filters::default())
    };
    let mut state = DecisionState {
        position,
        ..DecisionState::default()
    };
    let decision = decided(
        &strategy,
        &mut state,
        &snapshot(),
        &prediction,
        TradingState::Active,
    );
    assert_eq!(decision.position, state.position);
    assert!(decision.risk.is_empty());
    decision
}

#[test]
fn every_case_of_the_return_mode_has_its_reason() {
    let (up, down, flat) = ([0.2, 0.2, 0.6], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2]);
    for (position, expected, probabilities, side, confidence, reason) in [
        (Position::Flat, 0.010, up, Side::Buy, 0.6, Why::Entered),
        (Position::Flat, 0.0099, up, Side::Hold, 0.6, Why::BelowEnter),
        (
            Position::Flat,
            0.02,
            flat,
            Side::Hold,
            0.6,
            Why::LowConfidence,
        ),
        (
            Position::Flat,
            -0.02,
            down,
            Side::Hold,
            0.6,
            Why::BelowEnter,
        ),
        (Position::Long, 0.02, up, Side::Hold, 0.6, Why::AboveExit),
        (
            Position::Long,
            -0.004,
            down,
            Side::Hold,
            0.6,
            Why::AboveExit,
        ),
        (Position::Long, -0.005, down, Side::Sell, 0.6, Why::Exited),
        (
            Position::Long,
            -0.02,
            flat,
            Side::Hold,
            0.6,
            Why::LowExitConfidence,
        ),
        (
            Position::Long,
            f64::NAN,
            up,
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
        (
            Position::Flat,
            0.02,
            [0.0, 0.0, 0.9],
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
        (
            Position::Flat,
            0.02,
            [-0.2, 0.2, 1.0],
            Side::Hold,
            0.0,
            Why::InvalidPrediction,
        ),
    ] {
        let decision = decide(SignalMode::Return, position, says(expected, probabilities));
        assert_eq!(
            (decision.side, decision.confidence, decision.reason),
            (side, confidence, reason)
        );
    }
}

#[test]
fn the_class_mode_reads_the_classes_alone() {
    let mode = SignalMode::Class;
    for (position, expected, probabilities, side, reason) in [
        // The returns contradict the classes.
        (
            Position::Flat,
            -0.5,
            [0.2, 0.2, 0.6],
            Side::Buy,
            Why::Entered,
        ),
        (
            Position::Long,
            0.5,
            [0.6, 0.2, 0.2],
            Side::Sell,
            Why::Exited,
        ),
        (Position::Flat, 0.5, [0.2, 0.6, 0.2], Side::Hold, Why::NotUp),
        (
            Position::Long,
            -0.5,
            [0.2, 0.6, 0.2],
            Side::Hold,
            Why::NotDown,
        ),
        // A tie is no majority.
        (Position::Flat, 0.5, [0.5, 0.0, 0.5], Side::Hold, Why::NotUp),
        (
            Position::Long,
            -0.5,
            [0.5, 0.0, 0.5],
            Side::Hold,
            Why::NotDown,
        ),
        (
            Position::Flat,
            0.5,
            [0.3, 0.25, 0.45],
            Side::Hold,
            Why::LowConfidence,
        ),
    ] {
        let decision = decide(mode, position, says(expected, probabilities));
        assert_eq!((decision.side, decision.reason), (side, reason));
    }
}

#[test]
fn a_class_of_low_confidence_does_not_sell() {
    let careful = Strategy {
        mode: SignalMode::Class,
        rule: DecisionRule {
            min_exit_confidence: 0.8,
            ..RULE
        },
        filters: Filters::default(),
    };
    let mut state = DecisionState {
        position: Position::Long,
        ..DecisionState::default()
    };
    let decision = decided(
        &careful,
        &mut state,
        &snapshot(),
        &fall(),
        TradingState::Active,
    );
    assert_eq!(decision.reason, Why::LowExitConfidence);
}

#[test]
fn return_and_classes_must_agree_in_the_mode_both() {
    let mode = SignalMode::Both;
    let (up, down) = ([0.1, 0.2, 0.7], [0.7, 0.2, 0.1]);
    for (position, expected, probabilities, side, reason) in [
        (Position::Flat, 0.02, up, Side::Buy, Why::Entered),
        (Position::Flat, 0.0, up, Side::Hold, Why::BelowEnter),
        (Position::Flat, 0.02, down, Side::Hold, Why::NotUp),
        (Position::Long, -0.02, down, Side::Sell, Why::Exited),
        (Position::Long, 0.0, down, Side::Hold, Why::AboveExit),
        (Position::Long, -0.02, up, Side::Hold, Why::NotDown),
    ] {
        let decision = decide(mode, position, says(expected, probabilities));
        assert_eq!((decision.side, decision.reason), (side, reason));
    }
}

#[test]
fn a_prediction_that_hovers_around_one_threshold_trades_once() {
    let strategy = strategy(Filters::default());
    for threshold in [RULE.enter, RULE.exit] {
        let mut state = DecisionState::default();
        let trades = (0..100)
            .map(|i| threshold + if i % 2 == 0 { 0.001 } else { -0.001 })
            .map(|r| says(r, [0.4, 0.0, 0.6]))
            .filter(|p| {
                let decision = decided(&strategy, &mut state, &snapshot(), p, TradingState::Active);
                decision.side != Side::Hold
            })
            .count();
        assert_eq!(trades, usize::from(threshold == RULE.enter));
    }
}

#[test]
fn the_trading_state_overrides_every_signal() {
    let strategy = strategy(Filters {
        stop_loss: Some(0.1),
        ..Filters::default()
    });
    let inside = DecisionState {
        position: Position::Long,
        risk: RiskState {
            entry_price: Some(10.0),
            ..RiskState::default()
        },
        last_date: Some(day(0)),
    };
    let crash = MarketSnapshot::of_close(day(1), 8.9);
    for (trading, state, snapshot, prediction, side, reason, refused) in [
        (
            TradingState::Active,
            DecisionState::default(),
            snapshot(),
            rise(),
            Side::Buy,
            Why::Entered,
            None,
        ),
        (
            TradingState::Reducing,
            DecisionState::default(),
            snapshot(),
            rise(),
            Side::Hold,
            Why::Reducing,
            Some(Side::Buy),
        ),
        (
            TradingState::Halted,
            DecisionState::default(),
            snapshot(),
            rise(),
            Side::Hold,
            Why::Halted,
            Some(Side::Buy),
        ),
        (
            TradingState::Reducing,
            inside,
            snapshot(),
            fall(),
            Side::Sell,
            Why::Exited,
            None,
        ),
        (
            TradingState::Halted,
            inside,
            snapshot(),
            fall(),
            Side::Hold,
            Why::Halted,
            Some(Side::Sell),
        ),
        (
            TradingState::Reducing,
            inside,
            crash,
            rise(),
            Side::Sell,
            Why::StopLoss,
            None,
        ),
        (
            TradingState::Halted,
            inside,
            crash,
            rise(),
            Side::Hold,
            Why::Halted,
            Some(Side::Sell),
        ),
        // Without a signal nothing is refused.
        (
            TradingState::Halted,
            inside,
            snapshot(),
            rise(),
            Side::Hold,
            Why::AboveExit,
            None,
        ),
    ] {
        let mut after = state;
        let decision = decided(&strategy, &mut after, &snapshot, &prediction, trading);
        assert_eq!(
            (decision.side, decision.reason, decision.refused_side()),
            (side, reason, refused),
            "{trading:?}"
        );
        if side == Side::Hold {
            assert_eq!((after.position, after.risk), (state.position, state.risk));
        }
    }
}

#[test]
fn a_brokers_report_corrects_the_state() {
    let strategy = strategy(Filters {
        stop_loss: Some(0.1),
        loss_cool_down_days: Some(3),
        ..Filters::default()
    });
    let mut state = DecisionState::default();
    let decision = decided(
        &strategy,
        &mut state,
        &snapshot(),
        &rise(),
        TradingState::Active,
    );
    assert_eq!(decision.risk.entry_price, Some(10.0));
    let bought = state;
    strategy.report(&mut state, ExecutionReport::NotBought);
    assert_eq!(
        (state.position, state.risk),
        (Position::Flat, RiskState::default())
    );
    // Bought at a higher price than assumed: the gain is a loss, and the stop comes sooner.
    state = bought;
    strategy.report(&mut state, ExecutionReport::Bought { price: 10.5 });
    let mut stopped = state;
    let decision = decided(
        &strategy,
        &mut stopped,
        &MarketSnapshot::of_close(day(2), 9.45),
        &rise(),
        TradingState::Active,
    );
    assert_eq!(decision.reason, Why::StopLoss);
    let decision = decided(
        &strategy,
        &mut state,
        &MarketSnapshot::of_close(day(2), 10.4),
        &fall(),
        TradingState::Active,
    );
    assert_eq!(
        (decision.side, decision.risk.cool_down_days),
        (Side::Sell, 4)
    );
    strategy.report(&mut state, ExecutionReport::Sold { price: 10.6 });
    assert_eq!(state.risk.cool_down_days, 0);
    strategy.report(&mut state, ExecutionReport::Sold { price: 10.49 });
    assert_eq!(state.risk.cool_down_days, 4);
    strategy.report(&mut state, ExecutionReport::NotSold);
    assert_eq!(
        (state.position, state.risk.cool_down_days),
        (Position::Long, 0)
    );
    assert_eq!(state.risk.entry_price, Some(10.5));
}

#[test]
fn a_threshold_out_of_its_range_is_refused() {
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
    for reason in DecisionReason::ALL {
        assert_eq!(
            serde_json::to_string(&reason).unwrap(),
            format!("\"{reason}\"")
        );
        assert!(!reason.is_refusal() || reason.side() == Side::Hold);
    }
}

/// The rule before there were modes and filters, as an independent implementation.
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
        let (mut inside, mut state) = (false, DecisionState::default());
        for (predicted_return, up, rest) in asked {
            let prediction = says(predicted_return, [(1.0 - up) * rest, (1.0 - up) * (1.0 - rest), up]);
            let (side, confidence, reason) = before_filters(&RULE, &mut inside, &prediction);
            let decision = decided(&strategy, &mut state, &snapshot(), &prediction, TradingState::Active);
            prop_assert_eq!((decision.side, decision.reason), (side, reason));
            prop_assert_eq!(decision.confidence.to_bits(), confidence.to_bits());
            prop_assert_eq!(decision.position == Position::Long, inside);
            // A journal has no new field.
            let json = serde_json::to_string(&decision).unwrap();
            prop_assert!(!json.contains("carry"), "{json}");
        }
    }
}
