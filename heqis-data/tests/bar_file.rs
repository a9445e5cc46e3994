//! Files of bars of every kind.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Write;
use std::path::{Path, PathBuf};

use heqis_data::bar_file::{named_after, open};
use heqis_data::bars::{Prices, TableOptions};
use heqis_data::{DataError, Import};
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Marks, Symbol};

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn bars(path: &Path) -> Vec<Bar> {
    let file = open(path, &TableOptions::default()).unwrap();
    file.map(Result::unwrap).collect()
}

fn refusal(path: &Path) -> String {
    match open(path, &TableOptions::default()) {
        Err(error) => error.to_string(),
        Ok(file) => panic!("accepted as {}", file.detected()),
    }
}

const ROWS: &str = "2023-02-01,10.00,10.10,9.90,10.00,10000,10000000\n\
                    2023-02-02,10.00,10.10,9.90,10.05,11000,11000000\n\
                    2023-02-06,10.10,10.20,10.00,10.15,13000,13130000\n";
const HEADER: &str = "date,open,high,low,close,volume,amount\n";

#[test]
fn a_table_gives_the_same_bars_compressed_or_not_and_under_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{HEADER}{ROWS}");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let plain = bars(&write(dir.path(), "600101.SH.csv", &text));
    assert_eq!(plain[0].volume_shares, 1_000_000.0);
    for (name, bytes) in [
        ("sh600101.csv.gz", packed.as_slice()),
        ("SH#600101.txt", text.as_bytes()),
        ("600101.XSHG-daily.csv", text.as_bytes()),
    ] {
        assert_eq!(bars(&write(dir.path(), name, bytes)), plain, "{name}");
    }
}

#[test]
fn a_file_of_another_kind_is_refused_with_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let table = format!("{HEADER}{ROWS}");
    for (name, bytes, rule) in [
        ("bs.csv", table.as_bytes(), "the file name gives none"),
        ("600101.csv", table.as_bytes(), "as in 600101.SH"),
        (
            "600101.SZ.csv",
            table.as_bytes(),
            "the nearest is 600101.SH",
        ),
        ("600101.SH.csv", b"", "must not be empty"),
        ("._600101.SH.csv", b"\x00\x05\x16\x07\x00\x02", "is unknown"),
        ("600101.SH.xlsx", b"PK\x03\x04....", "spreadsheet"),
        ("600101.SH.csv.zst", b"\x28\xb5\x2f\xfd....", "zstd"),
        ("600101.SH.parquet", b"PAR1....", "Parquet"),
    ] {
        let message = refusal(&write(dir.path(), name, bytes));
        assert!(message.contains(rule), "{name}: {message}");
    }
    assert!(refusal(dir.path()).contains("is a directory"));
    assert!(refusal(&dir.path().join("none.csv")).contains("none.csv"));
    assert_eq!(
        named_after(Path::new("AAPL.csv"), None).unwrap().as_str(),
        "AAPL"
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_before_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("600101.SH.csv");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    assert!(refusal(&path).contains("must be a regular file"));
}

#[test]
fn every_row_is_a_bar_or_counted_with_its_first_place() {
    let dir = tempfile::tempdir().unwrap();
    let broken = format!(
        "{HEADER}{}",
        ROWS.replace("2023-02-06,", "2023-02-03|10.05|10.15\n2023-02-06,")
    );
    let path = write(dir.path(), "600101.SH.csv", &broken);
    let mut import = Import::default();
    import.read(&path, &TableOptions::default()).unwrap();
    import.settle(&TableOptions::default()).unwrap();
    let cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let clean = import.clean(&cleaner);
    let bars = &clean[&Symbol::parse("600101.SH").unwrap()];
    assert_eq!(bars.len(), 3);
    assert!(bars[2].marks.contains(Marks::HOLE), "{:?}", bars[2].marks);
    let report = &import.report;
    assert_eq!(
        (report.files[0].rows, report.files[0].unreadable_rows()),
        (4, 1)
    );
    let lines = report.lines().join("\n");
    assert!(
        lines.contains("4 rows: 3 bars of 1 instruments, 1 rows unreadable, 0 rejected, 1 holes"),
        "{lines}"
    );
    assert!(
        lines.contains("line 4, column *: must have 7 cells like the header"),
        "{lines}"
    );
    assert!(
        lines.contains("the first between 2023-02-02 and 2023-02-06"),
        "{lines}"
    );
    assert!(report.refuse_above(0.25).is_ok());
    let message = report.refuse_above(0.2).unwrap_err().to_string();
    assert!(
        message.contains("25.0 % of the rows cannot be used"),
        "{message}"
    );
    // A table without a readable row is refused with the reason.
    let path = write(
        dir.path(),
        "600102.SH.csv",
        format!("{HEADER}2023-02-01|1\n"),
    );
    let mut import = Import::default();
    import.read(&path, &TableOptions::default()).unwrap();
    import.settle(&TableOptions::default()).unwrap();
    let message = import.report.refuse_above(1.0).unwrap_err().to_string();
    assert!(
        message.starts_with("no row is a bar: 1 like") && message.contains("must have 7 cells"),
        "{message}"
    );
}

#[test]
fn a_hole_follows_the_unreadable_row_in_time_in_both_orders_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = format!("{HEADER}{ROWS}")
        .replace("2023-02-02,10.00", "2023-02-02,x")
        .lines()
        .map(str::to_owned)
        .collect();
    let mut turned = vec![lines[0].clone()];
    turned.extend(lines[1..].iter().rev().cloned());
    for (name, lines) in [("600101.SH.csv", lines), ("600102.SH.csv", turned)] {
        let path = write(dir.path(), name, lines.join("\n"));
        let rows: Vec<_> = open(&path, &TableOptions::default())
            .unwrap()
            .filter_map(Result::ok)
            .collect();
        let marked: Vec<Date> = rows
            .iter()
            .filter(|bar| bar.marks.contains(Marks::HOLE))
            .map(|bar| bar.date)
            .collect();
        assert_eq!(marked, [Date::parse("2023-02-06").unwrap()], "{name}");
    }
}

/// A series that is often at its limits, with a bonus of one share for two in the middle.
fn traded() -> Vec<(Date, f64)> {
    let mut day = Date::parse("2015-01-05").unwrap();
    let mut cents: i64 = 1527;
    let mut series = Vec::new();
    for i in 0i64..120 {
        series.push((day, cents as f64 / 100.0));
        day = Date::from_days(day.days() + if (i + 1) % 5 == 0 { 3 } else { 1 }).unwrap();
        cents = match i % 6 {
            1 => (cents * 110 + 50) / 100,
            4 => (cents * 90 + 50) / 100,
            _ => cents + (i * 7) % 11 - 5,
        };
    }
    series
}

#[test]
fn adjusted_prices_are_detected_by_limits_or_decimals() {
    let dir = tempfile::tempdir().unwrap();
    let table = |series: &[(Date, f64)], digits: usize, factor: f64| {
        let rows: Vec<String> = series
            .iter()
            .map(|(day, price)| {
                let price = format!("{:.digits$}", price * factor);
                format!("{day},{price},{price},{price},{price},1000000")
            })
            .collect();
        format!("date,open,high,low,close,volume\n{}\n", rows.join("\n"))
    };
    for (digits, factor, adjusted) in [
        (2, 1.0, false),
        (2, 0.1327, true),
        (4, 0.7713, true),
        (2, 3.917, true),
    ] {
        let path = write(
            dir.path(),
            "600101.SH.csv",
            table(&traded(), digits, factor),
        );
        let mut import = Import::default();
        import.read(&path, &TableOptions::default()).unwrap();
        import.settle(&TableOptions::default()).unwrap();
        let clean = import.clean(&Cleaner::new(CleanConfig::default()).unwrap());
        let report = &import.report.series[0];
        assert_eq!(
            report.adjusted.is_some(),
            adjusted,
            "{digits} {factor}: {report:?}"
        );
        // No limit day is rejected.
        assert_eq!(
            clean.values().next().unwrap().len(),
            traded().len(),
            "{factor}: {:?}",
            report.rejected
        );
    }
    // A declaration takes precedence.
    let path = write(dir.path(), "600101.SH.csv", table(&traded(), 2, 1.0));
    let options = TableOptions {
        prices: Some(Prices::Adjusted),
        ..TableOptions::default()
    };
    let mut import = Import::default();
    import.read(&path, &options).unwrap();
    import.settle(&options).unwrap();
    assert!(
        import
            .series
            .values()
            .flatten()
            .all(|bar| bar.marks.contains(Marks::ADJUSTED))
    );
}

#[test]
fn files_without_bars_are_left_out_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut import = Import::default();
    let good = write(dir.path(), "600101.SH.csv", format!("{HEADER}{ROWS}"));
    let empty = write(dir.path(), "600102.SH.csv", "");
    for path in [&good, &empty] {
        if let Err(error) = import.read(path, &TableOptions::default()) {
            assert!(matches!(error, DataError::Table(_)));
            import.leave_out(path, &error);
        }
    }
    import.settle(&TableOptions::default()).unwrap();
    let _ = import.clean(&Cleaner::new(CleanConfig::default()).unwrap());
    assert!(import.report.refuse_above(0.0).is_ok());
    let lines = import.report.lines().join("\n");
    assert!(
        lines.contains("left out: ") && lines.contains("600102.SH.csv header: must not be empty"),
        "{lines}"
    );
}
