//! Correlations of scores with the returns that followed, over the stocks of each timestamp.

use heqis_quant::stats::{deviation, mean, pearson, spearman};
use serde::Serialize;

use super::Basis;

/// The minimum number of stocks for a correlation: two points always lie on a line.
pub(crate) const MIN_STOCKS: usize = 3;

/// The scores of one timestamp and the returns that followed: `(score, return)` of each stock.
pub type CrossSection = Vec<(f64, f64)>;

/// Correlations over timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlations {
    /// The number of timestamps with at least three stocks whose scores and returns vary; of daily bars, days.
    pub times: usize,
    /// The mean of the Pearson correlations.
    pub ic: f64,
    /// The mean of the Spearman correlations; ties have their mean rank.
    pub rank_ic: f64,
    /// The mean of the IC divided by its deviation; not annualised.
    pub icir: Option<f64>,
    /// The same of RankIC.
    pub rank_icir: Option<f64>,
}

impl Correlations {
    /// Computes the metrics, or returns `None` if no timestamp has a correlation.
    #[must_use]
    pub fn of(times: &[CrossSection], basis: &Basis) -> Option<Self> {
        let (mut plain, mut ranked) = (Vec::new(), Vec::new());
        for time in times.iter().filter(|time| time.len() >= MIN_STOCKS) {
            let (scores, returns): (Vec<f64>, Vec<f64>) = time.iter().copied().unzip();
            let both = (pearson(&scores, &returns), spearman(&scores, &returns));
            if let (Some(ic), Some(rank_ic)) = both {
                plain.push(ic);
                ranked.push(rank_ic);
            }
        }
        let ratio = |values: &[f64]| {
            let deviation = deviation(values, basis.ddof).filter(|deviation| *deviation > 0.0)?;
            Some(mean(values.iter().copied())? / deviation)
        };
        Some(Self {
            times: plain.len(),
            ic: mean(plain.iter().copied())?,
            rank_ic: mean(ranked.iter().copied())?,
            icir: ratio(&plain),
            rank_icir: ratio(&ranked),
        })
    }
}
