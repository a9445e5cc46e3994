//! The bundles of the baselines.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use heqis_data::import_args::ImportArgs;
use heqis_data::samples::{CLASSES, FLAT_BAND, Prepared, WINDOW_BARS, prepare};
use heqis_infer::{BackendKind, Bundle, TensorView, open};
use heqis_train::baseline::Baseline;

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
fn fitted() -> &'static (Prepared, Baseline) {
    static FITTED: OnceLock<(Prepared, Baseline)> = OnceLock::new();
    FITTED.get_or_init(|| {
        let prepared = prepare(&data(), &ImportArgs::default()).unwrap();
        let baseline = Baseline::fit(&prepared).unwrap();
        (prepared, baseline)
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
    let (prepared, baseline) = fitted();
    heqis_train::baseline::bundles::write(second.path(), prepared, baseline).unwrap();
    assert_same(&files(first.path()), &files(second.path()));
}

/// The fit uses operations that IEEE 754 defines to the last bit, so it is the same on every machine that gives the same features; a
/// feature with a logarithm may differ in its last bit, since the C library computes it.
#[test]
fn the_committed_bundles_are_those_of_the_committed_data() {
    let fresh = tempfile::tempdir().unwrap();
    let (prepared, baseline) = fitted();
    heqis_train::baseline::bundles::write(fresh.path(), prepared, baseline).unwrap();
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
    let (prepared, baseline) = fitted();
    let features = prepared.feature_names().len();
    let engine = |name: &str| {
        let bundle = Bundle::load(project().join("models").join(name)).unwrap();
        open(&bundle, &[BackendKind::Cpu], true).unwrap().engine
    };
    let (mut factors_engine, mut direction_engine) =
        (engine("baseline-factors"), engine("baseline-direction"));
    let (mut factors, mut outputs) = (vec![Vec::new()], vec![Vec::new(), Vec::new()]);
    for sample in &prepared.samples {
        let shape = [1, WINDOW_BARS, features];
        factors_engine
            .run(&[TensorView::f32(&shape, &sample.window)], &mut factors)
            .unwrap();
        let last_row = &sample.window[sample.window.len() - features..];
        let input: Vec<f32> = factors[0].iter().chain(last_row).copied().collect();
        direction_engine
            .run(&[TensorView::f32(&[1, input.len()], &input)], &mut outputs)
            .unwrap();

        let expected = baseline.predict(sample, features);
        for (expected, got) in expected.factors.iter().zip(&factors[0]) {
            assert!(
                (expected - f64::from(*got)).abs() <= 1e-4,
                "{}: {expected} {got}",
                sample.date
            );
        }
        let error = (expected.predicted_return - f64::from(outputs[0][0])).abs();
        assert!(error <= 1e-5, "{}: {error:e}", sample.date);
        for (expected, got) in expected.probabilities.iter().zip(&outputs[1]) {
            assert!(
                (expected - f64::from(*got)).abs() <= 1e-5,
                "{}: {expected} {got}",
                sample.date
            );
        }
    }
}

#[test]
fn only_the_training_span_was_fitted_and_it_ends_before_the_others_begin() {
    let (prepared, _) = fitted();
    let spans = &prepared.spans;
    let date = |index: usize| prepared.samples[index].date;
    assert_eq!(prepared.scaler.span().to, date(spans.training.end - 1));
    assert!(date(spans.training.end - 1) < date(spans.validation.start));
    assert!(date(spans.validation.end - 1) < date(spans.test.start));
}

/// Later data must not influence the fit: with every bar after the training span changed, scaler and factors are the same.
#[test]
fn bars_after_the_training_span_do_not_change_scaler_and_factors() {
    let (prepared, baseline) = fitted();
    let text = fs::read_to_string(data()).unwrap();
    let last_day = prepared.scaler.span().to.to_string().replace('-', "");
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
    let other = prepare(&changed, &ImportArgs::default()).unwrap();
    assert_ne!(other.source_sha256, prepared.source_sha256);
    assert_eq!(other.scaler, prepared.scaler);
    assert_eq!(Baseline::fit_factors(&other), baseline.pca);
}

/// Published daily direction accuracy lies between 56 and 59 per cent; a much higher one would indicate a leak.
#[test]
fn the_accuracy_does_not_indicate_a_leak() {
    let (prepared, baseline) = fitted();
    for span in [&prepared.spans.validation, &prepared.spans.test] {
        let metrics = baseline.measure(prepared, span.clone());
        assert!(metrics.sign_accuracy.share < 0.6, "{metrics:?}");
        assert!(metrics.samples >= 300, "{metrics:?}");
        let total: f64 = metrics.base_rates.values().sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}

#[test]
fn classes_agree_with_the_returns_and_the_flat_band() {
    let (prepared, _) = fitted();
    for sample in &prepared.samples {
        let class = if sample.actual_return > FLAT_BAND {
            "up"
        } else if sample.actual_return < -FLAT_BAND {
            "down"
        } else {
            "flat"
        };
        assert_eq!(
            CLASSES[sample.class], class,
            "{}: {}",
            sample.date, sample.actual_return
        );
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
