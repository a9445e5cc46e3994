//! Tree ensembles: models whose every node is a `TreeEnsembleRegressor` of `ai.onnx.ml`, which RTen lacks, read and computed
//! here.
//!
//! A sum begins with 0, adds the leaves in the order of the trees, in `f32`, and adds the base value last. That is the order of
//! ONNX Runtime on one thread, so both give the same bits.

use std::collections::{BTreeMap, BTreeSet};

use super::proto;

/// The operator.
pub(crate) const OPERATOR: &str = "TreeEnsembleRegressor";
/// Its domain, and the version of it that the writer declares.
pub(crate) const DOMAIN: &str = "ai.onnx.ml";
pub(crate) const DOMAIN_OPSET: i64 = 1;

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Split {
        test: Test,
        input: usize,
        threshold: f32,
        /// Places of the nodes that follow when the test holds and when it does not.
        branches: [usize; 2],
    },
    /// A range of weights.
    Leaf { from: usize, to: usize },
}

/// How an input is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

impl Test {
    fn named(mode: &[u8]) -> Option<Self> {
        Some(match mode {
            b"BRANCH_LEQ" => Self::AtMost,
            b"BRANCH_LT" => Self::Below,
            b"BRANCH_GTE" => Self::AtLeast,
            b"BRANCH_GT" => Self::Above,
            b"BRANCH_EQ" => Self::Equal,
            b"BRANCH_NEQ" => Self::Unequal,
            _ => return None,
        })
    }

    fn holds(self, value: f32, threshold: f32) -> bool {
        match self {
            Self::AtMost => value <= threshold,
            Self::Below => value < threshold,
            Self::AtLeast => value >= threshold,
            Self::Above => value > threshold,
            Self::Equal => value == threshold,
            Self::Unequal => value != threshold,
        }
    }
}

/// One `TreeEnsembleRegressor`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ensemble {
    /// Name of its input and of its output.
    pub(crate) input: String,
    pub(crate) output: String,
    nodes: Vec<Node>,
    roots: Vec<usize>,
    /// Target and weight of each leaf, leaf by leaf.
    weights: Vec<(usize, f32)>,
    base: Vec<f32>,
    /// The least width of a row.
    inputs: usize,
}

impl Ensemble {
    /// Reads all nodes of a graph; `None` when none of them is a tree ensemble.
    pub(super) fn all(graph: &proto::Graph) -> Option<Result<Vec<Self>, String>> {
        let is_one = |node: &&proto::Node| node.domain == DOMAIN && node.op_type == OPERATOR;
        graph.node.iter().find(is_one)?;
        if let Some(other) = graph.node.iter().find(|node| !is_one(node)) {
            return Some(Err(format!(
                "a model with {OPERATOR} must have no other operator, got {}",
                other.op_type
            )));
        }
        Some(graph.node.iter().map(Self::read).collect())
    }

    /// Returns the number of values of the output.
    pub(crate) fn targets(&self) -> usize {
        self.base.len()
    }

    /// Returns the least number of values of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    fn read(node: &proto::Node) -> Result<Self, String> {
        let ([input], [output]) = (&node.input[..], &node.output[..]) else {
            return Err(format!("{OPERATOR} must have one input and one output"));
        };
        let attributes = Attributes(&node.attribute);
        let ints = |name: &str| attributes.places(name);
        let (trees, ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
        let (held, not) = (ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?);
        let features = ints("nodes_featureids")?;
        let (modes, values) = (
            attributes.strings("nodes_modes"),
            attributes.floats("nodes_values"),
        );
        let count = trees.len();
        let lengths = [
            ids.len(),
            held.len(),
            not.len(),
            features.len(),
            modes.len(),
            values.len(),
        ];
        if count == 0 || lengths.iter().any(|length| *length != count) {
            return Err(format!(
                "the nodes of {OPERATOR} must have all attributes of one length"
            ));
        }
        let mut places: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (place, key) in trees.iter().copied().zip(ids).enumerate() {
            if places.insert(key, place).is_some() {
                return Err(format!("tree {} has the node {} twice", key.0, key.1));
            }
        }
        let mut leaves: BTreeMap<usize, Vec<(usize, f32)>> = BTreeMap::new();
        let (of_tree, of_node) = (ints("target_treeids")?, ints("target_nodeids")?);
        let (targets, weights) = (ints("target_ids")?, attributes.floats("target_weights"));
        let lengths = [of_node.len(), targets.len(), weights.len()];
        if lengths.iter().any(|length| *length != of_tree.len()) {
            return Err(format!(
                "the weights of {OPERATOR} must have all attributes of one length"
            ));
        }
        let n_targets = usize::try_from(attributes.int("n_targets").unwrap_or(1)).unwrap_or(0);
        if n_targets == 0 || n_targets > 1 << 16 {
            return Err(format!("n_targets of {OPERATOR} must be from 1 to 65536"));
        }
        for (at, target) in targets.into_iter().enumerate() {
            let key = (of_tree[at], of_node[at]);
            let Some(place) = places.get(&key).filter(|_| target < n_targets) else {
                return Err(format!("weight {at} belongs to no node or target"));
            };
            leaves
                .entry(*place)
                .or_default()
                .push((target, weights[at]));
        }
        let mut all = Self {
            input: input.clone(),
            output: output.clone(),
            nodes: Vec::with_capacity(count),
            roots: Vec::new(),
            weights: Vec::new(),
            base: match attributes.floats("base_values") {
                [] => vec![0.0; n_targets],
                base if base.len() == n_targets => base.to_vec(),
                base => {
                    return Err(format!(
                        "base_values must be {n_targets}, got {}",
                        base.len()
                    ));
                }
            },
            inputs: 0,
        };
        attributes.require("post_transform", &["NONE"])?;
        attributes.require("aggregate_function", &["SUM"])?;
        for place in 0..count {
            if place == 0 || trees[place] != trees[place - 1] {
                all.roots.push(place);
            }
            if modes[place] == b"LEAF" {
                let from = all.weights.len();
                all.weights
                    .extend(leaves.remove(&place).unwrap_or_default());
                let to = all.weights.len();
                all.nodes.push(Node::Leaf { from, to });
                continue;
            }
            let test = Test::named(&modes[place]);
            let branch = |id: usize| places.get(&(trees[place], id)).copied();
            let (Some(test), Some(held), Some(not)) =
                (test, branch(held[place]), branch(not[place]))
            else {
                let mode = String::from_utf8_lossy(&modes[place]);
                return Err(format!(
                    "node {place} must be LEAF or a branch to nodes of its tree, got {mode}"
                ));
            };
            all.inputs = all.inputs.max(features[place].saturating_add(1));
            all.nodes.push(Node::Split {
                test,
                input: features[place],
                threshold: values[place],
                branches: [held, not],
            });
        }
        all.check_trees(&trees)?;
        Ok(all)
    }

    /// Checks that every walk from a root ends: no node is reached twice, and each tree has one root.
    fn check_trees(&self, trees: &[usize]) -> Result<(), String> {
        let ids: BTreeSet<usize> = self.roots.iter().map(|root| trees[*root]).collect();
        if ids.len() != self.roots.len() {
            return Err("the nodes of a tree must follow each other".to_owned());
        }
        let mut reached = vec![false; self.nodes.len()];
        let mut open = self.roots.clone();
        while let Some(place) = open.pop() {
            if std::mem::replace(&mut reached[place], true) {
                return Err(format!("node {place} must be reached in one way"));
            }
            if let Node::Split { branches, .. } = self.nodes[place] {
                open.extend(branches);
            }
        }
        Ok(())
    }

    /// Appends the outputs of a row of at least [`Ensemble::inputs`] values.
    pub(crate) fn run(&self, row: &[f32], output: &mut Vec<f32>) {
        let first = output.len();
        output.resize(first + self.base.len(), 0.0);
        let sums = &mut output[first..];
        for root in &self.roots {
            let mut place = *root;
            loop {
                match self.nodes[place] {
                    Node::Leaf { from, to } => {
                        for (target, weight) in &self.weights[from..to] {
                            sums[*target] += weight;
                        }
                        break;
                    }
                    Node::Split {
                        test,
                        input,
                        threshold,
                        branches,
                    } => place = branches[usize::from(!test.holds(row[input], threshold))],
                }
            }
        }
        for (sum, base) in sums.iter_mut().zip(&self.base) {
            *sum += base;
        }
    }
}

/// The attributes of a node by name.
struct Attributes<'a>(&'a [proto::Attribute]);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.0.iter().find(|attribute| attribute.name == name)
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.get(name).map(|attribute| attribute.i)
    }

    fn floats(&self, name: &str) -> &'a [f32] {
        self.get(name).map_or(&[], |attribute| &attribute.floats)
    }

    fn strings(&self, name: &str) -> &'a [Vec<u8>] {
        self.get(name).map_or(&[], |attribute| &attribute.strings)
    }

    /// Returns integers that are places or identifiers, so not negative.
    fn places(&self, name: &str) -> Result<Vec<usize>, String> {
        let ints = self.get(name).map_or(&[][..], |attribute| &attribute.ints);
        let places = ints.iter().map(|int| usize::try_from(*int));
        let places: Result<Vec<usize>, _> = places.collect();
        places.map_err(|_| format!("{name} of {OPERATOR} must not be negative"))
    }

    /// Refuses an attribute with a value that is not computed here.
    fn require(&self, name: &str, known: &[&str]) -> Result<(), String> {
        match self.get(name) {
            Some(attribute) if !known.iter().any(|known| known.as_bytes() == attribute.s) => {
                let got = String::from_utf8_lossy(&attribute.s);
                Err(format!(
                    "{name} of {OPERATOR} must be {}, got {got}",
                    known.join(" or ")
                ))
            }
            _ => Ok(()),
        }
    }
}
