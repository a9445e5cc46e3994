//! The filters on trend, gain, gap, RSI, ADX and predicted return, worked by hand.

use super::*;
use DecisionReason as Why;

#[test]
fn buying_needs_the_short_mean_above_the_long_one() {
    let filters = Filters {
        trend: Some(TrendParams {
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
            Run::new(filters).outcomes(&bars(closes))[3].1,
            reason,
            "{closes:?}"
        );
    }
    // A mean without a value refuses.
    let outcomes = Run::new(filters).outcomes(&[start(), (simple(1, 10.0, 10.5), rise())]);
    assert_eq!(outcomes[1].1, Why::NoTrend);
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
        let outcomes = Run::new(filters).outcomes(&[start(), (simple(1, 10.0, close), rise())]);
        assert_eq!(outcomes[1].1, reason, "{close}");
    }
    // The first bar has no reference, so its gain is unknown.
    assert_eq!(
        Run::new(filters).outcomes(&[(start().0, rise())])[0].1,
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
        let outcomes = Run::new(filters).outcomes(&[start(), (simple(1, open, close), rise())]);
        assert_eq!(outcomes[1].1, reason, "{open} {close}");
    }
}

#[test]
fn buying_needs_the_rsi_inside_its_gate() {
    let limits = |min, max| Filters {
        rsi: Some(RsiFilter {
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
        (51.0, 100.0, Why::RsiFilter),
        (0.0, 49.0, Why::RsiFilter),
    ] {
        let mut run = Run::new(limits(min, max));
        let flat = start().1;
        run.step(&simple(0, closes[0], closes[0]), flat);
        run.step(&simple(1, closes[1], closes[1]), flat);
        assert_eq!(
            run.step(&simple(2, closes[2], closes[2]), rise()).reason,
            reason,
            "{min} {max}"
        );
    }
    // It has no value on the first bar.
    assert_eq!(
        Run::new(limits(0.0, 100.0)).step(&start().0, rise()).reason,
        Why::RsiFilter
    );
}

#[test]
fn buying_needs_the_adx_at_its_gate() {
    let limits = |min| Filters {
        adx: Some(AdxFilter {
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
        let mut run = Run::new(limits(min));
        let reasons: Vec<_> = bars
            .iter()
            .map(|bar| run.step(bar, rise()).reason)
            .collect();
        assert_eq!(
            reasons[..3],
            [Why::AdxFilter, Why::AdxFilter, Why::Entered],
            "{min}"
        );
    }
    // Up by 0.2 and down by 0.2 within the two bars: the directions are in balance.
    let mut run = Run::new(limits(20.0));
    let swing = [10.0, 10.2, 10.0].map(|low| [low, low + 0.1, low, low + 0.05]);
    let reasons: Vec<_> = swing
        .iter()
        .enumerate()
        .map(|(n, prices)| run.step(&bar(n, *prices, 1_000.0), rise()).reason)
        .collect();
    assert_eq!(reasons[2], Why::AdxFilter);
}

#[test]
fn buying_needs_the_predicted_return_in_every_mode() {
    let strategy = Strategy {
        mode: SignalMode::Class,
        ..strategy(Filters {
            min_predicted_return: Some(0.003),
            ..Filters::default()
        })
    };
    for (predicted_return, reason, refused) in [
        (0.003, Why::Entered, None),
        (0.0029, Why::LowReturn, Some(Side::Buy)),
    ] {
        let decision = decided(
            &strategy,
            &mut DecisionState::default(),
            &MarketSnapshot::of_close(day(0), 10.0),
            &says(predicted_return, [0.1, 0.2, 0.7]),
            TradingState::Active,
        );
        assert_eq!(
            (decision.reason, decision.refused_side()),
            (reason, refused)
        );
    }
}
