//! Statistics of cross-sections and of their series over days. Names and definitions are those of alphalens.

use std::collections::BTreeMap;

use heqis_quant::stats::{deviation, mean, pearson, ranks, standard_error};
use serde::Serialize;

use super::panel::DayScores;

/// A series of daily values summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Days with a value.
    pub days: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, divisor n − 1; with one day null.
    pub deviation: Option<f64>,
    /// Mean over deviation.
    pub ratio: Option<f64>,
    /// The t value of the mean if days are independent.
    pub t: Option<f64>,
    /// The t value that allows for the overlap of holding periods: Newey and West (Econometrica 55, 1987), Bartlett weights,
    /// as many lags as days overlap.
    pub t_overlap: Option<f64>,
    /// Ends of the 95 % interval of the mean by that error.
    pub interval: Option<[f64; 2]>,
    /// Skewness, not corrected for bias.
    pub skew: Option<f64>,
    /// Excess kurtosis, not corrected for bias.
    pub kurtosis: Option<f64>,
}

impl Summary {
    /// Sums up values of consecutive days whose holding periods last `horizon` days.
    #[must_use]
    pub fn of(values: &[f64], horizon: usize) -> Self {
        let Some(centre) = mean(values.iter().copied()) else {
            return Self::default();
        };
        let count = values.len() as f64;
        let deviation = deviation(values, 1).filter(|deviation| *deviation > 0.0);
        let moment = |power: i32| {
            let sum: f64 = values
                .iter()
                .map(|value| (value - centre).powi(power))
                .sum();
            sum / count
        };
        let squares = moment(2);
        let varied = |value: f64| (squares > 0.0).then_some(value);
        let error = standard_error(values, horizon.saturating_sub(1)).filter(|error| *error > 0.0);
        Self {
            days: values.len(),
            mean: centre,
            deviation,
            ratio: deviation.map(|deviation| centre / deviation),
            t: deviation.map(|deviation| centre / deviation * count.sqrt()),
            t_overlap: error.map(|error| centre / error),
            interval: error.map(|error| [centre - 1.96 * error, centre + 1.96 * error]),
            skew: varied(moment(3) / squares.powf(1.5)),
            kurtosis: varied(moment(4) / (squares * squares) - 3.0),
        }
    }
}

/// The quantile of each score, from 0, as `pandas.qcut`: edges by linear interpolation, closed on the right. Scores that are
/// equal to an edge all fall on its left, so that ties make quantiles unequal.
#[must_use]
pub fn quantiles_of(scores: &[f64], count: usize) -> Vec<usize> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let edge = |part: usize| -> f64 {
        let place = part as f64 / count as f64 * last as f64;
        let below = (place.floor() as usize).min(last);
        let (a, b, share) = (sorted[below], sorted[(below + 1).min(last)], place.fract());
        // In the order of numpy's interpolation, whose rounding decides where a score equals an edge.
        match share < 0.5 {
            true => a + (b - a) * share,
            false => b - (b - a) * (1.0 - share),
        }
    };
    let edges: Vec<f64> = (1..count).map(edge).collect();
    let quantile = |score: &f64| edges.partition_point(|edge| edge < score);
    scores.iter().map(quantile).collect()
}

/// The return of a portfolio whose weights are the scores less their mean, with absolute values that sum to 1.
pub(super) fn long_short(scores: &[f64], returns: &[f64]) -> Option<f64> {
    let centre = mean(scores.iter().copied())?;
    let size: f64 = scores.iter().map(|score| (score - centre).abs()).sum();
    let sum: f64 = (scores.iter().zip(returns))
        .map(|(score, earned)| (score - centre) * earned)
        .sum();
    (size > 0.0).then(|| sum / size)
}

/// For each quantile, the mean return of its stocks; `None` for an empty one.
pub(super) fn quantile_means(
    quantiles: &[usize],
    returns: &[f64],
    count: usize,
) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0usize); count];
    for (quantile, earned) in quantiles.iter().zip(returns) {
        sums[*quantile].0 += earned;
        sums[*quantile].1 += 1;
    }
    let mean = |(sum, stocks): (f64, usize)| (stocks > 0).then(|| sum / stocks as f64);
    sums.into_iter().map(mean).collect()
}

/// The share of the stocks of a quantile that were not in it before; `None` where it is empty on one of the days.
pub(super) fn turnover(
    (now, quantiles): (&DayScores, &[usize]),
    (before, quantiles_before): (&DayScores, &[usize]),
    quantile: usize,
) -> Option<f64> {
    let members = |day: &DayScores, quantiles: &[usize]| -> Vec<usize> {
        let pairs = day.stocks.iter().zip(quantiles);
        let members = pairs.filter(|(_, of)| **of == quantile);
        members.map(|(stock, _)| *stock).collect()
    };
    let (now, before) = (members(now, quantiles), members(before, quantiles_before));
    let new = now
        .iter()
        .filter(|stock| before.binary_search(stock).is_err());
    (!now.is_empty() && !before.is_empty()).then(|| new.count() as f64 / now.len() as f64)
}

/// The correlation of the ranks of one day with those of another, over the stocks that both have.
pub(super) fn rank_autocorrelation(now: &DayScores, before: &DayScores) -> Option<f64> {
    let ranked = |day: &DayScores| -> BTreeMap<usize, f64> {
        let ranks = ranks(&day.scores);
        day.stocks.iter().copied().zip(ranks).collect()
    };
    let (now, before) = (ranked(now), ranked(before));
    let both = now
        .iter()
        .filter_map(|(stock, rank)| Some((*rank, *before.get(stock)?)));
    let (now, before): (Vec<f64>, Vec<f64>) = both.unzip();
    pearson(&now, &before)
}
