//! Plain statistics, in one place for the lab and the dashboard: moments, correlations, and 95 % intervals.
//!
//! Items of one day are not independent: stocks of a market move together, and so do the minutes of a session. Intervals
//! over pooled items therefore treat *clusters*, usually days, as independent and allow any dependence of the items inside a
//! cluster (Liang and Zeger, Biometrika 73, 1986). With one item a cluster they are the textbook intervals of
//! independent items, to the bit. Dependence between days is not covered.

use std::collections::BTreeMap;

use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// Fewest instruments of one timestamp for a correlation over its cross-section: through two points there is always a
/// line, and below five the correlation is noise. One instrument alone never has a cross-section.
pub const LEAST_CROSS_SECTION: usize = 5;

/// Returns the mean; `None` without values.
///
/// ```
/// use heqis_quant::stats::{mean, pearson, spearman};
///
/// assert_eq!(mean([1.0, 2.0, 6.0]), Some(3.0));
/// assert!(pearson(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).is_some_and(|one| (one - 1.0).abs() < 1e-12));
/// assert_eq!(spearman(&[1.0, 2.0, 9.0], &[3.0, 4.0, 5.0]), spearman(&[1.0, 2.0, 3.0], &[3.0, 4.0, 5.0]));
/// assert_eq!(pearson(&[1.0, 1.0], &[2.0, 4.0]), None);
/// ```
#[must_use]
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values
        .into_iter()
        .fold((0u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// Returns the variance with the divisor `n − ddof`, `None` when there are too few values.
#[must_use]
pub fn variance(values: &[f64], ddof: u32) -> Option<f64> {
    let centre = mean(values.iter().copied())?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    let freedom = values.len() as f64 - f64::from(ddof);
    (freedom > 0.0).then(|| squares / freedom)
}

/// Returns the standard deviation: the root of [`variance`].
#[must_use]
pub fn deviation(values: &[f64], ddof: u32) -> Option<f64> {
    variance(values, ddof).map(f64::sqrt)
}

/// Returns the standard error of the mean of a series whose neighbours up to `lag` are correlated, with Bartlett's weights
/// (Newey and West, Econometrica 55, 1987);
/// without a lag, that of independent values. `None` for fewer than two values.
///
/// ```
/// use heqis_quant::stats::standard_error;
///
/// let values = [1.0, -1.0, 1.0, -1.0];
/// assert_eq!(standard_error(&values, 0), Some((4.0_f64 / 3.0 / 4.0).sqrt()));
/// // Neighbours that cancel each other make the mean more certain: 1 + 2 · ½ · (−3/4) = ¼ of the variance.
/// assert_eq!(standard_error(&values, 1), Some((0.25_f64 / 3.0).sqrt()));
/// ```
#[must_use]
pub fn standard_error(values: &[f64], lag: usize) -> Option<f64> {
    let centre = mean(values.iter().copied())?;
    let count = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let covariance = |shift: usize| {
        let pairs = values.iter().zip(values.iter().skip(shift));
        pairs.map(|(a, b)| (a - centre) * (b - centre)).sum::<f64>() / count
    };
    let mut variance = covariance(0);
    for shift in 1..=lag.min(values.len() - 1) {
        let weight = 1.0 - shift as f64 / (lag as f64 + 1.0);
        variance += 2.0 * weight * covariance(shift);
    }
    Some((variance.max(0.0) / (count - 1.0)).sqrt())
}

/// Returns Pearson's correlation, from −1 to 1.
///
/// `None` when the series are of different lengths or empty, when either is constant, or when a difference of two values
/// is not finite. Constant means that all values are equal, which is decided exactly: differences from the first value
/// are all zero then and only then, while differences from the mean of ten times 0.1 are not. A series that varies in its
/// last digits has a correlation, of these digits.
#[must_use]
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let (a, b) = (centred(a)?, centred(b)?);
    let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let spread = product(&a, &a).sqrt() * product(&b, &b).sqrt();
    Some((product(&a, &b) / spread).clamp(-1.0, 1.0))
}

/// Returns the differences from the mean in units of the largest difference from the first value, so that neither a large
/// level nor tiny or huge moves lose digits; `None` for a constant series.
fn centred(values: &[f64]) -> Option<Vec<f64>> {
    let first = *values.first()?;
    let moves: Vec<f64> = values.iter().map(|value| value - first).collect();
    let scale = moves
        .iter()
        .fold(0.0, |most: f64, step| match step.is_finite() {
            true => most.max(step.abs()),
            false => f64::INFINITY,
        });
    if scale == 0.0 || scale.is_infinite() {
        return None;
    }
    let moves: Vec<f64> = moves.iter().map(|step| step / scale).collect();
    let centre = mean(moves.iter().copied())?;
    Some(moves.into_iter().map(|step| step - centre).collect())
}

/// Returns Spearman's correlation: [`pearson`] over [`ranks`].
#[must_use]
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    pearson(&ranks(a), &ranks(b))
}

/// Returns the rank of each value, from 1; equal values share the mean of their ranks.
#[must_use]
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut rank = 0.0;
    // Equality and not `total_cmp`: 0 and −0 are one value.
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let count = equal.len() as f64;
        for &at in equal {
            ranks[at] = rank + (count + 1.0) / 2.0;
        }
        rank += count;
    }
    ranks
}

/// Items with the number of their cluster.
struct Clustered {
    /// Index of the cluster and value of each item.
    items: Vec<(usize, f64)>,
    /// Number of clusters.
    count: usize,
}

impl Clustered {
    fn new<K: Ord>(items: impl IntoIterator<Item = (K, f64)>) -> Self {
        let mut indexes = BTreeMap::new();
        let items: Vec<(usize, f64)> = items
            .into_iter()
            .map(|(key, value)| {
                let next = indexes.len();
                (*indexes.entry(key).or_insert(next), value)
            })
            .collect();
        let count = indexes.len();
        Self { items, count }
    }

    /// The standard error of the mean: `√(C/(C−1) · Σ over clusters of (Σ of deviations)²) / n`; infinite for fewer than two
    /// clusters, which cannot estimate it.
    fn error(&self, mean: f64) -> f64 {
        let (n, clusters) = (self.items.len() as f64, self.count as f64);
        if self.count < 2 {
            return f64::INFINITY;
        }
        let mut sums = vec![0.0; self.count];
        for (cluster, value) in &self.items {
            sums[*cluster] += value - mean;
        }
        let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
        match self.count == self.items.len() {
            true => (squares / (n - 1.0) / n).sqrt(),
            false => (clusters / (clusters - 1.0) * squares).sqrt() / n,
        }
    }

    /// The half width in standard errors: the normal quantile for single items, as in the textbook interval, and Student's
    /// with `C − 1` degrees of freedom for clusters, since their number can be small.
    fn reach(&self) -> f64 {
        match self.count == self.items.len() {
            true => Z95,
            false => student95(self.count - 1),
        }
    }
}

/// Returns the 97.5 % quantile of Student's distribution; infinite for 0 degrees of freedom.
///
/// The probability between −t and t is the finite sum of Abramowitz and Stegun 26.7.3 and 26.7.4, inverted by bisection.
/// Beyond 1,000 degrees it is the normal quantile, 0.13 % less at most.
fn student95(freedom: usize) -> f64 {
    match freedom {
        0 => return f64::INFINITY,
        1..=1_000 => {}
        _ => return Z95,
    }
    let within = |t: f64| {
        let angle = (t / (freedom as f64).sqrt()).atan();
        let cos = angle.cos();
        let odd = freedom % 2 == 1;
        let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
        // Powers of the cosine up to `freedom − 2`.
        for power in (usize::from(odd)..freedom.saturating_sub(1)).step_by(2) {
            sum += term;
            term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        }
        match odd {
            true => 2.0 / std::f64::consts::PI * (angle + angle.sin() * sum),
            false => angle.sin() * sum,
        }
    };
    let (mut low, mut high) = (0.0, 16.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match within(middle) < 0.95 {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanInterval {
    /// The mean; 0 without values.
    pub mean: f64,
    /// Lower end of the interval; −∞, in JSON null, when fewer than two clusters cannot estimate it.
    pub low: f64,
    /// Upper end of the interval; ∞, in JSON null, likewise.
    pub high: f64,
}

impl MeanInterval {
    /// Returns the mean of values, each with the key of its cluster: mean ± 1.96 standard errors when each value is a
    /// cluster of its own, else mean ± Student's quantile times the cluster-robust standard error.
    #[must_use]
    pub fn clustered<K: Ord>(values: impl IntoIterator<Item = (K, f64)>) -> Self {
        let clustered = Clustered::new(values);
        let mean = mean(clustered.items.iter().map(|(_, value)| *value)).unwrap_or(0.0);
        let half = match clustered.count {
            0 | 1 => f64::INFINITY,
            _ => clustered.reach() * clustered.error(mean),
        };
        Self {
            mean,
            low: mean - half,
            high: mean + half,
        }
    }
}

/// A share of hits with its 95 % Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Proportion {
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

impl Proportion {
    /// Returns the share of some hits of independent tries.
    ///
    /// The interval is Wilson's score interval (Journal of the American Statistical Association 22, 1927), which
    /// stays inside 0..1 and is sound for few tries.
    #[must_use]
    pub fn new(hits: usize, of: usize) -> Self {
        Self::worth(hits, of, of as f64)
    }

    /// Returns the share of hits among tries, each with the key of its cluster.
    ///
    /// The interval is Wilson's for the number of independent tries that would have the cluster-robust standard error
    /// (Korn and Graubard, Survey Methodology 24, 1998): `p(1−p)` over its square, corrected by Student's quantile for few
    /// clusters, and at most the true number. All hits or no hits show no spread; then each cluster counts as one
    /// try, and so does a single cluster.
    #[must_use]
    pub fn clustered<K: Ord>(tries: impl IntoIterator<Item = (K, bool)>) -> Self {
        let tries = tries.into_iter();
        let clustered = Clustered::new(tries.map(|(key, hit)| (key, f64::from(u8::from(hit)))));
        let of = clustered.items.len();
        let hits = clustered.items.iter().filter(|(_, hit)| *hit > 0.0).count();
        if clustered.count == of {
            return Self::new(hits, of);
        }
        let (clusters, share) = (clustered.count as f64, hits as f64 / of as f64);
        let worth = match hits == 0 || hits == of || clustered.count < 2 {
            true => clusters,
            false => {
                let half = clustered.error(share) * clustered.reach() / Z95;
                (share * (1.0 - share) / (half * half)).min(of as f64)
            }
        };
        Self::worth(hits, of, worth)
    }

    /// Wilson's interval as if the share came from `n` independent tries.
    fn worth(hits: usize, of: usize, n: f64) -> Self {
        if of == 0 {
            return Self {
                hits,
                of,
                share: 0.0,
                wilson_low: 0.0,
                wilson_high: 1.0,
            };
        }
        let share = hits as f64 / of as f64;
        let centre = share + Z95 * Z95 / (2.0 * n);
        let half = Z95 * (share * (1.0 - share) / n + Z95 * Z95 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z95 * Z95 / n;
        Self {
            hits,
            of,
            share,
            wilson_low: ((centre - half) / scale).max(0.0),
            wilson_high: ((centre + half) / scale).min(1.0),
        }
    }
}

#[cfg(test)]
mod tests;
