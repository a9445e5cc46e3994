//! The baselines of one data set: fitted on the training span, tuned on the validation span, measured on every span.

use heqis_data::metrics::{ReturnError, brier};
use heqis_data::samples::CLASSES;

use super::boosting::{Boosting, BoostingOptions};
use super::forecast::{Forecast, Truth};
use super::metrics::Metrics;
use super::naive;
use super::table::{ComparisonTable, Entry};
use crate::baseline::PENALTIES;
use crate::error::TrainError;
use crate::linear::logistic::Logistic;
use crate::linear::ridge::Ridge;

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

/// Items with inputs and actual outcomes.
#[derive(Clone, Debug)]
pub struct Examples {
    /// The inputs of a model, one row for each item.
    pub inputs: Vec<Vec<f64>>,
    /// The actual outcomes.
    pub truth: Truth,
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
        let mut chosen_on = Examples {
            inputs: Vec::new(),
            truth: Truth::default(),
        };
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
        let error = |predicted: &[f64]| ReturnError::of(predicted, &chosen_on.truth.returns).mse;

        let ridge = least(PENALTIES.iter().map(|&penalty| {
            let ridge = Ridge::fit(&training.inputs, &training.truth.returns, penalty)
                .ok_or(TrainError::singular("ridge regression"))?;
            let predicted: Vec<f64> = chosen_on
                .inputs
                .iter()
                .map(|row| ridge.predict(row))
                .collect();
            Ok((ridge, error(&predicted)))
        }))?;
        let logistic = least(PENALTIES.iter().map(|&penalty| {
            let (inputs, classes) = (&training.inputs, &training.truth.classes);
            let logistic = Logistic::fit(inputs, classes, CLASSES.len(), penalty)
                .ok_or(TrainError::singular("logistic regression"))?;
            let probabilities: Vec<Vec<f64>> = chosen_on
                .inputs
                .iter()
                .map(|row| logistic.predict(row))
                .collect();
            Ok((logistic, brier(&probabilities, &chosen_on.truth.classes)))
        }))?;
        let boosting = least(BOOSTING.iter().map(|&options| {
            let trees = Boosting::fit(&training.inputs, &training.truth.returns, options)?;
            let predicted = trees.predict(&chosen_on.inputs)?;
            Ok((trees, error(&predicted)))
        }))?;

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

/// Returns the model with the least score, the first of equals.
fn least<M>(
    candidates: impl Iterator<Item = Result<(M, f64), TrainError>>,
) -> Result<M, TrainError> {
    let mut best: Option<(M, f64)> = None;
    for candidate in candidates {
        let (model, score) = candidate?;
        if best.as_ref().is_none_or(|(_, least)| score < *least) {
            best = Some((model, score));
        }
    }
    let empty = || TrainError::rule("baselines", "no settings to choose from".to_owned());
    best.map(|(model, _)| model).ok_or_else(empty)
}
