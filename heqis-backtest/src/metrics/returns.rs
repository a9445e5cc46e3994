//! Metrics of a series of daily returns. The formulas are those of `empyrical`, and a test compares them with it.

use heqis_quant::stats::{deviation, mean};
use serde::Serialize;

use super::Basis;
use crate::error::BacktestError;

/// A deviation within rounding errors: all returns are equal, and ratios over it are undefined.
const NO_DEVIATION: f64 = 1e-15;

/// The metrics of one equity curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// `Π(1 + r) - 1`.
    pub total_return: f64,
    /// `Π(1 + r)^(days_per_year / n) - 1`.
    pub annual_return: Option<f64>,
    /// The standard deviation of daily returns times `√days_per_year`.
    pub volatility: Option<f64>,
    /// The mean excess return over the daily rate, divided by its deviation, times `√days_per_year`.
    pub sharpe: Option<f64>,
    /// The same with the downside deviation `√(Σ min(r - rate, 0)² / n)`.
    pub sortino: Option<f64>,
    /// The annual return divided by the maximum drawdown.
    pub calmar: Option<f64>,
    /// The maximum fall from a peak, the start included: 0 or negative.
    pub max_drawdown: f64,
}

impl Curve {
    /// Computes the metrics.
    #[must_use]
    pub fn of(returns: &[f64], basis: &Basis) -> Self {
        let year = basis.days_per_year;
        let growth: f64 = returns.iter().map(|r| 1.0 + r).product();
        let annual_return = (!returns.is_empty())
            .then(|| growth.powf(year / returns.len() as f64) - 1.0)
            .filter(|annual| annual.is_finite());
        let max_drawdown = drawdowns(returns).into_iter().fold(0.0, f64::min);
        let rate = basis.daily_rate();
        let above: Vec<f64> = returns.iter().map(|r| r - rate).collect();
        let downside: Vec<f64> = above.iter().map(|r| r.min(0.0).powi(2)).collect();
        let over = |deviation: Option<f64>| {
            let deviation = deviation.filter(|deviation| *deviation > NO_DEVIATION)?;
            Some(mean(above.iter().copied())? / deviation * year.sqrt())
        };
        Self {
            total_return: growth - 1.0,
            annual_return,
            volatility: deviation(returns, basis.ddof).map(|deviation| deviation * year.sqrt()),
            sharpe: over(deviation(&above, basis.ddof)),
            sortino: over(mean(downside).map(f64::sqrt)),
            calmar: annual_return
                .filter(|_| max_drawdown < 0.0)
                .map(|annual| annual / -max_drawdown),
            max_drawdown,
        }
    }
}

/// Returns the drawdown from the highest point so far after each return: 0 or negative.
#[must_use]
pub fn drawdowns(returns: &[f64]) -> Vec<f64> {
    let (mut level, mut peak) = (1.0_f64, 1.0_f64);
    returns
        .iter()
        .map(|r| {
            level *= 1.0 + r;
            peak = peak.max(level);
            level / peak - 1.0
        })
        .collect()
}

/// Returns the growth of an account over that of a benchmark after each of the same days.
#[must_use]
pub fn relative(returns: &[f64], benchmark: &[f64]) -> Vec<f64> {
    let mut ratio = 1.0;
    let pairs = returns.iter().zip(benchmark);
    pairs
        .map(|(r, b)| {
            ratio *= (1.0 + r) / (1.0 + b);
            ratio
        })
        .collect()
}

/// The metrics of an equity curve compared with a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BenchmarkMetrics {
    /// `(1 + mean(r - rate - beta · (b - rate)))^days_per_year - 1`.
    pub alpha: Option<f64>,
    /// `cov(r, b) / var(b)`.
    pub beta: Option<f64>,
    /// The mean of `r - b` divided by its deviation, times `√days_per_year`.
    pub information_ratio: Option<f64>,
    /// The deviation of `r - b` times `√days_per_year`.
    pub tracking_error: Option<f64>,
    /// The growth of the account over that of the benchmark, less 1.
    pub relative_return: Option<f64>,
    /// The annual return of the benchmark.
    pub benchmark_return: Option<f64>,
    /// The maximum drawdown of the benchmark.
    pub benchmark_drawdown: f64,
}

impl BenchmarkMetrics {
    /// Computes the metrics from the returns of the same days.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when the two differ in length.
    pub fn of(returns: &[f64], benchmark: &[f64], basis: &Basis) -> Result<Self, BacktestError> {
        if returns.len() != benchmark.len() {
            return Err(BacktestError::rule_got(
                "benchmark",
                format!("must have a return for each of {} days", returns.len()),
                benchmark.len(),
            ));
        }
        let beta = mean(benchmark.iter().copied()).and_then(|centre| {
            let spread = |b: &f64| b - centre;
            let covariance: f64 = returns
                .iter()
                .zip(benchmark)
                .map(|(r, b)| r * spread(b))
                .sum();
            let variance: f64 = benchmark.iter().map(|b| spread(b).powi(2)).sum();
            (variance > NO_DEVIATION * NO_DEVIATION).then(|| covariance / variance)
        });
        let rate = basis.daily_rate();
        let rests = |beta: f64| -> Vec<f64> {
            let pairs = returns.iter().zip(benchmark);
            pairs.map(|(r, b)| r - rate - beta * (b - rate)).collect()
        };
        let active: Vec<f64> = returns.iter().zip(benchmark).map(|(r, b)| r - b).collect();
        let other = Curve::of(benchmark, basis);
        Ok(Self {
            alpha: beta
                .and_then(|beta| mean(rests(beta)))
                .map(|rest| (1.0 + rest).powf(basis.days_per_year) - 1.0),
            beta,
            information_ratio: deviation(&active, basis.ddof)
                .filter(|deviation| *deviation > NO_DEVIATION)
                .and_then(|deviation| {
                    Some(mean(active.iter().copied())? / deviation * basis.days_per_year.sqrt())
                }),
            tracking_error: deviation(&active, basis.ddof)
                .map(|deviation| deviation * basis.days_per_year.sqrt()),
            relative_return: relative(returns, benchmark)
                .last()
                .map(|ratio| ratio - 1.0)
                .filter(|ratio| ratio.is_finite()),
            benchmark_return: other.annual_return,
            benchmark_drawdown: other.max_drawdown,
        })
    }
}
