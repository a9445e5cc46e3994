//! Small models and a small bundle that several tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use heqis_infer::bundle::{SCALER_HASH_KEY, sha256_hex};
use heqis_infer::onnx::{Attribute, GraphBuilder};
use heqis_infer::{BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};

pub(crate) const SCALER: &[u8] = b"{\"kind\":\"none\"}\n";

/// A model with matrix products, a shared weight, an activation and a softmax: `window` [1, 4, 3] → `scores` [1, 5]
/// and `shares` [1, 5].
pub(crate) fn small_model() -> Vec<u8> {
    let weights: Vec<f32> = (0..60)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0)
        .collect();
    let bias: Vec<f32> = (0..5).map(|i| i as f32 / 10.0).collect();
    let mut graph = GraphBuilder::new("small");
    let window = graph.input("window", &[1, 4, 3]);
    let flat_shape = graph.int64s("flat_shape", &[1, 12]);
    let flat = graph.node("flat", "Reshape", &[&window, &flat_shape], &[]);
    let weights = graph.weights("weights", &[12, 5], &weights);
    let bias = graph.weights("bias", &[5], &bias);
    let gemm = graph.node(
        "gemm",
        "Gemm",
        &[&flat, &weights, &bias],
        &[("alpha", Attribute::Float(0.5))],
    );
    let scores = graph.node("scores", "Tanh", &[&gemm], &[]);
    let shares = graph.node(
        "shares",
        "Softmax",
        &[&gemm],
        &[("axis", Attribute::Int(1))],
    );
    graph.output(&scores, &[1, 5]);
    graph.output(&shares, &[1, 5]);
    graph.metadata(SCALER_HASH_KEY, sha256_hex(SCALER));
    graph.finish().unwrap()
}

/// Finite numbers of both signs, determined by the seed.
pub(crate) fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// The parts of a correct bundle around [`small_model`], its golden outputs computed in plain Rust.
pub(crate) fn small_parts() -> BundleParts {
    let windows = [numbers(1, 12), numbers(2, 12)];
    let golden = windows
        .iter()
        .enumerate()
        .map(|(i, window)| {
            let (scores, shares) = reference(window);
            GoldenWindow {
                label: format!("window {i}"),
                inputs: BTreeMap::from([("window".to_owned(), window.clone())]),
                outputs: BTreeMap::from([
                    ("scores".to_owned(), scores),
                    ("shares".to_owned(), shares),
                ]),
            }
        })
        .collect();
    BundleParts {
        name: "small".to_owned(),
        task: "test".to_owned(),
        created_by: "a test".to_owned(),
        precision: Precision::F32,
        model: small_model(),
        scaler_params: SCALER.to_vec(),
        other_files: BTreeMap::new(),
        model_card: "# small\n".to_owned(),
        feature_names: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        window_bars: 4,
        training_span: TrainingSpan {
            source: "none".to_owned(),
            source_sha256: String::new(),
            from: "2004-08-17".to_owned(),
            to: "2012-01-31".to_owned(),
            rows: 2,
        },
        figures: BTreeMap::from([("mse".to_owned(), serde_json::json!(0.25))]),
        golden: Golden {
            tolerance: 1e-5,
            windows: golden,
        },
    }
}

/// [`small_model`] written out in `f64`: the source of the golden outputs, independent of any runtime.
pub(crate) fn reference(window: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let gemm: Vec<f64> = (0..5)
        .map(|column| {
            let dot: f64 = (0..12)
                .map(|row| {
                    let i = row * 5 + column;
                    f64::from(window[row]) * f64::from(((i * 37 % 101) as f32 - 50.0) / 40.0)
                })
                .sum();
            0.5 * dot + f64::from(column as f32 / 10.0)
        })
        .collect();
    let total: f64 = gemm.iter().map(|value| value.exp()).sum();
    let scores = gemm.iter().map(|value| value.tanh() as f32).collect();
    (
        scores,
        gemm.iter()
            .map(|value| (value.exp() / total) as f32)
            .collect(),
    )
}

/// The ONNX Runtime of the tests' Python.
pub(crate) fn onnx_runtime() -> std::path::PathBuf {
    if let Some(path) = std::env::var_os(heqis_infer::backend::ORT_LIBRARY.variable) {
        return path.into();
    }
    let python = std::env::var_os("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a Python with onnxruntime; ./test makes one");
    let script = "import glob, os, onnxruntime as o; \
        print(glob.glob(os.path.join(os.path.dirname(o.__file__), 'capi', 'libonnxruntime.so.*'))[0], end='')";
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().into()
}
