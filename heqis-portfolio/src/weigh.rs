//! Target weights, and their limits.

use std::collections::BTreeMap;

use crate::choose::Candidate;
use crate::config::{Beta, PortfolioConfig, Weights};

/// Returns the target weights of `chosen`, which are indices of `candidates`. Their sum is `total` or, where a limit leaves cash,
/// less.
///
/// In this order: the scheme; sectors; the greatest weight; beta. A limit gives what it takes to the others in proportion, as far
/// as their limits allow, and the rest is cash. Beta comes last and may only lower the sum, so that it holds; its tilt may take a
/// weight beyond the other limits by the fraction `tilt`.
///
/// ```
/// use heqis_portfolio::PortfolioConfig;
/// use heqis_portfolio::choose::Candidate;
/// use heqis_portfolio::config::Weights;
/// use heqis_portfolio::weigh::weigh;
/// use heqis_quant::Symbol;
///
/// let of = |symbol: &str, volatility| Candidate {
///     symbol: Symbol::parse(symbol).unwrap(),
///     score: Some(0.0),
///     can_buy: true,
///     can_sell: true,
///     sector: None,
///     beta: None,
///     volatility: Some(volatility),
/// };
/// let config = PortfolioConfig { weights: Weights::InverseVolatility, ..PortfolioConfig::of(2) };
/// assert_eq!(weigh(&config, &[of("A", 0.01), of("B", 0.03)], &[0, 1], 1.0), [0.75, 0.25]);
/// ```
#[must_use]
pub fn weigh(
    config: &PortfolioConfig,
    candidates: &[Candidate],
    chosen: &[usize],
    total: f64,
) -> Vec<f64> {
    let mut weights = scheme(config.weights, candidates, chosen);
    if chosen.is_empty() || total <= 0.0 {
        return vec![0.0; chosen.len()];
    }
    scale_to(&mut weights, total);
    if let Some(sectors) = &config.sectors {
        let sector = |at: usize| candidates[chosen[at]].sector;
        if sectors.neutral {
            neutral(&mut weights, candidates, sector, total);
        }
        if let Some(most) = sectors.max_share {
            limit(&mut weights, most, sector);
        }
    }
    limit(&mut weights, config.max_weight, Some);
    if let Some(beta) = config.beta {
        let betas: Vec<f64> = chosen
            .iter()
            .map(|at| candidates[*at].beta.unwrap_or(1.0))
            .collect();
        limit_beta(&mut weights, &betas, beta);
    }
    weights
}

fn scheme(weights: Weights, candidates: &[Candidate], chosen: &[usize]) -> Vec<f64> {
    let raw: Vec<f64> = match weights {
        Weights::Equal => vec![1.0; chosen.len()],
        Weights::Score => {
            let scores = candidates.iter().filter_map(|one| one.score);
            let lowest = scores.fold(f64::INFINITY, f64::min);
            let of = |at: &usize| candidates[*at].score.map_or(0.0, |score| score - lowest);
            chosen.iter().map(of).collect()
        }
        Weights::InverseVolatility => {
            let of = |at: &usize| {
                candidates[*at]
                    .volatility
                    .map(|volatility| 1.0 / volatility)
            };
            let known: Vec<f64> = chosen.iter().filter_map(of).collect();
            let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
            let mean = if known.is_empty() { 1.0 } else { mean };
            chosen.iter().map(|at| of(at).unwrap_or(mean)).collect()
        }
    };
    match raw.iter().sum::<f64>() {
        sum if sum > 0.0 && sum.is_finite() => raw,
        _ => vec![1.0; chosen.len()],
    }
}

fn scale_to(weights: &mut [f64], total: f64) {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter_mut().for_each(|weight| *weight *= total / sum);
    }
}

/// Gives each sector its part of the cross-section, among the sectors that are chosen.
fn neutral(
    weights: &mut [f64],
    candidates: &[Candidate],
    sector: impl Fn(usize) -> Option<usize>,
    total: f64,
) {
    let mut sizes: BTreeMap<Option<usize>, f64> = BTreeMap::new();
    for one in candidates {
        *sizes.entry(one.sector).or_default() += 1.0;
    }
    let mut sums: BTreeMap<Option<usize>, f64> = BTreeMap::new();
    for (at, weight) in weights.iter().enumerate() {
        *sums.entry(sector(at)).or_default() += weight;
    }
    let all: f64 = sums.keys().map(|sector| sizes[sector]).sum();
    for (at, weight) in weights.iter_mut().enumerate() {
        let sector = sector(at);
        if sums[&sector] > 0.0 {
            *weight *= total * sizes[&sector] / all / sums[&sector];
        }
    }
}

/// Limits the sum of each group, and gives what is above to the other groups in proportion. Members of no group have no limit.
fn limit<G: Ord + Copy>(weights: &mut [f64], most: f64, group: impl Fn(usize) -> Option<G>) {
    let mut full: BTreeMap<G, ()> = BTreeMap::new();
    // Each turn fills a group at least.
    for _ in 0..=weights.len() {
        let mut sums: BTreeMap<G, f64> = BTreeMap::new();
        for (at, weight) in weights.iter().enumerate() {
            if let Some(group) = group(at) {
                *sums.entry(group).or_default() += weight;
            }
        }
        let mut above = 0.0;
        for (of, sum) in sums {
            if sum > most * (1.0 + 1e-12) {
                above += sum - most;
                full.insert(of, ());
                for (at, weight) in weights.iter_mut().enumerate() {
                    if group(at) == Some(of) {
                        *weight *= most / sum;
                    }
                }
            }
        }
        let is_open = |at: usize| group(at).is_none_or(|of| !full.contains_key(&of));
        let open: f64 = weights
            .iter()
            .enumerate()
            .filter(|(at, _)| is_open(*at))
            .map(|(_, weight)| weight)
            .sum();
        if above <= 0.0 || open <= 0.0 {
            return;
        }
        for (at, weight) in weights.iter_mut().enumerate() {
            if is_open(at) {
                *weight *= 1.0 + above / open;
            }
        }
    }
}

/// Lowers beta to its limit: moves weight from high to low betas within the tilt, then to cash.
fn limit_beta(weights: &mut [f64], betas: &[f64], limit: Beta) {
    let sum: f64 = weights.iter().sum();
    let of = |weights: &[f64]| -> f64 {
        let parts = weights.iter().zip(betas);
        parts.map(|(weight, beta)| weight * beta).sum()
    };
    let before = of(weights);
    if before <= limit.max || sum <= 0.0 {
        return;
    }
    // Moving each weight w by -t·w·(beta - mean) keeps the sum and lowers beta by t times the variance of betas.
    let mean = before / sum;
    let variance: f64 = weights
        .iter()
        .zip(betas)
        .map(|(weight, beta)| weight * (beta - mean) * (beta - mean))
        .sum();
    let widest = betas
        .iter()
        .map(|beta| (beta - mean).abs())
        .fold(0.0, f64::max);
    if variance > 0.0 && widest > 0.0 {
        let step = ((before - limit.max) / variance).min(limit.tilt / widest);
        for (weight, beta) in weights.iter_mut().zip(betas) {
            *weight *= 1.0 - step * (beta - mean);
        }
    }
    let after = of(weights);
    if after > limit.max {
        let part = limit.max / after;
        weights.iter_mut().for_each(|weight| *weight *= part);
    }
}
