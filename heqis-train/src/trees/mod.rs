//! Boosted trees as they run on the boards: thresholds, leaves and sums in `f32`.
//!
//! - Here: the trees, computed in the same order as by the engines, so with the same bits.
//! - [`bundle`]: fitted on a pool and written as the bundle of a direction model.

use heqis_bundle::Provenance;
use heqis_infer::InferError;
use heqis_infer::onnx::{Attribute, GraphBuilder};

use crate::baselines::boosting::{Boosting, Node};
use crate::corpus::CLASSES;

pub mod bundle;

/// A node in the order of a walk that takes the first branch first; branches are places in the same tree.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FlatNode {
    Leaf(f32),
    Split {
        input: usize,
        threshold: f32,
        branches: [usize; 2],
    },
}

/// Trees in `f32`.
///
/// A threshold is rounded down: inputs are `f32`, so every input lies on the same side of it as in the fit. A leaf holds its
/// value times the learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    base: f32,
    inputs: usize,
    trees: Vec<Vec<FlatNode>>,
}

impl Trees {
    /// Rounds fitted trees.
    #[must_use]
    pub fn of(fitted: &Boosting) -> Self {
        let trees = fitted.trees.iter().map(|tree| {
            let mut nodes = Vec::new();
            flatten(tree, fitted.learning_rate, &mut nodes);
            nodes
        });
        Self {
            base: fitted.mean as f32,
            inputs: fitted.inputs,
            trees: trees.collect(),
        }
    }

    /// Returns the prediction for a row: the sum of the leaves in the order of the trees, then the base value.
    ///
    /// # Panics
    ///
    /// Panics when the row has fewer values than those of the fit.
    #[must_use]
    pub fn predict(&self, row: &[f32]) -> f32 {
        let leaf = |tree: &Vec<FlatNode>| {
            let mut place = 0;
            loop {
                match tree[place] {
                    FlatNode::Leaf(value) => return value,
                    FlatNode::Split {
                        input,
                        threshold,
                        branches,
                    } => place = branches[usize::from(row[input] > threshold)],
                }
            }
        };
        let leaves = self.trees.iter().map(leaf);
        leaves.fold(0.0, |sum: f32, value| sum + value) + self.base
    }

    /// Returns the model `features` f32 `[1, inputs]` → `predicted_return` f32 `[1, 1]` and `probabilities` f32 `[1, 3]`. The
    /// probabilities are those of the training span, whatever the input is: the trees predict a value and no class.
    ///
    /// # Errors
    ///
    /// [`InferError::Graph`] when a name or a shape is invalid.
    pub fn to_onnx(
        &self,
        rates: [f64; CLASSES.len()],
        provenance: &Provenance<'_>,
    ) -> Result<Vec<u8>, InferError> {
        let mut graph = GraphBuilder::new("trees");
        let features = graph.input("features", &[1, self.inputs]);
        let value = graph.trees("predicted_return", &features, &self.attributes());
        let rates = rates.map(|rate| rate as f32);
        let constant = Self {
            base: 0.0,
            inputs: self.inputs,
            trees: vec![vec![FlatNode::Leaf(0.0)]],
        };
        let mut attributes = constant.attributes();
        let classes = CLASSES.len() as i64;
        for (name, attribute) in &mut attributes {
            match *name {
                "base_values" => *attribute = Attribute::Floats(rates.to_vec()),
                "n_targets" => *attribute = Attribute::Int(classes),
                _ => {}
            }
        }
        let probabilities = graph.trees("probabilities", &features, &attributes);
        graph.output(&value, &[1, 1]);
        graph.output(&probabilities, &[1, CLASSES.len()]);
        provenance.write(&mut graph);
        graph.finish()
    }

    /// Returns the attributes of a `TreeEnsembleRegressor` with one target.
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let (mut trees, mut nodes, mut features) = (vec![], vec![], vec![]);
        let (mut values, mut modes, mut held, mut not) = (vec![], vec![], vec![], vec![]);
        let (mut of_tree, mut of_node, mut weights) = (vec![], vec![], vec![]);
        for (tree, all) in self.trees.iter().enumerate() {
            for (place, node) in all.iter().enumerate() {
                trees.push(tree as i64);
                nodes.push(place as i64);
                let (mode, input, threshold, branches) = match node {
                    FlatNode::Leaf(value) => {
                        of_tree.push(tree as i64);
                        of_node.push(place as i64);
                        weights.push(*value);
                        ("LEAF", 0, 0.0, [0, 0])
                    }
                    FlatNode::Split {
                        input,
                        threshold,
                        branches,
                    } => ("BRANCH_LEQ", *input, *threshold, *branches),
                };
                modes.push(mode.to_owned());
                features.push(input as i64);
                values.push(threshold);
                held.push(branches[0] as i64);
                not.push(branches[1] as i64);
            }
        }
        vec![
            ("base_values", Attribute::Floats(vec![self.base])),
            ("n_targets", Attribute::Int(1)),
            ("nodes_falsenodeids", Attribute::Ints(not)),
            ("nodes_featureids", Attribute::Ints(features)),
            ("nodes_modes", Attribute::Strings(modes)),
            ("nodes_nodeids", Attribute::Ints(nodes)),
            ("nodes_treeids", Attribute::Ints(trees)),
            ("nodes_truenodeids", Attribute::Ints(held)),
            ("nodes_values", Attribute::Floats(values)),
            ("target_ids", Attribute::Ints(vec![0; weights.len()])),
            ("target_nodeids", Attribute::Ints(of_node)),
            ("target_treeids", Attribute::Ints(of_tree)),
            ("target_weights", Attribute::Floats(weights)),
        ]
    }
}

/// Appends the nodes of a tree, and returns the place of its root.
fn flatten(node: &Node, learning_rate: f64, nodes: &mut Vec<FlatNode>) -> usize {
    let place = nodes.len();
    match node {
        Node::Leaf(value) => nodes.push(FlatNode::Leaf((learning_rate * value) as f32)),
        Node::Split {
            input,
            threshold,
            branches,
        } => {
            nodes.push(FlatNode::Leaf(0.0));
            let below = flatten(&branches[0], learning_rate, nodes);
            let above = flatten(&branches[1], learning_rate, nodes);
            nodes[place] = FlatNode::Split {
                input: *input,
                threshold: rounded_down(*threshold),
                branches: [below, above],
            };
        }
    }
    place
}

/// Returns the greatest `f32` that is not above a value.
fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    match f64::from(near) > value {
        true => near.next_down(),
        false => near,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::baselines::boosting::BoostingOptions;
    use heqis_infer::{CpuEngine, Engine, TensorView};

    /// Rows whose neighbours differ in the last bit of an `f32`, so that a threshold rounded to the nearest would move them.
    fn rows() -> (Vec<Vec<f64>>, Vec<f64>) {
        let (mut a, mut rows) = (0.3_f32, Vec::new());
        for i in 0..120 {
            a = a.next_up();
            rows.push(vec![f64::from(a), f64::from((i * 37 % 11) as f32 / 7.0)]);
        }
        let targets = rows.iter().enumerate();
        let targets = targets.map(|(i, row)| f64::from(u8::from(i % 5 < 2)) + row[1]);
        (rows.clone(), targets.collect())
    }

    #[test]
    fn the_engine_gives_the_bits_of_the_lab_and_the_splits_of_the_fit() {
        let (rows, targets) = rows();
        let options = BoostingOptions {
            trees: 60,
            depth: 3,
            learning_rate: 0.1,
            least_leaf: 2,
        };
        let fitted = Boosting::fit(&rows, &targets, options).unwrap();
        let trees = Trees::of(&fitted);
        let names = ["a".to_owned(), "b".to_owned()];
        let provenance = Provenance {
            scaler_sha256: "",
            feature_names: &names,
            window_bars: 1,
        };
        let model = trees.to_onnx([0.25, 0.5, 0.25], &provenance).unwrap();
        let mut engine = CpuEngine::load(&model).unwrap();
        let flat: Vec<f32> = rows.iter().flatten().map(|x| *x as f32).collect();
        let mut outputs = vec![Vec::new(), Vec::new()];
        let shape = [rows.len(), 2];
        let view = TensorView::f32(&shape, &flat);
        engine.run(&[view], &mut outputs).unwrap();
        let exact = fitted.predict(&rows).unwrap();
        for ((row, value), exact) in flat.chunks(2).zip(&outputs[0]).zip(exact) {
            assert_eq!(value.to_bits(), trees.predict(row).to_bits());
            assert!((f64::from(*value) - exact).abs() < 1e-5, "{value} {exact}");
        }
        assert!(outputs[1].chunks(3).all(|rates| rates == [0.25, 0.5, 0.25]));
    }
}
