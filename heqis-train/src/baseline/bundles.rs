//! The two bundles of a fitted baseline: models, golden windows, metrics and model cards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_data::samples::{FLAT_BAND, HORIZON_BARS, PURGE, Prepared, WINDOW_BARS};
use heqis_infer::bundle::sha256_hex;
use heqis_infer::{BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};
use serde_json::{Value, json};

use super::report::{DIRECTION_BUNDLE, FACTORS_BUNDLE, Report};
use super::{card, onnx};
use crate::baseline::Baseline;
use crate::error::TrainError;
use heqis_bundle::{Provenance, Role, joined_names};

/// The command that is recorded in the manifests.
const CREATED_BY: &str = "heqis-lab baseline";
/// Golden windows per bundle, evenly spaced over the test span.
const GOLDEN_WINDOWS: usize = 4;
/// Largest difference between `f32` on a CPU and the golden outputs, which are computed in `f64`. Factors have unit
/// variance and sum hundreds of products; returns and probabilities sum a few dozen.
const FACTOR_TOLERANCE: f32 = 1e-4;
const DIRECTION_TOLERANCE: f32 = 1e-5;

/// Writes both bundles below `out` and returns their directories.
///
/// # Errors
///
/// [`TrainError::Infer`] when a model or a bundle breaks a rule or cannot be written.
pub fn write(
    out: &Path,
    prepared: &Prepared,
    baseline: &Baseline,
) -> Result<[PathBuf; 2], TrainError> {
    let spans = &prepared.spans;
    let report = Report {
        prepared,
        baseline,
        validation: baseline.measure(prepared, spans.validation.clone()),
        test: baseline.measure(prepared, spans.test.clone()),
        captured: [&spans.training, &spans.validation, &spans.test]
            .map(|span| baseline.captured_variance(prepared, span.clone())),
    };
    let factors = factors_parts(&report)?;
    let direction = direction_parts(&report)?;
    let dirs = [out.join(FACTORS_BUNDLE), out.join(DIRECTION_BUNDLE)];
    heqis_bundle::write(&dirs[0], &factors)?;
    heqis_bundle::write(&dirs[1], &direction)?;
    Ok(dirs)
}

fn factors_parts(report: &Report<'_>) -> Result<BundleParts, TrainError> {
    let prepared = report.prepared;
    let names = prepared.feature_names();
    let scaler_sha256 = sha256_hex(&prepared.scaler_params());
    let provenance = Provenance {
        scaler_sha256: &scaler_sha256,
        feature_names: names,
        window_bars: WINDOW_BARS,
    };
    let golden = golden(report, FACTOR_TOLERANCE, |index| {
        let sample = &prepared.samples[index];
        let factors = report.baseline.predict(sample, names.len()).factors;
        (
            BTreeMap::from([("window".to_owned(), sample.window.clone())]),
            BTreeMap::from([("factors".to_owned(), narrow(&factors))]),
        )
    });
    let [training, validation, test] = report.captured;
    let figures = BTreeMap::from([
        ("samples".to_owned(), samples_table(prepared)),
        (
            "captured_variance".to_owned(),
            json!({"training": training, "validation": validation, "test": test}),
        ),
    ]);
    Ok(BundleParts {
        task: Role::Factors.to_string(),
        model: onnx::factors(&report.baseline.pca, names.len(), &provenance)?,
        model_card: card::factors(report),
        feature_names: names.to_vec(),
        ..common_parts(report, FACTORS_BUNDLE, figures, golden)
    })
}

fn direction_parts(report: &Report<'_>) -> Result<BundleParts, TrainError> {
    let prepared = report.prepared;
    let names = joined_names(report.baseline.pca.bias.len(), prepared.feature_names());
    let scaler_sha256 = sha256_hex(&prepared.scaler_params());
    let provenance = Provenance {
        scaler_sha256: &scaler_sha256,
        feature_names: &names,
        window_bars: WINDOW_BARS,
    };
    let golden = golden(report, DIRECTION_TOLERANCE, |index| {
        let prediction = report
            .baseline
            .predict(&prepared.samples[index], prepared.feature_names().len());
        (
            BTreeMap::from([("features".to_owned(), narrow(&prediction.features))]),
            BTreeMap::from([
                (
                    "predicted_return".to_owned(),
                    vec![prediction.predicted_return as f32],
                ),
                (
                    "probabilities".to_owned(),
                    narrow(&prediction.probabilities),
                ),
            ]),
        )
    });
    let figures = BTreeMap::from([
        ("samples".to_owned(), samples_table(prepared)),
        ("horizon_bars".to_owned(), json!(HORIZON_BARS)),
        ("flat_band".to_owned(), json!(FLAT_BAND)),
        ("choice".to_owned(), json!(report.baseline.choice)),
        ("validation".to_owned(), json!(report.validation)),
        ("test".to_owned(), json!(report.test)),
    ]);
    Ok(BundleParts {
        task: Role::Direction.to_string(),
        model: onnx::direction(
            &report.baseline.ridge,
            &report.baseline.logistic,
            &provenance,
        )?,
        model_card: card::direction(report),
        feature_names: names,
        ..common_parts(report, DIRECTION_BUNDLE, figures, golden)
    })
}

/// Returns the parts common to both bundles, without model, task, card and feature names.
fn common_parts(
    report: &Report<'_>,
    name: &str,
    figures: BTreeMap<String, Value>,
    golden: Golden,
) -> BundleParts {
    let prepared = report.prepared;
    BundleParts {
        name: name.to_owned(),
        task: String::new(),
        created_by: CREATED_BY.to_owned(),
        precision: Precision::F32,
        model: Vec::new(),
        scaler_params: prepared.scaler_params(),
        other_files: BTreeMap::new(),
        model_card: String::new(),
        feature_names: Vec::new(),
        window_bars: WINDOW_BARS,
        training_span: TrainingSpan {
            source: prepared.source.clone(),
            source_sha256: prepared.source_sha256.clone(),
            from: prepared.scaler.span().from.to_string(),
            to: prepared.scaler.span().to.to_string(),
            rows: prepared.training_rows,
        },
        figures: figures
            .into_iter()
            .map(|(key, value)| (key, rounded(value)))
            .collect(),
        golden,
    }
}

/// Builds golden windows from evenly spaced samples of the test span, including its first and last.
fn golden(
    report: &Report<'_>,
    tolerance: f32,
    tensors: impl Fn(usize) -> (BTreeMap<String, Vec<f32>>, BTreeMap<String, Vec<f32>>),
) -> Golden {
    let span = &report.prepared.spans.test;
    let windows = (0..GOLDEN_WINDOWS)
        .map(|i| {
            let index = span.start + (span.len() - 1) * i / (GOLDEN_WINDOWS - 1);
            let (inputs, outputs) = tensors(index);
            GoldenWindow {
                label: report.prepared.samples[index].date.to_string(),
                inputs,
                outputs,
            }
        })
        .collect();
    Golden { tolerance, windows }
}

/// Returns dates and sizes of the three spans.
fn samples_table(prepared: &Prepared) -> Value {
    let span = |range: &std::ops::Range<usize>| {
        json!({
            "from": prepared.samples[range.start].date.to_string(),
            "to": prepared.samples[range.end - 1].date.to_string(),
            "count": range.len(),
        })
    };
    json!({
        "training": span(&prepared.spans.training),
        "validation": span(&prepared.spans.validation),
        "test": span(&prepared.spans.test),
        "purged_before_each_cut": PURGE,
    })
}

/// Rounds every fraction in a table to six significant digits: more would be noise.
pub(crate) fn rounded(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => match number.as_f64() {
            Some(number) => format!("{number:.5e}")
                .parse::<f64>()
                .map_or(Value::Null, Value::from),
            None => Value::Number(number),
        },
        Value::Array(values) => Value::Array(values.into_iter().map(rounded).collect()),
        // Sorted here, because whether a JSON table sorts its keys depends on the Cargo features that other crates enable.
        Value::Object(table) => {
            let sorted: BTreeMap<String, Value> = table.into_iter().collect();
            Value::Object(
                sorted
                    .into_iter()
                    .map(|(key, value)| (key, rounded(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
