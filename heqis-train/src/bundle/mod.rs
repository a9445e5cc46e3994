//! The bundles of a fit, linear or trained: golden windows, metrics and files; [`card`]: the model cards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_bundle::{Provenance, Role};
use heqis_infer::{BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};
use serde_json::{Value, json};

use heqis_quant::target::Target;

use crate::corpus::{Corpus, FLAT_BAND, Sample, ScaledSeries, Split};
use crate::error::TrainError;

pub(crate) mod card;

/// Golden windows per bundle, evenly spaced over the test span.
const GOLDEN_WINDOWS: usize = 4;
/// Largest difference between a backend's factors and the golden ones: they are unbounded, and sum hundreds of products in
/// another order.
pub(crate) const FACTOR_TOLERANCE: f32 = 1e-4;
/// The same for returns and probabilities.
pub(crate) const DIRECTION_TOLERANCE: f32 = 1e-5;

/// Named tensors, each flat over the golden windows.
pub(crate) type Tensors<'a> = [(&'a str, &'a [f32])];

/// What all bundles of a fit have in common.
#[derive(Debug)]
pub(crate) struct BundleSource<'a> {
    pub(crate) corpus: &'a Corpus,
    /// The command that is recorded in the manifests.
    pub(crate) created_by: &'static str,
    /// The content of `scaler_params.json`.
    pub(crate) scaler: Vec<u8>,
    pub(crate) scaler_sha256: String,
    /// Name of the data.
    pub(crate) source: String,
    pub(crate) source_sha256: String,
    /// Number of rows or samples that the models were fitted on.
    pub(crate) fitted_on: usize,
    /// Returns the label of a golden window that ends in a row.
    pub(crate) label: fn(&ScaledSeries, usize) -> String,
}

/// One model of a fit with what only its bundle has.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) role: Role,
    pub(crate) onnx: Vec<u8>,
    /// Models for several windows in one call, by file name.
    pub(crate) batched: BTreeMap<String, Vec<u8>>,
    pub(crate) card: String,
    pub(crate) feature_names: Vec<String>,
    pub(crate) window_bars: usize,
    pub(crate) figures: BTreeMap<String, Value>,
    pub(crate) golden: Golden,
}

impl<'a> BundleSource<'a> {
    /// Returns the names of the scaled features.
    pub(crate) fn features(&self) -> &'a [String] {
        self.corpus.scaler.feature_names()
    }

    /// Returns what a model's file records of its origin.
    pub(crate) fn provenance<'p>(
        &'p self,
        feature_names: &'p [String],
        window_bars: usize,
    ) -> Provenance<'p> {
        Provenance {
            scaler_sha256: &self.scaler_sha256,
            feature_names,
            window_bars,
        }
    }

    /// Returns evenly spaced samples of the test span, including its first and last.
    pub(crate) fn golden_samples(&self) -> Vec<Sample> {
        let samples = self.corpus.samples(Split::Test);
        let last = samples.len().saturating_sub(1);
        (0..GOLDEN_WINDOWS)
            .filter_map(|i| samples.get(last * i / (GOLDEN_WINDOWS - 1)).copied())
            .collect()
    }

    /// Returns the golden windows of samples.
    pub(crate) fn golden(
        &self,
        samples: &[Sample],
        tolerance: f32,
        inputs: &Tensors<'_>,
        outputs: &Tensors<'_>,
    ) -> Golden {
        let of = |tensors: &Tensors<'_>, index: usize| {
            let part = |data: &[f32]| {
                let length = data.len() / samples.len();
                data[index * length..(index + 1) * length].to_vec()
            };
            tensors
                .iter()
                .map(|(name, data)| ((*name).to_owned(), part(data)))
                .collect()
        };
        let windows = samples.iter().enumerate().map(|(index, sample)| {
            let (series, row) = self.corpus.place(sample);
            GoldenWindow {
                label: (self.label)(series, row),
                inputs: of(inputs, index),
                outputs: of(outputs, index),
            }
        });
        Golden {
            tolerance,
            windows: windows.collect(),
        }
    }

    /// Writes the bundle `name` of a model below `out`, and returns its directory.
    pub(crate) fn write(
        &self,
        out: &Path,
        name: &str,
        model: Model,
    ) -> Result<PathBuf, TrainError> {
        let training = self.corpus.days.training;
        let figures = model.figures.into_iter();
        let parts = BundleParts {
            name: name.to_owned(),
            task: model.role.to_string(),
            created_by: self.created_by.to_owned(),
            precision: Precision::F32,
            model: model.onnx,
            scaler_params: self.scaler.clone(),
            other_files: model.batched,
            model_card: model.card,
            feature_names: model.feature_names,
            window_bars: model.window_bars,
            training_span: TrainingSpan {
                source: self.source.clone(),
                source_sha256: self.source_sha256.clone(),
                from: training.from.to_string(),
                to: training.to.to_string(),
                rows: self.fitted_on,
            },
            figures: figures.map(|(key, value)| (key, rounded(value))).collect(),
            golden: model.golden,
        };
        let dir = out.join(name);
        heqis_bundle::write(&dir, &parts)?;
        Ok(dir)
    }
}

/// Returns the figures of every direction model: what it predicts, and its metrics by span.
pub(crate) fn direction_figures(
    target: &Target,
    validation: Value,
    test: Value,
) -> BTreeMap<String, Value> {
    let mut figures = BTreeMap::from([
        ("horizon_bars".to_owned(), json!(target.horizon_bars())),
        ("flat_band".to_owned(), json!(FLAT_BAND)),
        ("validation".to_owned(), validation),
        ("test".to_owned(), test),
    ]);
    if !target.is_default() {
        figures.insert("target".to_owned(), json!(target));
    }
    figures
}

/// Rounds every fraction in a table to six significant digits: more would be noise.
fn rounded(value: Value) -> Value {
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
