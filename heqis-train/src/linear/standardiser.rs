//! Standardisation of inputs within a fit, so that a penalty has the same effect on every input; folded into the weights after.

use crate::linear::linalg::column_means;

/// Mean and standard deviation of each input on the training rows.
#[derive(Clone, Debug)]
pub(crate) struct Standardiser {
    means: Vec<f64>,
    /// Reciprocal of the standard deviation; 0 for a constant input, which then has no influence.
    scales: Vec<f64>,
}

impl Standardiser {
    pub(crate) fn fit(rows: &[Vec<f64>]) -> Self {
        let columns = rows.first().map_or(0, Vec::len);
        let means = column_means(rows, columns);
        let mut squares = vec![0.0; columns];
        for row in rows {
            for ((square, value), mean) in squares.iter_mut().zip(row).zip(&means) {
                *square += (value - mean) * (value - mean);
            }
        }
        let count = rows.len().max(1) as f64;
        let scales = squares
            .iter()
            .map(|square| {
                let deviation = (square / count).sqrt();
                if deviation > 1e-12 {
                    1.0 / deviation
                } else {
                    0.0
                }
            })
            .collect();
        Standardiser { means, scales }
    }

    pub(crate) fn apply(&self, row: &[f64]) -> Vec<f64> {
        row.iter()
            .zip(&self.means)
            .zip(&self.scales)
            .map(|((value, mean), scale)| (value - mean) * scale)
            .collect()
    }

    /// Converts weights and bias for standardised inputs into those for the inputs themselves.
    pub(crate) fn fold(&self, weights: &[f64], bias: f64) -> (Vec<f64>, f64) {
        let folded: Vec<f64> = weights
            .iter()
            .zip(&self.scales)
            .map(|(weight, scale)| weight * scale)
            .collect();
        let shift = folded
            .iter()
            .zip(&self.means)
            .fold(0.0, |sum, (weight, mean)| sum + weight * mean);
        (folded, bias - shift)
    }
}
