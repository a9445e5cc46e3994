//! Samples contain only data known on their day, and no span depends on data of the spans after it.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::path::Path;

use burn::tensor::{Device, Tensor};
use heqis_data::store::DataSet;
use heqis_data::store::dataset::Columns;
use heqis_quant::Symbol;
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use heqis_train::corpus::{Corpus, LookBack, Sample, Split};
use heqis_train::train::TrainConfig;
use heqis_train::train::config::{Sector, Symbols};
use market::{closes, prepared, symbol};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

const LOOK_BACK: LookBack = LookBack {
    window_bars: 6,
    series_bars: 5,
    encoder_bars: 3,
};

fn coin(rng: &mut ChaCha8Rng, _: [bool; 2]) -> bool {
    rng.next_u32().is_multiple_of(2)
}

fn config(set: &Path, more: &str) -> TrainConfig {
    let text = format!("[data]\nset = {set:?}\n{more}");
    TrainConfig::parse(Path::new("test.toml"), &text).unwrap()
}

fn load(set: &Path, more: &str) -> Corpus {
    let data = DataSet::open(set).unwrap();
    Corpus::load(&data, &config(set, more).data, LOOK_BACK).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

#[test]
fn no_bar_belongs_to_samples_on_both_sides_of_a_cut() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 1, coin), closes(330, 2, coin)]);
    let corpus = load(&set, "");
    let first_date = |s: &Sample| {
        let series = &corpus.series[s.series as usize];
        series.dates[s.row as usize + 1 - LOOK_BACK.bars()]
    };
    let label_date = |s: &Sample| corpus.series[s.series as usize].label_dates[s.row as usize];
    for [before, after] in [
        [Split::Training, Split::Validation],
        [Split::Validation, Split::Test],
    ] {
        let last_label = corpus.samples(before).iter().map(label_date).max().unwrap();
        let first = corpus.samples(after).iter().map(first_date).min().unwrap();
        assert!(last_label < first, "{last_label} {first}");
    }
    // An embargo moves the start of later spans, and a purge the end of earlier ones.
    let further = load(&set, "embargo_days = 7\npurge_bars = 20");
    let days = |corpus: &Corpus| [corpus.days.training.to, corpus.days.validation.from];
    assert!(days(&further)[0] < days(&corpus)[0] && days(&further)[1] > days(&corpus)[1]);
}

/// A data set of eight instruments with labels over five days; one stock after another is suspended for a day.
fn of_ranks(root: &Path) -> std::path::PathBuf {
    let tables = root.join("tables");
    std::fs::create_dir(&tables).unwrap();
    for index in 0..8 {
        let rows = market::rows(index, 400).into_iter().enumerate();
        let rows = rows.filter(|(at, _)| at % 40 != 5 * index + 3);
        let rows: Vec<String> = rows.map(|(_, row)| row).collect();
        market::write_table(&tables, index, &rows);
    }
    let set = root.join("set");
    let target = Target {
        price: TargetPrice::Open,
        horizon_days: 5,
        kind: TargetKind::Rank,
        benchmark: None,
    };
    let options = heqis_data::prepare::Options {
        target,
        ..market::options(&[&tables], &set)
    };
    heqis_data::prepare::prepare(&options).unwrap();
    set
}

#[test]
fn the_purge_follows_the_horizon_and_windows_contain_rows_without_a_label() {
    let root = tempfile::tempdir().unwrap();
    let corpus = load(&of_ranks(root.path()), "");
    assert_eq!(corpus.target.horizon_bars(), 6);
    assert_eq!(corpus.scaler.target(), corpus.target);
    let label = |s: &Sample| corpus.series[s.series as usize].label_dates[s.row as usize];
    let first = |s: &Sample| {
        let series = &corpus.series[s.series as usize];
        series.dates[s.row as usize + 1 - LOOK_BACK.bars()]
    };
    for [before, after] in [
        [Split::Training, Split::Validation],
        [Split::Validation, Split::Test],
    ] {
        for series in 0..8 {
            let of = |split| corpus.samples(split).iter().filter(|s| s.series == series);
            let last = of(before).map(label).max().unwrap();
            let first = of(after).map(first).min().unwrap();
            assert!(last < first, "{last} {first}");
        }
    }
    // Every row with features is in a window, also that of a stock whose period is not compared.
    for series in &corpus.series {
        let unlabelled = series
            .labelled
            .iter()
            .filter(|labelled| !**labelled)
            .count();
        assert!(unlabelled > 20, "{unlabelled}");
        assert!(series.dates.len() > 370, "{}", series.dates.len());
    }
    let samples = Split::ALL
        .into_iter()
        .flat_map(|split| corpus.samples(split));
    for sample in samples {
        assert!(corpus.series[sample.series as usize].labelled[sample.row as usize]);
    }
}

#[test]
fn later_bars_do_not_change_earlier_samples() {
    let root = tempfile::tempdir().unwrap();
    let one = closes(400, 1, coin);
    let mut other = one.clone();
    for close in &mut other[300..] {
        *close += 80;
    }
    let corpora = [("one", one), ("other", other)].map(|(name, closes)| {
        let dir = root.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        load(&prepared(&dir, &[closes]), "")
    });
    let [one, other] = &corpora;
    assert_eq!(one.scaler, other.scaler);
    assert_eq!(one.target_scale, other.target_scale);
    let samples = one.samples(Split::Training);
    assert_eq!(samples, other.samples(Split::Training));
    let training = |corpus: &Corpus| {
        let batch = corpus.batch(samples, &Device::flex());
        [
            values(batch.windows),
            values(batch.target),
            values(batch.history),
        ]
    };
    assert_eq!(training(one), training(other));
    let test = |corpus: &Corpus| {
        let batch = corpus.batch(corpus.samples(Split::Test), &Device::flex());
        values(batch.target)
    };
    assert_ne!(test(one), test(other));
}

#[test]
fn a_window_ends_in_its_row_and_a_series_in_its_candidate() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(300, 4, coin)]);
    let corpus = load(&set, "");
    let symbol = Symbol::parse(&symbol(0)).unwrap();
    let rows = DataSet::open(&set)
        .unwrap()
        .symbol(symbol, Columns::All)
        .unwrap();
    let sample = corpus.samples(Split::Validation)[3];
    let day = corpus.series[0].dates[sample.row as usize];
    let at = rows.bars().iter().position(|bar| bar.date == day).unwrap();
    let batch = corpus.batch(&[sample], &Device::flex());

    let mut scaled = vec![0.0; 3];
    let mut expected = Vec::new();
    for row in at - 3..=at {
        corpus
            .scaler
            .transform_into(rows.features(row).unwrap(), &mut scaled)
            .unwrap();
        expected.extend_from_slice(&scaled);
    }
    assert_eq!(values(batch.window(4, 3)), expected);
    let first_two: Vec<f32> = expected
        .chunks(3)
        .flat_map(|row| &row[..2])
        .copied()
        .collect();
    assert_eq!(values(batch.window(4, 2)), first_two);

    let target = |row: usize| corpus.target(rows.next()[row].unwrap().next_return);
    assert_eq!(values(batch.target.clone()), [target(at)]);
    let candidate = Tensor::<2>::from_floats([[7.0]], &Device::flex());
    let class = Tensor::<2>::from_floats([[0.25, 0.25, 0.5]], &Device::flex());
    let (series, classes) = batch.series(4, candidate, class);
    let expected = [target(at - 3), target(at - 2), target(at - 1), 7.0];
    assert_eq!(values(series), expected);
    let classes = values(classes);
    assert_eq!(classes[9..], [0.25, 0.25, 0.5]);
    for (row, cell) in (at - 3..at).zip(classes.chunks(3)) {
        let class = rows.next()[row].unwrap().direction.class();
        assert_eq!(cell.iter().position(|p| *p == 1.0), Some(class));
    }
}

#[test]
fn factors_become_columns_after_the_features() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(300, 4, coin)]);
    let mut corpus = load(&set, "");
    let sample = corpus.samples(Split::Training)[0];
    let before = values(corpus.batch(&[sample], &Device::flex()).windows);
    // The factors are the first and the last feature of the encoder's window of three rows.
    corpus
        .append_factors(2, &Device::flex(), |windows| {
            Ok(values(windows)
                .chunks(9)
                .flat_map(|w| [w[0], w[8]])
                .collect())
        })
        .unwrap();
    let batch = corpus.batch(&[sample], &Device::flex());
    assert_eq!(batch.windows.dims(), [1, 6, 5]);
    assert_eq!(values(batch.window(6, 3)), before);
    let rows = values(batch.windows);
    let rows: Vec<&[f32]> = rows.chunks(5).collect();
    for at in 2..6 {
        assert_eq!(rows[at][3], rows[at - 2][0]);
        assert_eq!(rows[at][4], rows[at][2]);
    }
    let encoder = corpus.encoder_windows(&[sample], &Device::flex());
    assert_eq!(values(encoder), before[9..]);
}

#[test]
fn series_are_chosen_by_name_list_and_sector() {
    let root = tempfile::tempdir().unwrap();
    let all = [1, 2, 3].map(|seed| closes(300, seed, coin));
    let set = prepared(root.path(), &all);
    let names = |more: &str| -> Vec<String> {
        let corpus = load(&set, more);
        corpus.series.iter().map(|s| s.symbol.to_string()).collect()
    };
    let [a, b, c] = [0, 1, 2].map(symbol);
    assert_eq!(names("").len(), 3);
    assert_eq!(names("symbols = \"all\"").len(), 3);
    assert_eq!(names(&format!("symbols = {b:?}")), std::slice::from_ref(&b));
    assert_eq!(
        names(&format!("symbols = [{c:?}, {a:?}]")),
        [a.clone(), c.clone()]
    );

    let list = root.path().join("watch.toml");
    let code = b.split('.').next().unwrap();
    let text = format!("[[sector]]\nname = \"s\"\nstocks = [{c:?}, {code:?}]\n");
    std::fs::write(&list, text).unwrap();
    let sector = format!("symbols = {{ watch_list = {list:?}, sector = \"s\" }}");
    assert_eq!(names(&sector), [b, c]);

    let data = DataSet::open(&set).unwrap();
    let refuse = |symbols: Symbols| {
        let mut config = config(&set, "");
        config.data.symbols = symbols;
        Corpus::load(&data, &config.data, LOOK_BACK)
            .unwrap_err()
            .to_string()
    };
    let unknown = Symbol::parse("000858.SZ").unwrap();
    assert!(refuse(Symbols::One(unknown)).contains("000858.SZ is not in the data set"));
    let sector = Sector {
        watch_list: list,
        sector: "t".to_owned(),
    };
    assert!(refuse(Symbols::Sector(sector)).contains("no sector t"));
}

#[test]
fn a_stride_thins_only_the_training_span() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(300, 4, coin)]);
    let (every, third) = (load(&set, ""), load(&set, "stride = 3"));
    let count = |corpus: &Corpus, part| corpus.samples(part).len();
    assert_eq!(
        count(&third, Split::Training),
        count(&every, Split::Training).div_ceil(3)
    );
    assert_eq!(
        count(&third, Split::Validation),
        count(&every, Split::Validation)
    );
}

#[test]
fn invalid_settings_are_refused_by_name() {
    let refuse = |text: &str| {
        let text = format!("{text}\n[data]\nset = \"x\"\n");
        let parsed = TrainConfig::parse(Path::new("test.toml"), &text);
        parsed.unwrap_err().to_string()
    };
    assert!(refuse("sede = 1").contains("sede"));
    assert!(refuse("batch_size = 0").contains("batch_size"));
    assert!(refuse("[plateau]\nfactor = 1.0").contains("plateau.factor"));
    assert!(refuse("[schedule]\nfine_tune_epochs = 6").contains("at most 5"));
    assert!(refuse("[optimiser]\nlearning_rate = nan").contains("learning_rate"));
    let duplicates = "[[generators]]\nname = \"g\"\nkind = \"gru\"\nwindow_bars = 4\n".repeat(2);
    assert!(refuse(&duplicates).contains("unique"));
    let heads = "[[generators]]\nname = \"g\"\nkind = \"transformer\"\nwindow_bars = 4\nheads = 7";
    assert!(refuse(heads).contains("heads"));
}

#[test]
fn the_committed_settings_are_valid() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../training");
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        TrainConfig::read(&entry.unwrap().path()).unwrap();
        found += 1;
    }
    assert!(found >= 4, "{found} files");
}

/// A purge is counted in bars, so it removes only a few minutes of a minute series; an embargo removes days.
#[test]
fn a_purge_removes_bars_of_each_series_and_not_days_of_minutes() {
    let root = tempfile::tempdir().unwrap();
    let mut table = String::from("datetime,open,high,low,close,volume\n");
    for day in 2..12 {
        for minute in 0..60 {
            let close = 100 + (day * 7 + minute * 13) % 17;
            table += &format!(
                "2024-01-{day:02} 10:{minute:02}:00,{close},{},{},{close},100\n",
                close + 1,
                close - 1
            );
        }
    }
    let path = root.path().join("BTCUSD.csv");
    std::fs::write(&path, table).unwrap();
    let set = root.path().join("set");
    let mut options = market::options(&[path.as_path()], &set);
    options.train_to = heqis_data::store::manifest::TrainTo::Fraction(0.6);
    heqis_data::prepare::prepare(&options).unwrap();
    let last = |corpus: &Corpus, split: Split| {
        let sample = corpus.samples(split).last().unwrap();
        let series = &corpus.series[sample.series as usize];
        (series.dates[sample.row as usize], sample.row as usize)
    };
    let whole = load(&set, "");
    let [training, validation] =
        [Split::Training, Split::Validation].map(|part| last(&whole, part));
    let cut = |from: heqis_quant::Date| {
        let dates = &whole.series[0].dates;
        dates.partition_point(|day| *day < from)
    };
    let purge = LOOK_BACK.bars();
    assert_eq!(training.1 + purge + 1, cut(whole.days.validation.from));
    assert_eq!(validation.1 + purge + 1, cut(whole.days.test.from));
    // The last day of a span is only shortened.
    assert_eq!(whole.days.training.to, training.0);
    assert_eq!(training.0.days() + 1, whole.days.validation.from.days());
    assert!(whole.samples(Split::Validation).len() > 100);
    let embargo = load(&set, "embargo_days = 1\npurge_days = 3");
    assert_eq!(
        embargo.days.validation.from.days(),
        whole.days.validation.from.days() + 1
    );
    assert_eq!(
        last(&embargo, Split::Training).1 + 3 + 1,
        training.1 + purge + 1
    );
}
