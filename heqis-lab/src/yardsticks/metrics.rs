//! One measure for every model.

use std::collections::BTreeMap;

use serde::Serialize;

use super::forecast::{Forecast, Truth};
use crate::error::LabError;
use crate::figures::{MeanDifference, ReturnError, Share, brier, most_likely};

/// Fewest items of a day for a correlation over its cross-section: below, it is noise.
pub const LEAST_CROSS_SECTION: usize = 5;

/// Figures of one forecast over one span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Number of items.
    pub items: usize,
    /// What was said of the return.
    pub returns: Option<ReturnFigures>,
    /// What was said of the class.
    pub classes: Option<ClassFigures>,
}

/// Figures of predicted returns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReturnFigures {
    /// Mean squared error of the return.
    pub mse: f64,
    /// Root of it.
    pub rmse: f64,
    /// Mean absolute error of the return.
    pub mae: f64,
    /// Mean absolute error of the predicted price as a share of the price that came.
    pub mape_price: f64,
    /// Squared errors minus those of the last value, which predicts no change; below zero, the forecast is the better.
    pub minus_last_value: MeanDifference,
    /// Share of moves whose sign was predicted; a prediction of exactly zero is a miss. `None` for a forecast that is
    /// zero everywhere, which has no opinion.
    pub direction: Option<Share>,
    /// Information coefficient: Pearson's correlation over the items of a day.
    pub ic: Option<CrossSections>,
    /// The same over ranks: Spearman's correlation.
    pub rank_ic: Option<CrossSections>,
}

/// Figures of predicted classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassFigures {
    /// Share of items whose class was the most likely one.
    pub accuracy: Share,
    /// Brier score over the three classes: 0 is perfect, 2 the worst.
    pub brier: f64,
}

/// A daily correlation, summarised over the days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CrossSections {
    /// Days that count.
    pub days: usize,
    /// Days with enough items on which one side was constant, so that there is no correlation.
    pub undefined_days: usize,
    /// Mean over the days.
    pub mean: f64,
    /// Standard deviation over the days, with n − 1 in the denominator.
    pub deviation: f64,
    /// Mean over deviation; 0 when there is no deviation.
    pub ratio: f64,
}

impl Figures {
    /// Measures a forecast.
    ///
    /// # Errors
    ///
    /// [`LabError::Yardstick`] when the truth is empty, or either side breaks a rule of its `check`.
    pub fn of(forecast: &Forecast, truth: &Truth) -> Result<Figures, LabError> {
        if truth.is_empty() {
            let rule = "there must be something to measure a forecast by".to_owned();
            return Err(LabError::Yardstick(rule));
        }
        truth.check()?;
        forecast.check(truth.len())?;
        Ok(Figures {
            items: truth.len(),
            returns: forecast
                .returns
                .as_ref()
                .map(|predicted| returns(predicted, truth)),
            classes: forecast.probabilities.as_ref().map(|rows| ClassFigures {
                accuracy: Share::count(
                    rows.iter()
                        .zip(&truth.classes)
                        .map(|(row, class)| most_likely(row) == *class),
                ),
                brier: brier(
                    &rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>(),
                    &truth.classes,
                ),
            }),
        })
    }
}

fn returns(predicted: &[f64], truth: &Truth) -> ReturnFigures {
    let actual = &truth.returns;
    let error = ReturnError::of(predicted, actual);
    let prices = predicted.iter().zip(actual).zip(&truth.closes);
    let mape = prices
        .map(|((predicted, actual), close)| {
            let (said, came) = (close * (1.0 + predicted), close * (1.0 + actual));
            ((said - came) / came).abs()
        })
        .sum::<f64>()
        / actual.len() as f64;
    let moves = predicted
        .iter()
        .zip(actual)
        .filter(|(_, actual)| **actual != 0.0);
    let has_opinion = predicted.iter().any(|value| *value != 0.0);
    let hit = |(predicted, actual): (&f64, &f64)| predicted * actual.signum() > 0.0;
    ReturnFigures {
        mse: error.mse,
        rmse: error.mse.sqrt(),
        mae: error.mae,
        mape_price: mape,
        minus_last_value: MeanDifference::of_squared_errors(
            predicted,
            &vec![0.0; actual.len()],
            actual,
        ),
        direction: has_opinion.then(|| Share::count(moves.map(hit))),
        ic: cross_sections(predicted, truth, pearson),
        rank_ic: cross_sections(predicted, truth, spearman),
    }
}

/// Correlates prediction and truth day by day; `None` when no day has enough items.
fn cross_sections(
    predicted: &[f64],
    truth: &Truth,
    correlate: fn(&[f64], &[f64]) -> Option<f64>,
) -> Option<CrossSections> {
    let mut days: BTreeMap<i32, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((day, predicted), actual) in truth.days.iter().zip(predicted).zip(&truth.returns) {
        let (said, came) = days.entry(*day).or_default();
        said.push(*predicted);
        came.push(*actual);
    }
    let wide = days
        .values()
        .filter(|(said, _)| said.len() >= LEAST_CROSS_SECTION);
    let all: Vec<Option<f64>> = wide.map(|(said, came)| correlate(said, came)).collect();
    let defined: Vec<f64> = all.iter().flatten().copied().collect();
    if all.is_empty() {
        return None;
    }
    let count = defined.len() as f64;
    let mean = defined.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = defined.iter().map(|ic| (ic - mean) * (ic - mean)).sum();
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    Some(CrossSections {
        days: defined.len(),
        undefined_days: all.len() - defined.len(),
        mean,
        deviation,
        ratio: if deviation > 0.0 {
            mean / deviation
        } else {
            0.0
        },
    })
}

/// Returns Pearson's correlation, or `None` when a side is constant.
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let constant = |side: &[f64]| side.iter().all(|value| *value == side[0]);
    if a.len() != b.len() || a.is_empty() || constant(a) || constant(b) {
        return None;
    }
    let mean = |side: &[f64]| side.iter().sum::<f64>() / side.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let product = aa.sqrt() * bb.sqrt();
    (product > 0.0).then(|| (ab / product).clamp(-1.0, 1.0))
}

/// Returns Spearman's correlation: Pearson's over ranks, equal values sharing the mean of theirs.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    pearson(&ranks(a), &ranks(b))
}

/// Returns the rank of each value, from 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // Equality and not `total_cmp`: 0 and −0 are one value.
        let equal = order[start..]
            .iter()
            .take_while(|&&i| values[i] == values[order[start]])
            .count()
            .max(1);
        let shared = start as f64 + (equal as f64 + 1.0) / 2.0;
        for &index in &order[start..start + equal] {
            ranks[index] = shared;
        }
        start += equal;
    }
    ranks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(
            ranks(&[3.0, -0.0, 3.0, 0.0, 9.0]),
            [3.5, 1.5, 3.5, 1.5, 5.0]
        );
    }

    #[test]
    fn a_constant_side_has_no_correlation() {
        assert_eq!(pearson(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[0.0, -0.0]), None);
    }

    #[test]
    fn a_forecast_without_an_opinion_has_no_direction_and_its_zeroes_beside_others_are_misses() {
        let truth = Truth {
            days: vec![1, 2, 3],
            closes: vec![10.0; 3],
            returns: vec![0.01, -0.02, 0.0],
            classes: vec![2, 0, 1],
        };
        let direction = |returns: [f64; 3]| {
            let forecast = Forecast {
                returns: Some(returns.to_vec()),
                probabilities: None,
            };
            Figures::of(&forecast, &truth)
                .unwrap()
                .returns
                .unwrap()
                .direction
        };
        assert_eq!(direction([0.0, -0.0, 0.0]), None);
        let share = direction([0.0, -0.1, 0.3]).unwrap();
        assert_eq!(
            (share.hits, share.of),
            (1, 2),
            "the day without a move does not count"
        );
    }

    proptest! {
        /// A correlation knows neither unit nor origin, and a rank correlation no scale at all.
        #[test]
        fn correlations_do_not_change_with_scale(
            pairs in prop::collection::vec((-100i32..100, -100i32..100), 2..40),
            scale in 1u32..50,
            shift in -50i32..50,
        ) {
            let a: Vec<f64> = pairs.iter().map(|(a, _)| f64::from(*a)).collect();
            let b: Vec<f64> = pairs.iter().map(|(_, b)| f64::from(*b)).collect();
            let other: Vec<f64> = a.iter().map(|a| a * f64::from(scale) + f64::from(shift)).collect();
            let cubed: Vec<f64> = a.iter().map(|a| a * a * a).collect();
            let near = |x: Option<f64>, y: Option<f64>| match (x, y) {
                (Some(x), Some(y)) => (x - y).abs() < 1e-9,
                (None, None) => true,
                _ => false,
            };
            prop_assert!(near(pearson(&a, &b), pearson(&other, &b)));
            prop_assert!(near(spearman(&a, &b), spearman(&cubed, &b)));
            prop_assert!(near(pearson(&a, &b), pearson(&b, &a)));
        }
    }
}
