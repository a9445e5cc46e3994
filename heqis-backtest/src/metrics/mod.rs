//! The metrics of a run: of the equity curve, the round trips and the scores.
//!
//! - [`returns`]: annual return, volatility, Sharpe, Sortino, Calmar, drawdown; alpha, beta and information ratio
//!   against a benchmark.
//! - [`scores`]: IC, RankIC and ICIR of scores against the returns that followed.
//! - here: round trips, turnover and exposure, and [`Metrics`] with all of them and their [`Basis`].
//!
//! An undefined metric, such as the Sharpe ratio of a flat curve, is `None`.

pub mod returns;
pub mod scores;

use heqis_quant::stats::mean;
use serde::{Deserialize, Serialize};

use super::broker::{DayAccount, Ledger, Trip};
use crate::error::BacktestError;
pub use returns::{BenchmarkMetrics, Curve};
pub use scores::{Correlations, CrossSection};

/// The basis of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Basis {
    /// The trading days of a year.
    pub days_per_year: f64,
    /// The annual risk-free rate; the daily one is `(1 + rate)^(1 / days_per_year) - 1`.
    pub risk_free: f64,
    /// The delta degrees of freedom of standard deviations, 0 or 1. The downside deviation of the Sortino ratio always uses 0.
    pub ddof: u32,
}

impl Default for Basis {
    /// 244 trading days, a rate of 0, and `ddof` 1.
    fn default() -> Self {
        Self {
            days_per_year: 244.0,
            risk_free: 0.0,
            ddof: 1,
        }
    }
}

impl Basis {
    /// Returns an error when a number is out of bounds.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when the days of a year are not positive, the rate is not above -1, or `ddof` is above 1.
    pub fn validate(&self) -> Result<(), BacktestError> {
        let refuse = |field: &str, rule: &str, got: f64| {
            Err(BacktestError::rule_got(
                format!("basis: {field}"),
                rule,
                got,
            ))
        };
        if !(self.days_per_year > 0.0 && self.days_per_year.is_finite()) {
            return refuse("days_per_year", "must be positive", self.days_per_year);
        }
        if !(self.risk_free > -1.0 && self.risk_free.is_finite()) {
            return refuse("risk_free", "must be above -1", self.risk_free);
        }
        if self.ddof > 1 {
            return refuse("ddof", "must be 0 or 1", self.ddof.into());
        }
        Ok(())
    }

    /// Returns the risk-free rate of one day.
    #[must_use]
    pub fn daily_rate(&self) -> f64 {
        (1.0 + self.risk_free).powf(1.0 / self.days_per_year) - 1.0
    }
}

/// The metrics of round trips. Open trips are valued at the last close.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trades {
    /// The number of round trips.
    pub count: usize,
    /// The number of open ones.
    pub open: usize,
    /// The part of gains among all trips with a gain or a loss.
    pub win_rate: Option<f64>,
    /// The sum of all gains divided by the sum of all losses, in money.
    pub profit_factor: Option<f64>,
    /// The mean gain relative to the cost.
    pub average: Option<f64>,
    /// The mean gain in cents.
    pub average_cents: Option<f64>,
}

impl Trades {
    /// Computes the metrics of round trips.
    #[must_use]
    pub fn of(trips: &[Trip]) -> Self {
        let gains: Vec<f64> = trips.iter().map(|trip| trip.gain_cents() as f64).collect();
        let ratios: Vec<f64> = trips.iter().map(Trip::gain).collect();
        Self {
            count: trips.len(),
            open: trips.iter().filter(|trip| trip.open).count(),
            win_rate: win_rate(&gains),
            profit_factor: profit_factor(&gains),
            average: mean(ratios.iter().copied()),
            average_cents: mean(gains.iter().copied()),
        }
    }
}

/// All metrics of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// The basis of the metrics.
    pub basis: Basis,
    /// The number of trading days.
    pub days: usize,
    /// The equity curve.
    pub curve: Curve,
    /// The equity curve compared with a benchmark.
    #[serde(rename = "against")]
    pub benchmark: Option<BenchmarkMetrics>,
    /// Round trips.
    pub trades: Trades,
    /// Half of the annual amount bought and sold, divided by the mean equity.
    pub turnover: Option<f64>,
    /// The mean part of the equity in shares.
    pub exposure: Option<f64>,
    /// The part of the days, or of shorter bars, that ended with a position.
    pub days_in_market: Option<f64>,
    /// All fees divided by the amount bought and sold.
    pub cost_share: Option<f64>,
    /// All fees in cents.
    pub fees_cents: i64,
    /// The correlations of scores with the returns that followed.
    pub scores: Option<Correlations>,
}

impl Metrics {
    /// Computes all metrics of a run that started with `cash_cents`.
    ///
    /// `benchmark` has one return for each day of the ledger; `scores` are those of [`Correlations::of`], or empty.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when the basis is invalid, the account was empty at some close, or the benchmark has a different
    /// number of days.
    pub fn of(
        ledger: &Ledger,
        cash_cents: i64,
        benchmark: Option<&[f64]>,
        scores: &[CrossSection],
        basis: Basis,
    ) -> Result<Self, BacktestError> {
        basis.validate()?;
        let returns = daily_returns(ledger, cash_cents)?;
        let benchmark = match benchmark {
            Some(benchmark) => Some(BenchmarkMetrics::of(&returns, benchmark, &basis)?),
            None => None,
        };
        let days = &ledger.daily();
        let equity: Vec<f64> = days.iter().map(|day| day.equity_cents() as f64).collect();
        // Exposure counts all closes, including those within a day.
        let parts: Vec<f64> = ledger
            .days
            .iter()
            .map(|row| row.holdings_cents as f64 / row.equity_cents() as f64)
            .collect();
        let within: Vec<f64> = ledger
            .days
            .iter()
            .map(|day| f64::from(u8::from(day.positions > 0)))
            .collect();
        let traded: f64 = days
            .iter()
            .map(|day| day.bought_cents as f64 + day.sold_cents as f64)
            .sum();
        // Sums of checked amounts of one account.
        let fees_cents: i64 = days.iter().map(|day| day.fees_cents).sum();
        let years = days.len() as f64 / basis.days_per_year;
        Ok(Self {
            basis,
            days: days.len(),
            curve: Curve::of(&returns, &basis),
            benchmark,
            trades: Trades::of(&ledger.trips),
            turnover: mean(equity).map(|mean| traded / 2.0 / mean / years),
            exposure: mean(parts),
            days_in_market: mean(within),
            cost_share: (traded > 0.0).then(|| fees_cents as f64 / traded),
            fees_cents,
            scores: Correlations::of(scores, &basis),
        })
    }
}

/// Returns the return of each day of a ledger, the first one relative to the initial cash.
///
/// # Errors
/// As [`returns_of`].
pub(crate) fn daily_returns(ledger: &Ledger, cash_cents: i64) -> Result<Vec<f64>, BacktestError> {
    returns_of(&ledger.daily(), cash_cents)
}

/// Returns the return of each row of an account, the first one relative to the initial cash.
///
/// # Errors
/// [`BacktestError::Rule`] when the account was empty at some close, since the next return is then undefined.
pub fn returns_of(rows: &[DayAccount], cash_cents: i64) -> Result<Vec<f64>, BacktestError> {
    let mut before = cash_cents;
    rows.iter()
        .map(|day| {
            if before <= 0 {
                let place = format!("account before {}", day.date);
                return Err(BacktestError::rule_got(place, "must not be empty", before));
            }
            let equity = day.equity_cents();
            let day_return = equity as f64 / before as f64 - 1.0;
            before = equity;
            Ok(day_return)
        })
        .collect()
}

/// Returns the part of positive values among all non-zero ones, or `None` if all are zero.
#[must_use]
pub fn win_rate(gains: &[f64]) -> Option<f64> {
    let wins = gains.iter().filter(|gain| **gain > 0.0).count();
    let all = gains.iter().filter(|gain| **gain != 0.0).count();
    (all > 0).then(|| wins as f64 / all as f64)
}

/// Returns the sum of all gains divided by the sum of all losses, or `None` without a loss.
#[must_use]
pub fn profit_factor(gains: &[f64]) -> Option<f64> {
    let won: f64 = gains.iter().filter(|gain| **gain > 0.0).sum();
    let lost: f64 = gains.iter().filter(|gain| **gain < 0.0).sum();
    (lost < 0.0).then(|| won / -lost)
}
