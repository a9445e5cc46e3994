//! A data set does not depend on threads, the arrangement of files and earlier versions; later rows do not change earlier
//! ones; and a killed writer leaves the last complete version.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heqis_data::prepare::{self, Options, report, series};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::TrainTo;
use heqis_data::store::{DataSet, Manifest, Rows};
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Date, FeatureSet, Scaler, Symbol};
use market::{HEADER, files, options, rows, symbol, write_table};

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn tables(root: &Path, symbols: usize, days: usize) -> PathBuf {
    let dir = root.join("tables");
    std::fs::create_dir_all(&dir).unwrap();
    for index in 0..symbols {
        write_table(&dir, index, &rows(index, days));
    }
    dir
}

/// Returns all series of a data set in the order of symbols.
fn everything(out: &Path) -> Vec<Rows> {
    let data = DataSet::open(out).unwrap();
    let mut reader = data.series(Columns::All).unwrap();
    let mut all = Vec::new();
    while let Some(rows) = reader.next().unwrap() {
        all.push(rows);
    }
    all
}

#[test]
fn one_thread_and_two_write_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 9, 400);
    let outs = [1, 2, 3].map(|threads| {
        let out = root.path().join(format!("out{threads}"));
        let options = Options {
            threads,
            ..options(&[&dir], &out)
        };
        prepare::prepare(&options).unwrap();
        files(&out)
    });
    assert!(outs[0].len() > 4);
    assert_eq!(outs[0], outs[1]);
    assert_eq!(outs[0], outs[2]);
}

#[test]
fn files_by_symbol_by_day_and_newest_first_give_the_same_rows() {
    let root = tempfile::tempdir().unwrap();
    let by_symbol = tables(root.path(), 5, 300);
    let by_day = root.path().join("by_day");
    std::fs::create_dir(&by_day).unwrap();
    let all: Vec<Vec<String>> = (0..5).map(|index| rows(index, 300)).collect();
    for (at, _) in all[0].iter().enumerate() {
        let mut text = format!("symbol,{HEADER}");
        // The order of symbols within a day does not matter either.
        for index in [3, 0, 4, 2, 1] {
            text += &format!("{},{}\n", symbol(index), all[index][at]);
        }
        std::fs::write(by_day.join(format!("{at:03}.csv")), text).unwrap();
    }
    let newest_first = root.path().join("newest_first");
    std::fs::create_dir(&newest_first).unwrap();
    for (index, rows) in all.iter().enumerate() {
        let reversed: Vec<String> = rows.iter().rev().cloned().collect();
        write_table(&newest_first, index, &reversed);
    }
    let stored = [by_symbol, by_day, newest_first].map(|dir| {
        let out = dir.with_extension("out");
        prepare::prepare(&options(&[&dir], &out)).unwrap();
        let scaler = DataSet::open(&out).unwrap().scaler().unwrap();
        (everything(&out), scaler)
    });
    assert_eq!(stored[0].0.len(), 5);
    assert_eq!(stored[0], stored[1]);
    assert_eq!(stored[0], stored[2]);
}

#[test]
fn the_rows_and_the_scaler_are_those_of_the_quant_crate() {
    let root = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare");
    let out = root.path().join("out");
    let features = FeatureSet::standard();
    let train_to = day("2012-12-31");
    prepare::prepare(&Options {
        features: features.clone(),
        train_to: TrainTo::Date(train_to),
        ..options(&[&data], &out)
    })
    .unwrap();

    // The same result from the reader, the cleaner and the features, bar by bar, with all rows in memory.
    let (mut fitted_on, mut targets) = (Vec::new(), Vec::new());
    let mut stored = everything(&out).into_iter();
    for name in ["000300.SH", "002032.SZ", "600000.SH"] {
        let file = std::fs::File::open(data.join(format!("{name}.csv"))).unwrap();
        let reader =
            heqis_data::BarReader::new(file, Some(Symbol::parse(name).unwrap()), name).unwrap();
        let mut cleaner = heqis_quant::Cleaner::new(heqis_quant::CleanConfig::default()).unwrap();
        let bars: Vec<_> = reader
            .filter_map(|bar| cleaner.check(bar.unwrap()).ok())
            .collect();
        let labels = heqis_quant::label::next_bar_labels(&bars, 0.005).unwrap();
        let mut state = heqis_quant::FeatureState::new(&features).unwrap();
        let rows = stored.next().unwrap();
        assert_eq!(rows.bars(), bars);
        for (i, bar) in bars.iter().enumerate() {
            let row = state.update(bar).unwrap();
            assert_eq!(rows.features(i).map(<[f64]>::to_vec), row);
            assert_eq!(
                rows.next()[i].map(|next| next.next_return),
                labels[i].map(|label| label.next_return)
            );
            if let Some(row) = row.filter(|_| bar.date <= train_to) {
                fitted_on.push((bar.date, row));
                if bars.get(i + 1).is_some_and(|next| next.date <= train_to) {
                    targets.push(labels[i].unwrap().next_return);
                }
            }
        }
    }
    assert!(stored.next().is_none());
    let first = fitted_on.iter().map(|(date, _)| *date).min().unwrap();
    let scaler = Scaler::fit(
        FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: 4,
            span: heqis_quant::Span::new(first, train_to).unwrap(),
        },
        features.names(),
        fitted_on.iter().map(|(_, row)| row.as_slice()),
        targets,
    )
    .unwrap();
    let data = DataSet::open(&out).unwrap();
    assert_eq!(data.scaler().unwrap(), scaler);
    assert_eq!(data.manifest().rows.scaler, fitted_on.len() as u64);
    assert_eq!(data.manifest().rejects["repeated"], 6);
}

#[test]
fn later_rows_do_not_change_earlier_ones() {
    let root = tempfile::tempdir().unwrap();
    let whole_out = root.path().join("whole");
    let days = 500;
    let all: Vec<Vec<String>> = (0..4).map(|index| rows(index, days)).collect();
    let dir = tables(root.path(), 4, days);
    prepare::prepare(&options(&[&dir], &whole_out)).unwrap();
    let whole = everything(&whole_out);
    let scaler = DataSet::open(&whole_out).unwrap().scaler().unwrap();

    // 2015-12-31 is the 259th weekday of 2015, and training ends there.
    for (trial, cut) in [259, 263, 300, 371, 444, 499].into_iter().enumerate() {
        let dir = root.path().join(format!("cut{trial}"));
        std::fs::create_dir(&dir).unwrap();
        for (index, rows) in all.iter().enumerate() {
            write_table(&dir, index, &rows[..cut]);
        }
        let out = root.path().join(format!("out{trial}"));
        prepare::prepare(&options(&[&dir], &out)).unwrap();
        let data = DataSet::open(&out).unwrap();
        assert_eq!(data.scaler().unwrap(), scaler, "cut at {cut}");
        for (short, long) in everything(&out).iter().zip(&whole) {
            assert_eq!(short.len(), cut);
            for row in 0..cut {
                assert_eq!(short.bars()[row], long.bars()[row]);
                assert_eq!(
                    short.features(row),
                    long.features(row),
                    "row {row} of {cut}"
                );
                // Only the last label depends on the removed day.
                let known = (row + 1 < cut).then(|| long.next()[row]).flatten();
                assert_eq!(short.next()[row], known, "row {row} of {cut}");
            }
        }
    }
}

#[test]
fn an_outlier_after_the_training_span_changes_neither_the_scaler_nor_its_target() {
    let root = tempfile::tempdir().unwrap();
    let calm = tables(root.path(), 2, 300);
    let wild = root.path().join("wild");
    std::fs::create_dir(&wild).unwrap();
    for index in 0..2 {
        let mut rows = rows(index, 300);
        // The first day of 2016 opens and closes at a limit that no day of the random walk reaches.
        let close: f64 = rows[258].split(',').nth(4).unwrap().parse().unwrap();
        let up = ((close * 110.0).floor()) / 100.0;
        rows[259] = format!("2016-01-01,{up},{up},{up},{up},5");
        rows.truncate(260);
        write_table(&wild, index, &rows);
    }
    let [calm, wild] = [calm, wild].map(|dir| {
        let out = dir.with_extension("out");
        prepare::prepare(&options(&[&dir], &out)).unwrap();
        (
            DataSet::open(&out).unwrap().scaler().unwrap(),
            everything(&out),
        )
    });
    let label = wild.1[0].next()[258].unwrap();
    assert!(label.next_return > 0.09 && label.date == day("2016-01-01"));
    assert_eq!(calm.0, wild.0);
}

#[test]
fn an_update_computes_only_what_changed_and_equals_a_full_run() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 12, 300);
    // One symbol with rejects that must be copied, and one file with two symbols.
    let mut faulty = rows(3, 300);
    faulty[40] = faulty[40].replace("2015-", "2015x");
    faulty.insert(50, faulty[49].clone());
    write_table(&dir, 3, &faulty);
    let mixed = dir.join("mixed.csv");
    let mixed_text = |days: usize| {
        let mut text = format!("symbol,{HEADER}");
        for (symbol, index, days) in [("601000.SH", 101, 300), ("601001.SH", 102, days)] {
            rows(index, days)
                .iter()
                .for_each(|row| text += &format!("{symbol},{row}\n"));
        }
        text
    };
    std::fs::write(&mixed, mixed_text(300)).unwrap();
    let (out, fresh) = (root.path().join("out"), root.path().join("fresh"));
    let update = || {
        let outcome = prepare::prepare(&options(&[&dir], &out)).unwrap();
        let _ = std::fs::remove_dir_all(&fresh);
        let full = prepare::prepare(&options(&[&dir], &fresh)).unwrap();
        assert_eq!(full.reused, 0);
        assert_eq!(files(&out), files(&fresh));
        (outcome.computed, outcome.reused)
    };
    assert_eq!(update(), (14, 0));
    assert_eq!(update(), (0, 14));

    // A new day, also in a new year.
    write_table(&dir, 5, &rows(5, 301));
    write_table(&dir, 6, &rows(6, 560));
    let inode = || {
        let data = DataSet::open(&out).unwrap();
        file_number(&data.dir().join("bars/2015.parquet"))
    };
    let before = inode();
    assert_eq!(update(), (2, 12));
    // Nothing of 2015 is new, so its file is reused.
    assert_eq!(inode(), before);
    // A file of two symbols, one of which is unchanged.
    std::fs::write(&mixed, mixed_text(302)).unwrap();
    assert_eq!(update(), (1, 13));
    // A new symbol, and a removed one.
    write_table(&dir, 40, &rows(40, 300));
    std::fs::remove_file(dir.join(format!("{}.csv", symbol(2)))).unwrap();
    assert_eq!(update(), (1, 13));
    // More rows of a symbol in a second file: its unchanged file is read again.
    let mut more = format!("symbol,{HEADER}");
    rows(8, 310)[300..]
        .iter()
        .for_each(|row| more += &format!("{},{row}\n", symbol(8)));
    std::fs::write(dir.join("more.csv"), &more).unwrap();
    assert_eq!(update(), (1, 13));
    // The same without that file.
    std::fs::remove_file(dir.join("more.csv")).unwrap();
    assert_eq!(update(), (1, 13));
    // Another setting affects all series.
    let outcome = prepare::prepare(&Options {
        flat_band: 0.01,
        ..options(&[&dir], &out)
    })
    .unwrap();
    assert_eq!((outcome.computed, outcome.reused), (14, 0));
}

#[test]
fn every_rejected_row_is_reported_with_place_and_reason() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 2, 300);
    let mut table = rows(0, 300);
    table[9] = table[9].replace("2015-01-16", "2015-01-17");
    table[20] = format!("{},0", table[20].rsplit_once(',').unwrap().0);
    table[30] = "2015-02-16,1000.00,1000.00,1000.00,1000.00,5".into();
    table[35] = "2015-02-23,ten,10,10,10,5".into();
    table.push(table[299].clone());
    let path = write_table(&dir, 0, &table);
    let out = root.path().join("out");
    let outcome = prepare::prepare(&options(&[&dir], &out)).unwrap();
    let output: Vec<(u32, String, String)> = report::read(DataSet::open(&out).unwrap().dir())
        .unwrap()
        .into_iter()
        .inspect(|line| assert_eq!(Path::new(&line.file), path))
        .map(|line| (line.row, line.date, line.reason))
        .collect();
    let expected = [
        (36, "", "unreadable"),
        (10, "2015-01-17", "closed_market"),
        (21, "2015-02-02", "no_trade"),
        (31, "2015-02-16", "outside_limits"),
        (301, "2016-02-26", "duplicate"),
    ];
    assert_eq!(
        output,
        expected.map(|(row, date, reason)| (row, date.to_owned(), reason.to_owned()))
    );
    let manifest = outcome.manifest;
    assert_eq!((manifest.rows.read, manifest.rows.rejected), (601, 5));
    assert_eq!(manifest.rows.bars, 596);
    assert_eq!(manifest.rejects.values().sum::<u64>(), 5);
}

#[test]
fn invalid_input_is_rejected_and_the_data_set_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 3, 300);
    let out = root.path().join("out");
    prepare::prepare(&options(&[&dir], &out)).unwrap();
    let before = files(&out);
    let refused = |options: &Options, part: &str| {
        let message = prepare::prepare(options).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(files(&out), before);
    };
    let early = TrainTo::Date(day("2015-01-06"));
    refused(
        &Options {
            train_to: early,
            ..options(&[&dir], &out)
        },
        "no labelled feature row up to 2015-01-06",
    );
    refused(
        &Options {
            flat_band: -1.0,
            ..options(&[&dir], &out)
        },
        "flat_band",
    );
    refused(&options(&[&root.path().join("nowhere")], &out), "nowhere");
    let strange = root.path().join("600009.SH.csv");
    std::fs::write(&strange, "a,b\n1,2\n").unwrap();
    refused(&options(&[&dir, &strange], &out), "600009.SH.csv header");
    let nameless = root.path().join("000001.csv");
    std::fs::write(&nameless, format!("{HEADER}{}\n", rows(0, 1)[0])).unwrap();
    refused(&options(&[&dir, &nameless], &out), "symbol must be given");
    std::fs::write(&nameless, format!("symbol,{HEADER}")).unwrap();
    refused(
        &options(&[&nameless], &out),
        "no row is a bar: there is no row",
    );
    // A second writer is rejected while the first runs.
    let draft = heqis_data::store::Draft::begin(&out).unwrap();
    refused(&options(&[&dir], &out), "another process is writing");
    draft.discard().unwrap();
}

#[test]
fn the_digest_of_a_series_depends_on_every_value_and_not_on_its_file() {
    let bar = |text: &str| {
        let table = format!("{HEADER}{text}\n");
        let symbol = Symbol::parse("600000.SH").unwrap();
        let mut reader = heqis_data::BarReader::new(table.as_bytes(), Some(symbol), "t").unwrap();
        prepare::runs::Origin {
            bar: reader.next().unwrap().unwrap(),
            file: 0,
            row: 1,
        }
    };
    let origin = bar("2015-01-05,10,10,10,10,5");
    let moved = prepare::runs::Origin {
        file: 7,
        row: 9,
        ..origin
    };
    assert_eq!(series::digest(&[origin]), series::digest(&[moved]));
    for other in [
        "2015-01-06,10,10,10,10,5",
        "2015-01-05,10,10.01,10,10,5",
        "2015-01-05,10,10,10,10,6",
    ] {
        assert_ne!(
            series::digest(&[origin]),
            series::digest(&[bar(other)]),
            "{other}"
        );
    }
}

/// Returns the inode number of a file.
#[cfg(unix)]
fn file_number(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap())
}

#[cfg(not(unix))]
fn file_number(_: &Path) -> u64 {
    0
}

/// Returns the command of the real program.
fn heqis_lab(dir: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
    command.arg("prepare").arg(dir).arg("--out").arg(out).args([
        "--train-to",
        "2015-12-31",
        "--features",
    ]);
    command.args([
        "return_1,volatility_5,ma_ratio_5,range_ratio",
        "--window",
        "4",
        "--threads",
        "1",
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[cfg(unix)]
#[test]
fn a_killed_writer_leaves_the_last_complete_version_and_the_next_one_repairs() {
    use std::os::unix::process::ExitStatusExt;

    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 60, 1000);
    let out = root.path().join("out");
    let small = root.path().join("small");
    std::fs::create_dir(&small).unwrap();
    write_table(&small, 0, &rows(0, 300));
    assert!(heqis_lab(&small, &out).status().unwrap().success());
    let good = files(&out);
    let series = everything(&out);

    // Terminated while reading, after sorting, and while storing.
    for sign in ["runs", "runs/new/run-0", "bars/2015.parquet"] {
        let mut child = heqis_lab(&dir, &out).spawn().unwrap();
        let signal = out.join("draft").join(sign);
        while !signal.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(9),
            "the writer was done before it was killed at {sign}"
        );
        assert!(out.join("draft").exists());
        let kept: Vec<_> = files(&out)
            .into_iter()
            .filter(|(path, _)| !path.starts_with("draft"))
            .collect();
        assert_eq!(kept, good);
        assert_eq!(everything(&out), series);
    }

    assert!(heqis_lab(&dir, &out).status().unwrap().success());
    let fresh = root.path().join("fresh");
    assert!(heqis_lab(&dir, &fresh).status().unwrap().success());
    assert_eq!(files(&out), files(&fresh));
    assert_eq!(Manifest::read(&out).unwrap().symbols.len(), 60);
}

#[test]
fn the_command_prints_lines_or_json_and_names_invalid_arguments() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(root.path(), 3, 300);
    let out = root.path().join("out");
    let mut jump = rows(0, 300);
    let close: f64 = jump[99].split(',').nth(4).unwrap().parse().unwrap();
    let price = format!("{:.2}", close * 1.07);
    jump[100] = format!("2015-05-25,{price},{price},{price},{price},5");
    write_table(&dir, 0, &jump);
    let clean = root.path().join("clean.json");
    std::fs::write(&clean, "{\"st_symbols\": [\"600000.SH\"]}").unwrap();
    // The days of the second table are the trading days, so that a bar of another day has no market.
    let calendar = root.path().join("000300.SH.csv");
    let mut days = rows(1, 300);
    days.remove(150);
    std::fs::write(&calendar, format!("{HEADER}{}\n", days.join("\n"))).unwrap();
    let prepare = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
        command
            .arg("prepare")
            .arg(dir.join("*.csv"))
            .arg("--out")
            .arg(&out);
        let output = command
            .args(["--features", "return_1,range_ratio"])
            .args(more)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };

    let (good, output, _) = prepare(&[
        "--calendar",
        calendar.to_str().unwrap(),
        "--clean",
        clean.to_str().unwrap(),
    ]);
    assert!(good);
    assert!(output.contains("rejected: 3 closed_market"), "{output}");
    // A move of 7 % exceeds the limit of a stock under special treatment.
    assert!(output.contains("rejected: 1 outside_limits"), "{output}");
    let manifest = Manifest::read(&out).unwrap();
    assert_eq!(manifest.settings.clean.st_symbols.len(), 1);
    assert_eq!(manifest.tables[0].role, "calendar");

    let (good, output, _) = prepare(&["--json", "--train-fraction", "0.5"]);
    assert!(good);
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["rows"]["bars"], 900);
    assert_eq!(output["symbols"], 3);
    // Half of 300 weekdays after 2015-01-05 end on a Friday.
    assert_eq!(output["scaler_span"]["to"], "2015-07-31");

    for (wrong, part) in [
        (
            ["--train-fraction", "0"],
            "--train-fraction must be greater than 0",
        ),
        (
            ["--train-fraction", "NaN"],
            "--train-fraction must be greater than 0",
        ),
        (["--window", "0"], "--window must be at least 1"),
        (["--features", "magic"], "magic"),
        (["--clean", "/nowhere.json"], "/nowhere.json"),
        (["--train-to", "yesterday"], "yesterday"),
    ] {
        let (good, _, output) = prepare(&wrong);
        assert!(!good && output.contains(part), "{wrong:?}: {output}");
    }
}

#[test]
fn a_flat_band_that_covers_all_labels_is_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let table = write_table(root.path(), 0, &rows(0, 300));
    let warnings = |flat_band: f64, name: &str| {
        let mut options = options(&[table.as_path()], &root.path().join(name));
        options.flat_band = flat_band;
        let manifest = prepare::prepare(&options).unwrap().manifest;
        let path = root.path().join(name).join("manifest.json");
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.contains("\"warnings\""), !manifest.warnings.is_empty());
        manifest.warnings
    };
    assert_eq!(warnings(0.005, "narrow"), Vec::<String>::new());
    let output = warnings(0.5, "wide");
    assert!(output[0].starts_with("100.0 % of 299 labels"), "{output:?}");
}
