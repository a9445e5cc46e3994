//! Principal components: the baseline's latent factors.

use crate::linear::linalg::{column_means, covariance, dot, symmetric_eigen};

/// A linear map from a flattened window to whitened principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Mean of each input on the rows fitted.
    pub means: Vec<f64>,
    /// Variance of each component before whitening, falling.
    pub variances: Vec<f64>,
    /// Sum of the variances of all components, kept or not.
    pub total_variance: f64,
    /// One row of weights per component, already divided by the component's standard deviation.
    pub weights: Vec<Vec<f64>>,
    /// One constant per component, which centres it.
    pub bias: Vec<f64>,
}

impl Pca {
    /// Fits the leading components of some rows.
    ///
    /// Components are scaled to unit variance on these rows, so that the inputs of later models have equal scales; a component
    /// without variance is all zeros. With fewer inputs than `components`, all are kept.
    pub fn fit(rows: &[Vec<f64>], components: usize) -> Pca {
        let columns = rows.first().map_or(0, Vec::len);
        let means = column_means(rows, columns);
        let (mut variances, vectors) = symmetric_eigen(&covariance(rows, &means));
        let total_variance: f64 = variances.iter().sum();
        variances.truncate(components);
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for (k, &variance) in variances.iter().enumerate() {
            // Relative to the total, so that the rounding error of a zero eigenvalue is not scaled to unit variance.
            let scale = if variance > 1e-12 * total_variance {
                1.0 / variance.sqrt()
            } else {
                0.0
            };
            let scaled: Vec<f64> = vectors.row(k).iter().map(|weight| weight * scale).collect();
            bias.push(-dot(&scaled, &means));
            weights.push(scaled);
        }
        Pca {
            means,
            variances,
            total_variance,
            weights,
            bias,
        }
    }

    /// Returns the components of one row.
    pub(crate) fn transform(&self, row: &[f64]) -> Vec<f64> {
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(weights, bias)| bias + dot(weights, row))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points near the line (3, 4)/5 through (10, 20), with an independent third input of little variance.
    fn rows() -> Vec<Vec<f64>> {
        (0..200)
            .map(|i| {
                let along = f64::from(i * 37 % 101) - 50.0;
                let small = f64::from(i * 53 % 97) / 97.0 - 0.5;
                vec![10.0 + 0.6 * along, 20.0 + 0.8 * along, small]
            })
            .collect()
    }

    #[test]
    fn the_first_component_lies_along_the_line() {
        let pca = Pca::fit(&rows(), 2);
        let ratio = pca.weights[0][1] / pca.weights[0][0];
        assert!((ratio - 4.0 / 3.0).abs() < 1e-3, "{ratio}");
        assert!(pca.variances[0] / pca.total_variance > 0.999);
    }

    #[test]
    fn components_have_zero_mean_unit_variance_and_no_correlation() {
        let pca = Pca::fit(&rows(), 2);
        let components: Vec<Vec<f64>> = rows().iter().map(|row| pca.transform(row)).collect();
        let means = column_means(&components, 2);
        let covariance = covariance(&components, &means);
        assert!(means.iter().all(|mean| mean.abs() < 1e-9), "{means:?}");
        for (place, expected) in [((0, 0), 1.0), ((1, 1), 1.0), ((0, 1), 0.0)] {
            assert!((covariance[place] - expected).abs() < 1e-9, "{place:?}");
        }
    }

    #[test]
    fn a_component_without_variance_is_zero() {
        let pca = Pca::fit(&rows(), 3);
        assert_eq!(pca.weights[2], [0.0; 3]);
        assert_eq!(pca.bias[2], 0.0);
    }
}
