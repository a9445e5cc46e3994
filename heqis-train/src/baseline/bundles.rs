//! The two bundles of a fitted baseline: models, golden windows, metrics and model cards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_bundle::{Role, joined_names};
use heqis_infer::bundle::sha256_hex;
use serde_json::{Value, json};

use super::report::{DIRECTION_BUNDLE, FACTORS_BUNDLE, Report};
use super::table::TableCorpus;
use super::{Baseline, card, features, onnx};
use crate::bundle::{
    BundleSource, DIRECTION_TOLERANCE, FACTOR_TOLERANCE, Model, direction_figures,
};
use crate::corpus::{HORIZON_BARS, Split, WINDOW_BARS};
use crate::error::TrainError;

/// Writes both bundles below `out` and returns their directories.
///
/// # Errors
///
/// [`TrainError::Infer`] when a model or a bundle breaks a rule or cannot be written.
pub fn write(
    out: &Path,
    table: &TableCorpus,
    baseline: &Baseline,
) -> Result<[PathBuf; 2], TrainError> {
    let corpus = &table.corpus;
    let scaler = (corpus.scaler.to_json() + "\n").into_bytes();
    let report = Report {
        table,
        baseline,
        source: BundleSource {
            corpus,
            created_by: "heqis-lab baseline",
            scaler_sha256: sha256_hex(&scaler),
            scaler,
            source: table.source.clone(),
            source_sha256: table.source_sha256.clone(),
            fitted_on: table.training_rows(),
            label: |series, row| series.dates[row].to_string(),
        },
        validation: baseline.measure(corpus, Split::Validation),
        test: baseline.measure(corpus, Split::Test),
        captured: Split::ALL.map(|split| baseline.captured_variance(corpus, split)),
    };
    let (factors, direction) = (factors(&report)?, direction(&report)?);
    Ok([
        report.source.write(out, FACTORS_BUNDLE, factors)?,
        report.source.write(out, DIRECTION_BUNDLE, direction)?,
    ])
}

fn factors(report: &Report<'_>) -> Result<Model, TrainError> {
    let (source, corpus) = (&report.source, report.source.corpus);
    let names = source.features();
    let samples = source.golden_samples();
    let windows: Vec<f32> = samples
        .iter()
        .flat_map(|sample| corpus.window(sample, WINDOW_BARS))
        .copied()
        .collect();
    let factors: Vec<f64> = samples
        .iter()
        .flat_map(|sample| report.baseline.factors(corpus, sample))
        .collect();
    let golden = source.golden(
        &samples,
        FACTOR_TOLERANCE,
        &[("window", &windows)],
        &[("factors", &narrow(&factors))],
    );
    let [training, validation, test] = report.captured;
    let captured = json!({"training": training, "validation": validation, "test": test});
    let provenance = source.provenance(names, WINDOW_BARS);
    Ok(Model {
        role: Role::Factors,
        onnx: onnx::factors(&report.baseline.pca, names.len(), &provenance)?,
        batched: BTreeMap::new(),
        card: card::factors(report),
        feature_names: names.to_vec(),
        window_bars: WINDOW_BARS,
        figures: BTreeMap::from([
            ("samples".to_owned(), samples_table(report.table)),
            ("captured_variance".to_owned(), captured),
        ]),
        golden,
    })
}

fn direction(report: &Report<'_>) -> Result<Model, TrainError> {
    let (source, corpus) = (&report.source, report.source.corpus);
    let baseline = report.baseline;
    let names = joined_names(baseline.pca.bias.len(), source.features());
    let samples = source.golden_samples();
    let inputs: Vec<f64> = samples
        .iter()
        .flat_map(|sample| features(&baseline.pca, corpus, sample))
        .collect();
    let forecast = baseline.forecast(corpus, &samples);
    let returns = forecast.returns.unwrap_or_default();
    let probabilities = forecast.probabilities.unwrap_or_default();
    let golden = source.golden(
        &samples,
        DIRECTION_TOLERANCE,
        &[("features", &narrow(&inputs))],
        &[
            ("predicted_return", &narrow(&returns)),
            ("probabilities", &narrow(probabilities.as_flattened())),
        ],
    );
    let mut figures =
        direction_figures(&corpus.target, json!(report.validation), json!(report.test));
    figures.insert("samples".to_owned(), samples_table(report.table));
    figures.insert("choice".to_owned(), json!(baseline.choice));
    let provenance = source.provenance(&names, WINDOW_BARS);
    Ok(Model {
        role: Role::Direction,
        onnx: onnx::direction(&baseline.ridge, &baseline.logistic, &provenance)?,
        batched: BTreeMap::new(),
        card: card::direction(report),
        feature_names: names.clone(),
        window_bars: WINDOW_BARS,
        figures,
        golden,
    })
}

/// Returns dates and sizes of the three spans.
fn samples_table(table: &TableCorpus) -> Value {
    let span = |split| {
        let (from, to) = table.days(split);
        json!({
            "from": from.to_string(),
            "to": to.to_string(),
            "count": table.corpus.samples(split).len(),
        })
    };
    json!({
        "training": span(Split::Training),
        "validation": span(Split::Validation),
        "test": span(Split::Test),
        "purged_before_each_cut": table.corpus.look_back.purge_bars(HORIZON_BARS),
    })
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
