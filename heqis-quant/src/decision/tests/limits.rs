//! The filters on price limits, worked by hand. Limits of 600000.SH in 2024 are 10 %.

use super::*;
use DecisionReason as Why;

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
        run.outcomes(&steps),
        [
            (Side::Buy, Why::Entered),
            (Side::Hold, Why::LimitUp),
            (Side::Sell, Why::Exited)
        ]
    );
    let off = Run::new(Filters::default()).outcomes(&steps);
    assert_eq!(off[1], (Side::Sell, Why::Exited));
}

#[test]
fn limits_are_rounded_to_cents_as_the_exchange_rounds_them() {
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
    let outcomes = Run::new(filters).outcomes(&steps);
    // 9.00 × 0.90 = 8.10, and the last close is a cent above.
    assert_eq!(
        outcomes[1..],
        [(Side::Hold, Why::LimitDown), (Side::Buy, Why::Entered)]
    );
    assert_eq!(
        Run::new(Filters::default()).outcomes(&steps)[1],
        (Side::Buy, Why::Entered)
    );
}

#[test]
fn special_treatment_halves_the_limits() {
    let strategy = strategy(Filters {
        limit_down_no_buy: true,
        ..Filters::default()
    });
    let markets = Markets::shipped().unwrap();
    for (st, expected) in [(true, Why::LimitDown), (false, Why::Entered)] {
        let mut market = MarketState::new(&strategy.filter_indicators()).unwrap();
        market.update(&markets, st, &simple(0, 10.0, 10.0)).unwrap();
        let snapshot = market.update(&markets, st, &simple(1, 9.8, 9.5)).unwrap();
        let mut state = DecisionState::default();
        let decision = decided(
            &strategy,
            &mut state,
            &snapshot,
            &rise(),
            TradingState::Active,
        );
        assert_eq!(decision.reason, expected);
    }
}

#[test]
fn a_limit_locked_bar_is_not_bought_at_either_limit() {
    let filters = Filters {
        limit_locked_no_buy: true,
        ..Filters::default()
    };
    for (open, close, reason) in [
        (11.0, 11.0, Why::LimitLocked),
        (9.0, 9.0, Why::LimitLocked),
        // Opened below the limit and ran up to it: it could be bought before.
        (10.8, 11.0, Why::Entered),
        // One price, but not at a limit.
        (10.5, 10.5, Why::Entered),
    ] {
        let outcomes = Run::new(filters).outcomes(&[start(), (simple(1, open, close), rise())]);
        assert_eq!(outcomes[1].1, reason, "{open} {close}");
    }
}

#[test]
fn a_broken_limit_lock_is_sold_and_banned_for_some_days() {
    let filters = Filters {
        limit_lock_break: Some(LimitLockBreak {
            volume_ratio: 3.0,
            ban_days: 2,
        }),
        ..Filters::default()
    };
    let locked = bar(1, [11.0; 4], 1_000.0);
    let opened = |volume: f64| bar(2, [12.0, 12.1, 11.4, 11.5], volume);
    // Long: three times the volume sells whatever the model predicts.
    let mut run = Run::new(filters);
    let steps = [
        (simple(0, 10.0, 10.0), rise()),
        (locked, rise()),
        (opened(3_000.0), rise()),
    ];
    assert_eq!(run.outcomes(&steps)[2], (Side::Sell, Why::LimitLockBroken));
    // The day of the break and two days after it are banned, the next is not.
    let later: Vec<_> = (3..6).map(|n| (simple(n, 11.5, 11.5), rise())).collect();
    assert_eq!(
        run.outcomes(&later),
        [
            (Side::Hold, Why::BuyBan),
            (Side::Hold, Why::BuyBan),
            (Side::Buy, Why::Entered)
        ]
    );
    // Flat: the break itself bans.
    let mut run = Run::new(filters);
    let flat = start().1;
    let outcomes = run.outcomes(&[start(), (locked, flat), (opened(3_000.0), rise())]);
    assert_eq!(outcomes[2], (Side::Hold, Why::BuyBan));
    // Less volume is no burst.
    let outcomes = Run::new(filters).outcomes(&[steps[0], steps[1], (opened(2_999.0), rise())]);
    assert_eq!(outcomes[2], (Side::Hold, Why::AboveExit));
    // A bar that stays limit-locked breaks nothing: 11.00 × 1.10 = 12.10.
    let outcomes =
        Run::new(filters).outcomes(&[steps[0], steps[1], (bar(2, [12.1; 4], 9_000.0), rise())]);
    assert_eq!(outcomes[2], (Side::Hold, Why::AboveExit));
    // A lock at the lower limit does not count.
    let fallen = [
        steps[0],
        (bar(1, [9.0; 4], 1_000.0), rise()),
        (bar(2, [9.0, 9.5, 8.9, 9.4], 9_000.0), rise()),
    ];
    assert_eq!(
        Run::new(filters).outcomes(&fallen)[2],
        (Side::Hold, Why::AboveExit)
    );
}

#[test]
fn days_without_known_limits_have_none_in_the_snapshot() {
    let mut run = Run::new(Filters::default());
    // The first bar has no reference, and a vendor's reference on it is the issue price.
    let first = Bar {
        pre_close: Some(10.0),
        ..simple(0, 11.0, 11.0)
    };
    assert_eq!(run.snapshot(&first).limits, None);
    // A bar that trades beyond the limits shows that they were not in force.
    assert_eq!(run.snapshot(&simple(1, 11.0, 15.0)).limits, None);
    // A suspected corporate action leaves the reference unknown; the vendor's reference settles it.
    let hidden = Bar {
        marks: Marks::EX_RIGHT_SUSPECTED,
        ..simple(2, 7.5, 7.6)
    };
    assert_eq!(run.snapshot(&hidden).limits, None);
    let stated = Bar {
        pre_close: Some(7.0),
        marks: Marks::EX_RIGHT_SUSPECTED,
        ..simple(3, 7.1, 7.2)
    };
    let band = run.snapshot(&stated).limits.unwrap();
    assert_eq!((band.down_cents, band.up_cents), (630, 770));
    // A foreign name has no limits.
    let abroad = Bar {
        symbol: Symbol::parse("AAPL").unwrap(),
        ..simple(1, 10.0, 11.0)
    };
    let mut run = Run::new(Filters::default());
    run.snapshot(&Bar {
        symbol: abroad.symbol,
        ..simple(0, 10.0, 10.0)
    });
    let snapshot = run.snapshot(&abroad);
    assert_eq!(
        (snapshot.limits, snapshot.reference_close),
        (None, Some(10.0))
    );
}

#[test]
fn later_bars_of_a_day_keep_its_limits() {
    let mut run = Run::new(Filters::default());
    run.snapshot(&simple(0, 10.0, 10.0));
    let early = run.snapshot(&simple(1, 10.0, 10.9));
    let late = run.snapshot(&simple(1, 10.9, 11.0));
    assert_eq!(early.limits, late.limits);
    assert!(late.closed_at_upper_limit());
}
