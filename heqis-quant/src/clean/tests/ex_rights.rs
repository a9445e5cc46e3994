//! Known ex-rights, special treatment and days without limits.

use super::*;

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
    // The stock does not trade on the ex-date itself.
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
    let with_reference = Bar {
        pre_close: Some(6.4),
        ..stock("2024-01-04", [6.4; 4])
    };
    assert_eq!(
        cleaner.check(with_reference).unwrap(),
        with_reference,
        "the vendor's own reference is kept"
    );
    assert_eq!(
        cleaner
            .check(stock("2024-01-05", [6.4, 6.5, 6.3, 6.4]))
            .unwrap()
            .pre_close,
        None
    );
    // Later bars of the day have the same reference.
    let mut cleaner = started();
    let minute = |hour_ns: i64, price: f64| Bar {
        time_ns: stock("2024-01-04", [price; 4]).time_ns - hour_ns,
        ..stock("2024-01-04", [price; 4])
    };
    assert_eq!(cleaner.check(minute(2, 6.5)).unwrap().pre_close, Some(6.33));
    assert_eq!(cleaner.check(minute(1, 6.9)).unwrap().pre_close, None);
    assert!(cleaner.check(minute(0, 6.98)).is_err());
    // A price beyond the limits is rejected once. If the next day confirms the level, the series continues from there.
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
fn a_vendors_factors_give_the_same_reference_as_their_event() {
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
    // Without usable factors the fall is a suspected ex-right.
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
fn special_treatment_applies_within_its_period() {
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
fn a_configured_free_day_is_the_next_traded_one_until_its_close() {
    let config: CleanConfig =
        serde_json::from_str("{\"free_days\": {\"600000.SH\": [\"2024-01-06\"]}}").unwrap();
    // A Saturday: the next traded day, Monday or Tuesday, has no limits.
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
