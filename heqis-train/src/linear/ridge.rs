//! Ridge regression: the baseline's predicted return.

use crate::linear::linalg::{Matrix, dot, solve_positive};
use crate::linear::standardiser::Standardiser;

/// A linear prediction `bias + weights · row`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// One weight per input.
    pub weights: Vec<f64>,
    /// The constant.
    pub bias: f64,
}

impl Ridge {
    /// Minimises `mean((y − ŷ)²) + penalty · |w|²`, w being the weights of the standardised inputs; the constant is not
    /// penalised.
    ///
    /// Returns `None` when the normal equations are singular, which a positive penalty excludes for finite data.
    pub fn fit(rows: &[Vec<f64>], targets: &[f64], penalty: f64) -> Option<Ridge> {
        let standardiser = Standardiser::fit(rows);
        let columns = rows.first().map_or(0, Vec::len);
        let count = rows.len().max(1) as f64;
        let mean = targets.iter().sum::<f64>() / count;
        let mut normal = Matrix::zeros(columns, columns);
        let mut right = vec![0.0; columns];
        for (row, target) in rows.iter().zip(targets) {
            let row = standardiser.apply(row);
            for i in 0..columns {
                right[i] += row[i] * (target - mean) / count;
                for j in 0..columns {
                    normal[(i, j)] += row[i] * row[j] / count;
                }
            }
        }
        for i in 0..columns {
            normal[(i, i)] += penalty;
        }
        let (weights, bias) = standardiser.fold(&solve_positive(&normal, &right)?, mean);
        Some(Ridge { weights, bias })
    }

    /// Returns the prediction for one row.
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.bias + dot(&self.weights, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<f64>> {
        (0..50)
            .map(|i| vec![f64::from(i % 7), f64::from(i * i % 11) * 100.0])
            .collect()
    }

    #[test]
    fn an_exact_linear_function_is_found_with_a_negligible_penalty() {
        let targets: Vec<f64> = rows()
            .iter()
            .map(|row| 3.0 - 2.0 * row[0] + 0.01 * row[1])
            .collect();
        let ridge = Ridge::fit(&rows(), &targets, 1e-12).expect("independent inputs");
        assert!((ridge.bias - 3.0).abs() < 1e-8, "{ridge:?}");
        assert!(
            (ridge.weights[0] + 2.0).abs() < 1e-8 && (ridge.weights[1] - 0.01).abs() < 1e-8,
            "{ridge:?}"
        );
    }

    #[test]
    fn a_very_large_penalty_leaves_the_mean() {
        let targets: Vec<f64> = rows().iter().map(|row| row[0]).collect();
        let mean = targets.iter().sum::<f64>() / 50.0;
        let ridge = Ridge::fit(&rows(), &targets, 1e12).expect("a positive penalty");
        assert!((ridge.predict(&[6.0, 900.0]) - mean).abs() < 1e-9);
    }

    #[test]
    fn a_constant_input_gets_no_weight() {
        let rows: Vec<Vec<f64>> = (0..20).map(|i| vec![5.0, f64::from(i)]).collect();
        let targets: Vec<f64> = (0..20).map(f64::from).collect();
        let ridge = Ridge::fit(&rows, &targets, 1e-9).expect("a positive penalty");
        assert_eq!(ridge.weights[0], 0.0);
    }
}
