//! Trees fitted on a pool, as the bundle of a direction model that reads the scaled features of the last bar.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use heqis_bundle::Role;
use heqis_data::store::DataSet;
use heqis_data::store::manifest::FILE as MANIFEST;
use heqis_infer::bundle::sha256_hex;
use heqis_quant::Scaler;
use serde_json::{Value, json};

use super::Trees;
use crate::baselines::boosting::Boosting;
use crate::baselines::comparison::BOOSTING;
use crate::bundle::card::{Card, direction_interface, direction_limits};
use crate::bundle::{BundleSource, DIRECTION_TOLERANCE, Model, direction_figures};
use crate::corpus::{Corpus, LookBack, Sample, Split};
use crate::error::TrainError;
use crate::linear::penalty::least;
use crate::metrics::daily::{DailySeries, choice_loss};
use crate::metrics::forecast::{Forecast, Truth};
use crate::metrics::{Examples, Metrics, naive};
use crate::train::TrainConfig;
use crate::train::cross_section::DayScaling;

/// A sample is the last row alone.
const LOOK_BACK: LookBack = LookBack {
    window_bars: 1,
    series_bars: 1,
    encoder_bars: 1,
};

/// Fits trees on the data of a training's settings, chooses their options on the validation span, and writes the bundle `name`
/// below `out`. Returns its directory.
///
/// # Errors
///
/// [`TrainError`] when the data cannot be read or have too few samples, features are compared by day, or the bundle cannot be
/// written.
pub fn write(config: &TrainConfig, out: &Path, name: &str) -> Result<PathBuf, TrainError> {
    if config.data.scale_by_day != DayScaling::None {
        let rule = "no stage of the boards compares features by day, so trees of such features have no bundle";
        return Err(TrainError::training("data.scale_by_day", rule.to_owned()));
    }
    let data = DataSet::open(&config.data.set)?;
    let corpus = Corpus::load(&data, &config.data, LOOK_BACK)?;
    let input = |sample: &Sample| row(&corpus, sample).iter().map(|x| f64::from(*x)).collect();
    let examples = |split| Examples::of(&corpus, corpus.samples(split), input);
    let (training, chosen_on) = (examples(Split::Training), examples(Split::Validation));
    let (fitted, options) = least(BOOSTING, |options| {
        let fitted = Boosting::fit(&training.inputs, &training.truth.returns, options)?;
        let score = choice_loss(&fitted.predict(&chosen_on.inputs)?, &chosen_on.truth);
        Ok((fitted, score))
    })?;
    let trees = Trees::of(&fitted);
    let rates = naive::class_rates(&training.truth.classes);
    let path = config.data.set.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(|source| TrainError::file(&path, source))?;
    let scaler = scaler(&corpus.scaler)?;
    let set = config.data.set.file_name().unwrap_or_default();
    let source = BundleSource {
        corpus: &corpus,
        created_by: "heqis-lab trees",
        scaler_sha256: sha256_hex(&scaler),
        scaler,
        source: set.to_string_lossy().into_owned(),
        source_sha256: sha256_hex(&bytes),
        fitted_on: training.truth.len(),
        label: |series, row| format!("{} {}", series.symbol, series.dates[row]),
    };
    let measured =
        [Split::Validation, Split::Test].map(|split| measure(&corpus, &trees, rates, split));
    let [validation, test] = measured;
    let (validation, test) = (validation?, test?);
    let samples = source.golden_samples();
    let inputs: Vec<f32> = samples
        .iter()
        .flat_map(|sample| row(&corpus, sample))
        .copied()
        .collect();
    let values: Vec<f32> = samples
        .iter()
        .map(|sample| trees.predict(row(&corpus, sample)))
        .collect();
    let odds: Vec<f32> = samples
        .iter()
        .flat_map(|_| rates.map(|rate| rate as f32))
        .collect();
    let golden = source.golden(
        &samples,
        DIRECTION_TOLERANCE,
        &[("features", &inputs)],
        &[("predicted_return", &values), ("probabilities", &odds)],
    );
    let card = Card {
        name,
        about: format!(
            "The {}, by {} boosted trees of depth {} and learning rate {} on the scaled features of the last bar: of {} settings \
             the best on the validation span.",
            corpus.target,
            options.trees,
            options.depth,
            options.learning_rate,
            BOOSTING.len()
        ),
        interface: direction_interface(&format!("[1, {}], the scaled features", corpus.features())),
        data: source.data(
            &format!(
                "Data set `{}` of `heqis-lab prepare`, its manifest's sha256 `{}`.",
                source.source, source.source_sha256
            ),
            "from | to",
            |split| (corpus.days.get(split).from, corpus.days.get(split).to),
            "Scaler and trees have seen the training span only.",
        ),
        figures: format!(
            "The test span was measured once. RankIC is the mean over days of the rank correlation within the day.\n\n\
             | span | RankIC | 95 % | t |\n|---|---|---|---|\n{}{}\n\
             The probabilities are the rates of the classes in the training span, the same for every input.\n",
            line("validation", &validation),
            line("test", &test)
        ),
        limits: direction_limits("a working example", "the features of one bar and"),
    };
    let mut figures = direction_figures(&corpus.target, validation, test);
    figures.insert("fitted_to".to_owned(), json!(corpus.seen_to()));
    figures.insert("options".to_owned(), json!(options));
    let provenance = source.provenance(source.features(), 1);
    let model = Model {
        role: Role::Direction,
        onnx: trees.to_onnx(rates, &provenance)?,
        batched: BTreeMap::new(),
        card: card.text(),
        feature_names: source.features().to_vec(),
        window_bars: 1,
        figures,
        golden,
    };
    source.write(out, name, model)
}

fn row<'a>(corpus: &'a Corpus, sample: &Sample) -> &'a [f32] {
    corpus.window(sample, 1)
}

/// Returns the metrics of a span.
fn measure(
    corpus: &Corpus,
    trees: &Trees,
    rates: [f64; 3],
    split: Split,
) -> Result<Value, TrainError> {
    let samples = corpus.samples(split);
    let truth = Truth::of(corpus, samples);
    let values: Vec<f64> = samples
        .iter()
        .map(|sample| trees.predict(row(corpus, sample)).into())
        .collect();
    let rank_ic = DailySeries::rank_ic(&values, &truth).mean(corpus.target.horizon_days as usize);
    let forecast = Forecast {
        returns: Some(values),
        probabilities: Some(vec![rates; truth.len()]),
    };
    let mut value = json!(Metrics::of(&forecast, &truth)?);
    value["rank_ic"] = json!(rank_ic);
    Ok(value)
}

/// Returns a line of the card's table.
fn line(span: &str, metrics: &Value) -> String {
    let of = |key: &str| metrics["rank_ic"][key].as_f64();
    match (of("mean"), of("low"), of("high"), of("t")) {
        (Some(mean), Some(low), Some(high), Some(t)) => {
            format!("| {span} | {mean:.4} | {low:.4} to {high:.4} | {t:.1} |\n")
        }
        _ => format!("| {span} | – | – | – |\n"),
    }
}

/// Returns the scaler with a window of one bar.
fn scaler(scaler: &Scaler) -> Result<Vec<u8>, TrainError> {
    let path = Path::new("scaler_params.json");
    let json = |source| TrainError::json(path, source);
    let mut value: Value = serde_json::from_str(&scaler.to_json()).map_err(json)?;
    value["window_size"] = json!(1);
    let text = Scaler::from_json(&value.to_string())?.to_json() + "\n";
    Ok(text.into_bytes())
}
