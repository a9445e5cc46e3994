#![allow(clippy::unwrap_used)]
mod ex_rights;
mod holes;

use super::*;
use crate::date::Date;
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
    // With the vendor's reference price no ex-right is suspected.
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
    // The same row again, or another row of that day, confirms nothing.
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
    // 10 weekdays between two bars may be a holiday; one more is a gap.
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
    // Two quiet minutes of one day may be equal.
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
