//! The models of one fold and their forecasts.

use std::path::Path;

use heqis_quant::Date;

use super::WalkForward;
use crate::baselines::boosting::Boosting;
use crate::baselines::comparison::BOOSTING;
use crate::baselines::trained::{ENSEMBLE, label};
use crate::corpus::{Corpus, Sample, Split};
use crate::error::TrainError;
use crate::linear::penalty::{PENALTIES, least};
use crate::linear::ridge::Ridge;
use crate::metrics::Examples;
use crate::metrics::daily::{DailySeries, choice_loss};
use crate::metrics::forecast::{Forecast, Truth};
use crate::train::predict::predict;
use crate::train::progress::ProgressReporter;
use crate::train::{SavedWeights, TrainConfig, TrainedRun, run, train};
use crate::trees::Trees;

/// The feature that the forecast `last return` is.
const LAST_RETURN: &str = "return_1";

/// The forecasts of one model for one fold.
#[derive(Clone, Debug)]
pub struct FoldForecast {
    /// Name of the model.
    pub model: String,
    /// The seed of its training, if it has one.
    pub seed: Option<u64>,
    /// Index of the fold.
    pub fold: usize,
    /// Number of settings compared on the validation span.
    pub trials: usize,
    /// Last day of the labels that it was fitted on or chosen by.
    pub fitted_to: Date,
    /// The evaluated samples, as rows.
    pub rows: Vec<ForecastRow>,
}

/// One forecast with its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastRow {
    /// The instrument.
    pub symbol: heqis_quant::Symbol,
    /// The day at whose close the forecast is made.
    pub date: Date,
    /// The end of its bar, ns since 1970-01-01 UTC.
    pub time_ns: i64,
    /// The close.
    pub close: f64,
    /// The forecast, in the units of the target.
    pub value: f64,
    /// What came true, in the units of the target.
    pub label: f64,
    /// The day on which the label was known.
    pub known: Date,
}

impl FoldForecast {
    /// Returns the correlation of each day.
    #[must_use]
    pub fn rank_ic(&self) -> DailySeries {
        let values: Vec<f64> = self.rows.iter().map(|row| row.value).collect();
        DailySeries::rank_ic(&values, &truth(&self.rows))
    }
}

/// Returns the outcomes of rows.
fn truth(rows: &[ForecastRow]) -> Truth {
    Truth {
        times_ns: rows.iter().map(|row| row.time_ns).collect(),
        days: rows.iter().map(|row| row.date.days()).collect(),
        closes: rows.iter().map(|row| row.close).collect(),
        returns: rows.iter().map(|row| row.label).collect(),
        ..Truth::default()
    }
}

/// Fits the models of a fold and returns their forecasts.
pub(super) fn evaluate(
    settings: &WalkForward,
    config: &TrainConfig,
    corpus: &Corpus,
    samples: Vec<Sample>,
    fold: usize,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<FoldForecast>, TrainError> {
    let seen_to = corpus.seen_to().unwrap_or(corpus.days.validation.to);
    let of = |model: &str, seed: Option<u64>, trials: usize, values: Vec<f64>| {
        let rows = samples.iter().zip(values).map(|(sample, value)| {
            let (series, row) = corpus.place(sample);
            ForecastRow {
                symbol: series.symbol,
                date: series.dates[row],
                time_ns: series.times_ns[row],
                close: series.closes[row],
                value,
                label: series.returns[row],
                known: series.label_dates[row],
            }
        });
        FoldForecast {
            model: model.to_owned(),
            seed,
            fold,
            trials,
            fitted_to: seen_to,
            rows: rows.collect(),
        }
    };
    let mut all = Vec::new();
    let input = |sample: &Sample| {
        corpus
            .window(sample, 1)
            .iter()
            .map(|x| f64::from(*x))
            .collect()
    };
    let examples = |samples: &[Sample]| Examples::of(corpus, samples, input);
    let training = examples(corpus.samples(Split::Training));
    let chosen_on = examples(corpus.samples(Split::Validation));
    let judged = examples(&samples);
    all.push(of("last value", None, 0, vec![0.0; samples.len()]));
    let names = corpus.scaler.feature_names();
    if let Some(column) = names.iter().position(|name| name == LAST_RETURN) {
        let values = judged.inputs.iter().map(|row| row[column]).collect();
        all.push(of("last return", None, 0, values));
    }
    let (ridge, _) = least(PENALTIES, |penalty| {
        let ridge = Ridge::fit(&training.inputs, &training.truth.returns, penalty)
            .ok_or(TrainError::singular("ridge regression"))?;
        let predicted = chosen_on.inputs.iter().map(|row| ridge.predict(row));
        let score = choice_loss(&predicted.collect::<Vec<_>>(), &chosen_on.truth);
        Ok((ridge, score))
    })?;
    let values = judged.inputs.iter().map(|row| ridge.predict(row)).collect();
    all.push(of("ridge", None, PENALTIES.len(), values));
    let (trees, _) = least(BOOSTING, |options| {
        let trees = Boosting::fit(&training.inputs, &training.truth.returns, options)?;
        let score = choice_loss(&trees.predict(&chosen_on.inputs)?, &chosen_on.truth);
        Ok((trees, score))
    })?;
    // As a board computes them, to the bit.
    let trees = Trees::of(&trees);
    let values = samples
        .iter()
        .map(|sample| trees.predict(corpus.window(sample, 1)).into());
    all.push(of("trees", None, BOOSTING.len(), values.collect()));
    progress("  baselines done");
    for seed in (0..settings.seeds).map(|at| config.seed.wrapping_add(at)) {
        let config = TrainConfig {
            seed,
            ..config.clone()
        };
        let path = dir.join(format!("seed-{seed}"));
        let run = trained(&config, &path)?;
        let with_factors;
        // The encoder's factors are columns of the run's own corpus, whose samples are the same.
        let corpus = match run.manifest.config.encoder.shape().1 {
            0 => corpus,
            _ => {
                with_factors = run.corpus()?;
                &with_factors
            }
        };
        for weights in [SavedWeights::Pretrained, SavedWeights::Best] {
            if weights == SavedWeights::Best && config.schedule.adversarial_epochs == 0 {
                continue;
            }
            let mut members: Vec<Forecast> = Vec::new();
            for generator in run.generators(weights)? {
                let (bars, columns) = (generator.config.window_rows, generator.config.features);
                let forecast = predict(&generator.net, bars, columns, corpus, &samples)?;
                let values = forecast.returns.clone().unwrap_or_default();
                all.push(of(&label(&generator.name, weights), Some(seed), 1, values));
                members.push(forecast);
            }
            if members.len() > 1 {
                let values = Forecast::mean(&members)?.returns.unwrap_or_default();
                all.push(of(&label(ENSEMBLE, weights), Some(seed), 1, values));
            }
        }
        progress(&format!("  seed {seed} done"));
    }
    Ok(all)
}

/// Trains a fold's networks, or continues an interrupted training.
#[expect(
    clippy::disallowed_methods,
    reason = "measures a duration that is only recorded as progress"
)]
fn trained(config: &TrainConfig, path: &Path) -> Result<TrainedRun, TrainError> {
    let start = std::time::Instant::now();
    let elapsed = || start.elapsed();
    let mut reporter = ProgressReporter::new(path, false, None, &elapsed);
    let resume = path.join(run::FILE).exists();
    train(config, path, resume, &mut reporter)?;
    TrainedRun::open(path)
}
