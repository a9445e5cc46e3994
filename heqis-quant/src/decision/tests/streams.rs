//! Properties of every series: no look-ahead, and no effect of an interruption.

use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;

fn all_filters() -> Filters {
    Filters {
        limit_up_hold: true,
        limit_down_no_buy: true,
        limit_locked_no_buy: true,
        limit_lock_break: Some(LimitLockBreak {
            volume_ratio: 1.5,
            ban_days: 2,
        }),
        trend: Some(TrendParams {
            short_bars: 2,
            long_bars: 3,
        }),
        stop_loss: Some(0.05),
        loss_cool_down_days: Some(2),
        max_daily_gain: Some(0.08),
        gap_fall_back: Some(GapFallBack {
            gap: 0.03,
            fall: 0.02,
        }),
        rsi: Some(RsiFilter {
            bars: 3,
            profile: crate::indicators::Profile::Cn,
            min: 10.0,
            max: 95.0,
        }),
        adx: Some(AdxFilter {
            bars: 2,
            smooth_bars: 1,
            profile: crate::indicators::Profile::Cn,
            min: 5.0,
        }),
        min_predicted_return: Some(0.001),
    }
}

/// Moves in units of 2.5 %, so that limits are hit often, with a prediction each.
fn steps() -> impl Strategy<Value = Vec<(Bar, Prediction)>> {
    let one = (-4i32..=4, -4i32..=4, 1u32..5, -0.02f64..0.03, 0u32..8);
    prop::collection::vec(one, 2..19).prop_map(|moves| {
        let mut close = 10.0f64;
        let cent = |price: f64| (price * 100.0).round() / 100.0;
        moves
            .iter()
            .enumerate()
            .map(|(n, &(gap, body, volume, expected, split))| {
                let reference = if split == 0 && n > 0 {
                    cent(close / 2.0)
                } else {
                    close
                };
                let open = cent(reference * (1.0 + 0.025 * f64::from(gap)));
                close = cent(reference * (1.0 + 0.025 * f64::from(body)));
                let bar = Bar {
                    pre_close: (n > 0).then_some(reference),
                    ..simple(n, open, close)
                };
                let up = if expected > 0.0 { 0.8 } else { 0.1 };
                let prediction = says(expected, [0.9 - up, 0.1, up]);
                (
                    Bar {
                        volume_shares: 1_000.0 * f64::from(volume),
                        ..bar
                    },
                    prediction,
                )
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_decision_does_not_change_when_later_bars_do(a in steps(), b in steps(), cut in 0usize..18) {
        let cut = cut.min(a.len());
        let mut mixed = a[..cut].to_vec();
        mixed.extend(b.iter().skip(cut).copied());
        let run_all = |steps: &[(Bar, Prediction)]| -> Vec<Decision> {
            let mut run = Run::new(all_filters());
            steps.iter().map(|(bar, prediction)| run.step(bar, *prediction)).collect()
        };
        let (whole, other) = (run_all(&a), run_all(&mixed));
        prop_assert_eq!(&whole[..cut], &other[..cut]);
    }

    #[test]
    fn an_interruption_anywhere_changes_no_later_decision(steps in steps(), cut in 0usize..18) {
        let mut whole = Run::new(all_filters());
        let mut broken = Run::new(all_filters());
        for (n, (bar, prediction)) in steps.iter().enumerate() {
            let expected = whole.step(bar, *prediction);
            let decision = broken.step(bar, *prediction);
            prop_assert_eq!(decision, expected);
            if n == cut {
                // The market is restored from its snapshot, the decision state from the journal's entry.
                let market = serde_json::to_string(&broken.market).unwrap();
                broken.market = serde_json::from_str(&market).unwrap();
                let decision: Decision = serde_json::from_str(&serde_json::to_string(&decision).unwrap()).unwrap();
                let state = DecisionState::after(&decision);
                prop_assert_eq!(state, broken.state);
                broken.state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn buys_and_sells_alternate_and_a_refusal_changes_no_position(steps in steps()) {
        let mut run = Run::new(all_filters());
        let mut long = false;
        for (bar, prediction) in &steps {
            let decision = run.step(bar, *prediction);
            match decision.side {
                Side::Buy => prop_assert!(!std::mem::replace(&mut long, true)),
                Side::Sell => prop_assert!(std::mem::replace(&mut long, false)),
                Side::Hold => {}
            }
            prop_assert_eq!(decision.position == Position::Long, long);
            prop_assert_eq!(decision.side, decision.reason.side());
            if decision.reason.is_refusal() {
                let refused = if long { Side::Sell } else { Side::Buy };
                prop_assert_eq!(decision.refused_side(), Some(refused));
            }
        }
    }
}
