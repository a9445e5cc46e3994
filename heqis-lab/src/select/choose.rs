//! The best trial, by validation spans alone.

use heqis_backtest::metrics::{Basis, Curve};
use heqis_quant::SignalMode;
use heqis_quant::stats::variance;

use super::deflated::{Moments, expected_best};
use super::evaluator::Run;

/// One trial with its runs on the validation spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Name of the candidate.
    pub candidate: String,
    /// The signal mode.
    pub mode: SignalMode,
    /// One run for each fold.
    pub folds: Vec<Run>,
    /// [`score`] of the folds' annual Sharpe ratios.
    pub score: f64,
    /// The curve of all folds joined, in the order of time.
    pub joined: Curve,
    /// What the deflated Sharpe ratio needs of the joined returns; `None` when they do not vary.
    pub shape: Option<Moments>,
}

impl Trial {
    /// Evaluates the runs of a trial.
    #[must_use]
    pub fn of(candidate: &str, mode: SignalMode, folds: Vec<Run>, basis: &Basis) -> Self {
        let sharpes: Vec<f64> = folds
            .iter()
            // An account without trades has no return and no risk.
            .map(|run| run.metrics.curve.sharpe.unwrap_or(0.0))
            .collect();
        let joined: Vec<f64> = folds.iter().flat_map(|run| run.returns.clone()).collect();
        Self {
            candidate: candidate.to_owned(),
            mode,
            score: score(&sharpes),
            joined: Curve::of(&joined, basis),
            shape: Moments::of(&joined, basis.daily_rate()),
            folds,
        }
    }

    /// Returns the name of the trial in tables, such as `g1_both`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}_{}", self.candidate, self.mode.name())
    }
}

/// Returns the score of a trial: the mean of the folds' Sharpe ratios less its standard error, so that of two trials with
/// the same mean the steadier one is better. With one fold it is that fold's ratio; without folds it is 0.
#[must_use]
pub fn score(sharpes: &[f64]) -> f64 {
    if sharpes.is_empty() {
        return 0.0;
    }
    let count = sharpes.len() as f64;
    let mean = sharpes.iter().sum::<f64>() / count;
    mean - (variance(sharpes, 1).unwrap_or(0.0) / count).sqrt()
}

/// Returns the index of the best trial: that with the highest score, and on a tie the first, which is the simplest when
/// trials are ordered by simplicity. `None` when there are no trials.
#[must_use]
pub fn best(trials: &[Trial]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (place, trial) in trials.iter().enumerate() {
        if best.is_none_or(|best| trial.score > trials[best].score) {
            best = Some(place);
        }
    }
    best
}

/// The chosen trial's Sharpe ratio, deflated for the choice among many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deflation {
    /// Number of trials: those of this run and earlier ones.
    pub trials: usize,
    /// The annual Sharpe ratio that the best of this number of worthless trials is expected to show.
    pub expected_best: Option<f64>,
    /// The deflated Sharpe ratio, a probability.
    pub deflated: Option<f64>,
}

/// Deflates the Sharpe ratio of `trials[chosen]` on all validation days. Trials whose account did not move count with a
/// ratio of 0.
#[must_use]
pub fn deflate(trials: &[Trial], chosen: usize, earlier: usize, basis: &Basis) -> Deflation {
    let sharpes: Vec<f64> = trials
        .iter()
        .map(|trial| trial.shape.map_or(0.0, |shape| shape.sharpe))
        .collect();
    let (all, spread) = (trials.len() + earlier, variance(&sharpes, 1).unwrap_or(0.0));
    Deflation {
        trials: all,
        expected_best: expected_best(all, spread).map(|best| best * basis.days_per_year.sqrt()),
        deflated: trials
            .get(chosen)
            .and_then(|trial| trial.shape?.deflated(all, spread)),
    }
}
