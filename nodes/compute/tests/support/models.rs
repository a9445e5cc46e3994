//! Bundles with models whose results are known exactly.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::Path;

use heqis_infer::bundle::{FACTORS_HASH_KEY, STATE_KEY};
use heqis_infer::onnx::{Attribute, GraphBuilder};
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};

use super::bundles;

pub const FEATURES: [&str; 2] = ["return_1", "range_ratio"];

pub fn scaler() -> Vec<u8> {
    bundles::scaler(&FEATURES, 1)
}

/// Values whose products and sums `f32` holds exactly, so that the model's results are known exactly.
pub fn weight(row: usize, column: usize) -> f32 {
    0.25 * (row as f32 + 1.0) * if column == 0 { 1.0 } else { -0.5 }
}

/// A bundle whose model reads `rows` rows of two features: its predicted return is their sum, weighted by row and
/// column, and its probabilities favour a rise when that is positive.
pub fn windowed(dir: &Path, rows: usize, factors: Option<&str>) -> Bundle {
    let mut graph = GraphBuilder::new("windowed");
    if let Some(hash) = factors {
        graph.metadata(FACTORS_HASH_KEY, hash);
    }
    let zeros = BTreeMap::from([("features".into(), vec![0.0; 2 * rows])]);
    finish(dir, rows, graph, "predicted_return", zeros)
}

/// The same for one row, whose sum continues from frame to frame.
pub fn stateful(dir: &Path) -> Bundle {
    let mut graph = GraphBuilder::new("stateful");
    graph.metadata(STATE_KEY, "total=predicted_return");
    let zeros = BTreeMap::from([
        ("features".into(), vec![0.0; 2]),
        ("total".into(), vec![0.0]),
    ]);
    finish(dir, 1, graph, "gain", zeros)
}

/// Builds the model, whose weighted sum is called `sum`, and writes it.
pub fn finish(
    dir: &Path,
    rows: usize,
    mut graph: GraphBuilder,
    sum: &str,
    zeros: BTreeMap<String, Vec<f32>>,
) -> Bundle {
    let features = graph.input("features", &[1, rows, 2]);
    let flat = graph.int64s("flat_shape", &[1, 2 * rows as i64]);
    let flat = graph.node("flat", "Reshape", &[&features, &flat], &[]);
    let weights: Vec<f32> = (0..2 * rows).map(|at| weight(at / 2, at % 2)).collect();
    let weights = graph.weights("weights", &[2 * rows, 1], &weights);
    let named = match sum {
        "overflowing" => "weighted",
        sum => sum,
    };
    let mut value = graph.node(named, "MatMul", &[&flat, &weights], &[]);
    if sum == "overflowing" {
        value = graph.node("squared", "Mul", &[&value, &value], &[]);
        value = graph.node("predicted_return", "Mul", &[&value, &value], &[]);
    }
    let mut sum = value;
    if zeros.contains_key("total") {
        let total = graph.input("total", &[1, 1]);
        sum = graph.node("predicted_return", "Add", &[&sum, &total], &[]);
    }
    let scales = graph.weights("scales", &[1, 3], &[-1.0, 0.0, 1.0]);
    let scores = graph.node("scores", "MatMul", &[&sum, &scales], &[]);
    let axis = [("axis", Attribute::Int(1))];
    let probabilities = graph.node("probabilities", "Softmax", &[&scores], &axis);
    graph.output(&sum, &[1, 1]);
    graph.output(&probabilities, &[1, 3]);
    let parts = BundleParts {
        name: "windowed".into(),
        task: "direction".into(),
        created_by: "a test".into(),
        precision: Precision::F32,
        model: graph.finish().unwrap(),
        scaler_params: scaler(),
        other_files: BTreeMap::new(),
        model_card: String::new(),
        feature_names: FEATURES.map(str::to_owned).to_vec(),
        window_bars: rows,
        training_span: TrainingSpan {
            source: "none".into(),
            source_sha256: String::new(),
            from: "2015-01-01".into(),
            to: "2015-12-31".into(),
            rows: 1,
        },
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: zeros,
                outputs: BTreeMap::from([
                    ("predicted_return".into(), vec![0.0]),
                    ("probabilities".into(), vec![1.0 / 3.0; 3]),
                ]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap()
}
