//! The baselines of one data set: fitted on the training span, tuned on the validation span, measured on every span.

use super::boosting::{Boosting, BoostingOptions};
use super::table::{ComparisonTable, Entry};
use crate::baseline::{Baseline, features};
use crate::corpus::{Corpus, Sample, Split};
use crate::error::TrainError;
use crate::linear::penalty::{self, PENALTIES, least};
use crate::metrics::errors::ReturnError;
use crate::metrics::forecast::Forecast;
use crate::metrics::{Examples, Metrics, naive};

/// Options of the trees that are tried: shallow trees with small learning rates, which suit weak signals. Each fit of a daily
/// series takes a few seconds at most.
pub(crate) const BOOSTING: [BoostingOptions; 6] = [
    trees(25, 2, 0.05),
    trees(100, 2, 0.05),
    trees(25, 3, 0.05),
    trees(100, 3, 0.05),
    trees(50, 1, 0.1),
    trees(200, 1, 0.1),
];

const fn trees(trees: usize, depth: usize, learning_rate: f64) -> BoostingOptions {
    BoostingOptions {
        trees,
        depth,
        learning_rate,
        least_leaf: 20,
    }
}

/// A named span that forecasts are measured on.
#[derive(Clone, Debug)]
pub struct EvaluationSpan {
    /// Name, such as `validation 1` or `test`.
    pub name: String,
    /// Its items.
    pub rows: Examples,
}

/// A data set in its spans.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The span that models are fitted on.
    pub training: Examples,
    /// The span that settings are chosen on, in one or more folds.
    pub validation: Vec<EvaluationSpan>,
    /// The span that is measured once, after all choices.
    pub test: Option<EvaluationSpan>,
}

/// Forecasts the items of a span.
type Predictor = dyn Fn(&Examples) -> Result<Forecast, TrainError>;

/// A fitted baseline: its name, the number of settings compared for it, and its predictions.
struct Fitted {
    name: &'static str,
    trials: usize,
    predict: Box<Predictor>,
}

impl Comparison {
    /// Returns the comparison over the samples of a corpus, with the inputs that `input` makes of each. `folds` cuts the
    /// validation span.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when `folds` is 0 or greater than the number of items in the validation span.
    pub fn new(
        corpus: &Corpus,
        folds: usize,
        input: impl Fn(&Sample) -> Vec<f64>,
    ) -> Result<Self, TrainError> {
        let validation = corpus.samples(Split::Validation);
        let items = validation.len();
        if folds == 0 || folds > items {
            let rule = format!(
                "the validation span of {items} items must be cut into at least one fold and at most one per item, got {folds}"
            );
            return Err(TrainError::rule("baselines", rule));
        }
        let rows = |samples: &[Sample]| Examples::of(corpus, samples, &input);
        let fold = |fold: usize| EvaluationSpan {
            name: match folds {
                1 => "validation".to_owned(),
                _ => format!("validation {}", fold + 1),
            },
            rows: rows(&validation[items * fold / folds..items * (fold + 1) / folds]),
        };
        Ok(Self {
            training: rows(corpus.samples(Split::Training)),
            validation: (0..folds).map(fold).collect(),
            test: Some(EvaluationSpan {
                name: "test".to_owned(),
                rows: rows(corpus.samples(Split::Test)),
            }),
        })
    }

    /// Returns the comparison with the inputs of the shipped direction model: the window's principal components, then the last
    /// scaled row.
    ///
    /// # Errors
    ///
    /// As [`Comparison::new`].
    pub fn with_factors(corpus: &Corpus, folds: usize) -> Result<Self, TrainError> {
        let pca = Baseline::fit_factors(corpus);
        Self::new(corpus, folds, |sample| features(&pca, corpus, sample))
    }

    /// Fits the baselines and measures them on every span.
    ///
    /// The settings of ridge and trees are those with the least squared error over all folds of the validation span,
    /// those of the logistic regression those with the least Brier score.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a span is empty or breaks a rule, or a regression has no solution.
    pub fn run(&self) -> Result<ComparisonTable, TrainError> {
        let mut table = ComparisonTable::default();
        for fitted in self.fit()? {
            for span in self.validation.iter().chain(&self.test) {
                let forecast = (fitted.predict)(&span.rows)?;
                table.push(Entry {
                    model: fitted.name.to_owned(),
                    span: span.name.clone(),
                    trials: fitted.trials,
                    metrics: Metrics::of(&forecast, &span.rows.truth)?,
                });
            }
        }
        Ok(table)
    }

    fn fit(&self) -> Result<Vec<Fitted>, TrainError> {
        let training = &self.training;
        let mut chosen_on = Examples::default();
        for EvaluationSpan { rows, .. } in &self.validation {
            chosen_on.inputs.extend_from_slice(&rows.inputs);
            chosen_on.truth.extend(&rows.truth);
        }
        for (name, rows) in [("training", training), ("validation", &chosen_on)] {
            rows.truth.check()?;
            if rows.truth.is_empty() || rows.inputs.len() != rows.truth.len() {
                let rule = format!(
                    "the {name} span must have items with inputs, got {} and {} inputs",
                    rows.truth.len(),
                    rows.inputs.len()
                );
                return Err(TrainError::rule("baselines", rule));
            }
        }
        let (ridge, _) = penalty::ridge(training, &chosen_on)?;
        let (logistic, _) = penalty::logistic(training, &chosen_on)?;
        let (boosting, _) = least(BOOSTING, |options| {
            let trees = Boosting::fit(&training.inputs, &training.truth.returns, options)?;
            let predicted = trees.predict(&chosen_on.inputs)?;
            let error = ReturnError::of(&predicted, &chosen_on.truth.returns).mse;
            Ok((trees, error))
        })?;

        let (returns, classes) = (
            training.truth.returns.clone(),
            training.truth.classes.clone(),
        );
        Ok(vec![
            fitted("last value", 1, |rows| {
                Ok(naive::last_value(rows.truth.len()))
            }),
            fitted("training mean", 1, move |rows| {
                Ok(naive::mean(&returns, rows.truth.len()))
            }),
            fitted("training majority", 1, move |rows| {
                Ok(naive::majority(&classes, rows.truth.len()))
            }),
            fitted("ridge", PENALTIES.len(), move |rows| {
                let predicted = rows.inputs.iter().map(|row| ridge.predict(row)).collect();
                Ok(Forecast {
                    returns: Some(predicted),
                    probabilities: None,
                })
            }),
            fitted("logistic regression", PENALTIES.len(), move |rows| {
                let probabilities = rows.inputs.iter().map(|row| {
                    let p = logistic.predict(row);
                    [p[0], p[1], p[2]]
                });
                Ok(Forecast {
                    returns: None,
                    probabilities: Some(probabilities.collect()),
                })
            }),
            fitted("gradient boosting", BOOSTING.len(), move |rows| {
                Ok(Forecast {
                    returns: Some(boosting.predict(&rows.inputs)?),
                    probabilities: None,
                })
            }),
        ])
    }
}

fn fitted(
    name: &'static str,
    trials: usize,
    predict: impl Fn(&Examples) -> Result<Forecast, TrainError> + 'static,
) -> Fitted {
    Fitted {
        name,
        trials,
        predict: Box::new(predict),
    }
}
