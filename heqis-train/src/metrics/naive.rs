//! Predictions that do not depend on any input.

use super::forecast::Forecast;

/// Predicts an unchanged price: a return of zero.
pub fn last_value(items: usize) -> Forecast {
    Forecast {
        returns: Some(vec![0.0; items]),
        probabilities: None,
    }
}

/// Predicts the mean return of the training span.
pub fn mean(training_returns: &[f64], items: usize) -> Forecast {
    let mean = training_returns.iter().sum::<f64>() / training_returns.len().max(1) as f64;
    Forecast {
        returns: Some(vec![mean; items]),
        probabilities: None,
    }
}

/// Predicts the class rates of the training span, so that the most likely class is the training majority, the first of equals.
pub fn majority(training_classes: &[usize], items: usize) -> Forecast {
    Forecast {
        returns: None,
        probabilities: Some(vec![class_rates(training_classes); items]),
    }
}

/// Returns the share of each class.
pub(crate) fn class_rates(classes: &[usize]) -> [f64; 3] {
    let count = classes.len().max(1) as f64;
    [0, 1, 2].map(|class| {
        let hits = classes.iter().filter(|found| **found == class);
        hits.count() as f64 / count
    })
}
