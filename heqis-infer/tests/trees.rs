//! Tree ensembles on the CPU engine and in the real ONNX Runtime: the same bits, and the same refusals of broken files.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use heqis_infer::onnx::{Attribute, GraphBuilder};
use heqis_infer::ort::Provider;
use heqis_infer::{CpuEngine, Engine, InferError, OrtEngine, TensorView};

/// Trees of `ai.onnx.ml`, node by node.
#[derive(Clone, Default)]
struct Trees {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    values: Vec<f32>,
    modes: Vec<String>,
    branches: [Vec<i64>; 2],
    weights: Vec<(i64, i64, i64, f32)>,
    base: Vec<f32>,
    targets: i64,
}

impl Trees {
    fn node(&mut self, tree: i64, node: i64, mode: &str, split: (i64, f32), branches: [i64; 2]) {
        self.trees.push(tree);
        self.nodes.push(node);
        self.modes.push(mode.to_owned());
        self.features.push(split.0);
        self.values.push(split.1);
        for (all, branch) in self.branches.iter_mut().zip(branches) {
            all.push(branch);
        }
    }

    /// Adds a full tree of depth 2 over random inputs and thresholds, with a weight for each leaf and target.
    fn full(&mut self, tree: i64, mode: &str, random: &mut impl FnMut() -> f32) {
        let width = 5.0;
        for node in 0..3 {
            let input = (random() * width) as i64;
            self.node(
                tree,
                node,
                mode,
                (input, random() - 0.5),
                [2 * node + 1, 2 * node + 2],
            );
        }
        for node in 3..7 {
            self.node(tree, node, "LEAF", (0, 0.0), [0, 0]);
            for target in 0..self.targets {
                self.weights.push((tree, node, target, random() - 0.5));
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let ints = |f: fn(&(i64, i64, i64, f32)) -> i64| {
            Attribute::Ints(self.weights.iter().map(f).collect())
        };
        let mut all = vec![
            ("n_targets", Attribute::Int(self.targets)),
            (
                "nodes_falsenodeids",
                Attribute::Ints(self.branches[1].clone()),
            ),
            ("nodes_featureids", Attribute::Ints(self.features.clone())),
            ("nodes_modes", Attribute::Strings(self.modes.clone())),
            ("nodes_nodeids", Attribute::Ints(self.nodes.clone())),
            ("nodes_treeids", Attribute::Ints(self.trees.clone())),
            (
                "nodes_truenodeids",
                Attribute::Ints(self.branches[0].clone()),
            ),
            ("nodes_values", Attribute::Floats(self.values.clone())),
            ("target_ids", ints(|w| w.2)),
            ("target_nodeids", ints(|w| w.1)),
            ("target_treeids", ints(|w| w.0)),
            (
                "target_weights",
                Attribute::Floats(self.weights.iter().map(|w| w.3).collect()),
            ),
        ];
        if !self.base.is_empty() {
            all.push(("base_values", Attribute::Floats(self.base.clone())));
        }
        all
    }

    fn model(&self, more: &[(&str, Attribute)]) -> Vec<u8> {
        let mut graph = GraphBuilder::new("trees");
        let x = graph.input("x", &[1, 5]);
        let mut attributes: Vec<(&str, Attribute)> = self.attributes();
        attributes.extend_from_slice(more);
        let y = graph.trees("y", &x, &attributes);
        graph.output(&y, &[1, self.targets as usize]);
        graph.finish().unwrap()
    }
}

/// Numbers from 0 to 1, the same in every run.
fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// 200 trees, more than ONNX Runtime would compute in one piece on several threads.
fn forest(targets: i64, mode: &str, seed: u64) -> Trees {
    let mut random = random(seed);
    let mut trees = Trees {
        targets,
        base: (0..targets).map(|_| random()).collect(),
        ..Trees::default()
    };
    for tree in 0..200 {
        trees.full(tree, mode, &mut random);
    }
    trees
}

fn run(engine: &mut dyn Engine, rows: &[f32]) -> Vec<u32> {
    let mut outputs = vec![Vec::new()];
    engine
        .run(&[TensorView::f32(&[rows.len() / 5, 5], rows)], &mut outputs)
        .unwrap();
    outputs[0].iter().map(|value| value.to_bits()).collect()
}

#[test]
fn onnx_runtime_and_the_cpu_engine_give_the_same_bits() {
    let library = common::onnx_runtime();
    for (seed, mode) in ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]
        .into_iter()
        .enumerate()
    {
        for targets in [1, 3] {
            let forest = forest(targets, mode, seed as u64);
            let mut random = random(99);
            let mut rows: Vec<f32> = (0..500).map(|_| random() - 0.5).collect();
            // Values at a threshold decide which comparison it is.
            for (value, threshold) in rows.iter_mut().step_by(7).zip(&forest.values) {
                *value = *threshold;
            }
            let model = forest.model(&[]);
            let mut ort = OrtEngine::load(&library, &model, Provider::Cpu, Path::new("")).unwrap();
            let mut cpu = CpuEngine::load(&model).unwrap();
            let found = run(&mut cpu, &rows);
            assert_eq!(found, run(&mut ort, &rows), "{mode}, {targets}");
            // A row has the same bits alone.
            let row = targets as usize;
            assert_eq!(run(&mut cpu, &rows[5..10]), found[row..2 * row]);
        }
    }
}

#[test]
fn a_tree_of_one_leaf_is_a_constant() {
    let library = common::onnx_runtime();
    let mut trees = Trees {
        targets: 3,
        base: vec![0.25, 0.5, 0.125],
        ..Trees::default()
    };
    trees.node(0, 0, "LEAF", (0, 0.0), [0, 0]);
    trees.weights = (0..3).map(|target| (0, 0, target, 0.125)).collect();
    let model = trees.model(&[]);
    let expected = [0.375_f32, 0.625, 0.25].map(f32::to_bits);
    assert_eq!(
        run(&mut CpuEngine::load(&model).unwrap(), &[0.0; 5]),
        expected
    );
    let mut ort = OrtEngine::load(&library, &model, Provider::Cpu, Path::new("")).unwrap();
    assert_eq!(run(&mut ort, &[0.0; 5]), expected);
}

#[test]
fn broken_trees_are_refused_with_the_reason() {
    let good = forest(1, "BRANCH_LEQ", 1);
    let refused = |model: &[u8]| match CpuEngine::load(model).unwrap_err() {
        InferError::ModelNotLoaded { reason, .. } => reason,
        other => panic!("{other}"),
    };
    type Break = fn(&mut Trees);
    let cases: [(Break, &str); 9] = [
        (
            |t| t.branches[0][0] = 0,
            "node 0 must be reached in one way",
        ),
        (|t| t.branches[0][1] = 4, "must be reached in one way"),
        (
            |t| t.branches[1][2] = 99,
            "node 2 must be LEAF or a branch to nodes of its tree",
        ),
        (
            |t| t.modes[0] = "BRANCH_MEMBER".to_owned(),
            "got BRANCH_MEMBER",
        ),
        (|t| t.features[0] = 5, "reads 6 values, the input has 5"),
        (|t| t.features[0] = -1, "must not be negative"),
        (|t| t.values.truncate(3), "all attributes of one length"),
        (
            |t| t.weights[0].2 = 1,
            "weight 0 belongs to no node or target",
        ),
        (|t| t.base = vec![0.0; 2], "base_values must be 1, got 2"),
    ];
    for (broken, words) in cases {
        let mut trees = good.clone();
        broken(&mut trees);
        let reason = refused(&trees.model(&[]));
        assert!(reason.contains(words), "{words}: {reason}");
    }
    let text = |text: &str| Attribute::String(text.to_owned());
    for (name, value) in [
        ("post_transform", "LOGISTIC"),
        ("aggregate_function", "MAX"),
    ] {
        let reason = refused(&good.model(&[(name, text(value))]));
        assert!(reason.contains(&format!("got {value}")), "{reason}");
    }
    let mut graph = GraphBuilder::new("mixed");
    let x = graph.input("x", &[1, 5]);
    let y = graph.trees("t", &x, &good.attributes());
    let y = graph.node("y", "Neg", &[&y], &[]);
    graph.output(&y, &[1, 1]);
    let reason = refused(&graph.finish().unwrap());
    assert!(
        reason.contains("must have no other operator, got Neg"),
        "{reason}"
    );
}
