//! The deflated Sharpe ratio: significance of a Sharpe ratio that is the best of many.
//!
//! Bailey and López de Prado, *The deflated Sharpe ratio: correcting for selection bias, backtest overfitting and
//! non-normality*, Journal of Portfolio Management 40 (5), 2014. All Sharpe ratios here are of one period, not of a year.

use serde::Serialize;

/// Euler's and Mascheroni's constant.
const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;

/// The moments of a series of returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moments {
    /// Number of returns.
    pub count: usize,
    /// Mean over standard deviation (ddof 1) of the returns of one period.
    pub sharpe: f64,
    /// Third standardised moment (ddof 0).
    pub skewness: f64,
    /// Fourth standardised moment (ddof 0), 3 for the normal distribution.
    pub kurtosis: f64,
}

impl Moments {
    /// Measures returns, from each of which `risk_free`, the rate of one period, is taken. Returns `None` for fewer than
    /// three returns, for values that are not finite, and for returns that do not vary.
    #[must_use]
    pub fn of(returns: &[f64], risk_free: f64) -> Option<Self> {
        let count = returns.len();
        if count < 3 {
            return None;
        }
        let n = count as f64;
        let mean = returns.iter().map(|value| value - risk_free).sum::<f64>() / n;
        let moment = |power: i32| {
            let powers = returns
                .iter()
                .map(|value| (value - risk_free - mean).powi(power));
            powers.sum::<f64>() / n
        };
        let deviation = moment(2).sqrt();
        // Rounding errors of equal returns must not count as variation.
        let scale = returns
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        if !deviation.is_finite() || deviation <= scale * 1e-14 {
            return None;
        }
        Some(Self {
            count,
            sharpe: mean / (deviation * (n / (n - 1.0)).sqrt()),
            skewness: moment(3) / deviation.powi(3),
            kurtosis: moment(4) / deviation.powi(4),
        })
    }

    /// Returns the probability that the true Sharpe ratio lies above a benchmark, both of one period (the probabilistic
    /// Sharpe ratio, equation 2 of the source), or `None` where the estimate has no finite error.
    #[must_use]
    pub fn probability_above(&self, benchmark: f64) -> Option<f64> {
        let Self {
            count,
            sharpe,
            skewness,
            kurtosis,
        } = *self;
        let variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
        let score = (sharpe - benchmark) * (count as f64 - 1.0).sqrt() / variance.sqrt();
        (variance > 0.0 && score.is_finite()).then(|| normal_below(score))
    }

    /// Returns the deflated Sharpe ratio: the probability that the true Sharpe ratio lies above what the best of
    /// `trials` worthless strategies would show. `trial_variance` is the variance of the trials' Sharpe ratios of one
    /// period.
    #[must_use]
    pub fn deflated(&self, trials: usize, trial_variance: f64) -> Option<f64> {
        self.probability_above(expected_best(trials, trial_variance)?)
    }
}

/// Returns the Sharpe ratio of one period that the best of `trials` worthless strategies is expected to show
/// (equation 1 of the source): 0 for one trial, `None` for no trial or a variance that is negative or not finite.
#[must_use]
pub(crate) fn expected_best(trials: usize, trial_variance: f64) -> Option<f64> {
    if trials == 0 || !trial_variance.is_finite() || trial_variance < 0.0 {
        return None;
    }
    if trials == 1 {
        return Some(0.0);
    }
    let n = trials as f64;
    let first = normal_quantile(1.0 - 1.0 / n)?;
    let second = normal_quantile(1.0 - 1.0 / (n * std::f64::consts::E))?;
    let units = (1.0 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second;
    Some(trial_variance.sqrt() * units)
}

/// Returns the probability that a standard normal value lies below `x`.
#[must_use]
pub(crate) fn normal_below(x: f64) -> f64 {
    // Mills' ratio of the tail as a continued fraction (Laplace), and near the middle the power series of Φ(x) − ½; both
    // are exact to the last digits in their range.
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term.abs() > sum.abs() * 1e-17 {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    let far = x.abs();
    let fraction = (1..=80)
        .rev()
        .fold(far, |below, k| far + f64::from(k) / below);
    let tail = density / fraction;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Returns the value below which a standard normal value lies with probability `p`, or `None` outside `0 < p < 1`.
#[must_use]
pub(crate) fn normal_quantile(p: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0) {
        return None;
    }
    if p < 0.5 {
        return Some(-upper_quantile(p));
    }
    Some(upper_quantile(1.0 - p))
}

/// Returns the value above which a standard normal value lies with probability `tail`, at most ½.
fn upper_quantile(tail: f64) -> f64 {
    // Newton's steps from 0 never pass the root on the convex side.
    let mut x = 0.0_f64;
    for _ in 0..200 {
        let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let step = (normal_below(-x) - tail) / density;
        x += step;
        if step.abs() <= x.abs() * 1e-15 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Equal within the precision of CPython's `math.erfc` and `statistics.NormalDist`.
    fn assert_near(got: f64, expected: f64, relative: f64) {
        assert!(
            (got - expected).abs() <= expected.abs() * relative,
            "{got} instead of {expected}"
        );
    }

    #[test]
    fn the_normal_distribution_agrees_with_cpython() {
        // 0.5 * math.erfc(-x / math.sqrt(2)), CPython 3.
        for (x, expected) in [
            (-8.0, 6.220_960_574_271_819e-16),
            (-5.0, 2.866_515_718_791_946e-7),
            (-3.5, 0.000_232_629_079_035_525_04),
            (-3.0, 0.001_349_898_031_630_095_7),
            (-2.9, 0.001_865_813_300_384_038_4),
            (-0.5, 0.308_537_538_725_986_9),
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (2.999, 0.998_645_663_466_272_9),
            (3.001, 0.998_654_527_174_915),
            (6.0, 0.999_999_999_013_412_3),
        ] {
            assert_near(normal_below(x), expected, 1e-13);
        }
        // statistics.NormalDist().inv_cdf(p), CPython 3.
        for (p, expected) in [
            (1e-12, -7.034_483_825_301_132),
            (1e-6, -4.753_424_308_822_899),
            (0.01, -2.326_347_874_040_840_8),
            (0.3, -0.524_400_512_708_040_7),
            (0.5, 0.0),
            (0.9, 1.281_551_565_544_600_8),
            (0.999, 3.090_232_306_167_813),
        ] {
            assert_near(normal_quantile(p).unwrap(), expected, 1e-12);
        }
        for p in [0.0, 1.0, -0.1, f64::NAN] {
            assert_eq!(normal_quantile(p), None);
        }
    }

    /// The example of the source: five years of daily returns, an annual ratio of 2.5 at 250 days a year, the best of 100
    /// trials whose annual ratios have a variance of ½.
    const EXAMPLE: Moments = Moments {
        count: 1250,
        sharpe: 0.158_113_883_008_418_98,
        skewness: -3.0,
        kurtosis: 10.0,
    };

    #[test]
    fn the_example_of_the_source_is_reproduced() {
        let variance = 0.5 / 250.0;
        let best = expected_best(100, variance).unwrap();
        assert_eq!(format!("{best:.4}"), "0.1132");
        let deflated = EXAMPLE.deflated(100, variance).unwrap();
        assert_eq!(format!("{deflated:.4}"), "0.9004");
        // With 46 trials it passes at 95 %.
        let fewer = EXAMPLE.deflated(46, variance).unwrap();
        assert_eq!(format!("{fewer:.4}"), "0.9505");
        // With normal returns it passes with 88 trials.
        let normal = Moments {
            skewness: 0.0,
            kurtosis: 3.0,
            ..EXAMPLE
        };
        let passes = normal.deflated(88, variance).unwrap();
        assert_eq!(format!("{passes:.4}"), "0.9505");
    }

    #[test]
    fn more_digits_agree_with_an_independent_computation() {
        // Computed with CPython's statistics.NormalDist from the formulas.
        assert_near(
            expected_best(100, 1.0 / 500.0).unwrap(),
            0.113_172_001_865_132_14,
            1e-11,
        );
        assert_near(
            EXAMPLE.deflated(100, 1.0 / 500.0).unwrap(),
            0.900_396_834_449_390_4,
            1e-11,
        );
        assert_near(
            EXAMPLE.deflated(46, 1.0 / 500.0).unwrap(),
            0.950_501_706_875_578_6,
            1e-11,
        );
    }

    #[test]
    fn one_trial_needs_no_deflation_and_more_trials_need_more() {
        assert_eq!(expected_best(1, 0.1), Some(0.0));
        assert_eq!(expected_best(0, 0.1), None);
        assert_eq!(expected_best(2, f64::NAN), None);
        assert_eq!(EXAMPLE.deflated(1, 0.1), EXAMPLE.probability_above(0.0));
        let deflated: Vec<f64> = [1, 2, 10, 100, 10_000]
            .into_iter()
            .map(|trials| EXAMPLE.deflated(trials, 1e-3).unwrap())
            .collect();
        assert!(
            deflated.windows(2).all(|pair| pair[1] < pair[0]),
            "{deflated:?}"
        );
    }

    #[test]
    fn moments_equal_those_computed_by_hand() {
        // Mean 2, deviations -2 -1 0 3, second moment 14/4, third 18/4, fourth 98/4.
        let shape = Moments::of(&[0.0, 1.0, 2.0, 5.0], 0.0).unwrap();
        let second = 3.5_f64;
        assert_near(shape.sharpe, 2.0 / (14.0_f64 / 3.0).sqrt(), 1e-14);
        assert_near(shape.skewness, 4.5 / second.powf(1.5), 1e-14);
        assert_near(shape.kurtosis, 24.5 / (second * second), 1e-14);
        assert_near(
            Moments::of(&[0.0, 1.0, 2.0, 5.0], 2.0).unwrap().kurtosis,
            shape.kurtosis,
            1e-14,
        );
        assert_eq!(Moments::of(&[0.0, 1.0, 2.0, 5.0], 2.0).unwrap().sharpe, 0.0);
        assert_eq!(Moments::of(&[0.1; 100], 0.0), None, "no variation");
        assert_eq!(Moments::of(&[0.1, 0.2], 0.0), None);
        assert_eq!(Moments::of(&[0.1, f64::NAN, 0.2], 0.0), None);
    }
}
