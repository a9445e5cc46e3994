//! A source that continues at a cursor gives what it would have given, item by item, without reading the rows before.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use heqis_actors::{BuildContext, Next, Source};
use heqis_gateway::source::{CsvReplay, Simulated};
use heqis_messages::BarMessage;
use heqis_quant::Bar;
use serde_json::{Value, json};
use support::{bars_of, config, context, count};

/// Two tables with bad rows, series of several instruments with holes, blank lines and all kinds of line ends.
fn tables(dir: &Path) -> Value {
    let mut many = String::from("\u{feff}date,symbol,open,high,low,close,volume\r\n");
    let mut one = String::from("date,open,high,low,close,volume\r");
    for day in 1..=28 {
        for (at, symbol) in ["600000.SH", "000001.SZ", "002032.SZ"].iter().enumerate() {
            let close = match (day * 3 + at) % 7 {
                0 => "none".to_owned(),
                _ => format!("{}", 10 + day),
            };
            let end = ["\n", "\r\n", "\r", "\n\n"][(day + at) % 4];
            let _ = write!(many, "2015-06-{day:02},{symbol},10,99,1,{close},100{end}");
        }
        let cells = if day % 5 == 0 { ",1,1" } else { "" };
        let _ = write!(one, "2015-06-{day:02},10,11,9,10.5,{day}00{cells}\r");
    }
    many.push_str("2015-06-29,600000.SH,\"10");
    std::fs::write(dir.join("many.csv"), many).unwrap();
    std::fs::write(dir.join("600004.SH.csv"), one).unwrap();
    json!({ "paths": ["many.csv", "600004.SH.csv"] })
}

fn built<S: Source<Config: serde::de::DeserializeOwned>>(cx: &BuildContext, params: &Value) -> S {
    S::build(&config(params.clone()), cx).unwrap()
}

/// Compares what follows each position with and without the items before it; returns how many there are.
fn assert_continues<S>(dir: &Path, params: &Value) -> usize
where
    S: Source<Out = BarMessage, Config: serde::de::DeserializeOwned>,
{
    let whole_cx = context(dir);
    let whole = bars_of(&mut built::<S>(&whole_cx, params));
    let mut going: S = built(&context(dir), params);
    for given in 0..=whole.len() {
        let cursor = going.cursor().unwrap();
        let position = given as u64 + 1;
        let mut again: S = built(&context(dir), params);
        assert!(again.seek(position, Some(&cursor)).unwrap());
        assert_eq!(again.cursor().unwrap(), cursor);
        let rest = bars_of(&mut again);
        assert!(rest == whole[given..], "after {given} of {}", whole.len());
        match going.next().unwrap() {
            Next::Item(BarMessage(bar)) => assert_eq!(bar, whole[given]),
            Next::End => assert_eq!(given, whole.len()),
            other => panic!("{other:?}"),
        }
    }
    // Without a cursor, or with one of another version, it begins with the first item as before.
    let mut first: S = built(&context(dir), params);
    assert!(!first.seek(7, None).unwrap());
    assert!(!first.seek(7, Some(&[1, 2, 3])).unwrap());
    assert!(bars_of(&mut first) == whole);
    whole.len()
}

#[test]
fn a_replay_continues_at_every_bar() {
    let dir = tempfile::tempdir().unwrap();
    let params = tables(dir.path());
    // Of 28 days three in seven of one row each, and every fifth, are bad.
    assert_eq!(assert_continues::<CsvReplay>(dir.path(), &params), 72 + 23);
    let some = json!({ "paths": params["paths"], "from": "2015-06-05", "to": "2015-06-20" });
    assert!(assert_continues::<CsvReplay>(dir.path(), &some) < 60);
}

#[test]
fn a_compressed_table_and_one_of_minutes_continue_at_every_bar() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("time,open,high,low,close,volume\n");
    for minute in 31..=59 {
        let _ = writeln!(text, "2015-06-05 09:{minute}:00,10,11,9,10.5,{minute}00");
    }
    let file = std::fs::File::create(dir.path().join("600000.SH.csv.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap();
    let params = json!({ "paths": ["600000.SH.csv.gz"] });
    assert_eq!(assert_continues::<CsvReplay>(dir.path(), &params), 29);
}

#[test]
fn bars_that_are_simulated_continue_at_every_bar() {
    let dir = tempfile::tempdir().unwrap();
    let params = json!({ "seed": 7, "symbols": 3, "days": 20 });
    assert_eq!(assert_continues::<Simulated>(dir.path(), &params), 60);
    // A cursor of another number of walks is not one of this source.
    let cursor = built::<Simulated>(&context(dir.path()), &params).cursor();
    let other = json!({ "seed": 7, "symbols": 4, "days": 20 });
    let mut other: Simulated = built(&context(dir.path()), &other);
    assert!(!other.seek(1, cursor.as_deref()).unwrap());
}

#[test]
fn rows_before_the_cursor_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let params = tables(dir.path());
    let mut first: CsvReplay = built(&context(dir.path()), &params);
    let some: Vec<Bar> = (0..50)
        .map(|_| match first.next().unwrap() {
            Next::Item(BarMessage(bar)) => bar,
            other => panic!("{other:?}"),
        })
        .collect();
    let cx = context(dir.path());
    let mut again: CsvReplay = built(&cx, &params);
    assert!(again.seek(51, first.cursor().as_deref()).unwrap());
    let rest = bars_of(&mut again);
    assert_eq!(some.len() + rest.len(), 95);
    let whole = context(dir.path());
    bars_of(&mut built::<CsvReplay>(&whole, &params));
    assert!(count(&cx, "bad_row") < count(&whole, "bad_row"));
    // A file that became shorter is an error and no end.
    std::fs::write(
        dir.path().join("600004.SH.csv"),
        "date,open,high,low,close,volume\n2015-06-01,1,1,1,1,1\n",
    )
    .unwrap();
    let mut short: CsvReplay = built(&context(dir.path()), &params);
    assert!(short.seek(51, first.cursor().as_deref()).is_err());
}

/// `cargo test --release -p heqis-gateway --test seek -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: 2,000,000 rows"]
#[expect(clippy::print_stdout, reason = "a measurement shows its result")]
fn two_million_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("time,symbol,open,high,low,close,volume\n");
    for at in 0..2_000_000u64 {
        let (day, minute) = (at / 10_000, at / 50 % 200);
        let date = heqis_quant::Date::from_days(16_000 + day as i32).unwrap();
        let (symbol, cents) = (600_000 + at % 50, 1_000 + at % 97);
        let close = cents as f64 / 100.0;
        let clock = format!("{:02}:{:02}:00", 9 + (30 + minute) / 60, (30 + minute) % 60);
        let _ = writeln!(
            text,
            "{date} {clock},{symbol}.SH,{close},{},{},{close},{}",
            close + 0.5,
            close - 0.5,
            100 + at % 1000
        );
    }
    let bytes = text.len();
    std::fs::write(dir.path().join("minutes.csv"), text).unwrap();
    let params: Value = json!({ "paths": ["minutes.csv"] });
    let parsed = config(params.clone());
    let time = |what: &str, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        work();
        println!("{what}: {:.3} s", begun.elapsed().as_secs_f64());
    };
    println!("{bytes} bytes");
    time("check", &mut || {
        assert!(CsvReplay::check(&parsed, dir.path()).is_empty())
    });
    time("identity", &mut || {
        assert!(CsvReplay::identity(&parsed, dir.path()).unwrap().is_some())
    });
    let (mut first, mut cursor) = (None, None);
    time("build", &mut || {
        first = Some(built::<CsvReplay>(&context(dir.path()), &params))
    });
    let first = first.as_mut().unwrap();
    time("1,999,000 rows before the position, read", &mut || {
        for _ in 0..1_999_000 {
            assert!(matches!(first.next(), Ok(Next::Item(_))));
        }
    });
    time("cursor", &mut || cursor = first.cursor());
    let mut again: CsvReplay = built(&context(dir.path()), &params);
    time("1,999,000 rows before the position, sought", &mut || {
        assert!(again.seek(1_999_001, cursor.as_deref()).unwrap());
    });
    assert!(bars_of(&mut again) == bars_of(first));
}
