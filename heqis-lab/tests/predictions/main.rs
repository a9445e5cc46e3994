//! Tables of predictions: accepted and rejected files, the bars that they refer to, and the output of `predict`.
#![allow(clippy::unwrap_used)]

mod commands;
use flate2::write::GzEncoder;
use heqis_data::predictions::write::{PredictionRow, write};
use heqis_data::predictions::{Forecast, Predictions};
use heqis_quant::{Bar, Date, DecisionRule, Marks, SignalMode, Span, Symbol};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

const ROWS: &str = "symbol,date,predicted_return,p_down,p_flat,p_up,fitted_to\n\
    002032.SZ,2010-01-04,0.01,0.2,0.3,0.5,2009-12-31\n\
    002032.SZ,2010-01-05,-0.02,0.5,0.3,0.2,\n";

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn bar(symbol: &str, date: Date, time_ns: i64) -> Bar {
    Bar {
        symbol: Symbol::parse(symbol).unwrap(),
        time_ns,
        date,
        open: 10.0,
        high: 10.0,
        low: 10.0,
        close: 10.0,
        pre_close: None,
        volume_shares: 1e6,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

fn daily(symbol: &str, date: &str) -> Bar {
    bar(symbol, day(date), day(date).close_time_ns())
}

fn all() -> Span {
    Span::new(day("1990-01-01"), day("2199-12-31")).unwrap()
}

/// Reads a text as a table from a file.
fn read(text: &str) -> Result<Predictions, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.csv");
    fs::write(&path, text).unwrap();
    let read = Predictions::read(&path).map_err(|error| error.to_string());
    read.map_err(|text| text.replace(&path.display().to_string(), "p.csv"))
}

fn coverage(
    table: &Predictions,
    bars: &[Bar],
) -> Result<heqis_data::predictions::Coverage, String> {
    let covered = table.coverage(&[(bars[0].symbol, bars)], all());
    covered.map_err(|error| error.to_string())
}

#[test]
fn old_and_new_spellings_any_order_and_unknown_columns_read_the_same() {
    let bars = [
        daily("002032.SZ", "2010-01-04"),
        daily("002032.SZ", "2010-01-05"),
    ];
    let expected = [
        Forecast {
            predicted_return: 0.01,
            probabilities: Some([0.2, 0.3, 0.5]),
            fitted_to: Some(day("2009-12-31")),
        },
        Forecast {
            predicted_return: -0.02,
            probabilities: Some([0.5, 0.3, 0.2]),
            fitted_to: None,
        },
    ];
    for text in [
        ROWS.to_owned(),
        ROWS.replace("p_", ""),
        ROWS.replace(",2009-12-31", ",2009-12-31,")
            .replace("0.2,\n", "0.2,,\n"),
        format!(
            "\u{feff}{}",
            ROWS.to_uppercase().replace("002032.SZ", "002032.sz")
        ),
        ROWS.replace("2010-01-04", "20100104 00:00:00")
            .replace("2010-01-05", "2010/1/5 0:00"),
        // Midnight at UTC+08:00, as a timestamp.
        ROWS.replace("2010-01-04", "2010-01-03T16:00:00Z")
            .replace("2010-01-05", "2010-01-04T16:00:00.000Z"),
        "\"fitted_to\",note,down,up,flat,predicted_return,trade_date,ts_code\r\n\
         2009-12-31,\"a, \"\"b\"\"\",0.2,0.5,0.3,1e-2,20100104,002032.SZ\r\n\
         ,,0.5,0.2,0.3,-2e-2,20100105,002032.SZ\r\n"
            .to_owned(),
    ] {
        let table = read(&text).unwrap();
        let found: Vec<Forecast> = bars.iter().filter_map(|bar| table.of(bar)).collect();
        assert_eq!(found, expected, "{text}");
        let ignored = coverage(&table, &bars).unwrap().ignored_columns;
        assert_eq!(
            ignored,
            if text.contains("note") {
                vec!["note"]
            } else {
                vec![]
            }
        );
    }
}

#[test]
fn a_row_that_breaks_a_rule_is_rejected_with_place_rule_and_value() {
    let good = "002032.SZ,2010-01-06,0.01,0.2,0.3,0.5,2009-12-31";
    for (from, to, words) in [
        (
            "0.5,",
            "0.6,",
            "line 4, column p_down: must be probabilities",
        ),
        (
            "0.2,",
            "-0.1,",
            "line 4, column p_down: must be probabilities",
        ),
        (
            "0.01",
            "NaN",
            "line 4, column predicted_return: must be a finite number, got \"NaN\"",
        ),
        ("0.01", "inf", "must be a finite number"),
        ("0.01", "", "must be a finite number"),
        ("0.01", "much", "must be a finite number, got \"much\""),
        ("0.3", "", "line 4, column p_flat: must be a finite number"),
        (
            "002032.SZ",
            "002032",
            "line 4, column symbol: a six-digit code needs its exchange",
        ),
        ("2010-01-06", "2010-13-06", "line 4, column date: "),
        (
            "2010-01-06",
            "2010-01-05",
            "line 4, column symbol, date: must not be a duplicate of line 3",
        ),
        ("2009-12-31", "soon", "line 4, column fitted_to"),
        (
            "2009-12-31",
            "\"2009-12-31",
            "a quote is opened and never closed",
        ),
        (",2009-12-31", "", "line 4, column *: must have 7 cells"),
        (
            "2009-12-31",
            "2009-12-31,x",
            "line 4, column *: must have 7 cells",
        ),
        (
            "2010-01-06",
            "2010-01-06 09:31",
            "line 2, column date: must have a time of day like line 4",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = read(&format!("{ROWS}{}\n", good.replacen(from, to, 1))).unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
    for (text, words) in [
        ("", "must have a header"),
        (
            "symbol,date\n",
            "must have a header with symbol, date and predicted_return",
        ),
        ("symbol,date,predicted_return\n", "must have a row"),
        ("symbol,code,date,predicted_return\n", "got symbol and code"),
        ("symbol,date,predicted_return,p_up,up\n", "got p_up and up"),
        (
            "symbol,date,predicted_return,p_up\n",
            "all of p_down, p_flat and p_up",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_minute_is_identified_by_its_time_and_a_date_does_not_match_minutes() {
    // 2022-01-01 23:59 and the next two minutes in UTC, the time zone of this market; computed independently of this crate.
    let first = 1_641_081_540_000_000_000;
    let dates = ["2022-01-01", "2022-01-02", "2022-01-02"].map(day);
    let bars: Vec<Bar> = dates
        .into_iter()
        .enumerate()
        .map(|(at, date)| bar("BTCUSD", date, first + at as i64 * 60_000_000_000))
        .collect();
    for times in [
        ["2022-01-01 23:59", "2022-01-02 00:00", "2022-01-02 00:01"],
        [
            "2022-01-02T07:59:00+08:00",
            "2022-01-02T08:00:00+08:00",
            "2022-01-02T00:01:00.000Z",
        ],
        ["1641081540", "1641081600", "1641081660"],
        ["202201012359", "202201020000", "202201020001"],
    ] {
        let rows: String = times
            .iter()
            .map(|time| format!("BTCUSD,{time},0.01\n"))
            .collect();
        let table = read(&format!("symbol,date,predicted_return\n{rows}")).unwrap();
        let covered = coverage(&table, &bars).unwrap();
        assert_eq!((covered.used, covered.unmatched), (3, 0), "{times:?}");
    }
    let table = read(
        "symbol,date,time,predicted_return\nBTCUSD,2022-01-01,23:59,0.1\nBTCUSD,2022-01-02,0:00,0.2\n",
    );
    assert_eq!(table.unwrap().of(&bars[1]).unwrap().predicted_return, 0.2);
    let table = read("symbol,date,predicted_return\nBTCUSD,2022-01-02,0.01\n").unwrap();
    let error = coverage(&table, &bars).unwrap_err();
    assert!(
        error.contains("BTCUSD has several bars on 2022-01-02"),
        "{error}"
    );
    let table = read("symbol,date,time,predicted_return\nBTCUSD,2022-01-02,2022-01-03 10:00,0.1\n");
    assert!(table.unwrap_err().contains("must lie on 2022-01-02"));
}

#[test]
fn unmatched_rows_and_bars_are_counted_and_no_match_is_an_error() {
    let table = read(ROWS).unwrap();
    let bars = [
        daily("002032.SZ", "2010-01-05"),
        daily("002032.SZ", "2010-01-06"),
        daily("002032.SZ", "2010-01-07"),
    ];
    let covered = coverage(&table, &bars).unwrap();
    assert_eq!((covered.rows, covered.used, covered.unmatched), (2, 1, 1));
    assert_eq!(
        covered.first_unmatched.as_deref(),
        Some("002032.SZ 2010-01-04 (line 2)")
    );
    assert_eq!((covered.bars, covered.bars_without_prediction), (3, 2));
    assert_eq!(
        covered.first_bar_without_prediction.as_deref(),
        Some("002032.SZ 2010-01-06")
    );
    assert_eq!(covered.warnings().len(), 2);

    for other in [
        daily("600000.SH", "2010-01-05"),
        daily("002032.SZ", "2011-01-05"),
    ] {
        let error = coverage(&table, &[other]).unwrap_err();
        assert!(
            error.contains("2 rows of other bars, the first is 002032.SZ 2010-01-04 (line 2)"),
            "{error}"
        );
        assert!(
            error.contains(&format!(
                "the bars of {} are of {}",
                other.symbol, other.date
            )),
            "{error}"
        );
    }
    // A row of a bar outside the traded span is neither.
    let bars = [
        daily("002032.SZ", "2010-01-04"),
        daily("002032.SZ", "2010-01-05"),
    ];
    let span = Span::new(day("2010-01-05"), day("2010-12-31")).unwrap();
    let covered = table.coverage(&[(bars[0].symbol, &bars)], span).unwrap();
    assert_eq!(
        (covered.used, covered.outside_span, covered.unmatched),
        (1, 1, 0)
    );
    assert!(covered.warnings().is_empty(), "{:?}", covered.warnings());
    let late = read(&ROWS.replace("2009-12-31", "2010-01-04")).unwrap();
    let covered = coverage(&late, &bars).unwrap();
    assert_eq!(covered.fitted_on_own_future, 1);
}

#[test]
fn probabilities_are_required_only_where_they_are_used() {
    let rule = |min_confidence| DecisionRule {
        enter: 0.001,
        exit: 0.0,
        min_confidence,
        min_exit_confidence: 0.0,
    };
    let table = read("symbol,date,predicted_return\n002032.SZ,2010-01-04,0.01\n").unwrap();
    table.require(SignalMode::Return, &rule(0.0)).unwrap();
    for (mode, least, words) in [
        (SignalMode::Class, 0.0, "signal mode class"),
        (SignalMode::Both, 0.0, "signal mode both"),
        (SignalMode::Return, 0.4, "rule.min_confidence = 0.4"),
    ] {
        let error = table.require(mode, &rule(least)).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("line 2"), "{error}");
    }
    let full = read(ROWS).unwrap();
    full.require(SignalMode::Both, &rule(0.4)).unwrap();
}

#[test]
fn the_content_of_a_file_determines_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("packed.csv");
    let mut gz = GzEncoder::new(fs::File::create(&packed).unwrap(), Default::default());
    gz.write_all(ROWS.as_bytes()).unwrap();
    gz.finish().unwrap();
    assert_eq!(Predictions::read(&packed).unwrap().len(), 2);

    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for (place, words) in [
        (dir.path().to_owned(), "must be a file, and is a directory"),
        (PathBuf::from("/dev/zero"), "a pipe or device is not"),
        (pipe, "a pipe or device is not"),
    ] {
        let error = Predictions::read(&place).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // A row of four million bytes without an end, in a small compressed file.
    let mut gz = GzEncoder::new(fs::File::create(&packed).unwrap(), Default::default());
    gz.write_all(&vec![b'x'; 1 << 22]).unwrap();
    gz.finish().unwrap();
    let error = Predictions::read(&packed).unwrap_err().to_string();
    assert!(error.contains("longer than a mebibyte"), "{error}");
}

fn lines() -> impl Strategy<Value = Vec<PredictionRow>> {
    let one = (
        0..3_usize,
        0..20_000_i32,
        -1.0..1.0_f64,
        0.0..0.5_f64,
        any::<bool>(),
    );
    let minutes = any::<bool>();
    (proptest::collection::vec(one, 1..30), minutes).prop_map(|(rows, minutes)| {
        let mut rows = rows;
        rows.sort_by_key(|row| (row.0, row.1));
        rows.dedup_by_key(|row| (row.0, row.1));
        let line =
            |(symbol, days, predicted_return, share, fitted): (usize, i32, f64, f64, bool)| {
                let date = Date::from_days(days).unwrap();
                let within = i64::from(minutes) * i64::from(days % 600) * 60_000_000_000;
                PredictionRow {
                    symbol: Symbol::parse(["600000.SH", "AAPL", "BTC-USD"][symbol]).unwrap(),
                    date,
                    time_ns: date.close_time_ns() - within,
                    forecast: Forecast {
                        predicted_return,
                        probabilities: Some([share, 0.5 - share, 0.5]),
                        fitted_to: fitted.then_some(date),
                    },
                }
            };
        rows.into_iter().map(line).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_table_reads_back_to_the_bit(lines in lines()) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["p.csv", "p.csv.gz", "p.parquet"] {
            let path = dir.path().join(name);
            write(&path, &lines).unwrap();
            let table = Predictions::read(&path).unwrap();
            prop_assert_eq!(table.len(), lines.len());
            for line in &lines {
                let found = table.of(&bar(line.symbol.as_str(), line.date, line.time_ns));
                prop_assert_eq!(found, Some(line.forecast), "{}", name);
            }
        }
    }

    #[test]
    fn damaged_parquet_is_a_table_or_an_error(lines in lines(), damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6), cut in any::<Option<proptest::sample::Index>>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.parquet");
        write(&path, &lines).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        if let Err(error) = Predictions::read(&path) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let head = if head { b"symbol,date,time,predicted_return,p_down,p_flat,p_up\n".to_vec() } else { Vec::new() };
        fs::write(&path, [head, bytes].concat()).unwrap();
        if let Err(error) = Predictions::read(&path) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
