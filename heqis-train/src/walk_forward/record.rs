//! The files of a run.
//!
//! ```text
//! DIR/walk-forward.json        settings, digests, folds, and the results of each model
//! DIR/table.md                 the results as a table
//! DIR/labels.csv               symbol, date, label, known: what came true, in the units of the target
//! DIR/forecasts/trees.csv      a table of predictions for each model, `g1-alone-seed-7.csv` for one of a seed
//! DIR/daily.csv                model, seed, date, rank_ic
//! DIR/folds/fold-1/seed-7/     the run directory of each training
//! ```
//!
//! Forecasts are tables of predictions as every command reads them, with `fitted_to` and `target`. The same settings and data
//! give the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_base::files::write_atomically;
use heqis_data::predictions::Forecast;
use heqis_data::predictions::write::{PredictionRow, write_kind};
use heqis_data::store::DataSet;
use heqis_data::store::manifest::FILE as MANIFEST;
use heqis_infer::bundle::sha256_hex;
use heqis_quant::target::Target;
use heqis_quant::{Date, Symbol};
use serde::{Deserialize, Serialize};

use super::models::{FoldForecast, ForecastRow};
use super::{FoldDays, WalkForward};
use crate::corpus::{Corpus, Split};
use crate::error::TrainError;
use crate::metrics::daily::{DailyMean, DailySeries};
use crate::train::TrainConfig;

/// The layout that this build writes.
pub const SCHEMA_VERSION: u32 = 1;
/// The file of the record.
pub const FILE: &str = "walk-forward.json";

/// The inputs and results of a run. It contains no time and no host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalkForwardRecord {
    /// The layout: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The version of this program.
    pub code_version: String,
    /// The settings of the trainings.
    pub config: TrainConfig,
    /// Their digest.
    pub config_sha256: String,
    /// Number of seeds.
    pub seeds: u64,
    /// The version of the data set.
    pub data_version: String,
    /// SHA-256 of the data set's manifest, which holds those of its inputs.
    pub data_sha256: String,
    /// The features of a row.
    pub features: Vec<String>,
    /// What the labels are.
    pub target: Target,
    /// The folds.
    pub folds: Vec<FoldRecord>,
    /// The results, in the order of the table.
    pub models: Vec<ModelRecord>,
    /// SHA-256 of each file of forecasts, labels and daily correlations, by its path in the directory.
    pub files: BTreeMap<String, String>,
}

/// One fold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldRecord {
    /// Last day of the training span.
    pub training_to: Date,
    /// First and last day of the validation span.
    pub validation: [Date; 2],
    /// Last day of a label that was fitted on or chosen by.
    pub fitted_to: Option<Date>,
    /// First and last evaluated day.
    pub evaluated: [Date; 2],
    /// Number of training, validation and evaluated samples.
    pub samples: [usize; 3],
}

impl FoldRecord {
    pub(super) fn new(corpus: &Corpus, fold: &FoldDays, evaluated: usize) -> Self {
        let validation = corpus.days.validation;
        let count = |split| corpus.samples(split).len();
        Self {
            training_to: corpus.days.training.to,
            validation: [validation.from, validation.to],
            fitted_to: corpus.seen_to(),
            evaluated: [fold.from, fold.to],
            samples: [count(Split::Training), count(Split::Validation), evaluated],
        }
    }
}

/// The results of one model over all folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// Its name.
    pub model: String,
    /// Number of settings compared on each validation span.
    pub trials: usize,
    /// RankIC of the mean forecast of all seeds; `None` for a forecast that ranks nothing.
    pub rank_ic: Option<DailyMean>,
    /// RankIC of each seed; empty for a model without one.
    pub by_seed: BTreeMap<u64, DailyMean>,
    /// Mean RankIC of the mean forecast in each fold.
    pub by_fold: Vec<Option<f64>>,
}

/// One model's rows of all folds, by seed.
struct Collected {
    trials: usize,
    by_seed: BTreeMap<Option<u64>, Vec<FoldForecast>>,
}

impl Collected {
    /// Returns the mean of the seeds' forecasts, fold by fold.
    fn mean(&self) -> Vec<FoldForecast> {
        let mut seeds = self.by_seed.values();
        let mut mean = seeds.next().cloned().unwrap_or_default();
        let count = self.by_seed.len() as f64;
        for other in seeds {
            for (fold, other) in mean.iter_mut().zip(other) {
                for (row, other) in fold.rows.iter_mut().zip(&other.rows) {
                    row.value += other.value;
                }
            }
        }
        for row in mean.iter_mut().flat_map(|fold| &mut fold.rows) {
            row.value /= count;
        }
        mean
    }
}

fn rank_ic(folds: &[FoldForecast]) -> DailySeries {
    let mut series = DailySeries::default();
    for fold in folds {
        series.extend(&fold.rank_ic());
    }
    series
}

/// Measures the forecasts and writes all files.
pub(super) fn write(
    settings: &WalkForward,
    data: &DataSet,
    folds: Vec<FoldRecord>,
    forecasts: &[FoldForecast],
) -> Result<WalkForwardRecord, TrainError> {
    let (out, manifest) = (&settings.out, data.manifest());
    let target = manifest.settings.target;
    let horizon = target.horizon_days as usize;
    let mut order: Vec<&str> = Vec::new();
    let mut models: BTreeMap<&str, Collected> = BTreeMap::new();
    for forecast in forecasts {
        let collected = models.entry(&forecast.model).or_insert_with(|| {
            order.push(&forecast.model);
            Collected {
                trials: forecast.trials,
                by_seed: BTreeMap::new(),
            }
        });
        let seed = collected.by_seed.entry(forecast.seed).or_default();
        seed.push(forecast.clone());
    }
    let mut files = BTreeMap::new();
    let mut records = Vec::new();
    let mut daily = String::from("model,seed,date,rank_ic\n");
    for model in order {
        let collected = &models[model];
        let mean = collected.mean();
        let of_mean = rank_ic(&mean);
        let mut by_seed = BTreeMap::new();
        for (seed, folds) in &collected.by_seed {
            let series = rank_ic(folds);
            if let (Some(seed), Some(mean)) = (seed, series.mean(horizon)) {
                by_seed.insert(*seed, mean);
            }
            let shown = seed.map_or(String::new(), |seed| seed.to_string());
            for (day, value) in &series.days {
                let day = Date::from_days(*day).map_or(String::new(), |day| day.to_string());
                daily.push_str(&format!("\"{model}\",{shown},{day},{value}\n"));
            }
            let name = format!("forecasts/{}.csv", file_stem(model, *seed));
            write_forecasts(&out.join(&name), folds, &target)?;
            files.insert(name.clone(), digest(&out.join(&name))?);
        }
        records.push(ModelRecord {
            model: model.to_owned(),
            trials: collected.trials,
            rank_ic: of_mean.mean(horizon),
            by_seed,
            by_fold: mean
                .iter()
                .map(|fold| fold.rank_ic().mean(horizon).map(|mean| mean.mean))
                .collect(),
        });
    }
    let mut put = |name: &str, text: &str| -> Result<(), TrainError> {
        let path = out.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|error| TrainError::file(&path, error))?;
        files.insert(name.to_owned(), sha256_hex(text.as_bytes()));
        Ok(())
    };
    put("daily.csv", &daily)?;
    put("labels.csv", &labels(forecasts))?;
    put("table.md", &markdown(&records, &target))?;
    let path = settings.config.data.set.join(MANIFEST);
    let bytes = std::fs::read(&path).map_err(|error| TrainError::file(&path, error))?;
    let record = WalkForwardRecord {
        schema_version: SCHEMA_VERSION,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        config: settings.config.clone(),
        config_sha256: settings.config.sha256()?,
        seeds: settings.seeds,
        data_version: manifest.version.clone(),
        data_sha256: sha256_hex(&bytes),
        features: manifest.settings.features.clone(),
        target,
        folds,
        models: records,
        files,
    };
    let path = out.join(FILE);
    let mut text =
        serde_json::to_string_pretty(&record).map_err(|source| TrainError::json(&path, source))?;
    text.push('\n');
    write_atomically(&path, text.as_bytes()).map_err(|error| TrainError::file(&path, error))?;
    Ok(record)
}

/// Returns the stem of a file's name: letters, digits and dashes.
fn file_stem(model: &str, seed: Option<u64>) -> String {
    let mut stem = String::new();
    for c in model.chars() {
        match c.is_ascii_alphanumeric() || c == '_' {
            true => stem.push(c),
            false if !stem.ends_with('-') => stem.push('-'),
            false => {}
        }
    }
    match seed {
        Some(seed) => format!("{stem}-seed-{seed}"),
        None => stem,
    }
}

fn digest(path: &Path) -> Result<String, TrainError> {
    let bytes = std::fs::read(path).map_err(|error| TrainError::file(path, error))?;
    Ok(sha256_hex(&bytes))
}

fn write_forecasts(path: &Path, folds: &[FoldForecast], target: &Target) -> Result<(), TrainError> {
    let rows = folds.iter().flat_map(|fold| {
        let row = |row: &ForecastRow| PredictionRow {
            symbol: row.symbol,
            date: row.date,
            time_ns: row.time_ns,
            forecast: Forecast {
                predicted_return: row.value,
                probabilities: None,
                fitted_to: Some(fold.fitted_to),
            },
        };
        fold.rows.iter().map(row)
    });
    let mut rows: Vec<PredictionRow> = rows.collect();
    rows.sort_by_key(|row| (row.symbol, row.time_ns));
    Ok(write_kind(path, &rows, target.kind)?)
}

/// Returns the labels of all folds as CSV, by instrument and day.
fn labels(forecasts: &[FoldForecast]) -> String {
    let rows = forecasts.iter().flat_map(|forecast| &forecast.rows);
    let labels: BTreeMap<(Symbol, Date), (f64, Date)> = rows
        .map(|row| ((row.symbol, row.date), (row.label, row.known)))
        .collect();
    let mut text = String::from("symbol,date,label,known\n");
    for ((symbol, date), (label, known)) in labels {
        text.push_str(&format!("{symbol},{date},{label},{known}\n"));
    }
    text
}

/// Returns the results as a table, the losers too.
#[must_use]
pub fn markdown(models: &[ModelRecord], target: &Target) -> String {
    let mut text = format!(
        "RankIC against the {target}, by day; t and 95 % intervals with autocovariances up to lag {}.\n\n\
         | model | days | RankIC | 95 % | t | seeds, least to greatest | settings tried |\n|---|---|---|---|---|---|---|\n",
        target.horizon_days - 1
    );
    for record in models {
        let seeds = record.by_seed.values().map(|mean| mean.mean);
        let least = seeds.clone().fold(f64::INFINITY, f64::min);
        let greatest = seeds.fold(f64::NEG_INFINITY, f64::max);
        let seeds = match record.by_seed.len() {
            0 => "–".to_owned(),
            count => format!("{count}: {least:.4} to {greatest:.4}"),
        };
        let cells = match record.rank_ic {
            Some(mean) => format!(
                "{} | {:.4} | {:.4} to {:.4} | {:.1}",
                mean.days, mean.mean, mean.low, mean.high, mean.t
            ),
            None => "0 | ranks nothing | – | –".to_owned(),
        };
        text.push_str(&format!(
            "| {} | {cells} | {seeds} | {} |\n",
            record.model, record.trials
        ));
    }
    text
}
