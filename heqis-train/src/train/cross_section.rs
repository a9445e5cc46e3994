//! Training on the instruments of a day: batches of whole days, losses that compare the instruments of a day, and features that
//! do.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use heqis_quant::target::{centred_ranks, z_scores};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::loss::mse;
use crate::corpus::{Corpus, Sample};

/// Keeps a correlation finite where all forecasts of a day are equal.
const EPSILON: f64 = 1e-8;

/// The samples of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batches {
    /// Any, `batch_size` of them.
    #[default]
    Samples,
    /// Those of `days_per_step` days, all instruments of each. Days are in random order; `batch_size` has no effect.
    Days,
}

/// How features are compared with those of the day's other instruments before a model reads them. No stage of the boards does
/// that, so a run with it is not exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayScaling {
    /// Not at all.
    #[default]
    None,
    /// By their centred rank, −0.5 to 0.5.
    Rank,
    /// By their z-score (divisor n); 0 where all are equal.
    Z,
}

/// The loss of the predicted value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueLoss {
    /// The squared error. With ranks as labels, that of ranks.
    #[default]
    Mse,
    /// 1 minus Pearson's correlation of each day, as a mean over days. Labels that are ranks make it RankIC's.
    Ic,
    /// ListNet's cross-entropy of each day: of the softmax of forecasts against that of labels (Cao and others, ICML 2007).
    Listwise,
}

/// What decides on early stopping and on the best epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopBy {
    /// The supervised loss on the validation span.
    #[default]
    Loss,
    /// 1 minus the mean daily RankIC on the validation span.
    RankIc,
}

/// Returns whether a setting has its default, which files leave out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ValueLoss {
    /// Returns the loss of forecasts `[batch, 1]` against labels of the same shape, `[1]`. `days` is the number of samples of
    /// each day, in the order of the batch.
    #[must_use]
    pub fn of(self, predicted: Tensor<2>, actual: Tensor<2>, days: &[usize]) -> Tensor<1> {
        match self {
            Self::Mse => mse(predicted, actual),
            Self::Ic => {
                let days = Days::new(days, &actual);
                let (p, a) = (days.centred(predicted), days.centred(actual));
                let product = days.sum(p.clone() * a.clone());
                let size = days.sum(p.square()) * days.sum(a.square()) + EPSILON;
                (-(product / size.sqrt()) + 1.0).mean()
            }
            Self::Listwise => {
                let days = Days::new(days, &actual);
                let shares = days.log_softmax(actual).exp();
                -days.sum(shares * days.log_softmax(predicted)).mean()
            }
        }
    }
}

/// Sums over the days of a batch, as products with a matrix of ones.
struct Days {
    /// `[days, batch]`.
    members: Tensor<2>,
    /// `[days, 1]`.
    counts: Tensor<2>,
}

impl Days {
    fn new(days: &[usize], like: &Tensor<2>) -> Self {
        let (device, batch): (Device, usize) = (like.device(), days.iter().sum());
        let mut ones = vec![0.0_f32; days.len() * batch];
        let mut first = 0;
        for (day, count) in days.iter().enumerate() {
            ones[day * batch + first..day * batch + first + count].fill(1.0);
            first += count;
        }
        let counts: Vec<f32> = days.iter().map(|count| *count as f32).collect();
        Self {
            members: Tensor::from_data(TensorData::new(ones, [days.len(), batch]), &device),
            counts: Tensor::from_data(TensorData::new(counts, [days.len(), 1]), &device),
        }
    }

    /// Returns the sum of each day, `[days, 1]`.
    fn sum(&self, values: Tensor<2>) -> Tensor<2> {
        self.members.clone().matmul(values)
    }

    /// Returns the values minus the mean of their day, `[batch, 1]`.
    fn centred(&self, values: Tensor<2>) -> Tensor<2> {
        let means = self.sum(values.clone()) / self.counts.clone();
        values - self.members.clone().transpose().matmul(means)
    }

    /// Returns the logarithm of the softmax within each day, `[batch, 1]`.
    fn log_softmax(&self, values: Tensor<2>) -> Tensor<2> {
        // Centred first, so that days with other levels do not underflow next to each other; bounded, so that no power overflows.
        let centred = self.centred(values).clamp(-60.0, 60.0);
        let sums = self.sum(centred.clone().exp()).log();
        centred - self.members.clone().transpose().matmul(sums)
    }
}

impl Corpus {
    /// Returns the time of a sample's bar, which the samples of one cross-section share.
    pub(crate) fn time_ns(&self, sample: &Sample) -> i64 {
        let (series, row) = self.place(sample);
        series.times_ns[row]
    }

    /// Returns samples in random order, the ones of a day next to each other.
    pub(crate) fn by_day(&self, samples: &[Sample], rng: &mut ChaCha8Rng) -> Vec<Sample> {
        let mut days: BTreeMap<i64, Vec<Sample>> = BTreeMap::new();
        for sample in samples {
            days.entry(self.time_ns(sample)).or_default().push(*sample);
        }
        let mut days: Vec<Vec<Sample>> = days.into_values().collect();
        days.shuffle(rng);
        days.concat()
    }

    /// Returns the number of samples of each run of one day.
    pub(crate) fn day_counts(&self, samples: &[Sample]) -> Vec<usize> {
        let days = samples.chunk_by(|a, b| self.time_ns(a) == self.time_ns(b));
        days.map(<[Sample]>::len).collect()
    }

    /// Compares every feature with those of the other instruments of its bar's time. A row so depends on its own day only.
    pub(crate) fn scale_by_day(&mut self, scaling: DayScaling) {
        if scaling == DayScaling::None {
            return;
        }
        let columns = self.columns;
        for rows in self.places_by_time(|_, _| true) {
            for column in 0..columns {
                let values: Vec<f64> = rows
                    .iter()
                    .map(|(series, row)| self.series[*series].rows[row * columns + column].into())
                    .collect();
                let scaled = match scaling {
                    DayScaling::None => break,
                    DayScaling::Rank => centred_ranks(&values),
                    DayScaling::Z => z_scores(&values).unwrap_or_else(|| vec![0.0; values.len()]),
                };
                for ((series, row), value) in rows.iter().zip(scaled) {
                    self.series[*series].rows[row * columns + column] = value as f32;
                }
            }
        }
    }

    /// Exchanges the labels of a day among its instruments at random, the same in every call: what a model learns afterwards
    /// is chance.
    pub(crate) fn shuffle_labels(&mut self) {
        for rows in self.places_by_time(|corpus, (series, row)| corpus.series[series].labelled[row])
        {
            let Some((series, row)) = rows.first() else {
                continue;
            };
            let day = self.series[*series].times_ns[*row];
            let mut from = rows.clone();
            from.shuffle(&mut ChaCha8Rng::seed_from_u64(day as u64));
            let labels: Vec<(f64, u8)> = from
                .iter()
                .map(|(series, row)| {
                    (
                        self.series[*series].returns[*row],
                        self.series[*series].classes[*row],
                    )
                })
                .collect();
            for ((series, row), (value, class)) in rows.iter().zip(labels) {
                self.series[*series].returns[*row] = value;
                self.series[*series].classes[*row] = class;
            }
        }
    }

    /// Returns the places (series, row) of each time, in the order of times.
    fn places_by_time(
        &self,
        wanted: impl Fn(&Self, (usize, usize)) -> bool,
    ) -> Vec<Vec<(usize, usize)>> {
        let mut times: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
        for (at, series) in self.series.iter().enumerate() {
            for (row, time) in series.times_ns.iter().enumerate() {
                if wanted(self, (at, row)) {
                    times.entry(*time).or_default().push((at, row));
                }
            }
        }
        times.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn column(values: &[f64]) -> Tensor<2> {
        let device = Device::flex().autodiff();
        Tensor::<1>::from_floats(values, &device).reshape([values.len(), 1])
    }

    fn number(tensor: Tensor<1>) -> f64 {
        tensor.into_scalar::<f32>().into()
    }

    #[test]
    fn the_correlation_is_of_each_day_and_not_of_all_days_together() {
        // Days of other levels: 1 within each day, but far from it over all.
        let actual = [1.0, 2.0, 3.0, 11.0, 12.0];
        let predicted = [0.5, 1.0, 1.5, -9.0, -8.5];
        let of = |p: &[f64]| number(ValueLoss::Ic.of(column(p), column(&actual), &[3, 2]));
        assert!(of(&predicted).abs() < 1e-4, "{}", of(&predicted));
        let opposite: Vec<f64> = predicted.iter().map(|p| -p).collect();
        assert!((of(&opposite) - 2.0).abs() < 1e-4);
        // A forecast that ranks nothing has no correlation, and still a finite gradient.
        let constant = column(&[1.0; 5]).require_grad();
        let loss = ValueLoss::Ic.of(constant.clone(), column(&actual), &[3, 2]);
        let gradients = loss.clone().backward();
        assert!((number(loss) - 1.0).abs() < 1e-6);
        let gradient = constant
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert!(
            gradient.iter().all(|value| value.is_finite()),
            "{gradient:?}"
        );
    }

    #[test]
    fn the_listwise_loss_matches_a_case_computed_by_hand_and_ignores_the_level_of_a_day() {
        // Softmax of (ln 3, 0) is (3/4, 1/4); of equal forecasts (1/2, 1/2): the cross-entropy is ln 2.
        let actual = [3f64.ln(), 0.0, 5.0 + 3f64.ln(), 5.0];
        let of = |p: &[f64]| number(ValueLoss::Listwise.of(column(p), column(&actual), &[2, 2]));
        assert!((of(&[0.0, 0.0, 7.0, 7.0]) - 2f64.ln()).abs() < 1e-5);
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((of(&actual) - entropy).abs() < 1e-5);
        assert!(of(&[1e6, -1e6, 0.0, 0.0]).is_finite());
    }

    #[test]
    fn the_gradients_of_both_follow_the_order_of_the_labels() {
        for loss in [ValueLoss::Ic, ValueLoss::Listwise] {
            let predicted = column(&[0.1, 0.2, 0.0]).require_grad();
            let total = loss.of(predicted.clone(), column(&[1.0, -1.0, 0.0]), &[3]);
            let gradients = total.backward();
            let gradient = predicted
                .grad(&gradients)
                .unwrap()
                .into_data()
                .try_to_vec::<f32>()
                .unwrap();
            assert!(
                gradient[0] < 0.0 && gradient[1] > 0.0,
                "{loss:?}: {gradient:?}"
            );
        }
    }
}
