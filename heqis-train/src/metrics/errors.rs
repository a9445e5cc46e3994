//! Errors and scores of plain arrays. Intervals and proportions are those of [`heqis_quant::stats`].

use heqis_quant::stats::MeanInterval;
use serde::Serialize;

/// Error of a predicted return over a span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReturnError {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
}

impl ReturnError {
    /// Compares predictions with the actual returns. Without values, both errors are 0.
    pub fn of(predicted: &[f64], actual: &[f64]) -> Self {
        let count = actual.len().max(1) as f64;
        let errors = || {
            predicted
                .iter()
                .zip(actual)
                .map(|(predicted, actual)| predicted - actual)
        };
        ReturnError {
            mse: errors().map(|error| error * error).sum::<f64>() / count,
            mae: errors().map(f64::abs).sum::<f64>() / count,
        }
    }
}

/// Returns the mean difference between the squared errors of two predictions of the same values; below 0, the first
/// prediction is better. `days` gives the day of each value, by which the interval is clustered: see
/// [`MeanInterval::clustered`].
pub fn squared_error_difference(
    predicted: &[f64],
    other: &[f64],
    actual: &[f64],
    days: &[i32],
) -> MeanInterval {
    let values = predicted.iter().zip(other).zip(actual);
    let differences = values.map(|((predicted, other), actual)| {
        (predicted - actual) * (predicted - actual) - (other - actual) * (other - actual)
    });
    MeanInterval::clustered(days.iter().zip(differences))
}

/// Returns the Brier score, a proper score: the mean over rows of the summed squared differences between the
/// probabilities and the actual class. 0 is perfect. Unlike the log loss, it is finite for a probability of 0.
pub fn brier(probabilities: &[impl AsRef<[f64]>], classes: &[usize]) -> f64 {
    let total: f64 = probabilities
        .iter()
        .zip(classes)
        .map(|(p, &class)| {
            p.as_ref()
                .iter()
                .enumerate()
                .map(|(i, p)| {
                    let error = p - if i == class { 1.0 } else { 0.0 };
                    error * error
                })
                .sum::<f64>()
        })
        .sum();
    total / classes.len().max(1) as f64
}

/// Returns the index of the largest probability, the first of equals.
pub fn most_likely(probabilities: &[f64]) -> usize {
    probabilities.iter().enumerate().fold(
        0,
        |best, (i, p)| if *p > probabilities[best] { i } else { best },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paired_difference_equals_a_case_computed_by_hand() {
        // Squared errors 1, 0, 4 against 0, 1, 1: differences 1, -1, 3, mean 1, deviation 2, standard error 2/sqrt(3).
        let predicted = ([1.0, 0.0, 2.0], [0.0, 1.0, 1.0]);
        let difference =
            squared_error_difference(&predicted.0, &predicted.1, &[0.0; 3], &[1, 2, 3]);
        assert_eq!(difference.mean, 1.0);
        let half = 1.959_963_984_540_054 * 2.0 / 3.0_f64.sqrt();
        assert!(
            (difference.high - 1.0 - half).abs() < 1e-12,
            "{difference:?}"
        );
        assert!((difference.low + difference.high - 2.0).abs() < 1e-12);
    }

    #[test]
    fn errors_equal_a_case_computed_by_hand() {
        let error = ReturnError::of(&[0.0, 0.5], &[1.0, 0.0]);
        assert_eq!(
            error,
            ReturnError {
                mse: 0.625,
                mae: 0.75
            }
        );
        assert_eq!(brier(&[vec![0.5, 0.25, 0.25]], &[0]), 0.375);
        assert_eq!(most_likely(&[0.25, 0.5, 0.25]), 1);
        assert_eq!(most_likely(&[0.5, 0.5, 0.0]), 0);
    }
}
