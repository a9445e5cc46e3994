//! Targets: labels over other prices and horizons, and labels that compare the instruments of a day.
#![allow(clippy::unwrap_used)]

mod market;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_data::predictions::write::{PredictionRow, write_kind};
use heqis_data::predictions::{Forecast, Predictions};
use heqis_data::prepare::{self, Options};
use heqis_data::store::dataset::Columns;
use heqis_data::store::{DataSet, NextBar, Rows};
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use heqis_quant::{Date, DecisionRule, SignalMode, Symbol};
use market::{options, rows, symbol, write_table};

const DAYS: usize = 160;
const SYMBOLS: usize = 8;

fn target(price: TargetPrice, horizon_days: u32, kind: TargetKind) -> Target {
    Target {
        price,
        horizon_days,
        kind,
        benchmark: None,
    }
}

/// Tables of the first `days` days; one stock in turn is suspended for three days.
fn tables(dir: &Path, symbols: usize, days: usize) -> PathBuf {
    std::fs::create_dir_all(dir).unwrap();
    for index in 0..symbols {
        let all = rows(index, DAYS).into_iter().take(days).enumerate();
        let suspended = |at: usize| at % 40 >= 20 && (at % 40) < 23 && at / 40 == index;
        let traded = all.filter(|(at, _)| !suspended(*at));
        let traded: Vec<String> = traded.map(|(_, row)| row).collect();
        write_table(dir, index, &traded);
    }
    dir.to_owned()
}

fn prepared(tables: &Path, out: &Path, target: Target) -> DataSet {
    let options = Options {
        target,
        ..options(&[tables], out)
    };
    prepare::prepare(&options).unwrap();
    DataSet::open(out).unwrap()
}

fn series(data: &DataSet) -> BTreeMap<Symbol, Rows> {
    let mut reader = data.series(Columns::All).unwrap();
    let mut all = BTreeMap::new();
    while let Some(rows) = reader.next().unwrap() {
        all.insert(rows.bars()[0].symbol, rows);
    }
    all
}

/// The labels of a data set that are known on a day, by row.
fn known(data: &DataSet, day: Date) -> BTreeMap<(Symbol, Date), NextBar> {
    let mut all = BTreeMap::new();
    for (symbol, rows) in series(data) {
        for (bar, next) in rows.bars().iter().zip(rows.next()) {
            if let Some(next) = next.filter(|next| next.date <= day) {
                all.insert((symbol, bar.date), next);
            }
        }
    }
    all
}

#[test]
fn a_removed_future_changes_no_label_and_no_feature_that_was_known_before() {
    let root = tempfile::tempdir().unwrap();
    let whole = tables(&root.path().join("tables"), SYMBOLS, DAYS);
    let kinds = [
        TargetKind::Return,
        TargetKind::Excess,
        TargetKind::Rank,
        TargetKind::Z,
    ];
    // A generator of days: the same in every run, and in no order.
    let mut random = 20_240_102_u64;
    for (at, kind) in kinds.into_iter().enumerate() {
        let target = target(
            [TargetPrice::Open, TargetPrice::Close][at % 2],
            1 + at as u32,
            kind,
        );
        let full = prepared(&whole, &root.path().join(format!("out-{at}")), target);
        let mut labelled = 0;
        for _ in 0..4 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let days = 60 + (random >> 33) as usize % (DAYS - 70);
            let dir = root.path().join(format!("tables-{at}-{days}"));
            let cut = prepared(
                &tables(&dir, SYMBOLS, days),
                &root.path().join(format!("out-{at}-{days}")),
                target,
            );
            let (before, after) = (series(&cut), series(&full));
            let last = before.values().filter_map(|rows| rows.bars().last());
            let last = last.map(|bar| bar.date).max().unwrap();
            for (symbol, rows) in &before {
                for row in 0..rows.len() {
                    assert_eq!(rows.bars()[row], after[symbol].bars()[row]);
                    assert_eq!(rows.features(row), after[symbol].features(row));
                }
            }
            let (before, after) = (known(&cut, last), known(&full, last));
            labelled += before.len();
            assert_eq!(before, after, "{target}, {last}");
        }
        assert!(labelled > 1_000, "{labelled}");
    }
}

#[test]
fn labels_of_a_day_compare_its_instruments_and_count_those_left_out() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(&root.path().join("tables"), SYMBOLS, DAYS);
    let ranks = target(TargetPrice::Open, 1, TargetKind::Rank);
    let data = prepared(&dir, &root.path().join("out"), ranks);
    let mut days: BTreeMap<Date, Vec<(f64, Date)>> = BTreeMap::new();
    for rows in series(&data).values() {
        for (bar, next) in rows.bars().iter().zip(rows.next()) {
            days.entry(bar.date)
                .or_default()
                .extend(next.map(|n| (n.next_return, n.date)));
        }
    }
    days.retain(|_, labels| !labels.is_empty());
    for (day, labels) in &days {
        let sum: f64 = labels.iter().map(|(rank, _)| rank).sum();
        let (least, greatest) = labels
            .iter()
            .fold((0.0, 0.0), |(a, b): (f64, f64), (rank, _)| {
                (a.min(*rank), b.max(*rank))
            });
        assert!(
            sum.abs() < 1e-12 && least >= -0.5 && greatest <= 0.5,
            "{day}: {labels:?}"
        );
        assert!(
            labels.iter().all(|(_, known)| *known == labels[0].1),
            "one period a day"
        );
    }
    let manifest = data.manifest();
    let labelled: usize = days.values().map(Vec::len).sum();
    assert_eq!(manifest.rows.labelled, labelled as u64);
    // Each of four suspensions ends the periods of the two days before it later than those of the others.
    assert_eq!(
        manifest.unlabelled,
        BTreeMap::from([("suspended".to_owned(), 8)])
    );
    assert_eq!(data.scaler().unwrap().target(), ranks);
    // The same settings again write nothing, and others compute all labels.
    let again = |target| {
        prepare::prepare(&Options {
            target,
            ..options(&[&dir], &root.path().join("out"))
        })
        .unwrap()
    };
    assert_eq!((again(ranks).computed, again(ranks).reused), (0, SYMBOLS));
    assert_eq!(again(Target::default()).computed, SYMBOLS);
}

#[test]
fn threads_and_an_update_change_no_byte() {
    let root = tempfile::tempdir().unwrap();
    let target = target(TargetPrice::Open, 5, TargetKind::Z);
    let dir = tables(&root.path().join("tables"), SYMBOLS, 120);
    let out = root.path().join("updated");
    prepared(&dir, &out, target);
    let dir = tables(&root.path().join("tables"), SYMBOLS, DAYS);
    prepared(&dir, &out, target);
    for threads in [1, 3] {
        let full = root.path().join(format!("full-{threads}"));
        prepare::prepare(&Options {
            target,
            threads,
            ..options(&[&dir], &full)
        })
        .unwrap();
        assert_eq!(
            market::files(&full),
            market::files(&out),
            "{threads} threads"
        );
    }
}

#[test]
fn a_comparison_without_others_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = tables(&root.path().join("tables"), 4, DAYS);
    let out = root.path().join("out");
    let refused = |target: Target| {
        let refused = prepare::prepare(&Options {
            target,
            ..options(&[&dir], &out)
        });
        refused.unwrap_err().to_string()
    };
    for kind in [TargetKind::Excess, TargetKind::Rank, TargetKind::Z] {
        let message = refused(target(TargetPrice::Open, 1, kind));
        let rule = format!(
            "kind {} compares the instruments of a day and needs at least 5",
            kind.name()
        );
        assert!(
            message.contains(&rule) && message.ends_with("got 4"),
            "{message}"
        );
    }
    assert!(refused(target(TargetPrice::Open, 0, TargetKind::Rank)).contains("horizon_days"));
    let with = |index: usize| Target {
        benchmark: Some(Symbol::parse(&symbol(index)).unwrap()),
        ..target(TargetPrice::Open, 1, TargetKind::Excess)
    };
    assert!(refused(with(7)).contains("must be one of the series"));
    // Against a benchmark, one other instrument is enough.
    let data = prepared(&dir, &out, with(0));
    assert!(data.manifest().rows.labelled > 0);
    assert!(data.manifest().unlabelled["no_benchmark"] > 0);
}

#[test]
fn minute_bars_keep_the_default_target() {
    let root = tempfile::tempdir().unwrap();
    let table = root.path().join("600000.SH.csv");
    std::fs::write(
        &table,
        "time,open,high,low,close,volume\n2024-01-02 09:31:00,10,10,10,10,100\n2024-01-02 09:32:00,10,10,10,10,100\n",
    )
    .unwrap();
    let target = target(TargetPrice::Open, 1, TargetKind::Return);
    let refused = prepare::prepare(&Options {
        target,
        ..options(&[&table], &root.path().join("out"))
    });
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("return of open t+1 to open t+2 needs daily bars"),
        "{message}"
    );
}

#[test]
fn a_table_of_ranks_says_so_and_fits_no_threshold() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("p.csv");
    let date = Date::parse("2024-01-02").unwrap();
    let row = PredictionRow {
        symbol: Symbol::parse("600000.SH").unwrap(),
        date,
        time_ns: date.close_time_ns(),
        forecast: Forecast {
            predicted_return: 0.25,
            probabilities: None,
            fitted_to: None,
        },
    };
    let rule = DecisionRule {
        enter: 0.001,
        exit: -0.001,
        min_confidence: 0.0,
        min_exit_confidence: 0.0,
    };
    for kind in TargetKind::ALL {
        write_kind(&path, &[row], kind).unwrap();
        let table = Predictions::read(&path).unwrap();
        assert_eq!(table.kind(), kind);
        let found = table.require(SignalMode::Return, &rule);
        assert_eq!(found.is_ok(), kind == TargetKind::Return, "{kind:?}");
    }
    let refused = |text: &str| {
        Predictions::from_csv(&path, text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    let header = "symbol,date,predicted_return,target\n600000.SH,2024-01-02,0.1,";
    assert!(
        refused(&format!("{header}profit\n")).contains("must be one of return, excess, rank and z")
    );
    let two = format!("{header}rank\n600000.SH,2024-01-03,0.1,z\n");
    assert!(refused(&two).contains("the same in every row"));
}
