#![allow(clippy::unwrap_used)]
use super::*;
use crate::bar::{Bar, Marks};
use crate::date::Date;
use crate::rules::Markets;
use crate::symbol::Symbol;
use proptest::prelude::*;

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn event(symbol: &str, date: &str, numbers: [f64; 5]) -> ExRight {
    let [cash_cny, gift, increase, rights, rights_price_cny] = numbers;
    ExRight {
        symbol: Symbol::parse(symbol).unwrap(),
        ex_date: day(date),
        cash_cny,
        gift,
        increase,
        rights,
        rights_price_cny,
        kind: EventKind::ExRight,
    }
}

fn bar(date: &str, close: f64) -> Bar {
    let date = day(date);
    Bar {
        symbol: Symbol::parse("600000.SH").unwrap(),
        time_ns: date.close_time_ns(),
        date,
        open: close,
        high: close,
        low: close,
        close,
        pre_close: None,
        volume_shares: 100.0,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

#[test]
fn reference_prices_published_by_the_exchanges_are_reproduced() {
    // Close of the day before, event, and the reference price from which the exchange computed the change.
    for (symbol, date, close, numbers, reference) in [
        (
            "600000.SH",
            "20020822",
            1840,
            [0.2, 0.0, 0.5, 0.0, 0.0],
            1213,
        ),
        (
            "600000.SH",
            "20090609",
            3059,
            [0.23, 0.4, 0.0, 0.0, 0.0],
            2169,
        ),
        (
            "600000.SH",
            "20100610",
            1850,
            [0.15, 0.3, 0.0, 0.0, 0.0],
            1412,
        ),
        ("600005.SH", "20110407", 473, [0.0, 0.0, 0.0, 0.3, 3.7], 449),
        (
            "000001.SZ",
            "20001106",
            1770,
            [0.0, 0.0, 0.0, 0.3, 8.0],
            1546,
        ),
        (
            "000001.SZ",
            "20081031",
            1131,
            [0.0335, 0.3, 0.0, 0.0, 0.0],
            867,
        ),
        (
            "000002.SZ",
            "19970714",
            1759,
            [0.0, 0.0, 0.0, 0.237, 4.5],
            1508,
        ),
        (
            "000002.SZ",
            "20030523",
            1381,
            [0.2, 0.0, 1.0, 0.0, 0.0],
            681,
        ),
        (
            "000002.SZ",
            "20040526",
            732,
            [0.05, 0.1, 0.4, 0.0, 0.0],
            485,
        ),
        (
            "000005.SZ",
            "20010716",
            805,
            [0.0113, 0.044, 0.044, 0.0, 0.0],
            739,
        ),
    ] {
        let event = event(symbol, date, numbers);
        assert_eq!(
            reference_cents(close, [&event]).unwrap(),
            reference,
            "{symbol} {date}"
        );
    }
}

#[test]
fn halves_of_a_cent_round_up_and_events_of_one_day_act_together() {
    let half = event("600000.SH", "20200101", [0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(reference_cents(1001, [&half]).unwrap(), 501);
    let cash = event("600000.SH", "20200101", [1.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(reference_cents(1001, [&half, &cash]).unwrap(), 451);
    let reform = ExRight {
        kind: EventKind::ReformNoExRight,
        ..half
    };
    assert_eq!(reference_cents(1001, [&reform]).unwrap(), 1001);
    assert_eq!(reference_cents(1001, []).unwrap(), 1001);
}

#[test]
fn an_impossible_reference_price_is_an_error() {
    let cash = event("600000.SH", "20200101", [10.01, 0.0, 0.0, 0.0, 0.0]);
    let message = reference_cents(1001, [&cash]).unwrap_err().to_string();
    assert!(message.contains("must be at least one cent"), "{message}");
    for numbers in [
        [-1.0, 0.0, 0.0, 0.0, 0.0],
        [f64::NAN, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, f64::INFINITY, 1.0],
        [0.0, 1e300, 0.0, 0.0, 0.0],
    ] {
        assert!(reference_cents(1000, [&event("600000.SH", "20200101", numbers)]).is_err());
    }
    for close in [0, -1, i64::MAX] {
        assert!(reference_cents(close, [&cash]).is_err());
    }
}

/// 600000.SH around its bonus of 2010, with a day of suspension on the ex-date itself.
fn bars() -> Vec<Bar> {
    vec![
        bar("20100608", 18.4),
        bar("20100609", 18.5),
        bar("20100611", 14.2),
    ]
}

fn events() -> Vec<ExRight> {
    vec![
        event("600000.SH", "20100610", [0.15, 0.3, 0.0, 0.0, 0.0]),
        event("600005.SH", "20100609", [0.5, 0.0, 0.0, 0.0, 0.0]),
    ]
}

#[test]
fn factors_begin_at_one_and_an_event_without_a_bar_applies_to_the_next_bar() {
    let factors = Factors::from_events(&bars(), &events()).unwrap();
    let step = 18.5 / 14.12;
    assert_eq!(factors.steps().len(), 2);
    for (date, expected) in [
        ("20100607", None),
        ("20100609", Some(1.0)),
        ("20100610", Some(1.0)),
        ("20100611", Some(step)),
        ("20100612", None),
    ] {
        match (factors.at(day(date)), expected) {
            (Some(got), Some(expected)) => assert!((got - expected).abs() < 1e-12, "{date}"),
            (got, expected) => assert_eq!(got, expected, "{date}"),
        }
    }
}

#[test]
fn forward_prices_are_as_traded_on_their_day_and_backward_prices_on_the_first() {
    let factors = Factors::from_events(&bars(), &events()).unwrap();
    let close = |adjustment, i: usize| factors.adjust(&bars(), adjustment).unwrap()[i].close;
    let forward = Adjustment::Forward {
        as_of: day("20100611"),
    };
    assert_eq!(close(Adjustment::None, 1), 18.5);
    assert_eq!(close(Adjustment::Backward, 1), 18.5);
    assert!((close(Adjustment::Backward, 2) - 14.2 * 18.5 / 14.12).abs() < 1e-9);
    assert_eq!(close(forward, 2), 14.2);
    assert!((close(forward, 1) - 14.12).abs() < 1e-9);
    // As of a day before the event there is no adjustment.
    let early = Adjustment::Forward {
        as_of: day("20100609"),
    };
    assert_eq!(factors.adjust(&bars()[..2], early).unwrap()[1].close, 18.5);
    let late = Adjustment::Forward {
        as_of: day("20100614"),
    };
    assert!(factors.adjust(&bars(), late).is_err());
}

#[test]
fn a_published_series_is_accepted_only_without_missing_days() {
    let series = |last: f64| {
        vec![
            (day("20100611"), last),
            (day("20100608"), 5.0),
            (day("20100609"), 5.0),
        ]
    };
    let factors = Factors::from_series(&bars(), &series(6.5)).unwrap();
    assert_eq!(
        factors.steps(),
        [(day("20100608"), 5.0), (day("20100611"), 6.5)]
    );
    for (series, reason) in [
        (series(0.0), "must be positive and finite"),
        (series(f64::NAN), "must be positive and finite"),
        (series(6.5)[..2].to_vec(), "must have a value for every day"),
        (
            [series(6.5), series(6.5)].concat(),
            "two values for one day",
        ),
    ] {
        let error = Factors::from_series(&bars(), &series).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(Factors::from_series(&[], &series(6.5)).is_err());
    let mut turned = bars();
    turned.swap(0, 1);
    assert!(Factors::from_events(&turned, &[]).is_err());
}

#[test]
fn events_and_prices_reveal_a_missing_event_in_the_vendors_factors() {
    let limits = Markets::shipped().unwrap();
    let check = |factors: [f64; 3], events: &[ExRight]| {
        let vendor = factors.map(VendorFactor::published);
        check_factors(&bars(), &vendor, Some(events), &limits).unwrap()
    };
    let step = 18.5 / 14.12;
    assert!(check([2.0, 2.0, 2.0 * step], &events()).is_empty());
    let found = check([2.0, 2.0, 2.0], &events());
    assert_eq!(
        found
            .iter()
            .map(|d| (d.date, d.evidence))
            .collect::<Vec<_>>(),
        [
            (day("20100611"), Evidence::Events),
            (day("20100611"), Evidence::Prices)
        ]
    );
    assert!((found[0].expected - step).abs() < 1e-12 && found[0].got == 1.0);
    // Without events the prices show it: 14.20 needs a reference of at most 15.78.
    let found = check([2.0, 2.0, 2.0], &[]);
    assert_eq!(found.len(), 1);
    assert!((found[0].expected - 1850.0 / 1580.0).abs() < 1e-12);
    // A step without an event, and a value for an unknown factor.
    let found = check([2.0, 2.1, -1.0], &events());
    assert_eq!(
        found
            .iter()
            .map(|d| (d.evidence, d.got))
            .collect::<Vec<_>>(),
        [(Evidence::Events, 1.05), (Evidence::Sign, -1.0)]
    );
    assert!(check_factors(&bars(), &[], None, &limits).is_err());
}

#[test]
fn a_table_of_events_is_read_or_refused_with_the_line() {
    let header = "ts_code,ex_date,cash_div,gift,incr,rights,rights_price,kind\n";
    let good = format!(
        "{header}600000.SH,20060512,0.0,0.3,0.0,0.0,0.0,reform_no_exright\n\
         000001.SZ,20001106,0.0,0.0,0.0,0.3,8.0,exright\n"
    );
    let read = |text: &str| ExRight::read_table(text.as_bytes(), "ex.csv").unwrap();
    let EventTable { events, bad, .. } = read(&good);
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(events[0].kind, EventKind::ReformNoExRight);
    assert_eq!((events[1].rights, events[1].rights_price_cny), (0.3, 8.0));
    for (row, reason) in [
        (
            "600000.SH,20060512,-0.1,0,0,0,0,exright",
            "column cash_div: must be in 0",
        ),
        ("600000.SH,20060512,x,0,0,0,0,exright", "column cash_div"),
        (
            "600000.SH,20060512,0,0,0,0.3,0,exright",
            "column rights_price: must be positive",
        ),
        (
            "600000.SH,20060512,0,0,0,0,0,exright",
            "must give something",
        ),
        ("600000.SH,20060512,0.1,0,0,0,0,other", "column kind"),
        ("600000,20060512,0.1,0,0,0,0,exright", "column ts_code"),
        ("600000.SH,2006,0.1,0,0,0,0,exright", "column ex_date"),
    ] {
        // The good row after the bad one is read.
        let results = read(&format!(
            "{header}{row}\n600000.SH,20060525,0.13,0,0,0,0,exright\n"
        ));
        assert_eq!((results.events.len(), results.bad.len()), (1, 1));
        let message = results.bad[0].error.to_string();
        assert!(
            message.starts_with("ex.csv line 2") && message.contains(reason),
            "{message}"
        );
    }
}

/// `stock ex-date cash gift increase` of each event, and the messages of the bad rows.
fn dividends(rows: &str) -> (Vec<String>, Vec<String>) {
    let header = "ts_code,end_date,ann_date,div_proc,stk_div,stk_bo_rate,stk_co_rate,cash_div,cash_div_tax,record_date,ex_date,pay_date\n";
    let read = ExRight::read_table(format!("{header}{rows}").as_bytes(), "dividend.csv").unwrap();
    assert!(read.lacks_rights);
    let events = read.events.iter().map(|e| {
        format!(
            "{} {} {} {} {}",
            e.symbol, e.ex_date, e.cash_cny, e.gift, e.increase
        )
    });
    let bad = read.bad.iter().map(|row| {
        let symbol = row.symbol.map(|symbol| symbol.to_string());
        format!("{} {}", symbol.unwrap_or_default(), row.error)
    });
    (events.collect(), bad.collect())
}

#[test]
fn executed_dividends_of_a_vendor_count_once() {
    for (rows, events, bad) in [
        // Plan, resolution and execution; cash before tax, and shares.
        (
            "600000.SH,20141231,20150320,预案,0.5,,0.5,,0.757,,,\n\
             600000.SH,20141231,20150320,股东大会通过,0.5,,0.5,,0.757,,,\n\
             600000.SH,20141231,20150320,实施,0.5,0.2,0.3,0.6813,0.757,20150622,20150623,20150623\n\
             600000.SH,20141231,20150320,,0.5,0.2,0.3,0.6813,0.757,20150622,20150624,20150623\n",
            &["600000.SH 2015-06-23 0.757 0.2 0.3"][..],
            &[][..],
        ),
        // Announced twice, and a second dividend of another period on the same day.
        (
            "600000.SH,20141231,20150320,实施,0,,,0.09,0.1,,20150623,\n\
             600000.SH,20141231,20150401,实施,0,,,0.09,0.1,,20150623,\n\
             600000.SH,20150331,20150401,实施,0,,,0.09,0.1,,20150623,\n",
            &[
                "600000.SH 2015-06-23 0.1 0 0",
                "600000.SH 2015-06-23 0.1 0 0",
            ],
            &[],
        ),
        // Two parts of one announcement add up.
        (
            "600000.SH,20141231,20150320,实施,0,,,,0.1,,20150623,\n\
             600000.SH,20141231,20150320,实施,0,,,,0.25,,20150623,\n",
            &[
                "600000.SH 2015-06-23 0.1 0 0",
                "600000.SH 2015-06-23 0.25 0 0",
            ],
            &[],
        ),
        // A correction, in any order.
        (
            "600000.SH,20141231,20150401,实施,0,,,,0.12,,20150623,\n\
             600000.SH,20141231,20150320,实施,0,,,,0.1,,20150623,\n",
            &["600000.SH 2015-06-23 0.12 0 0"],
            &[
                "600000.SH dividend.csv line 3, column cash_div_tax: is corrected by the announcement of 2015-04-01, and does not count, got \"0.1\"",
            ],
        ),
        // The total alone; nothing at all; rounded parts.
        (
            "600000.SH,20141231,,实施,0.3,None,NaN,0,0,,20150623,\n\
             600001.SH,20141231,,实施,0,,,0,0,,20150623,\n\
             600002.SH,20141231,,实施,0.3333,0.1666,0.1666,0,0,,20150623,\n",
            &[
                "600000.SH 2015-06-23 0 0 0.3",
                "600002.SH 2015-06-23 0 0.1666 0.1667",
            ],
            &[],
        ),
        // Bad rows are reported with their stock, and other rows are kept.
        (
            "600001.SH,20141231,,实施,0.5,0.2,0.2,,0,,20150623,\n\
             600002.SH,20141231,,实施,0,,,0.09,,,20150623,\n\
             600003.SH,20141231,,实施,0,,,,0.1,,,\n\
             600004.SH,20141231,,实施,0,,,,-0.1,,20150623,\n\
             600005.SH,20141231,,实施,x,,,,0.1,,20150623,\n\
             600000.SH,20141231,,实施,0,,,,0.1,,20150623,\n",
            &["600000.SH 2015-06-23 0.1 0 0"],
            &[
                "600001.SH dividend.csv line 2, column stk_div: must be bonus and conversion together, which are 0.4, got \"0.5\"",
                "600002.SH dividend.csv line 3, column cash_div_tax: must be known: the dividend before tax cannot be computed from the one after tax, got \"\"",
                "600003.SH dividend.csv line 4, column ex_date: must be",
                "600004.SH dividend.csv line 5, column cash_div_tax: must be in 0..=100000000, got \"-0.1\"",
                "600005.SH dividend.csv line 6, column stk_div: must be a finite decimal number, got \"x\"",
            ],
        ),
    ] {
        let (read, messages) = dividends(rows);
        assert_eq!(read, events, "{rows}");
        assert_eq!(messages.len(), bad.len(), "{messages:?}");
        for (message, expected) in messages.iter().zip(bad) {
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

#[test]
fn without_rights_issues_in_the_table_factors_decide_on_other_days() {
    let symbol = Symbol::parse("600000.SH").unwrap();
    let day = |text: &str| Date::parse(text).unwrap();
    let factors: FactorSeries = [
        (day("20150622"), 1.0),
        (day("20150623"), 1.01),
        (day("20150624"), 1.21),
    ]
    .into_iter()
    .collect();
    let events = [event("600000.SH", "20150623", [0.1, 0.0, 0.0, 0.0, 0.0])];
    let whole = ExRights::new()
        .with_events(events)
        .with_factors([(symbol, factors)].into())
        .0;
    let reference = |known: &ExRights, since: &str, date: &str| {
        known.reference_cents(symbol, day(since), 1_000, day(date))
    };
    for (known, other) in [(whole.clone(), None), (whole.without_rights(), Some(835))] {
        assert_eq!(reference(&known, "20150622", "20150623"), Some(990));
        assert_eq!(reference(&known, "20150623", "20150624"), other);
    }
}

proptest! {
    #[test]
    fn the_reference_is_the_exact_fraction_rounded_half_up(
        close in 100i64..100_000, cash in 0i128..9_000, gift in 0i128..10_000, rights in 0i128..10_000, price in 1i128..1_000
    ) {
        // Cash in 1e-4 CNY, shares in 1e-4, price in cents.
        let event = event("600000.SH", "20200101", [cash as f64 / 1e4, gift as f64 / 1e4, 0.0, rights as f64 / 1e4, price as f64 / 100.0]);
        let ours = i128::from(reference_cents(close, [&event]).unwrap());
        // In 1e-4 cents, over 1e-4 shares.
        let value = i128::from(close) * 10_000 - cash * 100 + rights * price;
        let shares = 10_000 + gift + rights;
        prop_assert!((2 * ours - 1) * shares <= 2 * value && 2 * value < (2 * ours + 1) * shares);
    }

    #[test]
    fn adjusted_returns_do_not_depend_on_the_level(closes in proptest::collection::vec(500u32..2_000, 3..20), at in 1usize..19, gift in 0.0f64..2.0) {
        let bars: Vec<Bar> = closes.iter().enumerate().map(|(i, close)| {
            let date = Date::from_days(15_000 + i as i32).unwrap();
            bar(&date.to_string(), f64::from(*close) / 100.0)
        }).collect();
        let at = at.min(bars.len() - 1);
        let events = [event("600000.SH", &bars[at].date.to_string(), [0.1, gift, 0.0, 0.0, 0.0])];
        let factors = Factors::from_events(&bars, &events).unwrap();
        let forward = factors.adjust(&bars, Adjustment::Forward { as_of: bars[bars.len() - 1].date }).unwrap();
        let backward = factors.adjust(&bars, Adjustment::Backward).unwrap();
        for (i, (f, b)) in forward.windows(2).zip(backward.windows(2)).enumerate() {
            let (forward, backward) = (f[1].close / f[0].close, b[1].close / b[0].close);
            prop_assert!((forward / backward - 1.0).abs() < 1e-12);
            let reference = reference_of(&bars[i], &bars[i + 1], &events).unwrap();
            prop_assert!((backward / (bars[i + 1].close * 100.0 / reference as f64) - 1.0).abs() < 1e-9);
        }
        // The published form of these factors agrees with events and signs.
        let vendor: Vec<VendorFactor> = bars.iter().map(|b| VendorFactor::published(factors.at(b.date).unwrap())).collect();
        let found = check_factors(&bars, &vendor, Some(&events), &Markets::shipped().unwrap()).unwrap();
        prop_assert!(found.iter().all(|d| d.evidence == Evidence::Prices), "{found:?}");
    }
}
