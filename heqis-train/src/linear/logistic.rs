//! Multinomial logistic regression: the baseline's class probabilities.

use crate::linear::linalg::{Matrix, dot, exp, solve_positive};
use crate::linear::standardiser::Standardiser;

/// Number of Newton steps. On weakly informative data convergence is quadratic, so the last steps change only the rounding.
const STEPS: usize = 10;

/// Penalty of the constants: just enough to make the solution unique, since softmax is invariant to a common shift.
const BIAS_PENALTY: f64 = 1e-6;

/// Softmax of one linear score per class.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    /// One row of weights per class.
    pub weights: Vec<Vec<f64>>,
    /// One constant per class.
    pub bias: Vec<f64>,
}

impl Logistic {
    /// Minimises `mean(−ln p(class)) + penalty / 2 · |W|²`, W being the weights of the standardised inputs, by Newton's
    /// method from zero.
    ///
    /// `classes` holds a class in `0..count` per row. Returns `None` when a Newton system is not positive definite,
    /// which a positive penalty excludes for finite data.
    pub fn fit(
        rows: &[Vec<f64>],
        classes: &[usize],
        count: usize,
        penalty: f64,
    ) -> Option<Logistic> {
        let standardiser = Standardiser::fit(rows);
        // The constant is a last input of 1.
        let rows: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| {
                let mut row = standardiser.apply(row);
                row.push(1.0);
                row
            })
            .collect();
        let width = rows.first().map_or(1, Vec::len);
        let mut theta = vec![0.0; count * width];
        for _ in 0..STEPS {
            let (gradient, hessian) = derivatives(&rows, classes, count, penalty, &theta);
            let step = solve_positive(&hessian, &gradient)?;
            theta
                .iter_mut()
                .zip(&step)
                .for_each(|(theta, step)| *theta -= step);
        }
        let (weights, bias) = theta
            .chunks_exact(width)
            .map(|theta| standardiser.fold(&theta[..width - 1], theta[width - 1]))
            .unzip();
        Some(Logistic { weights, bias })
    }

    /// Returns the probability of each class for one row.
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        softmax(
            self.weights
                .iter()
                .zip(&self.bias)
                .map(|(weights, bias)| bias + dot(weights, row))
                .collect(),
        )
    }
}

/// Returns gradient and Hessian of the penalised loss.
fn derivatives(
    rows: &[Vec<f64>],
    classes: &[usize],
    count: usize,
    penalty: f64,
    theta: &[f64],
) -> (Vec<f64>, Matrix) {
    let width = theta.len() / count;
    let n = rows.len().max(1) as f64;
    let mut gradient = vec![0.0; theta.len()];
    let mut hessian = Matrix::zeros(theta.len(), theta.len());
    for (row, &class) in rows.iter().zip(classes) {
        let p = softmax(
            theta
                .chunks_exact(width)
                .map(|theta| dot(theta, row))
                .collect(),
        );
        for a in 0..count {
            let error = p[a] - if a == class { 1.0 } else { 0.0 };
            for (i, x) in row.iter().enumerate() {
                gradient[a * width + i] += error * x / n;
            }
            for b in 0..=a {
                let weight = (if a == b {
                    p[a] * (1.0 - p[a])
                } else {
                    -p[a] * p[b]
                }) / n;
                for (i, x) in row.iter().enumerate() {
                    let scaled = weight * x;
                    let target = &mut hessian.row_mut(a * width + i)[b * width..(b + 1) * width];
                    target
                        .iter_mut()
                        .zip(row)
                        .for_each(|(sum, y)| *sum += scaled * y);
                }
            }
        }
    }
    for k in 0..theta.len() {
        let penalty = if k % width == width - 1 {
            BIAS_PENALTY
        } else {
            penalty
        };
        gradient[k] += penalty * theta[k];
        hessian[(k, k)] += penalty;
        // Only the blocks on and below the diagonal were summed, and only those are read by the solver.
    }
    (gradient, hessian)
}

fn softmax(scores: Vec<f64>) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| exp(score - largest)).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three overlapping clusters on a line, and an uninformative input.
    fn clusters() -> (Vec<Vec<f64>>, Vec<usize>) {
        (0..300_usize)
            .map(|i| {
                let class = i % 3;
                let noise = (i * 7919 % 101) as f64 / 101.0 - 0.5;
                (
                    vec![class as f64 + 2.0 * noise, (i * 31 % 17) as f64],
                    class,
                )
            })
            .unzip()
    }

    #[test]
    fn without_information_the_probabilities_are_the_base_rates() {
        let rows = vec![vec![1.0]; 10];
        let logistic = Logistic::fit(&rows, &[0, 0, 0, 0, 0, 1, 1, 1, 2, 2], 3, 1.0)
            .expect("a positive penalty");
        for (p, rate) in logistic.predict(&[1.0]).iter().zip([0.5, 0.3, 0.2]) {
            assert!((p - rate).abs() < 1e-5, "{p} {rate}");
        }
    }

    #[test]
    fn no_neighbour_of_the_fit_has_a_lower_loss() {
        let (rows, classes) = clusters();
        let penalty = 0.01;
        let fitted = Logistic::fit(&rows, &classes, 3, penalty).expect("a positive penalty");
        let standardiser = Standardiser::fit(&rows);
        // The loss, implemented independently of the fit, with the system's logarithm.
        let loss = |model: &Logistic| {
            let entropy: f64 = rows
                .iter()
                .zip(&classes)
                .map(|(row, &class)| -model.predict(row)[class].ln())
                .sum();
            let deviations: Vec<f64> = standardiser
                .apply(&[1.0, 1.0])
                .iter()
                .zip(standardiser.apply(&[0.0, 0.0]))
                .map(|(one, zero)| 1.0 / (one - zero))
                .collect();
            let size: f64 = model
                .weights
                .iter()
                .flat_map(|w| w.iter().zip(&deviations))
                .map(|(w, d)| (w * d) * (w * d))
                .sum();
            entropy / rows.len() as f64 + penalty / 2.0 * size
        };
        let best = loss(&fitted);
        for class in 0..3 {
            for input in 0..2 {
                for step in [-1e-3, 1e-3] {
                    let mut other = fitted.clone();
                    other.weights[class][input] += step;
                    assert!(
                        loss(&other) > best,
                        "class {class}, input {input}, step {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn clusters_are_separated_in_the_right_order() {
        let (rows, classes) = clusters();
        let logistic = Logistic::fit(&rows, &classes, 3, 1e-3).expect("a positive penalty");
        let best = |row: &[f64]| {
            let p = logistic.predict(row);
            (0..3)
                .max_by(|&a, &b| p[a].total_cmp(&p[b]))
                .expect("three classes")
        };
        assert_eq!(
            [best(&[-0.5, 3.0]), best(&[1.0, 3.0]), best(&[2.5, 3.0])],
            [0, 1, 2]
        );
    }
}
