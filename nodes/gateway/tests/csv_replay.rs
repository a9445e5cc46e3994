//! Files become bars in order of time; what is no bar is counted; no row gets lost unseen.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use heqis_actors::{BuildContext, Clock, Next, Source, StageError};
use heqis_gateway::source::CsvReplay;
use heqis_messages::BarMessage;
use heqis_quant::{Bar, Date};
use serde_json::{Value, json};
use support::{bars_of, committed_bars, config, context, count, root};

const A: &str = "data/ashare/002032.SZ.csv";
const B: &str = "data/ashare/600000.SH.csv";

fn replay(cx: &BuildContext, params: Value) -> CsvReplay {
    CsvReplay::build(&config(params), cx).unwrap()
}

fn faults(params: Value, base: &Path) -> Vec<String> {
    CsvReplay::check(&config(params), base)
}

#[test]
fn files_are_merged_by_time_then_symbol_and_no_bar_is_missing() {
    let cx = context(root());
    let got = bars_of(&mut replay(&cx, json!({ "paths": [B, A] })));
    let mut expected = committed_bars("002032.SZ.csv");
    expected.extend(committed_bars("600000.SH.csv"));
    expected.sort_by_key(|bar| (bar.time_ns, bar.symbol));
    assert_eq!(got.len(), 2_813 + 3_659);
    assert!(got == expected);
    assert_eq!(count(&cx, "bad_row"), 0);
}

#[test]
fn two_builds_give_the_same_bars() {
    let run = || bars_of(&mut replay(&context(root()), json!({ "paths": [A, B] })));
    assert!(run() == run());
}

#[test]
fn only_the_days_asked_for_are_replayed_both_ends_included() {
    let params = json!({ "paths": [A], "from": "2015-06-01", "to": "2015-06-30" });
    let got = bars_of(&mut replay(&context(root()), params));
    let (from, to) = (
        Date::parse("2015-06-01").unwrap(),
        Date::parse("2015-06-30").unwrap(),
    );
    let expected: Vec<Bar> = committed_bars("002032.SZ.csv")
        .into_iter()
        .filter(|bar| (from..=to).contains(&bar.date))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(
        (expected[0].date, expected[expected.len() - 1].date),
        (from, to)
    );
    assert_eq!(got, expected);
}

#[test]
fn bad_rows_are_counted_by_reason_and_the_rest_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let text = "date,open,high,low,close,volume\n\
                2015-06-01,1,1,1,1,100\n\
                2015-06-02,1,1,1,abc,100\n\
                2015-06-03,1,1,1\n\
                not a day,1,1,1,1,100\n\
                2015-06-04,1,1,1,1,100\n";
    fs::write(dir.path().join("600000.SH.csv"), text).unwrap();
    let cx = context(dir.path());
    let bars = bars_of(&mut replay(&cx, json!({ "paths": ["600000.SH.csv"] })));
    let dates: Vec<String> = bars.iter().map(|bar| bar.date.to_string()).collect();
    assert_eq!(dates, ["2015-06-01", "2015-06-04"]);
    assert_eq!(count(&cx, "bad_row"), 3);
    assert_eq!(
        (count(&cx, "bad_row_value"), count(&cx, "bad_row_syntax")),
        (2, 1)
    );
}

#[test]
fn a_file_without_a_symbol_column_is_named_after_its_symbol_and_another_needs_the_column() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "date,open,high,low,close,volume\n2015-06-01,1,1,1,1,100\n";
    fs::write(dir.path().join("600000.SH.csv"), rows).unwrap();
    fs::write(dir.path().join("my prices.csv"), rows).unwrap();
    let bars = bars_of(&mut replay(
        &context(dir.path()),
        json!({ "paths": ["600000.SH.csv"] }),
    ));
    assert_eq!(bars[0].symbol.as_str(), "600000.SH");
    let faults = faults(json!({ "paths": ["my prices.csv"] }), dir.path());
    assert!(
        faults.len() == 1 && faults[0].contains("my prices.csv header: has no symbol column"),
        "{faults:?}"
    );
}

#[test]
fn every_fault_of_the_parameters_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty.csv"), "").unwrap();
    let params = json!({
        "paths": ["missing.csv", "empty.csv", "."], "speed": -1.0, "from": "2020-01-02", "to": "2020-01-01",
    });
    let faults = faults(params, dir.path());
    let expected = [
        "missing.csv: No such file",
        "empty.csv header",
        "is a directory",
        "speed is -1",
        "from 2020-01-02",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault}");
    }
    assert_eq!(
        self::faults(json!({ "paths": [] }), dir.path()),
        ["paths is empty, it must name at least one file"]
    );
}

#[test]
fn a_file_that_is_named_twice_would_give_every_bar_twice() {
    let again = format!("data/../{A}");
    let faults = faults(json!({ "paths": [A, B, again] }), &root());
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("paths names ") && faults[0].ends_with("002032.SZ.csv twice"));
}

#[test]
fn a_file_that_begins_with_its_newest_bar_or_holds_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = ["2015-06-02,1,1,1,1,100", "2015-06-01,1,1,1,1,100"];
    let write = |name: &str, rows: &[&str]| {
        let text = format!("date,open,high,low,close,volume\n{}\n", rows.join("\n"));
        fs::write(dir.path().join(name), text).unwrap();
        faults(json!({ "paths": [name] }), dir.path())
    };
    let newest_first = write("600000.SH.csv", &rows);
    assert_eq!(newest_first.len(), 1, "{newest_first:?}");
    assert!(
        newest_first[0].ends_with(
            "600000.SH.csv: 2015-06-02 stands before 2015-06-01, the oldest bar must come first"
        ),
        "{newest_first:?}"
    );
    assert_eq!(write("600001.SH.csv", &[rows[1], rows[0]]), [""; 0]);
    assert_eq!(write("600002.SH.csv", &rows[..1]), [""; 0]);
    let empty = write("600003.SH.csv", &["2015-06-01,1,1,1,?,100"]);
    assert!(
        empty[0].contains("600003.SH.csv: no row is a bar: ") && empty[0].contains("column close"),
        "{empty:?}"
    );
}

#[test]
fn a_file_may_hold_one_symbol_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let text = "symbol,date,open,high,low,close,volume\n\
                600000.SH,2015-06-02,1,1,1,1,100\n\
                600001.SH,2015-06-01,1,1,1,1,100\n";
    fs::write(dir.path().join("two.csv"), text).unwrap();
    assert_eq!(faults(json!({ "paths": ["two.csv"] }), dir.path()), [""; 0]);
}

#[test]
fn parameters_that_make_no_sense_are_refused_by_build_too() {
    for (params, fault) in [
        (
            json!({ "paths": [] }),
            "paths is empty, it must name at least one file",
        ),
        (
            json!({ "paths": [A], "speed": 0.0 }),
            "speed is 0, it must be above 0",
        ),
        (
            json!({ "paths": [A], "from": "2015-06-02", "to": "2015-06-01" }),
            "from 2015-06-02 is after to 2015-06-01",
        ),
    ] {
        let error = CsvReplay::build(&config(params), &context(root()))
            .err()
            .unwrap();
        assert_eq!(error, StageError::Config(fault.into()));
    }
}

#[test]
fn a_file_that_went_missing_after_the_check_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Err(StageError::Config(reason)) =
        CsvReplay::build(&config(json!({ "paths": ["x.csv"] })), &context(dir.path()))
    else {
        panic!("a missing file was opened")
    };
    assert!(reason.contains("x.csv: No such file"), "{reason}");
}

fn next(source: &mut CsvReplay) -> Result<Bar, i64> {
    match source.next().unwrap() {
        Next::Item(BarMessage(bar)) => Ok(bar),
        Next::At(ns) => Err(ns),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_speed_paces_bars_by_their_own_time_stamps() {
    let dir = tempfile::tempdir().unwrap();
    let text = "date,open,high,low,close,volume\n2015-06-01,1,1,1,1,100\n2015-06-02,1,1,1,1,100\n2015-06-04,1,1,1,1,100\n";
    fs::write(dir.path().join("600000.SH.csv"), text).unwrap();
    let clock = Clock::virtual_at(5_000);
    let cx = BuildContext::detached("market", dir.path(), clock.clone());
    // A day a second.
    let mut source = replay(
        &cx,
        json!({ "paths": ["600000.SH.csv"], "speed": 86_400.0 }),
    );
    assert!(next(&mut source).is_ok(), "the first bar is due at once");
    assert_eq!(next(&mut source), Err(5_000 + 1_000_000_000));
    clock.advance_to(5_000 + 1_000_000_000 - 1);
    assert!(next(&mut source).is_err(), "not a nanosecond early");
    clock.advance_to(5_000 + 1_000_000_000);
    assert!(next(&mut source).is_ok());
    assert_eq!(
        next(&mut source),
        Err(5_000 + 3_000_000_000),
        "pauses do not add up"
    );
    clock.advance_to(5_000 + 3_000_000_000);
    assert!(next(&mut source).is_ok());
    assert!(matches!(source.next().unwrap(), Next::End));
}

#[test]
fn a_speed_so_slow_that_the_next_bar_is_never_due_waits() {
    let cx = BuildContext::detached("market", root(), Clock::virtual_at(1));
    let mut source = replay(&cx, json!({ "paths": [A], "speed": 1e-300 }));
    assert!(next(&mut source).is_ok());
    assert_eq!(next(&mut source), Err(i64::MAX));
}

#[test]
fn unknown_parameters_and_speeds_are_refused() {
    let refused = |params: Value| {
        serde_json::from_value::<heqis_gateway::source::CsvReplayConfig>(params)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(json!({ "paths": [], "path": "x" })).contains("unknown field `path`"));
    assert!(refused(json!({ "paths": [], "speed": "fast" })).contains("Speed"));
}

/// 45,000 minutes of a market that never closes: every one is replayed, midnights too, packed or not.
#[test]
fn minutes_around_the_clock_are_replayed_in_order() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("symbol,datetime,open,high,low,close,volume\n");
    let start = 1_640_908_800i64;
    let mut expected = Vec::new();
    for minute in 0..45_000i64 {
        let at = start + minute * 60 + if minute > 20_000 { 86_400 } else { 0 };
        let day = Date::from_days(i32::try_from(at / 86_400).unwrap()).unwrap();
        let (hour, minute_of) = (at % 86_400 / 3600, at / 60 % 60);
        text += &format!("BTCUSD,{day} {hour:02}:{minute_of:02}:00,5,6,4,5,1\n");
        expected.push(at * 1_000_000_000);
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    fs::write(dir.path().join("minutes.csv"), &text).unwrap();
    fs::write(dir.path().join("minutes.csv.gz"), packed.finish().unwrap()).unwrap();
    for name in ["minutes.csv", "minutes.csv.gz"] {
        let cx = context(dir.path().to_owned());
        let got = bars_of(&mut replay(&cx, json!({ "paths": [name] })));
        let times: Vec<i64> = got.iter().map(|bar| bar.time_ns).collect();
        assert!(
            times == expected,
            "{name}: {} of {}",
            times.len(),
            expected.len()
        );
        assert_eq!(count(&cx, "bad_row"), 0);
    }
}
