//! The metrics that every model is compared by, in trainings, tables, bundles and model cards.
//!
//! - [`forecast`]: actual outcomes ([`Truth`]), inputs ([`Examples`]) and predictions ([`Forecast`]), item by item, as plain
//!   arrays. [`naive`]: forecasts that do not depend on any input.
//! - [`daily`]: rank correlations day by day, with intervals for overlapping labels.
//! - [`errors`]: errors and scores of plain arrays.
//! - Here: [`Metrics`] of a forecast in units of returns, and [`Score`] in those of a training.

use std::collections::BTreeMap;

use heqis_quant::stats::{
    LEAST_CROSS_SECTION, MeanInterval, Proportion, deviation, mean, pearson, spearman,
};
use heqis_quant::target::TargetKind;
use serde::Serialize;

use self::daily::DailySeries;
use self::errors::{ReturnError, brier, most_likely, squared_error_difference};
use self::forecast::{Forecast, Truth};
use crate::error::TrainError;

pub mod daily;
pub mod errors;
pub mod forecast;
pub mod naive;

pub use forecast::Examples;

/// Metrics of one forecast over one span.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Number of items.
    pub items: usize,
    /// Metrics of the return, if predicted.
    pub returns: Option<ReturnMetrics>,
    /// Metrics of the class, if predicted.
    pub classes: Option<ClassMetrics>,
}

/// Metrics of predicted returns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReturnMetrics {
    /// Mean squared error of the return.
    pub mse: f64,
    /// Root of it.
    pub rmse: f64,
    /// Mean absolute error of the return.
    pub mae: f64,
    /// Mean absolute error of the predicted price, relative to the actual price; `None` for ranks and the like.
    pub mape_price: Option<f64>,
    /// Squared errors minus those of the last value, which predicts no change; below zero, the forecast is better.
    pub minus_last_value: MeanInterval,
    /// Proportion of moves whose sign was predicted; a prediction of exactly zero is a miss. `None` for a forecast that is zero
    /// everywhere and so predicts no sign.
    pub direction: Option<Proportion>,
    /// Information coefficient: Pearson's correlation over the items of each timestamp with at least [`LEAST_CROSS_SECTION`]
    /// items; `None` if no timestamp has a correlation, as for one instrument and for a constant forecast.
    pub ic: Option<CrossSections>,
    /// The same over ranks: Spearman's correlation.
    pub rank_ic: Option<CrossSections>,
}

/// Metrics of predicted classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Proportion of items whose actual class was the most likely one.
    pub accuracy: Proportion,
    /// Brier score over the three classes: 0 is perfect, 2 the worst.
    pub brier: f64,
}

/// The correlation of each timestamp, summarised over the timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CrossSections {
    /// Number of timestamps with a correlation; with daily bars, days.
    pub times: usize,
    /// Timestamps with enough items at which one side was constant, so that there is no correlation.
    pub undefined_times: usize,
    /// Mean over the timestamps.
    pub mean: f64,
    /// Standard deviation over the timestamps, with n − 1 in the denominator.
    pub deviation: f64,
    /// Mean over deviation; 0 when the deviation is 0.
    pub ratio: f64,
}

impl Metrics {
    /// Computes the metrics of a forecast.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the truth is empty, or either side breaks a rule of its `check`.
    pub fn of(forecast: &Forecast, truth: &Truth) -> Result<Metrics, TrainError> {
        if truth.is_empty() {
            let rule = "a forecast cannot be measured without items".to_owned();
            return Err(TrainError::rule("baselines", rule));
        }
        truth.check()?;
        forecast.check(truth.len())?;
        let (returns, probabilities) = (forecast.returns.as_ref(), forecast.probabilities.as_ref());
        Ok(Metrics {
            items: truth.len(),
            returns: returns.map(|predicted| ReturnMetrics::of(predicted, truth)),
            classes: probabilities.map(|rows| ClassMetrics::of(rows, truth)),
        })
    }
}

impl ReturnMetrics {
    /// Computes the metrics of predicted returns, one for each item.
    #[must_use]
    pub(crate) fn of(predicted: &[f64], truth: &Truth) -> Self {
        let actual = &truth.returns;
        let error = ReturnError::of(predicted, actual);
        let prices = predicted.iter().zip(actual).zip(&truth.closes);
        let mape = prices
            .map(|((predicted, actual), close)| {
                let (predicted, actual) = (close * (1.0 + predicted), close * (1.0 + actual));
                ((predicted - actual) / actual).abs()
            })
            .sum::<f64>()
            / actual.len() as f64;
        let zeros = vec![0.0; actual.len()];
        let predicts_signs = predicted.iter().any(|value| *value != 0.0);
        Self {
            mse: error.mse,
            rmse: error.mse.sqrt(),
            mae: error.mae,
            mape_price: (truth.kind == TargetKind::Return).then_some(mape),
            minus_last_value: squared_error_difference(predicted, &zeros, actual, &truth.days),
            direction: predicts_signs.then(|| direction(predicted, truth)),
            ic: cross_sections(predicted, truth, pearson),
            rank_ic: cross_sections(predicted, truth, spearman),
        }
    }
}

impl ClassMetrics {
    /// Computes the metrics of predicted probabilities, one row for each item.
    #[must_use]
    pub(crate) fn of(rows: &[[f64; 3]], truth: &Truth) -> Self {
        let items = rows.iter().zip(&truth.classes).zip(&truth.days);
        Self {
            accuracy: Proportion::clustered(
                items.map(|((row, class), day)| (day, most_likely(row) == *class)),
            ),
            brier: brier(rows, &truth.classes),
        }
    }
}

/// Returns the proportion of moves whose sign was predicted; a prediction of exactly zero is a miss.
pub(crate) fn direction(predicted: &[f64], truth: &Truth) -> Proportion {
    let items = predicted.iter().zip(&truth.returns).zip(&truth.days);
    let moves = items.filter(|((_, actual), _)| **actual != 0.0);
    Proportion::clustered(
        moves.map(|((predicted, actual), day)| (day, predicted * actual.signum() > 0.0)),
    )
}

/// Metrics of a network's forecast in the units of its training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Squared error in squared target scales.
    pub mse: f64,
    /// Cross-entropy of the classes.
    pub cross_entropy: f64,
    /// Proportion of samples with the predicted sign, over those with a non-zero return.
    pub direction: Proportion,
    /// Proportion of samples whose most likely class is the actual one.
    pub class: Proportion,
    /// Mean RankIC over the days; `None` if no day has a cross-section.
    pub rank_ic: Option<f64>,
}

impl Score {
    /// Computes the metrics of a forecast of both returns and classes; `target_scale` is
    /// [`Corpus::target_scale`](crate::corpus::Corpus::target_scale).
    #[must_use]
    pub fn of(forecast: &Forecast, truth: &Truth, target_scale: f64) -> Self {
        let returns = forecast.returns.as_deref().unwrap_or_default();
        let rows = forecast.probabilities.as_deref().unwrap_or_default();
        let count = truth.len().max(1) as f64;
        let (mut squares, mut logs) = (0.0, 0.0);
        for (predicted, actual) in returns.iter().zip(&truth.returns) {
            let error = (predicted - actual) / target_scale;
            squares += error * error;
        }
        for (row, class) in rows.iter().zip(&truth.classes) {
            // The bound lies below any probability that an f32 softmax of moderate logits returns.
            logs -= row[*class].max(1e-30).ln();
        }
        Self {
            mse: squares / count,
            cross_entropy: logs / count,
            direction: direction(returns, truth),
            class: ClassMetrics::of(rows, truth).accuracy,
            rank_ic: DailySeries::rank_ic(returns, truth)
                .mean(1)
                .map(|mean| mean.mean),
        }
    }
}

/// Correlates predictions and outcomes timestamp by timestamp; `None` if no timestamp has a correlation.
fn cross_sections(
    predicted: &[f64],
    truth: &Truth,
    correlate: fn(&[f64], &[f64]) -> Option<f64>,
) -> Option<CrossSections> {
    let mut times: BTreeMap<i64, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((time, predicted), actual) in truth.times_ns.iter().zip(predicted).zip(&truth.returns) {
        let (predictions, outcomes) = times.entry(*time).or_default();
        predictions.push(*predicted);
        outcomes.push(*actual);
    }
    times.retain(|_, (predictions, _)| predictions.len() >= LEAST_CROSS_SECTION);
    let all = times.values();
    let defined: Vec<f64> = all
        .filter_map(|(predictions, outcomes)| correlate(predictions, outcomes))
        .collect();
    let mean = mean(defined.iter().copied())?;
    let deviation = deviation(&defined, 1).unwrap_or(0.0);
    Some(CrossSections {
        times: defined.len(),
        undefined_times: times.len() - defined.len(),
        mean,
        deviation,
        ratio: if deviation > 0.0 {
            mean / deviation
        } else {
            0.0
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_forecast_of_zeros_has_no_direction_and_zeros_among_others_are_misses() {
        let truth = Truth {
            times_ns: vec![1, 2, 3],
            days: vec![1, 2, 3],
            closes: vec![10.0; 3],
            returns: vec![0.01, -0.02, 0.0],
            classes: vec![2, 0, 1],
            ..Truth::default()
        };
        let direction = |returns: [f64; 3]| {
            let forecast = Forecast {
                returns: Some(returns.to_vec()),
                probabilities: None,
            };
            Metrics::of(&forecast, &truth)
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

    /// All minutes of a day are one cluster, and not a cross-section: each timestamp has one item.
    #[test]
    fn minutes_of_one_instrument_have_no_ic_and_count_as_one_day() {
        let of = |symbols: i64| {
            let items =
                (0..239).flat_map(|minute| (0..symbols).map(move |symbol| (minute, symbol)));
            let value = |(minute, symbol)| 0.001 * (1.0 + ((minute * 7 + symbol * 3) % 11) as f64);
            let truth = Truth {
                times_ns: items.clone().map(|(minute, _)| minute).collect(),
                days: items.clone().map(|_| 1).collect(),
                closes: items.clone().map(|_| 10.0).collect(),
                returns: items.clone().map(value).collect(),
                classes: items.clone().map(|_| 2).collect(),
                ..Truth::default()
            };
            let forecast = Forecast {
                returns: Some(items.map(value).collect()),
                probabilities: None,
            };
            Metrics::of(&forecast, &truth).unwrap().returns.unwrap()
        };
        let one = of(1);
        assert_eq!((one.ic, one.rank_ic), (None, None));
        assert!(
            one.minus_last_value.high.is_infinite(),
            "one day has no spread"
        );
        assert!(one.direction.unwrap().wilson_low < 0.3);
        assert_eq!(of(LEAST_CROSS_SECTION as i64 - 1).ic, None);
        let enough = of(LEAST_CROSS_SECTION as i64).ic.unwrap();
        assert_eq!((enough.times, enough.undefined_times), (239, 0));
        assert!((enough.mean - 1.0).abs() < 1e-12);
    }
}
