//! Correlations day by day, and how sure their mean is.
//!
//! The stocks of a day are one observation. The days are not independent either when a label spans several of them: labels
//! of `h` days share `h − 1` days with the next, so the standard error of the mean counts the autocovariances up to that lag
//! (Newey and West, Econometrica 55, 1987).

use std::collections::BTreeMap;

use heqis_quant::stats::{LEAST_CROSS_SECTION, deviation, mean, pearson, spearman, standard_error};
use serde::{Deserialize, Serialize};

use super::errors::ReturnError;
use super::forecast::Truth;

/// The 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// A correlation for each day of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DailySeries {
    /// Days since 1970-01-01 in their order, with the correlation of each.
    pub days: Vec<(i32, f64)>,
    /// Days with enough instruments whose forecasts or labels were all equal, so that they have no correlation.
    pub undefined_days: usize,
}

/// The mean of a daily series with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DailyMean {
    /// Number of days.
    pub days: usize,
    /// Days without a correlation.
    pub undefined_days: usize,
    /// Mean over the days.
    pub mean: f64,
    /// Standard deviation over the days, with n − 1 in the denominator.
    pub deviation: f64,
    /// Autocovariances that the standard error counts: the horizon less 1.
    pub lag: usize,
    /// Mean over its standard error.
    pub t: f64,
    /// Lower bound of the interval.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

impl DailySeries {
    /// Returns Spearman's correlation of forecasts and labels for each day with at least [`LEAST_CROSS_SECTION`] items.
    #[must_use]
    pub fn rank_ic(predicted: &[f64], truth: &Truth) -> Self {
        Self::of(predicted, truth, spearman)
    }

    /// Returns Pearson's correlation in the same way.
    #[must_use]
    pub fn ic(predicted: &[f64], truth: &Truth) -> Self {
        Self::of(predicted, truth, pearson)
    }

    fn of(predicted: &[f64], truth: &Truth, correlate: fn(&[f64], &[f64]) -> Option<f64>) -> Self {
        let mut days: BTreeMap<i32, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for ((day, predicted), label) in truth.days.iter().zip(predicted).zip(&truth.returns) {
            let (predictions, labels) = days.entry(*day).or_default();
            predictions.push(*predicted);
            labels.push(*label);
        }
        days.retain(|_, (predictions, _)| predictions.len() >= LEAST_CROSS_SECTION);
        let all = days.len();
        let defined: Vec<(i32, f64)> = days
            .into_iter()
            .filter_map(|(day, (predictions, labels))| {
                Some((day, correlate(&predictions, &labels)?))
            })
            .collect();
        Self {
            undefined_days: all - defined.len(),
            days: defined,
        }
    }

    /// Adds the days of a later span.
    pub fn extend(&mut self, other: &Self) {
        self.days.extend_from_slice(&other.days);
        self.undefined_days += other.undefined_days;
    }

    /// Returns the mean with its interval, for labels of `horizon_days`; `None` without a day.
    #[must_use]
    pub fn mean(&self, horizon_days: usize) -> Option<DailyMean> {
        let values: Vec<f64> = self.days.iter().map(|(_, value)| *value).collect();
        let mean = mean(values.iter().copied())?;
        let lag = horizon_days.saturating_sub(1);
        // A single day says nothing on the spread.
        let error = standard_error(&values, lag).unwrap_or(f64::INFINITY);
        Some(DailyMean {
            days: values.len(),
            undefined_days: self.undefined_days,
            mean,
            deviation: deviation(&values, 1).unwrap_or(0.0),
            lag,
            t: if error > 0.0 { mean / error } else { 0.0 },
            low: mean - Z95 * error,
            high: mean + Z95 * error,
        })
    }
}

/// Returns what is least for the best forecast: the negative mean RankIC where days have cross-sections, else the squared error.
#[must_use]
pub(crate) fn choice_loss(predicted: &[f64], truth: &Truth) -> f64 {
    match DailySeries::rank_ic(predicted, truth).mean(1) {
        Some(mean) => -mean.mean,
        None => ReturnError::of(predicted, &truth.returns).mse,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn truth(days: usize, stocks: usize, label: impl Fn(usize, usize) -> f64) -> Truth {
        let items = (0..days).flat_map(|day| (0..stocks).map(move |stock| (day, stock)));
        Truth {
            times_ns: items.clone().map(|(day, _)| day as i64).collect(),
            days: items.clone().map(|(day, _)| day as i32).collect(),
            closes: items.clone().map(|_| 1.0).collect(),
            returns: items
                .clone()
                .map(|(day, stock)| label(day, stock))
                .collect(),
            classes: items.map(|_| 1).collect(),
            ..Truth::default()
        }
    }

    #[test]
    fn the_mean_is_over_days_and_days_without_a_rank_are_counted() {
        let truth = truth(4, 5, |day, stock| match day {
            0 => stock as f64,
            1 => -(stock as f64),
            2 => 1.0,
            _ => stock as f64,
        });
        let predicted: Vec<f64> = (0..20).map(|item| f64::from(item % 5)).collect();
        let series = DailySeries::rank_ic(&predicted, &truth);
        assert_eq!(series.undefined_days, 1);
        let values: Vec<f64> = series.days.iter().map(|(_, ic)| ic.round()).collect();
        assert_eq!(values, [1.0, -1.0, 1.0]);
        let mean = series.mean(1).unwrap();
        assert_eq!((mean.days, mean.lag), (3, 0));
        assert!((mean.mean - 1.0 / 3.0).abs() < 1e-12);
        assert!(mean.low < 0.0 && mean.high > 0.0);
        // Four stocks are no cross-section.
        let few: Vec<f64> = vec![0.0; 16];
        assert_eq!(
            DailySeries::ic(&few, &self::truth(4, 4, |_, s| s as f64)).mean(1),
            None
        );
    }

    /// Sums of five independent numbers overlap like labels over five days: counted as independent, their mean looks more than
    /// twice as certain as it is.
    #[test]
    fn overlapping_labels_make_the_interval_wider() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let single: Vec<f64> = (0..2_004).map(|_| random()).collect();
        let sums: Vec<f64> = single.windows(5).map(|five| five.iter().sum()).collect();
        let naive = standard_error(&sums, 0).unwrap();
        let corrected = standard_error(&sums, 4).unwrap();
        // By theory √(1 + 2·(0.8·0.8 + 0.6·0.6 + 0.4·0.4 + 0.2·0.2)) = 1.84.
        assert!(
            (corrected / naive - 1.84).abs() < 0.15,
            "{}",
            corrected / naive
        );
    }
}
