//! Gradient-boosted regression trees: exact greedy splits on squared error (Friedman, Annals of Statistics 29, 2001).
//!
//! Each tree is fitted to the residuals of the trees before it, and its prediction is added after shrinkage by the learning rate.
//! A node is split where the squared error decreases most, over all inputs and all midpoints between neighbouring values; of equal
//! gains the first input and the least midpoint is taken, so the same data give the same trees.

use serde::Serialize;

use crate::error::TrainError;

/// Settings of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BoostingOptions {
    /// Number of trees.
    pub trees: usize,
    /// Maximum number of splits from the root to a leaf.
    pub depth: usize,
    /// Shrinkage: the factor of each tree's prediction.
    pub learning_rate: f64,
    /// Minimum number of items in a leaf.
    pub least_leaf: usize,
}

/// Fitted trees.
#[derive(Clone, Debug, PartialEq)]
pub struct Boosting {
    pub(crate) inputs: usize,
    pub(crate) mean: f64,
    pub(crate) learning_rate: f64,
    pub(crate) trees: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Leaf(f64),
    Split {
        input: usize,
        /// Values up to and including it belong to the first branch.
        threshold: f64,
        branches: Box<[Node; 2]>,
    },
}

impl Node {
    fn predict(&self, row: &[f64]) -> f64 {
        match self {
            Node::Leaf(value) => *value,
            Node::Split {
                input,
                threshold,
                branches,
            } => branches[usize::from(row[*input] > *threshold)].predict(row),
        }
    }
}

impl Boosting {
    /// Fits trees to the deviations from the mean, without subsampling, so that the fit is deterministic.
    ///
    /// `rows` is `[items][inputs]`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when there are no items, the lengths differ, a value is not finite, or an option is zero.
    pub fn fit(
        rows: &[Vec<f64>],
        targets: &[f64],
        options: BoostingOptions,
    ) -> Result<Boosting, TrainError> {
        let refuse = |rule: String| {
            Err(TrainError::rule(
                "baselines",
                format!("gradient boosting: {rule}"),
            ))
        };
        if rows.is_empty() || rows.len() != targets.len() {
            return refuse(format!(
                "needs items with a target each, got {} and {} targets",
                rows.len(),
                targets.len()
            ));
        }
        let inputs = rows[0].len();
        check(rows, inputs)?;
        if let Some(value) = targets.iter().find(|value| !value.is_finite()) {
            return refuse(format!("every target must be finite, got {value}"));
        }
        let is_valid_rate = options.learning_rate.is_finite() && options.learning_rate > 0.0;
        if options.trees == 0 || options.depth == 0 || options.least_leaf == 0 || !is_valid_rate {
            return refuse(format!(
                "trees, depth, learning_rate and least_leaf must be above zero, got {}, {}, {} and {}",
                options.trees, options.depth, options.learning_rate, options.least_leaf
            ));
        }
        // The items sorted by each input: sorted once, and partitioned with the nodes.
        let orders: Vec<Vec<usize>> = (0..inputs)
            .map(|input| {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_by(|&a, &b| rows[a][input].total_cmp(&rows[b][input]));
                order
            })
            .collect();
        let mean = targets.iter().sum::<f64>() / targets.len() as f64;
        let mut residuals: Vec<f64> = targets.iter().map(|target| target - mean).collect();
        let items: Vec<usize> = (0..rows.len()).collect();
        let mut trees = Vec::with_capacity(options.trees);
        for _ in 0..options.trees {
            let builder = TreeBuilder {
                rows,
                targets: &residuals,
                least_leaf: options.least_leaf,
            };
            let tree = builder.node(&items, &orders, options.depth);
            for (row, target) in rows.iter().zip(&mut residuals) {
                *target -= options.learning_rate * tree.predict(row);
            }
            trees.push(tree);
        }
        Ok(Boosting {
            inputs,
            mean,
            learning_rate: options.learning_rate,
            trees,
        })
    }

    /// Returns the prediction for each row.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a row has another width than those of the fit, or holds a value that is not finite.
    pub fn predict(&self, rows: &[Vec<f64>]) -> Result<Vec<f64>, TrainError> {
        check(rows, self.inputs)?;
        let predict = |row: &Vec<f64>| {
            let trees = self
                .trees
                .iter()
                .map(|tree| self.learning_rate * tree.predict(row));
            trees.fold(self.mean, |sum, value| sum + value)
        };
        Ok(rows.iter().map(predict).collect())
    }
}

fn check(rows: &[Vec<f64>], inputs: usize) -> Result<(), TrainError> {
    let rule = if let Some(row) = rows.iter().find(|row| row.len() != inputs) {
        format!("every item must have {inputs} inputs, got {}", row.len())
    } else if let Some(value) = rows.iter().flatten().find(|value| !value.is_finite()) {
        format!("every input must be finite, got {value}")
    } else {
        return Ok(());
    };
    Err(TrainError::rule(
        "baselines",
        format!("gradient boosting: {rule}"),
    ))
}

/// The data common to the nodes of one tree.
struct TreeBuilder<'a> {
    rows: &'a [Vec<f64>],
    targets: &'a [f64],
    least_leaf: usize,
}

impl TreeBuilder<'_> {
    /// Builds a node over `items`; `orders` are the same items sorted by each input.
    fn node(&self, items: &[usize], orders: &[Vec<usize>], depth: usize) -> Node {
        let sum: f64 = items.iter().map(|&item| self.targets[item]).sum();
        let leaf = Node::Leaf(sum / items.len() as f64);
        if depth == 0 {
            return leaf;
        }
        let Some((input, threshold)) = self.split(orders, sum) else {
            return leaf;
        };
        let branch = |side: bool| {
            let belongs = |&&item: &&usize| (self.rows[item][input] > threshold) == side;
            let part = |order: &[usize]| order.iter().filter(belongs).copied().collect::<Vec<_>>();
            let orders: Vec<Vec<usize>> = orders.iter().map(|order| part(order)).collect();
            self.node(&part(items), &orders, depth - 1)
        };
        Node::Split {
            input,
            threshold,
            branches: Box::new([branch(false), branch(true)]),
        }
    }

    /// Returns input and threshold of the best split, or `None` if no split decreases the squared error.
    fn split(&self, orders: &[Vec<usize>], sum: f64) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        let count = orders.first()?.len() as f64;
        // The squared error of a leaf is a constant minus sum²/count, so a split must exceed this value.
        let mut best_score = sum * sum / count;
        for (input, order) in orders.iter().enumerate() {
            let mut first = 0.0;
            for (place, pair) in order.windows(2).enumerate() {
                first += self.targets[pair[0]];
                let (value, next) = (self.rows[pair[0]][input], self.rows[pair[1]][input]);
                let (left, right) = (place + 1, order.len() - place - 1);
                if value == next || left < self.least_leaf || right < self.least_leaf {
                    continue;
                }
                let second = sum - first;
                let score = first * first / left as f64 + second * second / right as f64;
                if score > best_score {
                    best_score = score;
                    // Of adjacent floating-point numbers the midpoint may round to the upper one.
                    let middle = value / 2.0 + next / 2.0;
                    best = Some((input, if middle < next { middle } else { value }));
                }
            }
        }
        best
    }
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

    /// A step in the first input whose sign depends on the second: neither linear nor a sum of functions of one input.
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
    fn a_tree_of_one_split_matches_the_one_computed_by_hand() {
        // Means 1 and 4 on either side of 2.5; any other split of these leaves more squared error.
        let rows: Vec<Vec<f64>> = [1.0, 2.0, 3.0, 4.0].map(|x| vec![x]).to_vec();
        let options = BoostingOptions {
            trees: 1,
            depth: 1,
            learning_rate: 1.0,
            least_leaf: 1,
        };
        let tree = Boosting::fit(&rows, &[0.5, 1.5, 4.25, 3.75], options).unwrap();
        let near = vec![vec![2.5], vec![2.5000001], vec![-9.0]];
        assert_eq!(tree.predict(&near).unwrap(), [1.0, 4.0, 1.0]);
        // Four items cannot be split with three in each leaf.
        let options = BoostingOptions {
            least_leaf: 3,
            ..options
        };
        let leaf = Boosting::fit(&rows, &[0.5, 1.5, 4.25, 3.75], options).unwrap();
        assert_eq!(leaf.predict(&near).unwrap(), [2.5; 3]);
    }

    #[test]
    fn an_interaction_of_inputs_is_learnt() {
        let (rows, targets) = steps();
        let worst = |depth: usize| {
            let options = BoostingOptions { depth, ..OPTIONS };
            let boosting = Boosting::fit(&rows, &targets, options).unwrap();
            let predictions = boosting.predict(&rows).unwrap();
            let errors = predictions.iter().zip(&targets).map(|(a, t)| (a - t).abs());
            errors.fold(0.0, f64::max)
        };
        assert!(
            worst(4) < 0.002 && worst(1) > 0.008,
            "{} {}",
            worst(4),
            worst(1)
        );
    }

    #[test]
    fn invalid_data_and_options_are_refused() {
        let (mut rows, targets) = steps();
        let zero = BoostingOptions {
            trees: 0,
            ..OPTIONS
        };
        assert!(Boosting::fit(&rows, &targets, zero).is_err());
        assert!(Boosting::fit(&rows[..3], &targets, OPTIONS).is_err());
        assert!(Boosting::fit(&[], &[], OPTIONS).is_err());
        let boosting = Boosting::fit(&rows, &targets, OPTIONS).unwrap();
        assert!(boosting.predict(&[vec![1.0]]).is_err());
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
    fn a_constant_target_is_predicted_exactly() {
        let (rows, _) = steps();
        let boosting = Boosting::fit(&rows, &vec![0.25; rows.len()], OPTIONS).unwrap();
        let predictions = boosting.predict(&rows).unwrap();
        assert!(predictions.iter().all(|value| *value == 0.25));
    }
}
