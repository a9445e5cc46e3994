#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Bar, Calendar, Marks, Span};
use proptest::prelude::*;

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn stock() -> Symbol {
    Symbol::parse("000004.SZ").unwrap()
}

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
fn special_treatment_is_read_from_every_form_of_the_name() {
    for (name, st) in [
        ("ST国农", true),
        ("*ST国农", true),
        ("SST集琦", true),
        ("S*ST集琦", true),
        ("G*ST金马", true),
        ("XDST国农", true),
        ("国农科技", false),
        ("S国农", false),
        ("G国农", false),
        ("XD国农科", false),
        ("TCL科技", false),
        ("N国农", false),
    ] {
        assert_eq!(is_st_name(name), st, "{name}");
    }
}

const NAMES: &str = "ts_code,name,start_date,end_date,ann_date,change_reason\n\
    000004.SZ,国农科技,20110628,,20110627,撤销ST\n\
    000004.SZ,*ST国农,20090429,20100603,20090428,*ST\n\
    000004.SZ,ST国农,20100604,20110627,20100603,撤销*ST\n\
    000004.SZ,ST国农,20100604,20110627,20100603,撤销*ST\n\
    000004.SZ,S国农,20061009,20090428,20060929,\n\
    600000.SH,浦发银行,19991110,,,\n";

#[test]
fn the_history_of_names_is_the_history_of_special_treatment() {
    let names = read_name_changes(NAMES.as_bytes(), "namechange.csv").unwrap();
    assert_eq!(names.len(), 2);
    let instrument = Instrument::new(stock(), "国农科技", Some(day("19910114")), None)
        .unwrap()
        .with_names(names[&stock()].clone())
        .unwrap();
    assert_eq!(instrument.names().len(), 4);
    assert_eq!(
        instrument.st_periods(),
        [(day("20090429"), Some(day("20110627")))]
    );
    for (date, st) in [
        ("20061008", None),
        ("20061009", Some(false)),
        ("20090428", Some(false)),
        ("20090429", Some(true)),
        ("20110627", Some(true)),
        ("20110628", Some(false)),
    ] {
        assert_eq!(instrument.is_st(day(date)), st, "{date}");
    }
    assert_eq!(instrument.name_on(day("20100604")), Some("ST国农"));
}

#[test]
fn an_open_name_ends_where_the_next_begins_and_an_overlap_is_refused() {
    let period = |name: &str, from, to: Option<&str>| NamePeriod {
        name: name.into(),
        from: day(from),
        to: to.map(day),
    };
    let instrument = Instrument::new(stock(), "b", None, None).unwrap();
    let named = instrument
        .clone()
        .with_names([
            period("ST b", "20200301", None),
            period("a", "20200101", None),
        ])
        .unwrap();
    assert_eq!(named.names()[0].to, Some(day("20200229")));
    assert_eq!(named.st_periods(), [(day("20200301"), None)]);
    for (names, reason) in [
        (
            [
                period("a", "20200101", Some("20200301")),
                period("ST b", "20200301", None),
            ],
            "must end before the name ST b begins on 2020-03-01",
        ),
        (
            [
                period("a", "20200101", None),
                period("ST b", "20200101", None),
            ],
            "must end before",
        ),
        (
            [
                period("a", "20200101", Some("20191231")),
                period("b", "20210101", None),
            ],
            "must not begin after its end",
        ),
    ] {
        let error = instrument.clone().with_names(names).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn the_list_of_stocks_keeps_the_delisted_ones() {
    let text = "ts_code,name,list_status,list_date,delist_date,industry,cnspell\n\
        600001.SH,邯郸钢铁,D,19980122,20091229,None,\n\
        600000.SH,浦发银行,L,19991110,None,银行,pfyh\n";
    let stocks = Instrument::from_stock_basic(text.as_bytes(), "basic.csv").unwrap();
    let gone = &stocks[&Symbol::parse("600001.SH").unwrap()];
    assert!(gone.is_listed(day("20091228")) && !gone.is_listed(day("20091229")));
    assert!(!gone.is_listed(day("19980121")));
    assert_eq!(
        (gone.name(), gone.board(), gone.exchange()),
        ("邯郸钢铁", Board::Main, Exchange::Shanghai)
    );
    let alive = &stocks[&Symbol::parse("600000.SH").unwrap()];
    assert!(alive.is_listed(day("20250101")) && alive.delisted().is_none());
    assert_eq!(
        (alive.industry(), alive.initials()),
        (Some("银行"), Some("pfyh"))
    );
    assert_eq!((gone.industry(), gone.initials()), (None, None));
}

#[test]
fn bad_tables_are_refused_with_line_and_column() {
    let basic = |text: &str| {
        Instrument::from_stock_basic(text.as_bytes(), "t.csv")
            .unwrap_err()
            .to_string()
    };
    let names = |text: &str| {
        read_name_changes(text.as_bytes(), "t.csv")
            .unwrap_err()
            .to_string()
    };
    let suspended = |text: &str| {
        read_suspended_days(text.as_bytes(), "t.csv")
            .unwrap_err()
            .to_string()
    };
    for (message, reason) in [
        (basic("ts_code,name\n"), "lacks the column list_date"),
        (
            basic("ts_code,name,list_date\n600000,a,20200101\n"),
            "line 2, column ts_code: a six-digit code needs",
        ),
        (
            basic("ts_code,name,list_date\n600000.SH,a,1\n"),
            "line 2, column list_date",
        ),
        (
            basic("ts_code,name,list_date\n600000.SH,a,\n600000.SH,b,\n"),
            "line 3, column ts_code: must not be listed twice",
        ),
        (
            basic("ts_code,name,list_date,delist_date\n600000.SH,a,20200101,20190101\n"),
            "must not lie before the listing",
        ),
        (
            names("ts_code,name,start_date,end_date\n600000.SH,,20200101,\n"),
            "line 2, column name: must not be empty",
        ),
        (
            names("ts_code,name,start_date,end_date\n600000.SH,a,20200102,20200101\n"),
            "line 2, column start_date: must not lie after the end",
        ),
        (
            suspended("ts_code,trade_date,suspend_type\n600000.SH,20200102,X\n"),
            "line 2, column suspend_type: must be S or R",
        ),
    ] {
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn days_without_a_bar_are_suspensions_and_are_held_against_the_record() {
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
    let recorded = read_suspended_days(text.as_bytes(), "suspend.csv").unwrap();
    let check = check_suspensions(&bars, &calendar, span, &recorded[&stock()]).unwrap();
    assert_eq!(check.missing, [days[4]]);
    assert_eq!(check.contradicted, [days[5]]);
}

#[test]
fn what_the_calendar_does_not_know_is_an_error() {
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
