//! The bundles of the baselines.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use heqis_data::import_args::ImportArgs;
use heqis_infer::{BackendKind, Bundle, TensorView, open};
use heqis_train::baseline::Baseline;
use heqis_train::baseline::table::TableCorpus;
use heqis_train::corpus::{CLASSES, FLAT_BAND, Split, WINDOW_BARS};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn data() -> PathBuf {
    project().join("data/ashare/002032.SZ.csv")
}

/// The samples and the fit, computed once for all tests of this file.
fn fitted() -> &'static (TableCorpus, Baseline) {
    static FITTED: OnceLock<(TableCorpus, Baseline)> = OnceLock::new();
    FITTED.get_or_init(|| {
        let table = TableCorpus::read(&data(), &ImportArgs::default()).unwrap();
        let baseline = Baseline::fit(&table.corpus).unwrap();
        (table, baseline)
    })
}

/// Every file below a directory, by its relative path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for bundle in ["baseline-factors", "baseline-direction"] {
        for entry in fs::read_dir(dir.join(bundle)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{bundle}/{}", entry.file_name().into_string().unwrap());
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        right.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in left {
        assert!(bytes == &right[name], "{name} differs");
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    heqis_train::baseline(&data(), first.path()).unwrap();
    let (table, baseline) = fitted();
    heqis_train::baseline::bundles::write(second.path(), table, baseline).unwrap();
    assert_same(&files(first.path()), &files(second.path()));
}

/// The fit uses operations that IEEE 754 defines to the last bit, so it is the same on every machine that gives the same features; a
/// feature with a logarithm may differ in its last bit, since the C library computes it.
#[test]
fn the_committed_bundles_are_those_of_the_committed_data() {
    let fresh = tempfile::tempdir().unwrap();
    let (table, baseline) = fitted();
    heqis_train::baseline::bundles::write(fresh.path(), table, baseline).unwrap();
    assert_same(&files(&project().join("models")), &files(fresh.path()));
}

#[test]
fn the_committed_bundles_load_and_pass_their_self_test_on_the_cpu() {
    for name in ["baseline-factors", "baseline-direction"] {
        let bundle = Bundle::load(project().join("models").join(name)).unwrap();
        let opened = open(&bundle, &[BackendKind::Cpu], true).unwrap();
        assert_eq!(opened.self_test.windows, 4, "{name}");
    }
}

/// The metrics are computed in `f64`; this test shows that they hold for the shipped models.
#[test]
fn the_shipped_models_give_the_predictions_of_the_fit_on_every_sample() {
    let (TableCorpus { corpus, .. }, baseline) = fitted();
    let engine = |name: &str| {
        let bundle = Bundle::load(project().join("models").join(name)).unwrap();
        open(&bundle, &[BackendKind::Cpu], true).unwrap().engine
    };
    let (mut factors_engine, mut direction_engine) =
        (engine("baseline-factors"), engine("baseline-direction"));
    let (mut factors, mut outputs) = (vec![Vec::new()], vec![Vec::new(), Vec::new()]);
    for sample in Split::ALL.iter().flat_map(|split| corpus.samples(*split)) {
        let shape = [1, WINDOW_BARS, corpus.columns];
        let window = corpus.window(sample, WINDOW_BARS);
        factors_engine
            .run(&[TensorView::f32(&shape, window)], &mut factors)
            .unwrap();
        let last_row = corpus.window(sample, 1);
        let input: Vec<f32> = factors[0].iter().chain(last_row).copied().collect();
        direction_engine
            .run(&[TensorView::f32(&[1, input.len()], &input)], &mut outputs)
            .unwrap();

        let expected = baseline.factors(corpus, sample);
        for (expected, got) in expected.iter().zip(&factors[0]) {
            let error = (expected - f64::from(*got)).abs();
            assert!(error <= 1e-4, "{sample:?}: {expected} {got}");
        }
        let forecast = baseline.forecast(corpus, std::slice::from_ref(sample));
        let (mut expected, odds) = (forecast.returns.unwrap(), forecast.probabilities.unwrap());
        expected.extend(odds[0]);
        let got: Vec<f32> = outputs.concat();
        assert_eq!(expected.len(), got.len());
        for (expected, got) in expected.iter().zip(got) {
            let error = (expected - f64::from(got)).abs();
            assert!(error <= 1e-5, "{sample:?}: {expected} {got}");
        }
    }
}

#[test]
fn only_the_training_span_was_fitted_and_it_ends_before_the_others_begin() {
    let (TableCorpus { corpus, .. }, _) = fitted();
    let [training, validation, test] = Split::ALL.map(|split| {
        let samples = corpus.samples(split);
        [samples[0], samples[samples.len() - 1]].map(|sample| {
            let (series, row) = corpus.place(&sample);
            series.dates[row]
        })
    });
    assert_eq!(corpus.scaler.span().to, training[1]);
    assert!(training[1] < validation[0]);
    assert!(validation[1] < test[0]);
}

/// Later data must not influence the fit: with every bar after the training span changed, scaler and factors are the same.
#[test]
fn bars_after_the_training_span_do_not_change_scaler_and_factors() {
    let (table, baseline) = fitted();
    let text = fs::read_to_string(data()).unwrap();
    let last_day = table.corpus.scaler.span().to.to_string().replace('-', "");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let after: Vec<usize> = (1..lines.len())
        .filter(|&i| lines[i].split(',').next().unwrap() > last_day.as_str())
        .collect();
    assert!(
        after.len() > 500,
        "many bars must lie after the training span"
    );
    // Volumes of later days are doubled or halved: a valid change that every volume feature depends on.
    for i in after {
        let mut cells: Vec<String> = lines[i].split(',').map(str::to_owned).collect();
        let volume: f64 = cells[6].parse().unwrap();
        cells[6] = (volume * if i % 2 == 0 { 2.0 } else { 0.5 }).to_string();
        lines[i] = cells.join(",");
    }
    let dir = tempfile::tempdir().unwrap();
    let changed = dir.path().join("002032.SZ.csv");
    fs::write(&changed, lines.join("\n") + "\n").unwrap();
    let other = TableCorpus::read(&changed, &ImportArgs::default()).unwrap();
    assert_ne!(other.source_sha256, table.source_sha256);
    assert_eq!(other.corpus.scaler, table.corpus.scaler);
    assert_eq!(Baseline::fit_factors(&other.corpus), baseline.pca);
}

/// Published daily direction accuracy lies between 56 and 59 per cent; a much higher one would indicate a leak.
#[test]
fn the_accuracy_does_not_indicate_a_leak() {
    let (table, baseline) = fitted();
    for split in [Split::Validation, Split::Test] {
        let metrics = baseline.measure(&table.corpus, split);
        assert!(metrics.sign_accuracy.share < 0.6, "{metrics:?}");
        assert!(metrics.samples >= 300, "{metrics:?}");
        let total: f64 = metrics.base_rates.values().sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}

#[test]
fn classes_agree_with_the_returns_and_the_flat_band() {
    let (table, _) = fitted();
    let series = &table.corpus.series[0];
    assert!(series.returns.len() > 1000);
    for (value, found) in series.returns.iter().zip(&series.classes) {
        let class = if *value > FLAT_BAND {
            "up"
        } else if *value < -FLAT_BAND {
            "down"
        } else {
            "flat"
        };
        assert_eq!(CLASSES[usize::from(*found)], class, "{value}");
    }
}

#[test]
fn a_missing_or_short_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("002032.SZ.csv");
    let message = heqis_train::baseline(&missing, dir.path())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with(&missing.display().to_string()),
        "{message}"
    );

    let head: String = fs::read_to_string(data())
        .unwrap()
        .lines()
        .take(100)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&missing, head).unwrap();
    let message = heqis_train::baseline(&missing, dir.path())
        .unwrap_err()
        .to_string();
    assert!(message.contains("needs at least"), "{message}");
    assert!(!dir.path().join("baseline-factors").exists());
}
