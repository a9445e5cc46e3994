//! Bars after missing or rejected ones.

use super::*;

#[test]
fn missing_minutes_are_gaps_if_the_length_of_a_bar_is_configured() {
    let at = |date: &str, clock: &str| {
        let (hours, minutes) = clock.split_once(':').unwrap();
        let after_close =
            60 * hours.parse::<i64>().unwrap() + minutes.parse::<i64>().unwrap() - 900;
        let bar = stock(date, [10.0; 4]);
        Bar {
            time_ns: bar.time_ns + after_close * 60_000_000_000,
            ..bar
        }
    };
    let config = |text: &str| serde_json::from_str::<CleanConfig>(text).unwrap();
    let mut days_only = cleaner();
    let mut cleaner = Cleaner::new(config("{\"bar_minutes\": 5}")).unwrap();
    for (date, clock, gap) in [
        ("2024-01-02", "09:35", false),
        ("2024-01-02", "09:40", false),
        ("2024-01-02", "09:50", true),
        ("2024-01-02", "11:30", true),
        ("2024-01-02", "13:05", false),
        ("2024-01-02", "15:00", true),
        ("2024-01-03", "09:35", false),
        ("2024-01-03", "14:55", true),
        // The last minutes of the day before are missing, then the first minutes of a day.
        ("2024-01-04", "09:35", true),
        ("2024-01-04", "15:00", true),
        ("2024-01-05", "09:40", true),
    ] {
        let bar = cleaner.check(at(date, clock)).unwrap();
        assert_eq!(bar.marks.contains(Marks::GAP), gap, "{date} {clock}");
    }
    days_only.check(at("2024-01-02", "09:35")).unwrap();
    assert_eq!(
        days_only.check(at("2024-01-02", "15:00")).unwrap().marks,
        Marks::NONE
    );
    // A market that never closes has no sessions: any longer step is a gap.
    let mut cleaner = Cleaner::new(config("{\"bar_minutes\": 1}")).unwrap();
    let minute = |minute: i64| Bar {
        symbol: Symbol::parse("BTCUSDT").unwrap(),
        time_ns: minute * 60_000_000_000,
        date: Date::from_days((minute / 1440) as i32).unwrap(),
        ..stock("2024-01-06", [10.0; 4])
    };
    let midnight = i64::from(Date::parse("2024-01-06").unwrap().days()) * 1440;
    for (at, is_gap) in [(-1, false), (0, false), (1, false), (3, true), (4, false)] {
        let bar = cleaner.check(minute(midnight + at)).unwrap();
        assert_eq!(bar.marks.contains(Marks::GAP), is_gap, "{at}");
    }
    for wrong in ["{\"bar_minutes\": 0}", "{\"bar_minutes\": 241}"] {
        assert!(Cleaner::new(config(wrong)).is_err());
    }
}

/// A stock that loses eight percent a day, with the vendor's reference prices.
fn falling() -> Vec<Bar> {
    let days = [
        "2015-01-05",
        "2015-01-06",
        "2015-01-07",
        "2015-01-08",
        "2015-01-09",
    ];
    let closes = [10.0, 9.2, 8.47, 7.8, 7.18];
    (0..days.len())
        .map(|i| Bar {
            pre_close: Some(if i == 0 { 10.1 } else { closes[i - 1] }),
            ..stock(
                days[i],
                [
                    closes[i] * 1.01,
                    closes[i] * 1.02,
                    closes[i] * 0.99,
                    closes[i],
                ],
            )
        })
        .collect()
}

#[test]
fn after_a_hole_the_move_is_measured_from_the_last_good_close() {
    let bars = falling();
    // The bar in the middle is rejected, unreadable, or missing.
    let broken = Bar {
        open: bars[2].high * 1.5,
        ..bars[2]
    };
    let unread = Bar {
        marks: Marks::HOLE,
        ..bars[3]
    };
    let ways: [&[Bar]; 3] = [&[broken, bars[3]], &[unread], &[bars[3]]];
    for given in [true, false] {
        for way in ways {
            let strip = |bar: &Bar| Bar {
                pre_close: bar.pre_close.filter(|_| given),
                ..*bar
            };
            let mut cleaner = cleaner();
            let start = [bars[0], bars[1]].iter().map(strip).collect::<Vec<_>>();
            for bar in &start {
                cleaner.check(*bar).unwrap();
            }
            let passed: Vec<Bar> = way
                .iter()
                .filter_map(|bar| cleaner.check(strip(bar)).ok())
                .collect();
            let [after] = passed[..] else {
                panic!("{passed:?}");
            };
            assert!(
                after.marks.contains(Marks::HOLE),
                "{given} {:?}",
                after.marks
            );
            assert_eq!(
                after.reference_close(bars[1].date, bars[1].close),
                bars[1].close
            );
            // The next bar has no mark.
            let next = cleaner.check(strip(&bars[4])).unwrap();
            assert_eq!(next.marks, Marks::NONE);
            assert_eq!(next.reference_close(after.date, after.close), after.close);
        }
    }
}

#[test]
fn a_hole_hides_no_ex_right_that_it_cannot_explain() {
    // No limit allows half the price over one missing day.
    let before = stock("2015-01-06", [10.0; 4]);
    let after = Bar {
        pre_close: Some(5.0),
        ..stock("2015-01-08", [5.1; 4])
    };
    let mut judge = cleaner();
    judge.check(before).unwrap();
    let after = judge.check(after).unwrap();
    assert!(!after.marks.contains(Marks::HOLE));
    assert_eq!(after.reference_close(before.date, before.close), 5.0);
    // A row without a trade is no hole.
    let silent = Bar {
        volume_shares: 0.0,
        ..stock("2015-01-07", [10.0; 4])
    };
    let dividend = Bar {
        pre_close: Some(9.8),
        ..stock("2015-01-08", [9.8; 4])
    };
    let mut judge = cleaner();
    judge.check(before).unwrap();
    assert_eq!(judge.check(silent).unwrap_err(), Reject::NoTrade);
    let after = judge.check(dividend).unwrap();
    assert_eq!(after.reference_close(before.date, before.close), 9.8);
    // A known event gives the reference after a hole too.
    let config = "{\"ex_rights\": [{\"symbol\": \"600000.SH\", \"ex_date\": \"2015-01-08\", \"cash_cny\": 0.3}]}";
    let mut judge = Cleaner::new(serde_json::from_str(config).unwrap()).unwrap();
    judge.check(before).unwrap();
    let after = judge.check(dividend).unwrap();
    assert_eq!(after.reference_close(before.date, before.close), 9.7);
}

#[test]
fn adjusted_prices_are_checked_in_returns() {
    // 15.27 to 16.80 is the limit of 15.27. Adjusted by 0.1317 both are rounded: 2.01 to 2.21, a move of 9.95 percent;
    // by 0.0993 they are 1.52 and 1.67, within a limit of 1.67; by 0.0327 they are 0.50 and 0.55.
    for (before, price) in [
        (2.01, 2.21),
        (1.52, 1.67),
        (0.5, 0.55),
        (0.5, 0.56),
        (3.1541, 3.4702),
    ] {
        let adjusted = |date: &str, price: f64| Bar {
            marks: Marks::ADJUSTED,
            pre_close: Some(price * 0.9),
            ..stock(date, [price; 4])
        };
        let mut judge = cleaner();
        let first = judge.check(adjusted("2024-01-02", before)).unwrap();
        let second = judge.check(adjusted("2024-01-03", price)).unwrap();
        assert_eq!(second.marks, Marks::ADJUSTED, "{before} {price}");
        assert_eq!(second.reference_close(first.date, first.close), before);
        // Subtracted dividends exaggerate moves.
        let stretched = judge.check(adjusted("2024-01-04", price * 1.15)).unwrap();
        assert_eq!(stretched.marks.to_string(), "adjusted|beyond_limit");
        let wild = judge.check(adjusted("2024-01-05", price * 1.6));
        assert_eq!(wild.unwrap_err().reason(), "outside_limits");
    }
}

#[test]
fn a_rejected_bar_hides_no_move() {
    let bar = |date: &str, [open, high, low, close]: [f64; 4], pre_close: f64| Bar {
        pre_close: Some(pre_close),
        ..stock(date, [open, high, low, close])
    };
    let untraded = |bar: Bar| Bar {
        volume_shares: 0.0,
        ..bar
    };
    let day = "2015-01-07";
    for (lost, reason, next, expected) in [
        // Closes beyond its limit.
        (
            bar(day, [9.5, 9.6, 8.95, 8.98], 10.0),
            "outside_limits",
            bar("2015-01-08", [9.0, 9.2, 8.95, 9.1], 8.98),
            9.1 / 10.0,
        ),
        (
            bar(day, [10.5, 11.02, 10.4, 11.02], 10.0),
            "outside_limits",
            bar("2015-01-08", [11.0, 11.2, 10.9, 11.1], 11.02),
            11.1 / 10.0,
        ),
        // An ex-right of 0.3 on the day after.
        (
            bar(day, [9.8, 9.7, 9.0, 9.1], 10.0),
            "open_or_close_outside_range",
            bar("2015-01-08", [8.8, 9.0, 8.7, 8.9], 8.8),
            8.9 / 8.8 * 9.1 / 10.0,
        ),
        // A wrong volume.
        (
            untraded(bar(day, [9.8, 9.9, 9.0, 9.1], 10.0)),
            "no_trade",
            bar("2015-01-08", [9.1, 9.3, 9.0, 9.2], 9.1),
            9.2 / 10.0,
        ),
    ] {
        let mut judge = cleaner();
        let before = judge.check(bar("2015-01-06", [10.0; 4], 10.0)).unwrap();
        assert_eq!(judge.check(lost).unwrap_err().reason(), reason);
        let after = judge.check(next).unwrap();
        let reference = after.reference_close(before.date, before.close);
        let moved = after.close / reference;
        assert!(
            (moved - expected).abs() < 1e-9,
            "{reason}: {moved} {expected}"
        );
    }
    // The prices of a suspension do not move.
    let mut judge = cleaner();
    judge.check(bar("2015-01-06", [10.0; 4], 10.0)).unwrap();
    judge
        .check(untraded(bar(day, [10.0; 4], 10.0)))
        .unwrap_err();
    let after = judge
        .check(bar("2015-01-08", [10.0, 10.5, 9.9, 10.2], 10.0))
        .unwrap();
    assert_eq!(after.marks.to_string(), "resumed");
}

#[test]
fn a_second_row_of_one_time_is_a_copy_or_a_contradiction() {
    let mut judge = cleaner();
    judge.check(stock("2024-01-02", [10.0; 4])).unwrap();
    for (price, reason) in [(10.0, "duplicate"), (9.5, "contradiction")] {
        let again = judge.check(stock("2024-01-02", [price; 4]));
        assert_eq!(again.unwrap_err().reason(), reason);
    }
}
