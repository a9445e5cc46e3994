//! Baselines: what any model must beat, measured in the same way as the model.
//!
//! - [`forecast`]: what came ([`Truth`]) and what was said of it ([`Forecast`]), item by item, as plain arrays.
//! - [`metrics`]: errors, price errors, direction, cross-sections: one function for every model.
//! - [`naive`]: last value, training mean, training majority.
//! - [`boosting`]: gradient-boosted trees.
//! - [`mod@comparison`]: fits the baselines on the training span, chooses their settings on the validation span, and measures
//!   them on every span.
//! - [`table`]: all models side by side, as Markdown, CSV and JSON.
//! - [`trained`]: the networks of a run in that table.
//!
//! A model of any kind enters the table with nothing but its forecasts, so that networks and baselines cannot be
//! measured differently.
//!
//! What is *not* here: how a network is trained, and money. A forecast's figures say nothing of costs, limits or lots.

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

/// Returns the comparison over one instrument. A baseline looks at what the shipped direction model looks at: the window's
/// principal components, then the last scaled row.
///
/// # Errors
///
/// [`TrainError::Rule`] when there are no folds, or more than the validation span has items.
pub fn comparison(prepared: &Prepared, folds: usize) -> Result<Comparison, TrainError> {
    let spans = &prepared.spans;
    if folds == 0 || folds > spans.validation.len() {
        return Err(TrainError::rule(
            "baselines",
            format!(
                "the validation span of {} items must be cut into one fold or more, got {folds}",
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
