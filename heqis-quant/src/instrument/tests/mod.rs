#![allow(clippy::unwrap_used)]
mod suspensions;

use super::*;
use crate::clean::StPeriod;

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn stock() -> Symbol {
    Symbol::parse("000004.SZ").unwrap()
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
        ("*ＳＴ国农", true),
        ("＊ＳＴ　国农", true),
        ("S T 国农", true),
        ("NST国农", true),
        ("C*ST国农", true),
        ("XRSST国农", true),
        ("退市国农", false),
        ("", false),
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
    let (names, bad) = read_name_changes(NAMES.as_bytes(), "namechange.csv").unwrap();
    assert_eq!((names.len(), bad.len()), (2, 0));
    let instrument = Instrument::new(stock(), "国农科技", Some(day("19910114")), None)
        .unwrap()
        .with_names(names[&stock()].clone());
    assert!(instrument.unclear().is_empty());
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

fn named(rows: &[(&str, &str, Option<&str>)]) -> Instrument {
    let period = |(name, from, to): &(&str, &str, Option<&str>)| NamePeriod {
        from: day(from),
        to: to.map(day),
        name: (*name).into(),
        reason: None,
    };
    let stock = Instrument::new(stock(), "b", None, None).unwrap();
    stock.with_names(rows.iter().map(period))
}

/// The history as `name from..to`, and the number of unclear days.
fn history(rows: &[(&str, &str, Option<&str>)]) -> (Vec<String>, usize) {
    let stock = named(rows);
    let periods = stock.names().iter().map(|period| {
        let to = period.to.map(|to| to.to_string()).unwrap_or_default();
        format!("{} {}..{to}", period.name, period.from)
    });
    (periods.collect(), stock.unclear().len())
}

#[test]
fn repeated_names_are_one_period_and_overlaps_belong_to_the_later_name() {
    type Rows = &'static [(&'static str, &'static str, Option<&'static str>)];
    let cases: [(Rows, &[&str], usize); 11] = [
        // An open name ends where the next one begins.
        (
            &[("ST b", "20200301", None), ("a", "20200101", None)],
            &["a 2020-01-01..2020-02-29", "ST b 2020-03-01.."],
            0,
        ),
        // Twice, once without an end.
        (
            &[("a", "20010101", Some("20101231")), ("a", "20010101", None)],
            &["a 2001-01-01.."],
            0,
        ),
        // Twice, once without an end, and another name after it.
        (
            &[
                ("a", "20010101", None),
                ("a", "20010101", Some("20101231")),
                ("ST a", "20110101", None),
            ],
            &["a 2001-01-01..2010-12-31", "ST a 2011-01-01.."],
            0,
        ),
        // Twice with other letters, overlapping and nested.
        (
            &[
                ("万  科Ａ", "20010101", Some("20051231")),
                ("万科A", "20040101", Some("20071231")),
                ("万科A", "20020101", Some("20020301")),
            ],
            &["万  科Ａ 2001-01-01..2007-12-31"],
            0,
        ),
        // One name ends on the day on which the other begins.
        (
            &[
                ("a", "20200101", Some("20200301")),
                ("ST b", "20200301", None),
            ],
            &["a 2020-01-01..2020-02-29", "ST b 2020-03-01.."],
            0,
        ),
        // A name that returns after another one; its first row has no end.
        (
            &[
                ("a", "20000101", None),
                ("ST a", "20060101", Some("20101231")),
                ("a", "20110101", None),
            ],
            &[
                "a 2000-01-01..2005-12-31",
                "ST a 2006-01-01..2010-12-31",
                "a 2011-01-01..",
            ],
            0,
        ),
        // Nested, both closed: the outer name is in use before and after the inner one.
        (
            &[
                ("a", "20000101", Some("20101231")),
                ("ST a", "20060101", Some("20061231")),
            ],
            &[
                "a 2000-01-01..2005-12-31",
                "ST a 2006-01-01..2006-12-31",
                "a 2007-01-01..2010-12-31",
            ],
            0,
        ),
        // Two names that begin on one day; only special treatment makes a difference.
        (
            &[("a", "20200101", None), ("b", "20200101", None)],
            &["a 2020-01-01.."],
            0,
        ),
        (
            &[
                ("a", "20200101", None),
                ("ST b", "20200101", Some("20201231")),
            ],
            &["ST b 2020-01-01..2020-12-31", "a 2021-01-01.."],
            1,
        ),
        // A period that ends before it begins is ignored.
        (
            &[("a", "20200101", Some("20191231")), ("b", "20210101", None)],
            &["b 2021-01-01.."],
            0,
        ),
        (&[], &[], 0),
    ];
    for (rows, expected, unclear) in cases {
        let (periods, open) = history(rows);
        assert_eq!(
            (periods.as_slice(), open),
            (
                &expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..],
                unclear
            ),
            "{rows:?}"
        );
    }
    let both = named(&[
        ("a", "20200101", None),
        ("ST b", "20200101", Some("20201231")),
    ]);
    assert_eq!(
        both.unclear(),
        [
            "two names begin on one day, ST b from 2020-01-01 to 2020-12-31 and a from 2020-01-01 to an open end; counted as \
             under special treatment"
        ]
    );
    assert_eq!(
        both.st_periods(),
        [(day("20200101"), Some(day("20201231")))]
    );
}

#[test]
fn names_and_reasons_give_the_first_days_of_delisting_periods_and_resumed_listings() {
    let special = SpecialDays::ashare().unwrap();
    let free = |listed: Option<&str>, text: &str| {
        let table = format!("ts_code,name,start_date,end_date,change_reason\n{text}");
        let (names, bad) = read_name_changes(table.as_bytes(), "n.csv").unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        let (symbol, names) = names.into_iter().next().unwrap();
        let stock = Instrument::new(symbol, "a", listed.map(day), None).unwrap();
        let days = special.free_days(&stock.with_names(names));
        days.iter().map(Date::to_string).collect::<Vec<_>>()
    };
    for (rows, expected) in [
        // Shanghai puts the mark before the name, Shenzhen after it.
        (
            "600901.SH,*ST甲,20200506,20221009,*ST\n600901.SH,退市甲,20221010,,退市整理\n",
            &["2022-10-10"][..],
        ),
        (
            "000901.SZ,*ST甲,20200506,20221009,*ST\n000901.SZ,甲退,20221010,,\n",
            &["2022-10-10"],
        ),
        (
            "000901.SZ,*ST甲,20200506,20221009,*ST\n000901.SZ,*退甲,20221010,,\n",
            &["2022-10-10"],
        ),
        // A change of name within the period begins no new one.
        (
            "000901.SZ,甲退,20221010,20221012,\n000901.SZ,XD甲退,20221013,20221013,\n",
            &["2022-10-10"],
        ),
        // By the reason alone.
        (
            "000901.SZ,*ST甲,20200506,20221009,*ST\n000901.SZ,甲,20221010,,退市整理\n",
            &["2022-10-10"],
        ),
        // An unchanged name in two rows, one without the reason.
        (
            "000901.SZ,ST甲,20100506,20121219,\n000901.SZ,ST甲,20121220,,\n000901.SZ,ST甲,20121220,,恢复上市\n",
            &["2012-12-20"],
        ),
        // Before the rule.
        ("000901.SZ,甲退,20150601,,\n", &[]),
        // Resumed, by the reason or by the name.
        (
            "000901.SZ,*ST甲,20100506,20121009,暂停上市\n000901.SZ,ST甲,20121220,,恢复上市\n",
            &["2012-12-20"],
        ),
        (
            "000901.SZ,NST甲,20121220,20121220,其他\n000901.SZ,ST甲,20121221,,其他\n",
            &["2012-12-20"],
        ),
        ("000901.SZ,ST甲,20050620,,恢复上市\n", &[]),
        // The first listing is left to the limit rules, and a Latin letter to the name.
        (
            "000901.SZ,N甲,20120103,20120103,\n000901.SZ,甲,20120104,,\n",
            &[],
        ),
        ("000901.SZ,NBD,20121220,,\n", &[]),
    ] {
        assert_eq!(free(Some("20120103"), rows), expected, "{rows}");
    }
}

#[test]
fn flags_of_bars_take_precedence_and_disagreements_are_reported() {
    let flags: Vec<(Date, bool)> = [
        ("20240102", false),
        ("20240103", true),
        ("20240104", true),
        ("20240108", true),
        ("20240109", false),
        ("20240110", false),
    ]
    .map(|(date, flag)| (day(date), flag))
    .into();
    let period = |from, to: Option<&str>| StPeriod {
        from: day(from),
        to: to.map(day),
    };
    // Flags alone. Days without a bar belong to the bar before.
    let (periods, disagreements) = st_periods_of_flags(&flags, None);
    assert_eq!(periods, [period("20240103", Some("20240108"))]);
    assert!(disagreements.is_empty());
    // Names that began two days later and never ended.
    let known = [
        period("20230101", Some("20230601")),
        period("20240105", None),
    ];
    let (periods, disagreements) = st_periods_of_flags(&flags, Some(&known));
    assert_eq!(
        periods,
        [
            period("20230101", Some("20230601")),
            period("20240103", Some("20240108")),
            period("20240111", None)
        ]
    );
    let run = |from, to, bars, flagged| StMismatch {
        from: day(from),
        to: day(to),
        bars,
        flagged,
    };
    assert_eq!(
        disagreements,
        [
            run("20240103", "20240104", 2, true),
            run("20240109", "20240110", 2, false)
        ]
    );
    // Names that agree: one period, also across the first flag.
    let flags = [(day("20240103"), true), (day("20240104"), true)];
    let known = [period("20230101", None)];
    let (periods, disagreements) = st_periods_of_flags(&flags, Some(&known));
    assert_eq!((periods.as_slice(), disagreements.len()), (&known[..], 0));
    assert_eq!(st_periods_of_flags(&[], Some(&known)).0, known);
}

#[test]
fn the_list_of_stocks_keeps_the_delisted_ones() {
    let text = "ts_code,name,list_status,list_date,delist_date,industry,cnspell\n\
        600001.SH,邯郸钢铁,D,19980122,20091229,None,\n\
        600000.SH,浦发银行,L,19991110,None,银行,pfyh\n";
    let (stocks, bad) = Instrument::from_stock_basic(text.as_bytes(), "basic.csv").unwrap();
    assert!(bad.is_empty(), "{bad:?}");
    let delisted = &stocks[&Symbol::parse("600001.SH").unwrap()];
    assert!(delisted.is_listed(day("20091228")) && !delisted.is_listed(day("20091229")));
    assert!(!delisted.is_listed(day("19980121")));
    assert_eq!(
        (delisted.name(), delisted.board(), delisted.exchange()),
        ("邯郸钢铁", Board::Main, Exchange::Shanghai)
    );
    let listed = &stocks[&Symbol::parse("600000.SH").unwrap()];
    assert!(listed.is_listed(day("20250101")) && listed.delisted().is_none());
    assert_eq!(
        (listed.industry(), listed.initials()),
        (Some("银行"), Some("pfyh"))
    );
    assert_eq!((delisted.industry(), delisted.initials()), (None, None));
}

#[test]
fn two_rows_of_a_stock_are_one_stock_and_contradicting_days_are_unknown() {
    let header = "ts_code,name,list_status,list_date,delist_date\n";
    for (rows, listed, delisted, rule) in [
        (
            "600001.SH,a,L,19980122,\n600001.SH,a,D,19980122,20091229\n",
            Some("1998-01-22"),
            Some("2009-12-29"),
            Some(
                "line 3, column delist_date: is 2009-12-29 in one of two rows and empty in the other; counted as delisted",
            ),
        ),
        (
            "600001.SH,a,D,19980122,20091229\n600001.SH,a,D,19980122,20091229\n",
            Some("1998-01-22"),
            Some("2009-12-29"),
            None,
        ),
        (
            "600001.SH,a,L,19980122,\n600001.SH,a,P,19990122,\n",
            None,
            None,
            Some(
                "line 3, column list_date: must be one day, and is 1998-01-22 and 1999-01-22 in two rows",
            ),
        ),
        (
            "600001.SH,a,D,19980122,20091229\n600001.SH,a,D,,20081229\n",
            Some("1998-01-22"),
            None,
            Some("line 3, column delist_date: must be one day"),
        ),
        (
            "600001.SH,,L,,\n",
            None,
            None,
            Some("line 2, column list_date: must be known"),
        ),
        (
            "600001.SH,a,D,20200101,20190101\n",
            None,
            None,
            Some("line 2, column delist_date: must not lie before the listing on 2020-01-01"),
        ),
    ] {
        let table = format!("{header}{rows}600000.SH,b,L,19991110,\n");
        let (stocks, bad) = Instrument::from_stock_basic(table.as_bytes(), "t.csv").unwrap();
        let symbol = Symbol::parse("600001.SH").unwrap();
        let stock = &stocks[&symbol];
        let text = |date: Option<Date>| date.map(|date| date.to_string());
        assert_eq!(text(stock.listed()).as_deref(), listed, "{rows}");
        assert_eq!(text(stock.delisted()).as_deref(), delisted, "{rows}");
        assert_eq!(stocks.len(), 2, "the other stock is kept");
        match rule {
            None => assert!(bad.is_empty(), "{bad:?}"),
            Some(rule) => {
                assert_eq!((bad.len(), bad[0].symbol), (1, Some(symbol)), "{rows}");
                let message = bad[0].error.to_string();
                assert!(message.starts_with(&format!("t.csv {rule}")), "{message}");
            }
        }
    }
}

#[test]
fn a_bad_row_names_stock_line_and_column_and_other_rows_are_kept() {
    let basic = |rows: &str| {
        let table = format!("ts_code,name,list_date\n{rows}600000.SH,a,20200101\n");
        let (found, bad) = Instrument::from_stock_basic(table.as_bytes(), "t.csv").unwrap();
        (found.len(), bad)
    };
    let names = |rows: &str| {
        let table = format!("ts_code,name,start_date,end_date\n{rows}600000.SH,a,20200101,\n");
        let (found, bad) = read_name_changes(table.as_bytes(), "t.csv").unwrap();
        (found.len(), bad)
    };
    let suspended = |rows: &str| {
        let table = format!("ts_code,trade_date,suspend_type\n{rows}600000.SH,20200101,S\n");
        let (found, bad) = read_suspended_days(table.as_bytes(), "t.csv").unwrap();
        (found.len(), bad)
    };
    for ((found, bad), stock, reason) in [
        (
            basic("600009,a,20200101\n"),
            None,
            "line 2, column ts_code: a six-digit code needs",
        ),
        (
            basic("600009.SH,a,1\n"),
            Some("600009.SH"),
            "line 2, column list_date",
        ),
        (
            basic("600009.SH,a\n"),
            Some("600009.SH"),
            "line 2, column *: must have 3 cells",
        ),
        (
            names("600009.SH,,20200101,\n"),
            Some("600009.SH"),
            "line 2, column name: must not be empty",
        ),
        (
            names("600009.SH,a,20200102,20200101\n"),
            Some("600009.SH"),
            "line 2, column start_date: must not lie after the end",
        ),
        (
            suspended("600009.SH,20200102,X\n"),
            Some("600009.SH"),
            "line 2, column suspend_type: must be S or R, got \"X\"",
        ),
        (
            suspended("600009.SH,soon,S\n"),
            Some("600009.SH"),
            "line 2, column trade_date",
        ),
    ] {
        assert_eq!((found, bad.len()), (1, 1), "{reason}");
        assert_eq!(bad[0].symbol.map(|s| s.to_string()).as_deref(), stock);
        let message = bad[0].error.to_string();
        assert!(message.contains(reason), "{message}");
    }
    let error = Instrument::from_stock_basic("ts_code,name\n".as_bytes(), "t.csv").unwrap_err();
    assert!(error.to_string().contains("lacks the column list_date"));
    // A trailing comma in the rows is no cell.
    assert_eq!(basic("600009.SH,a,20200101,\n").0, 2);
}

#[test]
fn tables_of_names_are_read_in_both_encodings_quoted_and_with_a_byte_order_mark() {
    let text = "ts_code,name,start_date,end_date,change_reason\r\n\"000004.SZ\",\"＊ＳＴ国农, A\",20090429,,*ST\r\n";
    let (gbk, _, _) = encoding_rs::GBK.encode(text);
    let marked = format!("\u{feff}{text}");
    for bytes in [text.as_bytes(), &gbk, marked.as_bytes()] {
        let (names, bad) = read_name_changes(bytes, "n.csv").unwrap();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(is_st_name(&names[&stock()][0].name));
    }
}
