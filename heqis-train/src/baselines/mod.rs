//! Baselines that any model must beat, and the comparison of all models by the same metrics.
//!
//! - [`forecast`]: actual outcomes ([`Truth`]) and predictions ([`Forecast`]), item by item, as plain arrays.
//! - [`metrics`]: errors, price errors, direction, cross-sections: one function for every model.
//! - [`naive`]: last value, training mean, training majority.
//! - [`boosting`]: gradient-boosted trees.
//! - [`mod@comparison`]: fits the baselines on the training span, tunes them on the validation span, and measures them on every
//!   span.
//! - [`table`]: the metrics of all models, as Markdown, CSV and JSON.
//! - [`trained`]: the networks of a run in that table.
//!
//! Every model enters the table by its forecasts only, so that networks and baselines are measured in the same way.
//!
//! What is *not* here: the training of networks, and money. The metrics do not include costs, limits or lots.

pub mod boosting;
pub mod comparison;
pub mod forecast;
pub mod metrics;
pub mod naive;
pub mod table;
pub mod trained;

pub use comparison::{Comparison, EvaluationSpan, Examples};
pub use forecast::{Forecast, Truth};
pub use metrics::Metrics;
pub use table::{ComparisonTable, Entry};

use heqis_data::samples::Prepared;

use crate::baseline::Baseline;
use crate::error::TrainError;

/// Returns the comparison over one instrument. Baselines have the inputs of the shipped direction model: the window's principal
/// components, then the last scaled row.
///
/// # Errors
///
/// [`TrainError::Rule`] when `folds` is 0 or greater than the number of items in the validation span.
pub fn comparison(prepared: &Prepared, folds: usize) -> Result<Comparison, TrainError> {
    let spans = &prepared.spans;
    if folds == 0 || folds > spans.validation.len() {
        return Err(TrainError::rule(
            "baselines",
            format!(
                "the validation span of {} items must be cut into at least one fold and at most one per item, got {folds}",
                spans.validation.len()
            ),
        ));
    }
    let pca = Baseline::fit_factors(prepared);
    let width = prepared.feature_names().len();
    let rows = |range: std::ops::Range<usize>| {
        let samples = &prepared.samples[range];
        Examples {
            inputs: samples
                .iter()
                .map(|sample| crate::baseline::features(&pca, sample, width).1)
                .collect(),
            truth: Truth {
                times_ns: samples.iter().map(|sample| sample.time_ns).collect(),
                days: samples.iter().map(|sample| sample.date.days()).collect(),
                closes: samples.iter().map(|sample| sample.close).collect(),
                returns: samples.iter().map(|sample| sample.actual_return).collect(),
                classes: samples.iter().map(|sample| sample.class).collect(),
            },
        }
    };
    let validation = (0..folds).map(|fold| {
        let edge = |fold: usize| spans.validation.start + spans.validation.len() * fold / folds;
        EvaluationSpan {
            name: match folds {
                1 => "validation".to_owned(),
                _ => format!("validation {}", fold + 1),
            },
            rows: rows(edge(fold)..edge(fold + 1)),
        }
    });
    Ok(Comparison {
        training: rows(spans.training.clone()),
        validation: validation.collect(),
        test: Some(EvaluationSpan {
            name: "test".to_owned(),
            rows: rows(spans.test.clone()),
        }),
    })
}
