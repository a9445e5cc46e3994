//! A data set reads back to the bit, by symbol, by day and as a whole; and `data` shows and validates it.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heqis_data::prepare::{self, series};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::{self, Manifest};
use heqis_data::store::{BarsWriter, DataSet, Draft, NextBar, Rows};
use heqis_lab::data::check::{self, Finding};
use heqis_quant::label::Direction;
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, FeatureSet, Marks, Symbol};
use market::{options, rows, symbol, write_table};
use proptest::prelude::*;

/// Prepares a data set of synthetic symbols and returns its directory.
fn prepared(root: &Path, symbols: usize, days: usize) -> PathBuf {
    let tables = root.join("tables");
    std::fs::create_dir(&tables).unwrap();
    for index in 0..symbols {
        write_table(&tables, index, &rows(index, days));
    }
    let out = root.join("out");
    prepare::prepare(&options(&[&tables], &out)).unwrap();
    out
}

/// Replaces the rows of a data set, as a fault or another program would.
fn replace(out: &Path, series: &[Rows]) {
    let mut manifest = Manifest::read(out).unwrap();
    let draft = Draft::begin(out).unwrap();
    let mut bars =
        BarsWriter::create(&draft.dir().join("bars"), &manifest.settings.features).unwrap();
    series.iter().for_each(|rows| bars.append(rows).unwrap());
    manifest.files = bars.finish().unwrap();
    draft.publish(manifest).unwrap();
}

/// Rows with every kind of gap: no features, no label, no optional price.
fn any_series(symbol: &'static str) -> impl Strategy<Value = Rows> {
    let number = || any::<f64>().prop_filter("finite", |x| x.is_finite());
    let row = (
        proptest::collection::vec(number(), 9),
        any::<[bool; 4]>(),
        0u16..512,
        1i32..400,
        0usize..3,
    );
    proptest::collection::vec(row, 1..60).prop_map(move |rows| {
        let mut series = Rows::new(2);
        let mut day = 15_000;
        for (numbers, given, marks, step, class) in rows {
            day += step;
            let date = Date::from_days(day).unwrap();
            let bar = Bar {
                symbol: Symbol::parse(symbol).unwrap(),
                time_ns: date.close_time_ns(),
                date,
                open: numbers[0],
                high: numbers[1],
                low: numbers[2],
                close: numbers[3],
                pre_close: given[0].then_some(numbers[4]),
                volume_shares: numbers[5],
                amount_cny: given[1].then_some(numbers[6]),
                marks: Marks::from_bits(marks).unwrap(),
            };
            let direction = [Direction::Down, Direction::Flat, Direction::Up][class];
            let next = NextBar {
                date: Date::from_days(day + 1).unwrap(),
                next_return: numbers[8],
                direction,
            };
            series.push(
                bar,
                given[2].then_some(&numbers[6..8]),
                given[3].then_some(next),
            );
        }
        series
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_rows_come_back_to_the_bit_whichever_way_they_are_read(
        series in (any_series("000001.SZ"), any_series("600000.SH"), any_series("AAPL"))
    ) {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let template = options(&[], &out);
        let tables = root.path().join("600000.SH.csv");
        std::fs::write(&tables, format!("{}{}\n", market::HEADER, rows(0, 300).join("\n"))).unwrap();
        prepare::prepare(&prepare::Options {
            inputs: vec![tables],
            features: FeatureSet::parse(&["return_1", "range_ratio"]).unwrap(),
            ..template
        }).unwrap();
        let series = [series.0, series.1, series.2];
        replace(&out, &series);

        let data = DataSet::open(&out).unwrap();
        let mut reader = data.series(Columns::All).unwrap();
        for rows in &series {
            let symbol = rows.bars()[0].symbol;
            prop_assert_eq!(&reader.next().unwrap().unwrap(), rows);
            prop_assert_eq!(&data.symbol(symbol, Columns::All).unwrap(), rows);
            let bars = data.symbol(symbol, Columns::Bars).unwrap();
            prop_assert_eq!(bars.bars(), rows.bars());
        }
        prop_assert_eq!(reader.next().unwrap(), None);
        let day = series[0].bars()[series[0].len() / 2].date;
        let mut expected = Rows::new(2);
        for rows in &series {
            for row in (0..rows.len()).filter(|row| rows.bars()[*row].date == day) {
                expected.extend_from(rows, row..row + 1);
            }
        }
        prop_assert_eq!(data.day(day, Columns::All).unwrap(), expected);
    }
}

#[test]
fn a_symbol_and_a_day_are_found_after_the_first_row_group() {
    let root = tempfile::tempdir().unwrap();
    // 150 symbols × 261 weekdays of 2015 make two row groups.
    let out = prepared(root.path(), 150, 300);
    let data = DataSet::open(&out).unwrap();
    assert!(data.manifest().files[0].rows > heqis_data::store::writer::GROUP_ROWS as u64);
    for index in [0, 1, 74, 148, 149] {
        let symbol = Symbol::parse(&symbol(index)).unwrap();
        let found = data.symbol(symbol, Columns::All).unwrap();
        assert_eq!(found.len(), 300);
        assert!(found.bars().iter().all(|bar| bar.symbol == symbol));
        assert!(found.bars().is_sorted_by_key(|bar| bar.time_ns));
    }
    let day = Date::parse("2015-06-15").unwrap();
    let market = data.day(day, Columns::All).unwrap();
    assert_eq!(market.len(), 150);
    assert!(market.bars().iter().all(|bar| bar.date == day));
    assert!(market.bars().is_sorted_by_key(|bar| bar.symbol));
    assert!(
        data.day(Date::parse("2015-06-14").unwrap(), Columns::All)
            .unwrap()
            .is_empty()
    );
    assert!(
        data.day(Date::parse("1999-06-14").unwrap(), Columns::All)
            .unwrap()
            .is_empty()
    );
    assert!(
        data.symbol(Symbol::parse("AAPL").unwrap(), Columns::All)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn series_out_of_order_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["return_1".to_owned()];
    let mut writer = BarsWriter::create(&dir.path().join("bars"), &names).unwrap();
    let series = |name: &str| {
        let mut rows = Rows::new(1);
        let date = Date::parse("2015-01-05").unwrap();
        rows.push(
            Bar {
                symbol: Symbol::parse(name).unwrap(),
                time_ns: date.close_time_ns(),
                date,
                open: 1.0,
                high: 1.0,
                low: 1.0,
                close: 1.0,
                pre_close: None,
                volume_shares: 1.0,
                amount_cny: None,
                marks: Marks::NONE,
            },
            None,
            None,
        );
        rows
    };
    writer.append(&series("600000.SH")).unwrap();
    for name in ["600000.SH", "000001.SZ"] {
        let message = writer.append(&series(name)).unwrap_err().to_string();
        assert!(message.contains("in the order of symbols"), "{message}");
    }
    let clash = BarsWriter::create(&dir.path().join("other"), &["close".to_owned()]);
    assert!(
        clash
            .err()
            .unwrap()
            .to_string()
            .contains("close has the name of a column")
    );
}

#[test]
fn a_manifest_of_another_layout_is_rejected_and_its_version_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let out = prepared(root.path(), 1, 300);
    let path = out.join(manifest::FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let version = Manifest::read(&out).unwrap().version;
    for (from, to, part) in [
        (
            "\"schema_version\": 1",
            "\"schema_version\": 2",
            "prepare the data set again",
        ),
        (
            "\"version\": \"v-",
            "\"version\": \"../v-",
            "version must be v- and hex digits",
        ),
        ("\"rows\"", "\"lines\"", "unknown field"),
        ("{", "", "manifest.json: "),
    ] {
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let message = DataSet::open(&out).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        Draft::begin(&out).unwrap().discard().unwrap();
        assert!(out.join(&version).join("bars").exists());
    }
}

#[test]
fn an_interrupted_publication_reads_as_the_old_version_and_is_cleared() {
    let root = tempfile::tempdir().unwrap();
    let out = prepared(root.path(), 2, 300);
    let before = market::files(&out);
    let rows = || {
        let symbol = Symbol::parse(&symbol(0)).unwrap();
        DataSet::open(&out)
            .unwrap()
            .symbol(symbol, Columns::All)
            .unwrap()
    };
    let whole = rows();
    // The new version has its name and a half-written manifest; the old one is still current.
    for dir in ["v-0123456789abcde1/bars", "draft/bars"] {
        std::fs::create_dir_all(out.join(dir)).unwrap();
        std::fs::write(out.join(dir).join("2015.parquet"), "half a file").unwrap();
    }
    for draft in ["manifest.json.new", "manifest.json.next"] {
        std::fs::write(out.join(draft), "{\"schema_version\": 1,").unwrap();
    }
    std::fs::write(out.join("notes.txt"), "not ours").unwrap();
    assert_eq!(rows(), whole);
    Draft::begin(&out).unwrap().discard().unwrap();
    let kept: Vec<_> = market::files(&out)
        .into_iter()
        .filter(|(path, _)| path != Path::new("notes.txt"))
        .collect();
    assert_eq!(kept, before);
    assert!(out.join("notes.txt").exists());
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let root = tempfile::tempdir().unwrap();
    let out = prepared(root.path(), 2, 300);
    let data = DataSet::open(&out).unwrap();
    let path = data.dir().join("bars/2015.parquet");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 4, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let message = data
            .day(Date::parse("2015-06-15").unwrap(), Columns::All)
            .unwrap_err()
            .to_string();
        assert!(message.contains("2015.parquet: "), "{message}");
    }
    // The next run does not reuse a damaged version.
    let tables = root.path().join("tables");
    let outcome = prepare::prepare(&options(&[&tables], &out)).unwrap();
    assert_eq!((outcome.computed, outcome.reused), (2, 0));
    assert_eq!(
        std::fs::read(DataSet::open(&out).unwrap().dir().join("bars/2015.parquet")).unwrap(),
        whole
    );
}

#[test]
fn a_valid_data_set_passes_the_check_with_its_gaps() {
    let root = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare");
    let out = root.path().join("out");
    prepare::prepare(&options(&[&data], &out)).unwrap();
    let cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let data = DataSet::open(&out).unwrap();
    let findings = check::check(&data, &cleaner).unwrap();
    assert_eq!(
        (findings.symbols, findings.bars as u64),
        (3, data.manifest().rows.bars)
    );
    assert_eq!(findings.violations, []);
    assert_eq!(findings.gaps.len() as u64, data.manifest().marks["gap"]);
}

#[test]
fn the_check_names_each_fault_of_a_stored_row() {
    let root = tempfile::tempdir().unwrap();
    let out = prepared(root.path(), 1, 300);
    let good = DataSet::open(&out)
        .unwrap()
        .series(Columns::All)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let features = FeatureSet::parse(&Manifest::read(&out).unwrap().settings.features).unwrap();
    let cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let found = |rows: &Rows| {
        replace(&out, std::slice::from_ref(rows));
        let findings = check::check(&DataSet::open(&out).unwrap(), &cleaner).unwrap();
        findings
            .violations
            .into_iter()
            .map(|Finding { date, what, .. }| (date.map(|d| d.to_string()), what))
            .collect::<Vec<_>>()
    };
    let with_bars = |change: &dyn Fn(&mut Vec<Bar>)| {
        let mut bars = good.bars().to_vec();
        change(&mut bars);
        series::compute(&bars, &features, 0.005).unwrap()
    };
    let at = |row: usize| Some(good.bars()[row].date.to_string());
    assert_eq!(found(&good), []);

    let jump = with_bars(&|bars| {
        let bar = &mut bars[100];
        (bar.open, bar.high, bar.low, bar.close) = (500.0, 500.0, 500.0, 500.0);
    });
    assert_eq!(found(&jump), [(at(100), "outside_limits")]);
    let weekend = with_bars(&|bars| {
        bars[4].date = Date::parse("2015-01-10").unwrap();
        bars[4].time_ns = bars[4].date.close_time_ns();
    });
    assert_eq!(
        found(&weekend),
        [(Some("2015-01-10".into()), "closed_market")]
    );
    let silent = with_bars(&|bars| bars[60].volume_shares = 0.0);
    assert_eq!(found(&silent), [(at(60), "no_trade")]);
    let short = with_bars(&|bars| bars.truncate(bars.len() - 1));
    assert_eq!(found(&short), [(None, "row_count")]);

    // A day stored twice, and features and a label that differ from those of the bars.
    let altered = |change: &Change| {
        let mut rows = Rows::new(good.feature_count());
        for row in 0..good.len() {
            let mut values = good.features(row).unwrap_or_default().to_vec();
            let mut next = good.next()[row];
            for _ in 0..change(row, &mut values, &mut next) {
                rows.push(
                    good.bars()[row],
                    (!values.is_empty()).then_some(&values[..]),
                    next,
                );
            }
        }
        rows
    };
    let twice = found(&altered(&|row, _, _| 1 + usize::from(row == 50)));
    assert_eq!(twice[..2], [(None, "row_count"), (at(50), "duplicate")]);
    let other_feature = altered(&|row, values, _| {
        if row == 70 {
            values[1] += 1e-12;
        }
        1
    });
    assert_eq!(found(&other_feature), [(at(70), "features")]);
    let other_label = altered(&|row, _, next| {
        if row == 80 {
            *next = None;
        }
        1
    });
    assert_eq!(found(&other_label), [(at(80), "label")]);
}

/// Alters the features and the label of one row and returns how often it is stored.
type Change = dyn Fn(usize, &mut Vec<f64>, &mut Option<NextBar>) -> usize;

fn heqis_lab(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .args(args)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_commands_show_stored_rows_and_exit_with_one_on_a_violation() {
    let root = tempfile::tempdir().unwrap();
    let out = prepared(root.path(), 2, 300);
    let dir = out.to_str().unwrap();

    let list = text(&heqis_lab(&["data", "ls", dir]));
    let line: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        line,
        ["000002.SZ", "2015-01-05", "2016-02-26", "300", "0", "0"]
    );
    let list: serde_json::Value =
        serde_json::from_str(&text(&heqis_lab(&["data", "ls", dir, "--json"]))).unwrap();
    assert_eq!(list["symbols"][1]["symbol"], "600000.SH");

    let span = ["--from", "2015-06-01", "--to", "2015-06-03"];
    let show =
        |more: &[&str]| heqis_lab(&[&["data", "show", dir, "sh600000"], &span[..], more].concat());
    assert_eq!(text(&show(&[])).lines().count(), 4);
    let picture = root.path().join("picture.svg");
    let answer = show(&["--csv", "--plot", picture.to_str().unwrap()]);
    assert!(answer.status.success());
    let picture = std::fs::read_to_string(picture).unwrap();
    let points = picture
        .split("points=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(points.split(' ').count(), 3);
    // The CSV output equals the table, and the lab reads it again.
    let table = text(&answer);
    let bars: Vec<Bar> = heqis_data::BarReader::new(table.as_bytes(), None, "shown")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let stored = DataSet::open(&out)
        .unwrap()
        .symbol(Symbol::parse("600000.SH").unwrap(), Columns::Bars)
        .unwrap();
    let from = stored
        .bars()
        .iter()
        .position(|bar| bar.date == bars[0].date)
        .unwrap();
    assert_eq!(bars, stored.bars()[from..from + 3]);
    let rows: serde_json::Value = serde_json::from_str(&text(&show(&["--json"]))).unwrap();
    assert_eq!(rows[2]["close"], bars[2].close);
    assert_eq!(rows[0]["next"]["date"], "2015-06-02");
    let nothing = heqis_lab(&["data", "show", dir, "AAPL"]);
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("AAPL has no bar in this data set"));

    let sound = heqis_lab(&["data", "check", dir]);
    assert_eq!(sound.status.code(), Some(0));
    assert_eq!(
        text(&sound).trim(),
        "2 symbols, 600 bars: 0 violations, 0 gaps"
    );
    let mut series: Vec<Rows> = Vec::new();
    let data = DataSet::open(&out).unwrap();
    let mut reader = data.series(Columns::All).unwrap();
    while let Some(rows) = reader.next().unwrap() {
        series.push(rows);
    }
    series.pop();
    replace(&out, &series);
    let unsound = heqis_lab(&["data", "check", dir, "--json"]);
    assert_eq!(unsound.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_str(&text(&unsound)).unwrap();
    assert_eq!(answer["findings"]["violations"][0]["what"], "row_count");
}
