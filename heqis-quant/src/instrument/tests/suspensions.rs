//! Suspensions from bars and from the vendor's record.

use super::*;
use crate::bar::{Bar, Marks};
use crate::calendar::Calendar;
use crate::date::Span;
use proptest::prelude::*;

fn bar(date: Date) -> Bar {
    Bar {
        symbol: stock(),
        time_ns: date.close_time_ns(),
        date,
        open: 10.0,
        high: 10.0,
        low: 10.0,
        close: 10.0,
        pre_close: None,
        volume_shares: 100.0,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

#[test]
fn days_without_a_bar_are_suspensions_and_are_compared_with_the_record() {
    let days = [
        "20240102", "20240103", "20240104", "20240105", "20240108", "20240109",
    ]
    .map(day);
    let calendar = Calendar::new(days).unwrap();
    let mut bars: Vec<Bar> = [days[0], days[3], days[5]].map(bar).into();
    // Filled by the vendor, without a trade.
    bars.push(Bar {
        volume_shares: 0.0,
        ..bar(days[4])
    });
    bars.sort_by_key(|bar| bar.date);
    let span = Span::new(days[0], days[5]).unwrap();
    let found = suspensions(&bars, &calendar, span).unwrap();
    let expected = |from, to, trading_days| Suspension {
        span: Span::new(from, to).unwrap(),
        trading_days,
    };
    assert_eq!(
        found,
        [expected(days[1], days[2], 2), expected(days[4], days[4], 1)]
    );
    let text = "ts_code,trade_date,suspend_timing,suspend_type\n\
        000004.SZ,20240103,,S\n\
        000004.SZ,20240104,,S\n\
        000004.SZ,20240105,09:30-10:00,S\n\
        000004.SZ,20240105,,R\n\
        000004.SZ,20240109,,S\n";
    let (recorded, bad) = read_suspended_days(text.as_bytes(), "suspend.csv").unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    let check = check_suspensions(&bars, &calendar, span, &recorded[&stock()]).unwrap();
    assert_eq!(check.missing, [days[4]]);
    assert_eq!(check.contradicted, [days[5]]);
}

#[test]
fn days_outside_the_calendar_are_an_error() {
    let days = ["20240102", "20240104"].map(day);
    let calendar = Calendar::new(days).unwrap();
    let span = Span::new(days[0], days[1]).unwrap();
    for (bars, span, reason) in [
        (vec![bar(day("20240103"))], span, "must lie on trading days"),
        (
            vec![],
            Span::new(day("20240101"), days[1]).unwrap(),
            "must reach from",
        ),
        (
            vec![],
            Span::new(days[0], day("20240105")).unwrap(),
            "must reach from",
        ),
        (
            vec![
                bar(days[0]),
                Bar {
                    symbol: Symbol::parse("600000.SH").unwrap(),
                    ..bar(days[1])
                },
            ],
            span,
            "must be of 000004.SZ",
        ),
    ] {
        let error = suspensions(&bars, &calendar, span).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

proptest! {
    #[test]
    fn every_trading_day_has_a_bar_or_lies_in_one_suspension(traded in proptest::collection::vec(any::<bool>(), 1..80)) {
        let days: Vec<Date> = (0..traded.len() as i32).map(|i| Date::from_days(19_000 + 2 * i).unwrap()).collect();
        let calendar = Calendar::new(days.clone()).unwrap();
        let bars: Vec<Bar> = days.iter().zip(&traded).filter(|(_, traded)| **traded).map(|(day, _)| bar(*day)).collect();
        let span = Span::new(days[0], days[days.len() - 1]).unwrap();
        let found = suspensions(&bars, &calendar, span).unwrap();
        for (day, traded) in days.iter().zip(&traded) {
            let within = found.iter().filter(|s| s.span.contains(*day)).count();
            prop_assert_eq!(within, usize::from(!traded));
        }
        prop_assert_eq!(found.iter().map(|s| s.trading_days).sum::<usize>() + bars.len(), days.len());
    }
}
