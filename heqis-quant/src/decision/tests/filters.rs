//! Each filter, worked by hand. Limits of 600000.SH in 2024 are 10 %.

use super::*;
use VerdictReason as Why;

/// A quiet bar at 10.00 to stand on.
fn start() -> (Bar, Prediction) {
    (simple(0, 10.0, 10.0), says(0.0, [0.2, 0.6, 0.2]))
}

#[test]
fn a_bar_that_closed_at_its_upper_limit_is_held() {
    let steps = [
        (simple(0, 10.0, 10.0), rise()),
        // 10.00 × 1.10 = 11.00.
        (simple(1, 10.5, 11.0), fall()),
        // 11.00 × 1.10 = 12.10, one cent below.
        (simple(2, 11.5, 12.09), fall()),
    ];
    let filters = Filters {
        limit_up_hold: true,
        ..Filters::default()
    };
    let mut run = Run::new(filters);
    assert_eq!(
        run.told(&steps),
        [
            (Side::Buy, Why::Entered),
            (Side::Hold, Why::LimitUp),
            (Side::Sell, Why::Exited)
        ]
    );
    let off = Run::new(Filters::default()).told(&steps);
    assert_eq!(off[1], (Side::Sell, Why::Exited));
}

#[test]
fn a_limit_that_a_fixed_percentage_would_miss_is_seen() {
    // 1.56 × 1.10 = 1.716, so 1.72 is the limit and a rise of 10.26 %; 1.04 × 0.90 = 0.936, so 0.94 is one of −9.62 %.
    let filters = Filters {
        limit_up_hold: true,
        limit_down_no_buy: true,
        ..Filters::default()
    };
    let mut run = Run::new(filters);
    run.step(&simple(0, 1.56, 1.56), rise());
    assert_eq!(run.step(&simple(1, 1.6, 1.72), fall()).reason, Why::LimitUp);
    let mut run = Run::new(filters);
    run.step(&simple(0, 1.04, 1.04), says(0.0, [0.2, 0.6, 0.2]));
    assert_eq!(
        run.step(&simple(1, 1.0, 0.94), rise()).reason,
        Why::LimitDown
    );
    // 4.95 × 1.10 = 5.445, half a cent, which is rounded up: a close of 5.44 is not yet the limit.
    let mut run = Run::new(filters);
    run.step(&simple(0, 4.95, 4.95), rise());
    assert_eq!(run.step(&simple(1, 5.0, 5.44), fall()).reason, Why::Exited);
}

#[test]
fn a_bar_that_closed_at_its_lower_limit_is_not_bought() {
    let filters = Filters {
        limit_down_no_buy: true,
        ..Filters::default()
    };
    let steps = [
        start(),
        (simple(1, 9.5, 9.0), rise()),
        (simple(2, 8.5, 8.11), rise()),
    ];
    let told = Run::new(filters).told(&steps);
    // 9.00 × 0.90 = 8.10, and the last close is a cent above.
    assert_eq!(
        told[1..],
        [(Side::Hold, Why::LimitDown), (Side::Buy, Why::Entered)]
    );
    assert_eq!(
        Run::new(Filters::default()).told(&steps)[1],
        (Side::Buy, Why::Entered)
    );
}

#[test]
fn special_treatment_halves_the_limits_of_its_time() {
    let strategy = strategy(Filters {
        limit_down_no_buy: true,
        ..Filters::default()
    });
    let markets = Markets::shipped().unwrap();
    for (st, expected) in [(true, Why::LimitDown), (false, Why::Entered)] {
        let mut market = Market::new(&strategy.gauges()).unwrap();
        market.update(&markets, st, &simple(0, 10.0, 10.0)).unwrap();
        let view = market.update(&markets, st, &simple(1, 9.8, 9.5)).unwrap();
        let mut memory = Memory::default();
        let verdict = strategy.decide(&mut memory, &view, &rise(), KillState::Active);
        assert_eq!(verdict.reason, expected);
    }
}

#[test]
fn a_one_word_board_is_not_bought_at_either_limit() {
    let filters = Filters {
        one_word_no_buy: true,
        ..Filters::default()
    };
    for (open, close, reason) in [
        (11.0, 11.0, Why::OneWordBoard),
        (9.0, 9.0, Why::OneWordBoard),
        // Opened below and ran to the limit: it could be bought on the way.
        (10.8, 11.0, Why::Entered),
        // One price, but not at a limit.
        (10.5, 10.5, Why::Entered),
    ] {
        let told = Run::new(filters).told(&[start(), (simple(1, open, close), rise())]);
        assert_eq!(told[1].1, reason, "{open} {close}");
    }
}

#[test]
fn a_broken_board_is_sold_and_banned_for_some_days() {
    let filters = Filters {
        one_word_break: Some(OneWordBreak {
            volume_ratio: 3.0,
            ban_days: 2,
        }),
        ..Filters::default()
    };
    let board = bar(1, [11.0; 4], 1_000.0);
    let opened = |volume: f64| bar(2, [12.0, 12.1, 11.4, 11.5], volume);
    // Inside: three times the volume sells whatever the model says.
    let mut run = Run::new(filters);
    let steps = [
        (simple(0, 10.0, 10.0), rise()),
        (board, rise()),
        (opened(3_000.0), rise()),
    ];
    assert_eq!(run.told(&steps)[2], (Side::Sell, Why::BoardBroken));
    // The day of the break and two days after it are banned, the next is not.
    let later: Vec<_> = (3..6).map(|n| (simple(n, 11.5, 11.5), rise())).collect();
    assert_eq!(
        run.told(&later),
        [
            (Side::Hold, Why::BuyBan),
            (Side::Hold, Why::BuyBan),
            (Side::Buy, Why::Entered)
        ]
    );
    // Outside: the break itself bans.
    let mut run = Run::new(filters);
    let flat = start().1;
    let told = run.told(&[start(), (board, flat), (opened(3_000.0), rise())]);
    assert_eq!(told[2], (Side::Hold, Why::BuyBan));
    // Less volume is no burst.
    let told = Run::new(filters).told(&[steps[0], steps[1], (opened(2_999.0), rise())]);
    assert_eq!(told[2], (Side::Hold, Why::AboveExit));
    // A board that stays closed does not break: 11.00 × 1.10 = 12.10.
    let told = Run::new(filters).told(&[steps[0], steps[1], (bar(2, [12.1; 4], 9_000.0), rise())]);
    assert_eq!(told[2], (Side::Hold, Why::AboveExit));
    // Nor does a board at the lower limit.
    let fallen = [
        steps[0],
        (bar(1, [9.0; 4], 1_000.0), rise()),
        (bar(2, [9.0, 9.5, 8.9, 9.4], 9_000.0), rise()),
    ];
    assert_eq!(
        Run::new(filters).told(&fallen)[2],
        (Side::Hold, Why::AboveExit)
    );
}

#[test]
fn buying_needs_the_short_mean_above_the_long_one() {
    let filters = Filters {
        trend: Some(TrendGauge {
            short_bars: 2,
            long_bars: 3,
        }),
        ..Filters::default()
    };
    let flat = start().1;
    let bars = |closes: [f64; 4]| -> Vec<(Bar, Prediction)> {
        closes
            .iter()
            .enumerate()
            .map(|(n, close)| {
                (
                    simple(n, *close, *close),
                    if n == 3 { rise() } else { flat },
                )
            })
            .collect()
    };
    // Means of 2 and 3: 10.35 and 10.2333; 10.0 and 10.0; 9.65 and 9.7667.
    for (closes, reason) in [
        ([10.0, 10.0, 10.2, 10.5], Why::Entered),
        ([10.0, 10.0, 10.0, 10.0], Why::NoTrend),
        ([10.0, 10.0, 9.8, 9.5], Why::NoTrend),
    ] {
        assert_eq!(
            Run::new(filters).told(&bars(closes))[3].1,
            reason,
            "{closes:?}"
        );
    }
    // A mean that is not known yet refuses.
    let told = Run::new(filters).told(&[start(), (simple(1, 10.0, 10.5), rise())]);
    assert_eq!(told[1].1, Why::NoTrend);
}

#[test]
fn a_position_is_stopped_at_its_loss_whatever_the_model_says() {
    let filters = Filters {
        stop_loss: Some(0.08),
        limit_up_hold: true,
        ..Filters::default()
    };
    // 10.00 × 0.92 = 9.20.
    let told = Run::new(filters).told(&[
        (simple(0, 10.0, 10.0), rise()),
        (simple(1, 9.8, 9.21), rise()),
        (simple(2, 9.3, 9.2), says(f64::NAN, [0.0; 3])),
        (simple(3, 9.3, 9.3), says(0.0, [0.2, 0.6, 0.2])),
    ]);
    assert_eq!(
        told,
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
    let verdict = run.step(&halved, rise());
    assert_eq!(
        (verdict.reason, verdict.carry.entry_price),
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
    let told = Run::new(filters).told(&[
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
        told.map_reasons(),
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

trait Reasons {
    fn map_reasons(&self) -> Vec<VerdictReason>;
}

impl Reasons for Vec<(Side, VerdictReason)> {
    fn map_reasons(&self) -> Vec<VerdictReason> {
        self.iter().map(|(_, reason)| *reason).collect()
    }
}

#[test]
fn days_are_counted_once_however_many_bars_they_have() {
    let filters = Filters {
        loss_cool_down_days: Some(1),
        ..Filters::default()
    };
    let told = Run::new(filters).told(&[
        (simple(0, 10.0, 10.0), rise()),
        (simple(1, 10.0, 9.9), fall()),
        (simple(1, 10.0, 10.0), rise()),
        (simple(2, 10.0, 10.0), rise()),
        (simple(2, 10.0, 10.0), rise()),
        (simple(3, 10.0, 10.0), rise()),
    ]);
    assert_eq!(
        told.map_reasons()[2..],
        [Why::CoolDown, Why::CoolDown, Why::CoolDown, Why::Entered]
    );
}

#[test]
fn a_day_that_gained_too_much_is_not_bought() {
    let filters = Filters {
        max_daily_gain: Some(0.05),
        ..Filters::default()
    };
    for (close, reason) in [
        (10.5, Why::Entered),
        (10.51, Why::DailyGain),
        (9.5, Why::Entered),
    ] {
        let told = Run::new(filters).told(&[start(), (simple(1, 10.0, close), rise())]);
        assert_eq!(told[1].1, reason, "{close}");
    }
    // The first bar has no reference, so its gain is not known.
    assert_eq!(
        Run::new(filters).told(&[(start().0, rise())])[0].1,
        Why::DailyGain
    );
}

#[test]
fn a_gap_that_fell_back_is_not_bought() {
    let filters = Filters {
        gap_fall_back: Some(GapFallBack {
            gap: 0.03,
            fall: 0.02,
        }),
        ..Filters::default()
    };
    for (open, close, reason) in [
        // A gap of 4 %, and 10.40 × 0.98 = 10.192.
        (10.4, 10.19, Why::GapFallBack),
        (10.4, 10.2, Why::Entered),
        (10.29, 10.0, Why::Entered),
    ] {
        let told = Run::new(filters).told(&[start(), (simple(1, open, close), rise())]);
        assert_eq!(told[1].1, reason, "{open} {close}");
    }
}

#[test]
fn the_rsi_has_to_lie_inside_its_gate() {
    let gate = |min, max| Filters {
        rsi: Some(RsiGate {
            bars: 2,
            profile: crate::indicators::Profile::Cn,
            min,
            max,
        }),
        ..Filters::default()
    };
    // Changes of +1 and −1 with n = 2: rises are 1, then (0 + 1)/2; moves are 1, then (1 + 1)/2. The RSI is 50.
    let closes = [10.0, 11.0, 10.0];
    for (min, max, reason) in [
        (0.0, 100.0, Why::Entered),
        (50.0, 60.0, Why::Entered),
        (51.0, 100.0, Why::RsiGate),
        (0.0, 49.0, Why::RsiGate),
    ] {
        let mut run = Run::new(gate(min, max));
        let flat = start().1;
        run.step(&simple(0, closes[0], closes[0]), flat);
        run.step(&simple(1, closes[1], closes[1]), flat);
        assert_eq!(
            run.step(&simple(2, closes[2], closes[2]), rise()).reason,
            reason,
            "{min} {max}"
        );
    }
    // Not known on the first bar.
    assert_eq!(
        Run::new(gate(0.0, 100.0)).step(&start().0, rise()).reason,
        Why::RsiGate
    );
}

#[test]
fn the_adx_has_to_reach_its_gate() {
    let gate = |min| Filters {
        adx: Some(AdxGate {
            bars: 2,
            smooth_bars: 1,
            profile: crate::indicators::Profile::Cn,
            min,
        }),
        ..Filters::default()
    };
    // Highs and lows only rise, so all movement is upward: DX, and with it the ADX, is 100.
    let bars: Vec<Bar> = (0..4)
        .map(|n| {
            let low = 10.0 + 0.2 * n as f64;
            bar(n, [low, low + 0.1, low, low + 0.1], 1_000.0)
        })
        .collect();
    for min in [20.0, 99.0] {
        let mut run = Run::new(gate(min));
        let reasons: Vec<_> = bars
            .iter()
            .map(|bar| run.step(bar, rise()).reason)
            .collect();
        assert_eq!(
            reasons[..3],
            [Why::AdxGate, Why::AdxGate, Why::Entered],
            "{min}"
        );
    }
    // Up by 0.2 and down by 0.2 within the two bars: the directions are in balance.
    let mut run = Run::new(gate(20.0));
    let swing = [10.0, 10.2, 10.0].map(|low| [low, low + 0.1, low, low + 0.05]);
    let reasons: Vec<_> = swing
        .iter()
        .enumerate()
        .map(|(n, prices)| run.step(&bar(n, *prices, 1_000.0), rise()).reason)
        .collect();
    assert_eq!(reasons[2], Why::AdxGate);
}

#[test]
fn buying_needs_the_predicted_return_whatever_the_mode() {
    let strategy = Strategy {
        mode: SignalMode::Class,
        ..strategy(Filters {
            min_predicted_return: Some(0.003),
            ..Filters::default()
        })
    };
    for (predicted_return, reason) in [(0.003, Why::Entered), (0.0029, Why::LowReturn)] {
        let verdict = strategy.decide(
            &mut Memory::default(),
            &View::of_close(day(0), 10.0),
            &says(predicted_return, [0.1, 0.2, 0.7]),
            KillState::Active,
        );
        assert_eq!((verdict.reason, verdict.wanted()), (reason, Side::Buy));
    }
}

#[test]
fn days_without_limits_or_with_unknown_ones_are_not_judged_by_them() {
    let mut run = Run::new(Filters::default());
    // The first bar has no reference, and a vendor's reference on it is the issue price.
    let first = Bar {
        pre_close: Some(10.0),
        ..simple(0, 11.0, 11.0)
    };
    assert_eq!(run.view(&first).limits, None);
    // A bar that trades beyond the limits shows that there were none.
    assert_eq!(run.view(&simple(1, 11.0, 15.0)).limits, None);
    // A suspected corporate action hides the reference, the vendor's word restores it.
    let hidden = Bar {
        marks: Marks::EX_RIGHT_SUSPECTED,
        ..simple(2, 7.5, 7.6)
    };
    assert_eq!(run.view(&hidden).limits, None);
    let told = Bar {
        pre_close: Some(7.0),
        marks: Marks::EX_RIGHT_SUSPECTED,
        ..simple(3, 7.1, 7.2)
    };
    let band = run.view(&told).limits.unwrap();
    assert_eq!((band.down_cents, band.up_cents), (630, 770));
    // A foreign name has no limits.
    let abroad = Bar {
        symbol: Symbol::parse("AAPL").unwrap(),
        ..simple(1, 10.0, 11.0)
    };
    let mut run = Run::new(Filters::default());
    run.view(&Bar {
        symbol: abroad.symbol,
        ..simple(0, 10.0, 10.0)
    });
    let view = run.view(&abroad);
    assert_eq!((view.limits, view.reference_close), (None, Some(10.0)));
}

#[test]
fn later_bars_of_a_day_keep_its_limits() {
    let mut run = Run::new(Filters::default());
    run.view(&simple(0, 10.0, 10.0));
    let early = run.view(&simple(1, 10.0, 10.9));
    let late = run.view(&simple(1, 10.9, 11.0));
    assert_eq!(early.limits, late.limits);
    assert!(late.closed_at_upper_limit());
}

#[test]
fn a_parameter_that_cannot_work_is_refused_by_name() {
    let off = Filters::default();
    let gate = |min, max| RsiGate {
        bars: 6,
        profile: crate::indicators::Profile::Cn,
        min,
        max,
    };
    for (filters, reason) in [
        (
            Filters {
                stop_loss: Some(1.0),
                ..off
            },
            "stop_loss: must lie between 0 and 1",
        ),
        (
            Filters {
                stop_loss: Some(f64::NAN),
                ..off
            },
            "stop_loss",
        ),
        (
            Filters {
                loss_cool_down_days: Some(0),
                ..off
            },
            "loss_cool_down_days: must be in 1..=2500, got 0",
        ),
        (
            Filters {
                max_daily_gain: Some(f64::INFINITY),
                ..off
            },
            "max_daily_gain",
        ),
        (
            Filters {
                one_word_break: Some(OneWordBreak {
                    volume_ratio: 0.0,
                    ban_days: 1,
                }),
                ..off
            },
            "one_word_break.volume_ratio",
        ),
        (
            Filters {
                one_word_break: Some(OneWordBreak {
                    volume_ratio: 2.0,
                    ban_days: 9_999,
                }),
                ..off
            },
            "one_word_break.ban_days",
        ),
        (
            Filters {
                trend: Some(TrendGauge {
                    short_bars: 20,
                    long_bars: 20,
                }),
                ..off
            },
            "trend.short_bars: must be less than long_bars = 20",
        ),
        (
            Filters {
                trend: Some(TrendGauge {
                    short_bars: 0,
                    long_bars: 20,
                }),
                ..off
            },
            "ma n: must be in 1..=",
        ),
        (
            Filters {
                gap_fall_back: Some(GapFallBack {
                    gap: 0.0,
                    fall: 0.1,
                }),
                ..off
            },
            "gap_fall_back.gap",
        ),
        (
            Filters {
                gap_fall_back: Some(GapFallBack {
                    gap: 0.1,
                    fall: 1.0,
                }),
                ..off
            },
            "gap_fall_back.fall",
        ),
        (
            Filters {
                rsi: Some(gate(80.0, 20.0)),
                ..off
            },
            "rsi.min",
        ),
        (
            Filters {
                rsi: Some(gate(0.0, 101.0)),
                ..off
            },
            "rsi.min",
        ),
        (
            Filters {
                adx: Some(AdxGate {
                    bars: 14,
                    smooth_bars: 6,
                    profile: crate::indicators::Profile::Cn,
                    min: f64::NAN,
                }),
                ..off
            },
            "adx.min",
        ),
        (
            Filters {
                min_predicted_return: Some(f64::NAN),
                ..off
            },
            "min_predicted_return",
        ),
    ] {
        let message = strategy(filters).validate().unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    assert!(serde_json::from_str::<Filters>("{\"stop_los\":0.1}").is_err());
}

#[test]
fn gauges_are_known_by_their_lengths() {
    let filters: Filters = serde_json::from_str(
        "{\"trend\":{\"short_bars\":5,\"long_bars\":20},\"rsi\":{\"bars\":6},\
         \"adx\":{\"bars\":14,\"smooth_bars\":6,\"profile\":\"talib\",\"min\":20.0}}",
    )
    .unwrap();
    let gauges = filters.gauges();
    assert_eq!(
        gauges.names(),
        ["ma_5", "ma_20", "rsi_6_cn", "adx_14_6_talib"]
    );
    assert_ne!(gauges.id(), Gauges::default().id());
    assert!(strategy(filters).needs_market() && !strategy(Filters::default()).needs_market());
}
