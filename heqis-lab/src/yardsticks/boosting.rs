//! Gradient-boosted regression trees: exact greedy splits on squared error, by `smartcore`.

use serde::Serialize;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::xgboost::{XGRegressor, XGRegressorParameters};

use crate::error::LabError;

/// Settings of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BoostingOptions {
    /// Number of trees.
    pub trees: usize,
    /// Splits from the root to a leaf, at most.
    pub depth: u16,
    /// Share of each tree's answer that is added.
    pub learning_rate: f64,
    /// Fewest items in a leaf.
    pub least_leaf: usize,
}

/// Fitted trees. They answer in the order of `fit`'s columns.
#[derive(Debug)]
pub struct Boosting {
    model: XGRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>,
    /// What a target was divided by.
    unit: f64,
}

impl Boosting {
    /// Fits trees to the residuals of the mean, without subsampling, so that nothing is drawn by chance.
    ///
    /// `rows` is `[items][inputs]`.
    ///
    /// # Errors
    ///
    /// [`LabError::Yardstick`] when there are fewer than two items, the lengths differ, a value is not finite, or an
    /// option is zero.
    pub fn fit(
        rows: &[Vec<f64>],
        targets: &[f64],
        options: BoostingOptions,
    ) -> Result<Boosting, LabError> {
        let refuse = |rule: String| Err(LabError::Yardstick(format!("gradient boosting: {rule}")));
        if rows.len() != targets.len() || rows.len() < 2 {
            return refuse(format!(
                "needs two items or more with a target each, got {} and {} targets",
                rows.len(),
                targets.len()
            ));
        }
        if let Some(value) = targets.iter().find(|value| !value.is_finite()) {
            return refuse(format!("every target must be finite, got {value}"));
        }
        let sound = options.learning_rate.is_finite() && options.learning_rate > 0.0;
        if options.trees == 0 || options.depth == 0 || options.least_leaf == 0 || !sound {
            return refuse(format!("options must be above zero, got {options:?}"));
        }
        let mean = targets.iter().sum::<f64>() / targets.len() as f64;
        // Returns are small, and a split that gains less than rounding would be taken for none.
        let unit = targets
            .iter()
            .map(|target| (target - mean).abs())
            .fold(0.0, f64::max);
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let scaled: Vec<f64> = targets.iter().map(|target| target / unit).collect();
        let parameters = XGRegressorParameters::default()
            .with_n_estimators(options.trees)
            .with_max_depth(options.depth)
            .with_learning_rate(options.learning_rate)
            .with_min_child_weight(options.least_leaf)
            .with_lambda(0.0)
            .with_gamma(0.0)
            .with_base_score(mean / unit)
            .with_subsample(1.0);
        let model = XGRegressor::fit(&matrix(rows)?, &scaled, parameters)
            .map_err(|error| LabError::Yardstick(format!("gradient boosting: {error}")))?;
        Ok(Boosting { model, unit })
    }

    /// Returns the answer for each row.
    ///
    /// # Errors
    ///
    /// [`LabError::Yardstick`] when the rows are of another width than those of the fit, or hold a value that is not finite.
    pub fn predict(&self, rows: &[Vec<f64>]) -> Result<Vec<f64>, LabError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self
            .model
            .predict(&matrix(rows)?)
            .map_err(|error| LabError::Yardstick(format!("gradient boosting: {error}")))?;
        Ok(answers
            .into_iter()
            .map(|answer| answer * self.unit)
            .collect())
    }
}

fn matrix(rows: &[Vec<f64>]) -> Result<DenseMatrix<f64>, LabError> {
    // The trees compare values in a way that has no answer for one that is no number.
    let value = rows.iter().flatten().find(|value| !value.is_finite());
    if let Some(value) = value {
        let rule = format!("gradient boosting: every input must be finite, got {value}");
        return Err(LabError::Yardstick(rule));
    }
    let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    DenseMatrix::from_2d_array(&rows)
        .map_err(|error| LabError::Yardstick(format!("gradient boosting: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OPTIONS: BoostingOptions = BoostingOptions {
        trees: 50,
        depth: 2,
        learning_rate: 0.3,
        least_leaf: 2,
    };

    /// A step in the first input that depends on the second: no line can follow it, trees of depth two can.
    fn steps() -> (Vec<Vec<f64>>, Vec<f64>) {
        (0..200)
            .map(|i| {
                let (a, b) = (f64::from(i % 20), f64::from(i % 7));
                let target = if (a > 9.5) == (b > 2.5) { 0.01 } else { -0.01 };
                (vec![a, b], target + 0.0005 * f64::from(i % 3))
            })
            .unzip()
    }

    #[test]
    fn what_no_line_can_follow_is_learnt() {
        let (rows, targets) = steps();
        let boosting = Boosting::fit(&rows, &targets, OPTIONS).unwrap();
        let answers = boosting.predict(&rows).unwrap();
        let worst = answers.iter().zip(&targets).map(|(a, t)| (a - t).abs());
        assert!(worst.fold(0.0, f64::max) < 0.002);
    }

    #[test]
    fn the_same_data_give_the_same_bits() {
        let (rows, targets) = steps();
        let answers = || {
            let boosting = Boosting::fit(&rows, &targets, OPTIONS).unwrap();
            boosting.predict(&rows).unwrap()
        };
        let bits =
            |answers: Vec<f64>| -> Vec<u64> { answers.into_iter().map(f64::to_bits).collect() };
        assert_eq!(bits(answers()), bits(answers()));
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let (mut rows, targets) = steps();
        let zero = BoostingOptions {
            trees: 0,
            ..OPTIONS
        };
        assert!(Boosting::fit(&rows, &targets, zero).is_err());
        assert!(Boosting::fit(&rows[..3], &targets, OPTIONS).is_err());
        assert!(Boosting::fit(&rows[..1], &targets[..1], OPTIONS).is_err());
        rows[3][1] = f64::NAN;
        let refused = Boosting::fit(&rows, &targets, OPTIONS)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("every input must be finite, got NaN"),
            "{refused}"
        );
    }

    #[test]
    fn a_constant_target_is_answered_with_itself() {
        let (rows, _) = steps();
        let boosting = Boosting::fit(&rows, &vec![0.25; rows.len()], OPTIONS).unwrap();
        assert!(
            boosting
                .predict(&rows)
                .unwrap()
                .iter()
                .all(|answer| *answer == 0.25)
        );
    }
}
