#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn bar(symbol: &str, date: &str, prices: [f64; 4]) -> Bar {
    let date = Date::parse(date).unwrap();
    let [open, high, low, close] = prices;
    Bar {
        symbol: Symbol::parse(symbol).unwrap(),
        time_ns: date.close_time_ns(),
        date,
        open,
        high,
        low,
        close,
        pre_close: None,
        volume_shares: 1000.0,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

fn stock(date: &str, prices: [f64; 4]) -> Bar {
    bar("600000.SH", date, prices)
}

fn cleaner() -> Cleaner {
    Cleaner::new(CleanConfig::default()).unwrap()
}

/// A cleaner that has seen one good bar at 10.00.
fn started() -> Cleaner {
    let mut cleaner = cleaner();
    cleaner.check(stock("2024-01-02", [10.0; 4])).unwrap();
    cleaner
}

#[test]
fn every_fault_has_its_own_reason() {
    let good = stock("2024-01-03", [10.0, 10.2, 9.9, 10.1]);
    for (reason, faulty) in [
        (
            "not_a_number",
            Bar {
                close: f64::NAN,
                ..good
            },
        ),
        (
            "not_a_number",
            Bar {
                amount_cny: Some(f64::INFINITY),
                ..good
            },
        ),
        ("non_positive_price", Bar { low: 0.0, ..good }),
        (
            "non_positive_price",
            Bar {
                pre_close: Some(-1.0),
                ..good
            },
        ),
        (
            "implausible_price",
            Bar {
                high: 1e300,
                ..good
            },
        ),
        ("high_below_low", Bar { high: 9.8, ..good }),
        ("open_or_close_outside_range", Bar { open: 10.3, ..good }),
        ("open_or_close_outside_range", Bar { close: 9.8, ..good }),
        (
            "negative_volume",
            Bar {
                volume_shares: -1.0,
                ..good
            },
        ),
        (
            "negative_volume",
            Bar {
                amount_cny: Some(-1.0),
                ..good
            },
        ),
        (
            "no_trade",
            Bar {
                volume_shares: 0.0,
                ..good
            },
        ),
        ("duplicate", stock("2024-01-02", [10.0; 4])),
        ("out_of_order", stock("2024-01-01", [10.0; 4])),
        (
            "outside_limits",
            Bar {
                high: 11.02,
                ..good
            },
        ),
        (
            "implausible_volume",
            Bar {
                volume_shares: 1.1e15,
                ..good
            },
        ),
        (
            "implausible_amount",
            Bar {
                volume_shares: 1e6,
                amount_cny: Some(1e9),
                ..good
            },
        ),
        (
            "implausible_amount",
            Bar {
                volume_shares: 1e6,
                amount_cny: Some(1e5),
                ..good
            },
        ),
        (
            "no_trade",
            Bar {
                volume_shares: 5.9e-39,
                amount_cny: Some(5.9e-39),
                ..good
            },
        ),
        (
            "outside_limits",
            Bar {
                high: 11.01,
                low: 8.98,
                ..good
            },
        ),
        (
            "outside_limits",
            Bar {
                pre_close: Some(9.0),
                ..good
            },
        ),
    ] {
        let mut cleaner = started();
        let reject = cleaner.check(faulty).unwrap_err();
        assert_eq!(reject.reason(), reason, "{faulty:?}");
        assert!(reject.to_string().starts_with(reason));
        assert!(
            cleaner.check(good).is_ok(),
            "{reason}: the good bar of the day must still pass"
        );
    }
}

#[test]
fn the_limit_price_itself_passes_one_tick_beyond_is_marked_and_two_are_rejected() {
    for (high, low, expected) in [
        (11.0, 9.0, Some(Marks::NONE)),
        (11.01, 10.0, Some(Marks::BEYOND_LIMIT)),
        (11.0, 8.99, Some(Marks::BEYOND_LIMIT)),
        (11.02, 10.0, None),
        (11.0, 8.98, None),
    ] {
        let got = started().check(stock("2024-01-03", [10.0, high, low, 10.0]));
        assert_eq!(got.ok().map(|bar| bar.marks), expected, "{low} to {high}");
    }
    let mut special = Cleaner::new(CleanConfig {
        st_symbols: [Symbol::parse("600000.SH").unwrap()].into(),
        ..CleanConfig::default()
    })
    .unwrap();
    special.check(stock("2024-01-02", [10.0; 4])).unwrap();
    assert!(
        special
            .check(stock("2024-01-03", [10.0, 10.52, 10.0, 10.5]))
            .is_err()
    );
    assert!(
        special
            .check(stock("2024-01-03", [10.0, 10.5, 10.0, 10.5]))
            .is_ok()
    );
}

#[test]
fn a_fall_that_one_other_reference_explains_is_marked_and_a_wider_bar_is_not() {
    let marked = started()
        .check(stock("2024-01-03", [5.0, 5.4, 4.6, 5.2]))
        .unwrap();
    assert_eq!(marked.marks, Marks::EX_RIGHT_SUSPECTED);
    // 6.00 to 4.50 is wider than any ±10 % band, and 2.40 is deeper than a bonus of three for one.
    for prices in [[5.0, 6.0, 4.5, 5.0], [2.2; 4]] {
        assert_eq!(
            started()
                .check(stock("2024-01-03", prices))
                .unwrap_err()
                .reason(),
            "outside_limits"
        );
    }
    // With the vendor's reference price there is nothing to suspect.
    let explained = Bar {
        pre_close: Some(5.0),
        ..stock("2024-01-03", [5.0, 5.4, 4.6, 5.2])
    };
    assert_eq!(started().check(explained).unwrap().marks, Marks::NONE);
}

#[test]
fn two_bars_that_agree_on_a_new_level_reset_the_series() {
    let mut cleaner = started();
    assert_eq!(
        cleaner
            .check(stock("2024-01-03", [20.0; 4]))
            .unwrap_err()
            .reason(),
        "outside_limits"
    );
    // The same row once more, or another one of that day, is no second opinion.
    assert!(cleaner.check(stock("2024-01-03", [20.0; 4])).is_err());
    let second = cleaner
        .check(stock("2024-01-04", [20.0, 21.0, 19.0, 21.0]))
        .unwrap();
    assert_eq!(second.marks.to_string(), "gap|level_reset");
    assert_eq!(
        cleaner.check(stock("2024-01-05", [21.0; 4])).unwrap().marks,
        Marks::NONE
    );
    // A single wrong price is rejected, and leaves a hole.
    let mut cleaner = started();
    assert!(cleaner.check(stock("2024-01-03", [20.0; 4])).is_err());
    let after = cleaner.check(stock("2024-01-04", [10.0; 4])).unwrap();
    assert_eq!(after.marks.to_string(), "gap|hole");
    assert!(cleaner.check(stock("2024-01-05", [20.0; 4])).is_err());
}

#[test]
fn a_first_bar_passes_whatever_its_reference() {
    let listed = Bar {
        pre_close: Some(4.0),
        ..stock("2024-01-02", [10.0; 4])
    };
    assert_eq!(cleaner().check(listed).unwrap().marks, Marks::FIRST_BAR);
}

#[test]
fn free_days_after_a_listing_follow_the_table() {
    let symbol = "688001.SH";
    let mut cleaner = Cleaner::new(CleanConfig {
        list_dates: [(
            Symbol::parse(symbol).unwrap(),
            Date::parse("2024-01-02").unwrap(),
        )]
        .into(),
        ..CleanConfig::default()
    })
    .unwrap();
    for (date, price) in [
        ("2024-01-02", 10.0),
        ("2024-01-03", 20.0),
        ("2024-01-04", 40.0),
        ("2024-01-05", 80.0),
        ("2024-01-08", 160.0),
    ] {
        assert!(
            cleaner.check(bar(symbol, date, [price; 4])).is_ok(),
            "{date}"
        );
    }
    assert!(
        cleaner
            .check(bar(symbol, "2024-01-09", [320.0; 4]))
            .is_err()
    );
}

#[test]
fn days_that_the_vendor_made_up_are_rejected() {
    let friday = stock("2024-01-05", [10.0, 10.2, 9.9, 10.1]);
    let on = |date: &str| Bar {
        date: Date::parse(date).unwrap(),
        time_ns: Date::parse(date).unwrap().close_time_ns(),
        ..friday
    };
    let mut cleaner = started();
    cleaner.check(friday).unwrap();
    assert_eq!(cleaner.check(on("2024-01-06")), Err(Reject::ClosedMarket));
    assert_eq!(cleaner.check(on("2024-01-08")), Err(Reject::Repeated));
    assert!(
        cleaner
            .check(Bar {
                volume_shares: 1001.0,
                ..on("2024-01-08")
            })
            .is_ok()
    );
    let days = ["2024-01-02", "2024-01-05", "2024-01-09"].map(|d| Date::parse(d).unwrap());
    let mut cleaner = started().with_calendar(Calendar::new(days).unwrap());
    assert_eq!(cleaner.check(on("2024-01-08")), Err(Reject::ClosedMarket));
    let foreign = Bar {
        symbol: Symbol::parse("AAPL").unwrap(),
        ..on("2024-01-08")
    };
    assert!(cleaner.check(foreign).is_ok());
}

#[test]
fn missing_days_and_silent_rows_are_marked() {
    let mut cleaner = started();
    let silent = Bar {
        volume_shares: 0.0,
        ..stock("2024-01-03", [10.0; 4])
    };
    assert!(cleaner.check(silent).is_err());
    assert_eq!(
        cleaner.check(stock("2024-01-04", [10.0; 4])).unwrap().marks,
        Marks::RESUMED
    );
    // 2024-01-04 to 2024-01-19 hides 10 weekdays: as long as a holiday. One day more is a gap.
    assert_eq!(
        cleaner.check(stock("2024-01-19", [10.0; 4])).unwrap().marks,
        Marks::NONE
    );
    assert_eq!(
        cleaner.check(stock("2024-02-06", [10.0; 4])).unwrap().marks,
        Marks::GAP
    );
    let days = ["2024-01-02", "2024-01-03", "2024-01-04"].map(|d| Date::parse(d).unwrap());
    let mut exact = started().with_calendar(Calendar::new(days).unwrap());
    assert_eq!(
        exact.check(stock("2024-01-04", [10.0; 4])).unwrap().marks,
        Marks::GAP
    );
}

#[test]
fn bars_within_a_day_share_the_reference_of_the_day_before() {
    let mut cleaner = started();
    let minute = |hour_ns: i64, price: f64| {
        let day = stock("2024-01-03", [price; 4]);
        Bar {
            time_ns: day.time_ns - hour_ns,
            ..day
        }
    };
    assert!(cleaner.check(minute(3, 11.0)).is_ok());
    assert!(cleaner.check(minute(2, 9.0)).is_ok());
    assert_eq!(
        cleaner.check(minute(1, 11.5)).unwrap_err().reason(),
        "outside_limits"
    );
    // Two quiet minutes of one day may be alike to the share.
    let alike = |hour_ns| Bar {
        high: 10.1,
        ..minute(hour_ns, 10.0)
    };
    assert!(cleaner.check(alike(1)).is_ok());
    assert!(cleaner.check(alike(0)).is_ok());
}

#[test]
fn an_ex_right_jump_is_marked_once_on_its_day() {
    let mut cleaner = started();
    let minute = |hour_ns: i64, price: f64| {
        let day = stock("2024-01-03", [price; 4]);
        Bar {
            time_ns: day.time_ns - hour_ns,
            ..day
        }
    };
    assert_eq!(
        cleaner.check(minute(2, 5.0)).unwrap().marks,
        Marks::EX_RIGHT_SUSPECTED
    );
    assert_eq!(cleaner.check(minute(1, 5.4)).unwrap().marks, Marks::NONE);
    assert_eq!(
        cleaner.check(stock("2024-01-04", [5.9; 4])).unwrap().marks,
        Marks::NONE
    );
}

#[test]
fn the_configuration_is_strict() {
    assert!(serde_json::from_str::<CleanConfig>("{\"st\": []}").is_err());
    let config: CleanConfig = serde_json::from_str("{\"st_symbols\": [\"sh.600000\"]}").unwrap();
    assert_eq!(config.st_symbols.first().unwrap().as_str(), "600000.SH");
    for ex_right_max_drop in [0.0, 1.0, f64::NAN] {
        assert!(
            Cleaner::new(CleanConfig {
                ex_right_max_drop,
                ..CleanConfig::default()
            })
            .is_err()
        );
    }
}

proptest! {
    #[test]
    fn any_bar_passes_untouched_or_is_rejected(
        numbers in proptest::collection::vec(prop_oneof![any::<f64>(), 8.0f64..12.0], 6), days in 0i32..40_000, given in any::<bool>()
    ) {
        let mut cleaner = started();
        let date = Date::from_days(days).unwrap();
        let input = Bar {
            time_ns: date.close_time_ns(),
            date,
            pre_close: given.then_some(numbers[4]),
            volume_shares: numbers[5],
            ..stock("2024-01-02", [numbers[0], numbers[1], numbers[2], numbers[3]])
        };
        if let Ok(output) = cleaner.check(input) {
            prop_assert_eq!(Bar { marks: Marks::NONE, ..output }, input);
        }
    }
}

#[test]
fn a_known_event_gives_the_reference_price_and_limits_follow_it() {
    // Five shares for ten and 0.50 CNY: (10.00 - 0.50) / 1.5 = 6.33, whose limits are 5.70 and 6.96.
    let config = |more: &str| -> Result<CleanConfig, serde_json::Error> {
        let event = format!("{{\"symbol\": \"600000.SH\", \"ex_date\": \"2024-01-04\", {more}}}");
        serde_json::from_str(&format!("{{\"ex_rights\": [{event}]}}"))
    };
    let started = || {
        let config = config("\"cash_cny\": 0.5, \"increase\": 0.5").unwrap();
        let mut cleaner = Cleaner::new(config).unwrap();
        cleaner.check(stock("2024-01-02", [10.0; 4])).unwrap();
        cleaner
    };
    // The stock rests on the day itself, and a reform or another stock's event says nothing.
    for (price, passes) in [(6.96f64, true), (6.98, false), (5.70, true), (5.68, false)] {
        let bar = stock("2024-01-05", [6.0, price.max(6.0), price.min(6.0), 6.0]);
        let mut cleaner = started();
        let rest = Bar {
            volume_shares: 0.0,
            ..stock("2024-01-04", [10.0; 4])
        };
        assert_eq!(cleaner.check(rest), Err(Reject::NoTrade));
        let got = cleaner.check(bar);
        assert_eq!(got.is_ok(), passes, "{price}");
        if let Ok(got) = got {
            assert_eq!(
                got,
                Bar {
                    pre_close: Some(6.33),
                    marks: Marks::RESUMED,
                    ..bar
                }
            );
        }
    }
    let mut cleaner = started();
    let before = cleaner.check(stock("2024-01-03", [10.0, 10.5, 9.5, 10.0]));
    assert_eq!(before.unwrap().pre_close, None);
    let told = Bar {
        pre_close: Some(6.4),
        ..stock("2024-01-04", [6.4; 4])
    };
    assert_eq!(
        cleaner.check(told).unwrap(),
        told,
        "the vendor's own reference stands"
    );
    assert_eq!(
        cleaner
            .check(stock("2024-01-05", [6.4, 6.5, 6.3, 6.4]))
            .unwrap()
            .pre_close,
        None
    );
    // Later bars of the day are held against its reference too.
    let mut cleaner = started();
    let minute = |hour_ns: i64, price: f64| Bar {
        time_ns: stock("2024-01-04", [price; 4]).time_ns - hour_ns,
        ..stock("2024-01-04", [price; 4])
    };
    assert_eq!(cleaner.check(minute(2, 6.5)).unwrap().pre_close, Some(6.33));
    assert_eq!(cleaner.check(minute(1, 6.9)).unwrap().pre_close, None);
    assert!(cleaner.check(minute(0, 6.98)).is_err());
    // A price beyond the reference is doubted once; when the next day agrees, the series goes on from there.
    let mut cleaner = started();
    assert!(cleaner.check(stock("2024-01-04", [9.0; 4])).is_err());
    let reset = cleaner.check(stock("2024-01-05", [9.1; 4])).unwrap();
    let marks = reset.marks.to_string();
    assert_eq!((marks.as_str(), reset.pre_close), ("gap|level_reset", None));
    for wrong in [
        "\"gift\": -0.1",
        "\"cash_cny\": 0",
        "\"rights\": 0.3",
        "\"gifts\": 1",
    ] {
        let cleaner = config(wrong).map(Cleaner::new);
        assert!(!matches!(cleaner, Ok(Ok(_))), "{wrong}");
    }
}

#[test]
fn a_vendors_factors_give_the_same_reference_as_the_event_behind_them() {
    let symbol = Symbol::parse("600000.SH").unwrap();
    let day = |text: &str| Date::parse(text).unwrap();
    let passed = |factors: [(&str, f64); 2]| {
        let series = factors.map(|(date, factor)| (day(date), factor));
        let series = series.into_iter().collect();
        let known = ExRights::new().with_factors([(symbol, series)].into()).0;
        let mut cleaner = started().with_ex_rights(Arc::new(known));
        cleaner.check(stock("2024-01-05", [6.0; 4])).unwrap()
    };
    let published = [("2024-01-02", 3.0), ("2024-01-05", 4.739_336)];
    assert_eq!(passed(published).pre_close, Some(6.33));
    // What is unusable or missing is no knowledge, and the fall is a suspicion as before.
    for unusable in [
        [("2024-01-02", 3.0), ("2024-01-05", -1.0)],
        [("2024-01-02", 3.0), ("2024-01-04", 4.739_336)],
    ] {
        let bar = passed(unusable);
        assert_eq!(
            (bar.pre_close, bar.marks),
            (None, Marks::EX_RIGHT_SUSPECTED)
        );
    }
    let twice = [(day("2024-01-05"), 1.0), (day("2024-01-05"), 1.1)];
    let twice = twice.into_iter().collect();
    let other = Symbol::parse("600001.SH").unwrap();
    let once = [(day("2024-01-05"), 1.0)].into_iter().collect();
    let (known, bad) = ExRights::new().with_factors([(symbol, twice), (other, once)].into());
    assert!(known.factors_of(symbol).is_none() && known.factors_of(other).is_some());
    assert_eq!((bad.len(), bad[0].symbol), (1, Some(symbol)));
}

#[test]
fn special_treatment_has_days() {
    let text =
        "{\"st_periods\": {\"600000.SH\": [{\"from\": \"2023-05-01\", \"to\": \"2024-01-03\"}]}}";
    let config: CleanConfig = serde_json::from_str(text).unwrap();
    for (date, high, passes) in [
        ("2024-01-03", 10.52, false),
        ("2024-01-03", 10.50, true),
        ("2024-01-04", 11.00, true),
    ] {
        let mut cleaner = Cleaner::new(config.clone()).unwrap();
        cleaner.check(stock("2024-01-02", [10.0; 4])).unwrap();
        let got = cleaner.check(stock(date, [10.0, high, 10.0, 10.0]));
        assert_eq!(got.is_ok(), passes, "{date} {high}");
    }
}

#[test]
fn a_free_day_is_the_first_traded_one_and_lasts_until_its_close() {
    let config: CleanConfig =
        serde_json::from_str("{\"free_days\": {\"600000.SH\": [\"2024-01-06\"]}}").unwrap();
    // A Saturday: the Monday behind it is free, or the Tuesday when the Monday has no trade.
    for (free, after) in [("2024-01-08", "2024-01-09"), ("2024-01-09", "2024-01-10")] {
        let mut cleaner = Cleaner::new(config.clone()).unwrap();
        cleaner.check(stock("2024-01-05", [10.0; 4])).unwrap();
        let low = [4.0, 4.5, 3.0, 4.0];
        let mut morning = stock(free, low);
        morning.time_ns -= 3_600_000_000_000;
        cleaner.check(morning).unwrap();
        cleaner.check(stock(free, [4.0, 6.0, 3.5, 4.0])).unwrap();
        let next = stock(after, [4.0, 4.42, 4.0, 4.0]);
        assert!(cleaner.check(next).is_err(), "the second day has limits");
    }
    let mut cleaner = Cleaner::new(config).unwrap();
    cleaner.check(stock("2024-01-04", [10.0; 4])).unwrap();
    let early = stock("2024-01-05", [12.0, 12.0, 11.5, 12.0]);
    assert!(cleaner.check(early).is_err(), "the day before has limits");
}

#[test]
fn missing_minutes_are_gaps_where_the_length_of_a_bar_is_known() {
    let at = |date: &str, clock: &str| {
        let table = format!("time,open,high,low,close,volume\n{date} {clock}:00,10,10,10,10,500\n");
        let symbol = Symbol::parse("600000.SH").unwrap();
        let mut reader = crate::BarReader::new(table.as_bytes(), Some(symbol), "t").unwrap();
        reader.next().unwrap().unwrap()
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
        // The last minutes of the day before are missing, and here the first of this one.
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
fn behind_a_hole_the_move_is_that_from_the_last_good_close() {
    let bars = falling();
    // The bar in the middle cannot be used, is unreadable, or is not there.
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
            // The series goes on as if nothing had been.
            let next = cleaner.check(strip(&bars[4])).unwrap();
            assert_eq!(next.marks, Marks::NONE);
            assert_eq!(next.reference_close(after.date, after.close), after.close);
        }
    }
}

#[test]
fn an_ex_right_that_no_hole_explains_is_still_one() {
    // Half the price over one missing day: no limit allows that.
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
    // A day that the vendor reports as one without a trade is no hole.
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
    // A known event decides over a hole as well.
    let config = "{\"ex_rights\": [{\"symbol\": \"600000.SH\", \"ex_date\": \"2015-01-08\", \"cash_cny\": 0.3}]}";
    let mut judge = Cleaner::new(serde_json::from_str(config).unwrap()).unwrap();
    judge.check(before).unwrap();
    let after = judge.check(dividend).unwrap();
    assert_eq!(after.reference_close(before.date, before.close), 9.7);
}

#[test]
fn adjusted_prices_are_judged_in_returns() {
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
        // Dividends that were subtracted make moves greater than those that traded.
        let stretched = judge.check(adjusted("2024-01-04", price * 1.15)).unwrap();
        assert_eq!(stretched.marks.to_string(), "adjusted|beyond_limit");
        let wild = judge.check(adjusted("2024-01-05", price * 1.6));
        assert_eq!(wild.unwrap_err().reason(), "outside_limits");
    }
}

#[test]
fn a_bar_that_is_not_passed_takes_no_move_with_it() {
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
        // An ex-right behind it, of 0.3.
        (
            bar(day, [9.8, 9.7, 9.0, 9.1], 10.0),
            "open_or_close_outside_range",
            bar("2015-01-08", [8.8, 9.0, 8.7, 8.9], 8.8),
            8.9 / 8.8 * 9.1 / 10.0,
        ),
        // A volume that is wrong.
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
    // The rows of a suspension stand still.
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
