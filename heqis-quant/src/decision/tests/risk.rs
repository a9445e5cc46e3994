//! Stop-loss and cool-down, worked by hand.

use super::*;
use DecisionReason as Why;

fn reasons(outcomes: &[(Side, DecisionReason)]) -> Vec<DecisionReason> {
    outcomes.iter().map(|(_, reason)| *reason).collect()
}

#[test]
fn a_position_is_sold_at_its_stop_loss_whatever_the_model_predicts() {
    let filters = Filters {
        stop_loss: Some(0.08),
        limit_up_hold: true,
        ..Filters::default()
    };
    // 10.00 × 0.92 = 9.20.
    let outcomes = Run::new(filters).outcomes(&[
        (simple(0, 10.0, 10.0), rise()),
        (simple(1, 9.8, 9.21), rise()),
        (simple(2, 9.3, 9.2), says(f64::NAN, [0.0; 3])),
        (simple(3, 9.3, 9.3), says(0.0, [0.2, 0.6, 0.2])),
    ]);
    assert_eq!(
        outcomes,
        [
            (Side::Buy, Why::Entered),
            (Side::Hold, Why::AboveExit),
            (Side::Sell, Why::StopLoss),
            (Side::Hold, Why::BelowEnter)
        ]
    );
}

#[test]
fn the_entry_price_follows_an_ex_right_day() {
    let filters = Filters {
        stop_loss: Some(0.08),
        ..Filters::default()
    };
    let mut run = Run::new(filters);
    run.step(&simple(0, 10.0, 10.0), rise());
    // One bonus share for each: the reference is 5.00, the entry becomes 5.00, and the stop 4.60.
    let halved = Bar {
        pre_close: Some(5.0),
        ..simple(1, 5.0, 4.9)
    };
    let decision = run.step(&halved, rise());
    assert_eq!(
        (decision.reason, decision.risk.entry_price),
        (Why::AboveExit, Some(5.0))
    );
    assert_eq!(run.step(&simple(2, 4.8, 4.6), rise()).reason, Why::StopLoss);
}

#[test]
fn nothing_is_bought_for_some_days_after_a_loss() {
    let filters = Filters {
        loss_cool_down_days: Some(2),
        ..Filters::default()
    };
    let outcomes = Run::new(filters).outcomes(&[
        (simple(0, 10.0, 10.0), rise()),
        (simple(1, 10.0, 9.9), fall()),
        (simple(2, 10.0, 10.0), rise()),
        (simple(3, 10.0, 10.0), rise()),
        (simple(4, 10.0, 10.0), rise()),
        // Sold without a loss: no pause.
        (simple(5, 10.0, 10.0), fall()),
        (simple(6, 10.0, 10.0), rise()),
    ]);
    assert_eq!(
        reasons(&outcomes),
        [
            Why::Entered,
            Why::Exited,
            Why::CoolDown,
            Why::CoolDown,
            Why::Entered,
            Why::Exited,
            Why::Entered
        ]
    );
}

#[test]
fn days_are_counted_once_however_many_bars_they_have() {
    let filters = Filters {
        loss_cool_down_days: Some(1),
        ..Filters::default()
    };
    let outcomes = Run::new(filters).outcomes(&[
        (simple(0, 10.0, 10.0), rise()),
        (simple(1, 10.0, 9.9), fall()),
        (simple(1, 10.0, 10.0), rise()),
        (simple(2, 10.0, 10.0), rise()),
        (simple(2, 10.0, 10.0), rise()),
        (simple(3, 10.0, 10.0), rise()),
    ]);
    assert_eq!(
        reasons(&outcomes)[2..],
        [Why::CoolDown, Why::CoolDown, Why::CoolDown, Why::Entered]
    );
}
