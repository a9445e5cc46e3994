//! Predictions compared with realised returns.
//!
//! The realised return of a decision is the return from its bar to the next bar of the same instrument, relative to that
//! bar's reference price, so that an ex-right day is no loss. Decisions without a next bar are left out.

use std::collections::BTreeMap;

use heqis_quant::stats::{mean, pearson, spearman};
use heqis_quant::{Date, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bars::BarStore;
use crate::decisions::Numbered;
use crate::error::DashboardError;

/// Largest number of points returned for drawing.
const MAX_POINTS: usize = 2_000;
/// Number of equally wide bins of a calibration.
const BINS: usize = 10;
/// Names of the classes in the order of probabilities.
const CLASSES: [&str; 3] = ["down", "flat", "up"];

/// How days are grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// By month: 2014-07.
    #[default]
    Month,
    /// By quarter: 2014-Q3.
    Quarter,
    /// By year: 2014.
    Year,
}

impl Period {
    /// Returns the name of the period of `date`; names sort in chronological order.
    #[must_use]
    pub fn of(self, date: Date) -> String {
        let (year, month) = (date.year(), date.month());
        match self {
            Self::Month => format!("{year:04}-{month:02}"),
            Self::Quarter => format!("{year:04}-Q{}", (month + 2) / 3),
            Self::Year => format!("{year:04}"),
        }
    }
}

/// A prediction and the realised return.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Instrument.
    pub symbol: Symbol,
    /// Day of the decision.
    pub date: Date,
    /// The predicted return to the next close.
    pub predicted: f64,
    /// The probabilities of down, flat and up; `None` when one of them is not finite.
    pub probabilities: Option<[f64; 3]>,
    /// The realised return to the next close.
    pub realised: f64,
}

/// Returns prediction and realised return of `decisions`, in the order of days.
///
/// # Errors
/// [`DashboardError::Bars`] when bars cannot be read.
pub fn pairs(decisions: &[Numbered], market: &dyn BarStore) -> Result<Vec<Pair>, DashboardError> {
    let mut by_symbol: BTreeMap<Symbol, Vec<&Numbered>> = BTreeMap::new();
    for numbered in decisions {
        by_symbol
            .entry(numbered.1.symbol)
            .or_default()
            .push(numbered);
    }
    let mut pairs = Vec::new();
    for (symbol, decisions) in by_symbol {
        let Some(series) = market.series(symbol)? else {
            continue;
        };
        for (_, decision) in decisions {
            let Some(at) = series.position(decision.time_ns) else {
                continue;
            };
            let Some(next) = series.bars().get(at + 1) else {
                continue;
            };
            let now = &series.bars()[at];
            let realised = next.close / next.reference_close(now.date, now.close) - 1.0;
            if !(decision.predicted_return.is_finite() && realised.is_finite()) {
                continue;
            }
            let known = decision.probabilities.iter().all(|p| p.is_finite());
            pairs.push(Pair {
                symbol,
                date: decision.date,
                predicted: decision.predicted_return,
                probabilities: known.then_some(decision.probabilities),
                realised,
            });
        }
    }
    pairs.sort_by_key(|pair| pair.date);
    Ok(pairs)
}

/// Quality of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Quality {
    /// Number of predictions with a realised return.
    pub pairs: u64,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// Predictions and realised returns, for drawing.
    pub points: Vec<Point>,
    /// Whether the points are an evenly spaced sample of the pairs.
    pub thinned: bool,
    /// Predicted against realised returns; null without pairs.
    pub fit: Option<ReturnFit>,
    /// Hit rates and scores by period.
    pub periods: Vec<PeriodQuality>,
    /// Predicted against observed frequency, by class and probability; empty bins are left out.
    pub calibration: Vec<Bin>,
}

/// A prediction and the realised return.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Point {
    /// Instrument.
    pub symbol: Symbol,
    /// Day of the decision.
    pub date: Date,
    /// The predicted return.
    pub predicted: f64,
    /// The realised return.
    pub realised: f64,
}

/// Predicted against realised returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ReturnFit {
    /// Pearson's correlation; null when either is constant.
    pub correlation: Option<f64>,
    /// Spearman's rank correlation; equal values share their mean rank.
    pub rank_correlation: Option<f64>,
    /// Mean squared error.
    pub mse: f64,
    /// Mean squared error of always predicting zero.
    pub mse_of_zero: f64,
    /// Mean prediction.
    pub mean_predicted: f64,
    /// Mean realised return.
    pub mean_realised: f64,
}

/// Quality of predictions in one period.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PeriodQuality {
    /// The period: 2014-07, 2014-Q3 or 2014.
    pub period: String,
    /// Number of pairs.
    pub pairs: u64,
    /// Number of pairs whose realised return is not zero.
    pub moves: u64,
    /// Share of the moves whose sign was predicted; null without moves.
    pub hit_rate: Option<f64>,
    /// Share of pairs whose most likely class was realised; null without probabilities.
    pub class_hit_rate: Option<f64>,
    /// The mean probability of the most likely class.
    pub confidence: Option<f64>,
    /// Brier score over three classes: 0 is best, 2 is worst.
    pub brier: Option<f64>,
    /// Mean of −ln of the probability of the realised class, at least 1e-15.
    pub log_loss: Option<f64>,
}

/// A bin of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Bin {
    /// `down`, `flat` or `up`.
    pub class: &'static str,
    /// Lower bound of the probability, inclusive.
    pub low: f64,
    /// Upper bound of the probability, exclusive except in the last bin.
    pub high: f64,
    /// Number of pairs in the bin.
    pub pairs: u64,
    /// Their mean probability.
    pub predicted: f64,
    /// Observed frequency of the class.
    pub observed: f64,
}

/// Computes the quality of pairs in the order of days.
#[must_use]
pub fn quality(pairs: &[Pair], period: Period, flat_band: f64) -> Quality {
    let step = pairs.len().div_ceil(MAX_POINTS).max(1);
    let point = |pair: &Pair| Point {
        symbol: pair.symbol,
        date: pair.date,
        predicted: pair.predicted,
        realised: pair.realised,
    };
    let mut periods: BTreeMap<String, Vec<&Pair>> = BTreeMap::new();
    for pair in pairs {
        periods.entry(period.of(pair.date)).or_default().push(pair);
    }
    Quality {
        pairs: pairs.len() as u64,
        flat_band,
        points: pairs.iter().step_by(step).map(point).collect(),
        thinned: step > 1,
        fit: fit(pairs),
        periods: periods
            .into_iter()
            .map(|(name, pairs)| of_period(name, &pairs, flat_band))
            .collect(),
        calibration: calibration(pairs, flat_band),
    }
}

/// Returns the index of the realised class.
fn class(realised: f64, flat_band: f64) -> usize {
    match realised {
        down if down < -flat_band => 0,
        up if up > flat_band => 2,
        _ => 1,
    }
}

fn fit(pairs: &[Pair]) -> Option<ReturnFit> {
    let predicted: Vec<f64> = pairs.iter().map(|pair| pair.predicted).collect();
    let realised: Vec<f64> = pairs.iter().map(|pair| pair.realised).collect();
    let errors = pairs
        .iter()
        .map(|pair| (pair.predicted - pair.realised).powi(2));
    Some(ReturnFit {
        correlation: pearson(&predicted, &realised),
        rank_correlation: spearman(&predicted, &realised),
        mse: mean(errors)?,
        mse_of_zero: mean(realised.iter().map(|value| value.powi(2)))?,
        mean_predicted: mean(predicted.iter().copied())?,
        mean_realised: mean(realised.iter().copied())?,
    })
}

fn of_period(period: String, pairs: &[&Pair], flat_band: f64) -> PeriodQuality {
    let moves = pairs.iter().filter(|pair| pair.realised != 0.0);
    let share = |hit: bool| f64::from(u8::from(hit));
    let hits = moves
        .clone()
        .map(|pair| share(pair.predicted * pair.realised > 0.0));
    let classes: Vec<([f64; 3], usize)> = pairs
        .iter()
        .filter_map(|pair| Some((pair.probabilities?, class(pair.realised, flat_band))))
        .collect();
    let most = |odds: &[f64; 3]| {
        (0..3)
            .max_by(|&a, &b| odds[a].total_cmp(&odds[b]))
            .unwrap_or(1)
    };
    let brier = |odds: &[f64; 3], realised_class: usize| -> f64 {
        let miss = |at: usize| (odds[at] - share(at == realised_class)).powi(2);
        (0..3).map(miss).sum()
    };
    PeriodQuality {
        period,
        pairs: pairs.len() as u64,
        moves: moves.count() as u64,
        hit_rate: mean(hits),
        class_hit_rate: mean(
            classes
                .iter()
                .map(|(odds, realised_class)| share(most(odds) == *realised_class)),
        ),
        confidence: mean(classes.iter().map(|(odds, _)| odds[most(odds)])),
        brier: mean(
            classes
                .iter()
                .map(|(odds, realised_class)| brier(odds, *realised_class)),
        ),
        log_loss: mean(
            classes
                .iter()
                .map(|(odds, realised_class)| -odds[*realised_class].max(1e-15).ln()),
        ),
    }
}

fn calibration(pairs: &[Pair], flat_band: f64) -> Vec<Bin> {
    let mut bins = Vec::new();
    for (at, name) in CLASSES.into_iter().enumerate() {
        let mut sums = [(0u64, 0.0, 0u64); BINS];
        for pair in pairs {
            let Some(odds) = pair.probabilities else {
                continue;
            };
            // Values outside 0 to 1 are not probabilities.
            if !(0.0..=1.0).contains(&odds[at]) {
                continue;
            }
            let bin = ((odds[at] * BINS as f64) as usize).min(BINS - 1);
            let (count, sum, realised_class) = &mut sums[bin];
            *count += 1;
            *sum += odds[at];
            *realised_class += u64::from(class(pair.realised, flat_band) == at);
        }
        for (bin, (count, sum, realised_class)) in sums.into_iter().enumerate() {
            if count > 0 {
                bins.push(Bin {
                    class: name,
                    low: bin as f64 / BINS as f64,
                    high: (bin + 1) as f64 / BINS as f64,
                    pairs: count,
                    predicted: sum / count as f64,
                    observed: realised_class as f64 / count as f64,
                });
            }
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pair(day: i8, predicted: f64, up: f64, realised: f64) -> Pair {
        Pair {
            symbol: Symbol::parse("600000.SH").unwrap(),
            date: Date::new(2014, 7, day).unwrap(),
            predicted,
            probabilities: Some([0.2, 0.8 - up, up]),
            realised,
        }
    }

    /// The expected numbers were computed from the definitions by a program in Python.
    #[test]
    fn metrics_agree_with_another_program() {
        let pairs = [
            pair(1, 0.010, 0.5, 0.020),
            pair(2, -0.004, 0.1, -0.010),
            pair(3, 0.003, 0.4, -0.001),
            pair(4, 0.010, 0.6, 0.000),
            pair(7, -0.008, 0.2, 0.015),
        ];
        let quality = quality(&pairs, Period::Quarter, 0.005);
        let near =
            |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} and {b}");
        let fit = quality.fit.unwrap();
        near(fit.correlation, 0.159_634_414_420_848_9);
        near(fit.rank_correlation, 0.307_793_505_625_546_25);
        near(Some(fit.mse), 0.000_156_2);
        let [period] = &quality.periods[..] else {
            panic!()
        };
        assert_eq!(
            (period.period.as_str(), period.pairs, period.moves),
            ("2014-Q3", 5, 4)
        );
        near(period.hit_rate, 0.5);
        near(period.class_hit_rate, 0.2);
        near(period.brier, 0.832);
        near(period.log_loss, 1.287_550_329_947_278);
        assert_eq!(quality.points.len(), 5);
        assert!(!quality.thinned);
        // Two pairs gave "up" a probability of at least one half; one of them rose.
        let high: Vec<&Bin> = quality
            .calibration
            .iter()
            .filter(|bin| bin.class == "up" && bin.low >= 0.5)
            .collect();
        assert_eq!(high.iter().map(|bin| bin.pairs).sum::<u64>(), 2);
        assert_eq!((high[0].observed, high[1].observed), (1.0, 0.0));
    }

    #[test]
    fn no_pairs_give_no_metrics_and_many_pairs_are_sampled() {
        let none = quality(&[], Period::Month, 0.005);
        assert_eq!(
            (
                none.pairs,
                none.fit,
                none.periods.len(),
                none.calibration.len()
            ),
            (0, None, 0, 0)
        );
        let pairs: Vec<Pair> = (0..4_001)
            .map(|at| pair(1 + (at / 200) as i8, 0.0, 0.3, f64::from(at) / 1e6))
            .collect();
        let many = quality(&pairs, Period::Month, 0.005);
        assert!(
            many.thinned && many.points.len() <= MAX_POINTS && many.points.len() > MAX_POINTS / 2
        );
        assert_eq!(many.fit.unwrap().correlation, None, "a constant prediction");
    }
}
