//! Honest figures: errors, accuracies with intervals, and the base rates that they must beat.

use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// Error of a predicted return over a span.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReturnError {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
}

impl ReturnError {
    /// Compares predictions with the returns that came.
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

/// Mean of some differences with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanDifference {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl MeanDifference {
    /// Returns the mean of squared errors minus the squared errors of another prediction of the same values; below
    /// zero, the first is the better.
    ///
    /// The interval is mean ± 1.96 standard errors of the paired differences, which are taken as independent.
    pub fn of_squared_errors(predicted: &[f64], other: &[f64], actual: &[f64]) -> Self {
        let differences: Vec<f64> = predicted
            .iter()
            .zip(other)
            .zip(actual)
            .map(|((predicted, other), actual)| {
                (predicted - actual) * (predicted - actual) - (other - actual) * (other - actual)
            })
            .collect();
        let count = differences.len().max(1) as f64;
        let mean = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|d| (d - mean) * (d - mean)).sum();
        let half = Z95 * (squares / (count - 1.0).max(1.0) / count).sqrt();
        MeanDifference {
            mean,
            low: mean - half,
            high: mean + half,
        }
    }
}

/// A share with its 95 % Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Number of hits.
    pub hits: usize,
    /// Number of tries.
    pub of: usize,
    /// Hits over tries; 0 without tries.
    pub share: f64,
    /// Lower end of the interval.
    pub wilson_low: f64,
    /// Upper end of the interval.
    pub wilson_high: f64,
}

impl Share {
    /// Returns the share of some hits.
    ///
    /// The interval is Wilson's score interval (Journal of the American Statistical Association 22, 1927), which
    /// stays inside 0..1 and is sound for few tries.
    pub fn new(hits: usize, of: usize) -> Self {
        if of == 0 {
            return Share {
                hits,
                of,
                share: 0.0,
                wilson_low: 0.0,
                wilson_high: 1.0,
            };
        }
        let n = of as f64;
        let share = hits as f64 / n;
        let centre = share + Z95 * Z95 / (2.0 * n);
        let half = Z95 * (share * (1.0 - share) / n + Z95 * Z95 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z95 * Z95 / n;
        Share {
            hits,
            of,
            share,
            wilson_low: ((centre - half) / scale).max(0.0),
            wilson_high: ((centre + half) / scale).min(1.0),
        }
    }

    /// Returns the share of items for which `hit` holds.
    pub fn count(hits: impl Iterator<Item = bool>) -> Self {
        let (hits, of) = hits.fold((0, 0), |(hits, of), hit| (hits + usize::from(hit), of + 1));
        Share::new(hits, of)
    }
}

/// Returns the Brier score: the mean over rows of the summed squared differences between the probabilities and the
/// class that came. 0 is perfect; a proper score, and free of logarithms.
pub fn brier(probabilities: &[Vec<f64>], classes: &[usize]) -> f64 {
    let total: f64 = probabilities
        .iter()
        .zip(classes)
        .map(|(p, &class)| {
            p.iter()
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
    fn wilson_interval_agrees_with_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (hits, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let share = Share::new(hits, of);
            assert!((share.wilson_low - low).abs() < 5e-5, "{share:?}");
            assert!((share.wilson_high - high).abs() < 5e-5, "{share:?}");
        }
    }

    #[test]
    fn a_paired_difference_is_that_of_a_hand_worked_case() {
        // Squared errors 1, 0, 4 against 0, 1, 1: differences 1, -1, 3, mean 1, deviation 2, standard error 2/sqrt(3).
        let difference =
            MeanDifference::of_squared_errors(&[1.0, 0.0, 2.0], &[0.0, 1.0, 1.0], &[0.0; 3]);
        assert_eq!(difference.mean, 1.0);
        assert!(
            (difference.high - (1.0 + Z95 * 2.0 / 3.0_f64.sqrt())).abs() < 1e-12,
            "{difference:?}"
        );
        assert!((difference.low + difference.high - 2.0).abs() < 1e-12);
    }

    #[test]
    fn errors_are_those_of_a_hand_worked_case() {
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
