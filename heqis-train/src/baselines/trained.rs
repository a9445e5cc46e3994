//! Trained networks in the comparison with the baselines.

use std::path::PathBuf;

use super::comparison::{Comparison, EvaluationSpan};
use super::table::{ComparisonTable, Entry};
use crate::corpus::{Corpus, Split};
use crate::error::TrainError;
use crate::metrics::Metrics;
use crate::metrics::forecast::Forecast;
use crate::train::{SavedWeights, TrainedRun};

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
    let comparison = Comparison::new(corpus, folds, |sample| {
        let row = corpus.window(sample, 1).iter();
        row.map(|&value| value.into()).collect()
    })?;
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
            let of = |split| Ok::<_, TrainError>(generator.predict(corpus, split)?.bound());
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
                let to = from + span.rows.truth.len();
                push(span, &validation.part(from..to))?;
                from = to;
            }
            if let Some(span) = &comparison.test {
                push(span, &test)?;
            }
        }
    }
    Ok(())
}
