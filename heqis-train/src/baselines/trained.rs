//! Trained networks in the comparison with the baselines.

use std::path::PathBuf;

use burn::tensor::Device;

use super::comparison::{Comparison, EvaluationSpan, Examples};
use super::forecast::{Forecast, Truth};
use super::metrics::Metrics;
use super::table::{ComparisonTable, Entry};
use crate::error::TrainError;
use crate::train::corpus::Sample;
use crate::train::predict::Prediction;
use crate::train::tensors::numbers;
use crate::train::{Corpus, SavedWeights, Split, TrainedRun};

/// Name of the mean of all generators.
pub(crate) const ENSEMBLE: &str = "ensemble";

/// Returns the name of a model in the table, as in `g1, game`.
pub fn label(target: &str, weights: SavedWeights) -> String {
    match weights {
        SavedWeights::Pretrained => format!("{target}, alone"),
        SavedWeights::Best => format!("{target}, game"),
    }
}

/// Opens several runs.
///
/// # Errors
///
/// As [`TrainedRun::open`].
pub fn open(dirs: &[PathBuf]) -> Result<Vec<TrainedRun>, TrainError> {
    dirs.iter().map(|dir| TrainedRun::open(dir)).collect()
}

/// Returns the name of the generator with the least loss on the validation span, the first of equals.
///
/// # Errors
///
/// [`TrainError::Rule`] when the run has no generators.
pub fn best(run: &TrainedRun) -> Result<String, TrainError> {
    let loss = |name: &String| {
        let loss = run
            .manifest
            .metrics
            .get(name)
            .and_then(|metrics| metrics.best.loss);
        loss.unwrap_or(f64::INFINITY)
    };
    let names = run.manifest.config.generators.iter().map(|spec| &spec.name);
    names
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .cloned()
        .ok_or_else(|| TrainError::training(run.dir().display(), "has no generators".to_owned()))
}

/// Measures the baselines on the samples of a run, then its generators after pre-training and after adversarial training, each
/// one and their ensemble, and finally those of `others`, runs named after their directories.
///
/// A baseline reads the last row of a window. `folds` cuts the validation span; the test span is measured once.
///
/// # Errors
///
/// [`TrainError`] when weights cannot be read, a span breaks a rule, or another run has other samples.
pub fn table(
    run: &TrainedRun,
    corpus: &Corpus,
    folds: usize,
    others: &[TrainedRun],
) -> Result<ComparisonTable, TrainError> {
    let validation = corpus.samples(Split::Validation).len();
    if folds == 0 || folds > validation {
        return Err(TrainError::rule(
            "baselines",
            format!(
                "the validation span of {validation} items must be cut into at least one fold and at most one per item, got {folds}"
            ),
        ));
    }
    let fold = |fold: usize| validation * fold / folds..validation * (fold + 1) / folds;
    let name = |index: usize| match folds {
        1 => "validation".to_owned(),
        _ => format!("validation {}", index + 1),
    };
    let rows = |split: Split| rows(corpus, corpus.samples(split));
    let (training, chosen_on, test) = (
        rows(Split::Training)?,
        rows(Split::Validation)?,
        rows(Split::Test)?,
    );
    let comparison = Comparison {
        training,
        validation: (0..folds)
            .map(|index| EvaluationSpan {
                name: name(index),
                rows: cut(&chosen_on, fold(index)),
            })
            .collect(),
        test: Some(EvaluationSpan {
            name: "test".to_owned(),
            rows: test,
        }),
    };
    let mut table = comparison.run()?;
    add(&mut table, &comparison, run, corpus, &|target, weights| {
        label(target, weights)
    })?;
    for other in others {
        if other.manifest.data_sha256 != run.manifest.data_sha256
            || other.manifest.days != run.manifest.days
            || other.manifest.samples != run.manifest.samples
        {
            return Err(TrainError::training(
                other.dir().display(),
                format!(
                    "must have the data and samples of {} to be compared with it",
                    run.dir().display()
                ),
            ));
        }
        let dir = other.dir().file_name().unwrap_or_default();
        add(
            &mut table,
            &comparison,
            other,
            &other.corpus()?,
            &|target, weights| format!("{}: {}", dir.to_string_lossy(), label(target, weights)),
        )?;
    }
    Ok(table)
}

/// Adds the generators of a run, each one and their ensemble, with names made by `named`.
fn add(
    table: &mut ComparisonTable,
    comparison: &Comparison,
    run: &TrainedRun,
    corpus: &Corpus,
    named: &dyn Fn(&str, SavedWeights) -> String,
) -> Result<(), TrainError> {
    let trials = run.manifest.config.generators.len();
    for weights in [SavedWeights::Pretrained, SavedWeights::Best] {
        let mut forecasts: Vec<(String, [Forecast; 2])> = Vec::new();
        for generator in run.generators(weights)? {
            let of = |split| Ok::<_, TrainError>(forecast(&generator.predict(corpus, split)?));
            let of_generator = [of(Split::Validation)?, of(Split::Test)?];
            forecasts.push((generator.name.clone(), of_generator));
        }
        if forecasts.len() > 1 {
            let ensemble = |span: usize| {
                let all: Vec<Forecast> = forecasts.iter().map(|(_, f)| f[span].clone()).collect();
                Forecast::mean(&all)
            };
            forecasts.push((ENSEMBLE.to_owned(), [ensemble(0)?, ensemble(1)?]));
        }
        for (target, [validation, test]) in forecasts {
            let mut push = |span: &EvaluationSpan, forecast: &Forecast| -> Result<(), TrainError> {
                table.push(Entry {
                    model: named(&target, weights),
                    span: span.name.clone(),
                    trials,
                    metrics: Metrics::of(forecast, &span.rows.truth)?,
                });
                Ok(())
            };
            let mut from = 0;
            for span in &comparison.validation {
                let to = from + span.rows.truth.days.len();
                push(span, &part(&validation, from..to))?;
                from = to;
            }
            if let Some(span) = &comparison.test {
                push(span, &test)?;
            }
        }
    }
    Ok(())
}

/// Returns samples as the last rows of their windows with the actual outcomes.
fn rows(corpus: &Corpus, samples: &[Sample]) -> Result<Examples, TrainError> {
    let mut rows = Examples {
        inputs: Vec::with_capacity(samples.len()),
        truth: Truth::default(),
    };
    for chunk in samples.chunks(512) {
        let batch = corpus.batch(chunk, &Device::flex());
        let (_, flat) = numbers(batch.window(1, corpus.columns))?;
        let last = flat.chunks_exact(corpus.columns);
        rows.inputs
            .extend(last.map(|row| row.iter().map(|&x| f64::from(x)).collect()));
    }
    for sample in samples {
        let series = &corpus.series[sample.series as usize];
        let row = sample.row as usize;
        rows.truth.times_ns.push(series.times_ns[row]);
        rows.truth.days.push(series.dates[row].days());
        rows.truth.closes.push(series.closes[row]);
        rows.truth.returns.push(series.returns[row]);
        rows.truth.classes.push(series.classes[row].into());
    }
    Ok(rows)
}

fn cut(rows: &Examples, range: std::ops::Range<usize>) -> Examples {
    let truth = &rows.truth;
    Examples {
        inputs: rows.inputs[range.clone()].to_vec(),
        truth: Truth {
            times_ns: truth.times_ns[range.clone()].to_vec(),
            days: truth.days[range.clone()].to_vec(),
            closes: truth.closes[range.clone()].to_vec(),
            returns: truth.returns[range.clone()].to_vec(),
            classes: truth.classes[range].to_vec(),
        },
    }
}

/// Returns predictions as plain arrays.
fn forecast(predictions: &[Prediction]) -> Forecast {
    let returns = predictions.iter().map(|p| p.predicted_return);
    // A softmax in `f32` may exceed 1 by a rounding error.
    let odds = predictions
        .iter()
        .map(|p| p.probabilities.map(|p| p.min(1.0)));
    Forecast {
        returns: Some(returns.collect()),
        probabilities: Some(odds.collect()),
    }
}

fn part(forecast: &Forecast, range: std::ops::Range<usize>) -> Forecast {
    Forecast {
        returns: forecast
            .returns
            .as_ref()
            .map(|all| all[range.clone()].to_vec()),
        probabilities: forecast
            .probabilities
            .as_ref()
            .map(|all| all[range].to_vec()),
    }
}
