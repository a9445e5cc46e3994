//! Correlations of scores with the returns that followed, day by day over the stocks of that day.

use serde::Serialize;

use super::{Basis, deviation, mean};

/// Fewer stocks than this make no correlation: through two points there is always a line.
const LEAST_STOCKS: usize = 3;

/// The scores of one day and what followed: `(score, return)` of each stock.
pub type Day = Vec<(f64, f64)>;

/// Correlations over days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlations {
    /// How many days had at least three stocks and were not all alike.
    pub days: usize,
    /// The mean of the daily Pearson correlations.
    pub ic: f64,
    /// The mean of the daily Spearman correlations; equal values share their mean rank.
    pub rank_ic: f64,
    /// The mean of the daily IC over its deviation; not annualised.
    pub icir: Option<f64>,
    /// The same of RankIC.
    pub rank_icir: Option<f64>,
}

impl Correlations {
    /// Computes the figures, or `None` when no day has a correlation.
    #[must_use]
    pub fn of(days: &[Day], basis: &Basis) -> Option<Self> {
        let (mut plain, mut ranked) = (Vec::new(), Vec::new());
        for day in days.iter().filter(|day| day.len() >= LEAST_STOCKS) {
            let (scores, returns): (Vec<f64>, Vec<f64>) = day.iter().copied().unzip();
            if let (Some(ic), Some(rank_ic)) = (
                pearson(&scores, &returns),
                pearson(&ranks(&scores), &ranks(&returns)),
            ) {
                plain.push(ic);
                ranked.push(rank_ic);
            }
        }
        let ratio = |values: &[f64]| {
            let deviation = deviation(values, basis.ddof).filter(|deviation| *deviation > 0.0)?;
            Some(mean(values)? / deviation)
        };
        Some(Self {
            days: plain.len(),
            ic: mean(&plain)?,
            rank_ic: mean(&ranked)?,
            icir: ratio(&plain),
            rank_icir: ratio(&ranked),
        })
    }
}

/// Returns the correlation of two series of one length, or `None` when one of them is constant.
#[must_use]
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a0, b0) = (mean(a)?, mean(b)?);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - a0, b - b0);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// Returns the ranks from 1; equal values share their mean rank.
#[must_use]
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = |at: &&usize| values[**at] == values[order[from]];
        let count = order[from..].iter().take_while(same).count();
        for at in &order[from..from + count] {
            ranks[*at] = from as f64 + (count as f64 + 1.0) / 2.0;
        }
        from += count;
    }
    ranks
}
