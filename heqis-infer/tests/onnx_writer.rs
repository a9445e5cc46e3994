//! The ONNX writer: fixed bytes, checked graphs, and files that other readers accept and compute alike.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{numbers, small_model};
use heqis_infer::bundle::{SCALER_HASH_KEY, sha256_hex};
use heqis_infer::onnx::{Attribute, GraphBuilder, GraphFault, Signature};
use heqis_infer::{CpuEngine, Engine, InferError, TensorSpec, TensorView};

/// A model with every kind of attribute, a convolution by the export rules, and an LSTM read through `Y`.
fn every_attribute() -> Vec<u8> {
    let mut graph = GraphBuilder::new("every attribute");
    let x = graph.input("x", &[1, 2, 1, 6]);
    let mode = ("mode", Attribute::String("reflect".to_owned()));
    let pads = graph.int64s("pads", &[0, 0, 0, 1, 0, 0, 0, 1]);
    let padded = graph.node("padded", "Pad", &[&x, &pads], &[mode]);
    let kernel = graph.weights("kernel", &[3, 2, 1, 3], &numbers(11, 18));
    // RTen's defaults of these three are for one spatial dimension, not for two: a convolution writes them out.
    let no_pads = ("pads", Attribute::Ints(vec![0; 4]));
    let strides = ("strides", Attribute::Ints(vec![1, 1]));
    let dilations = ("dilations", Attribute::Ints(vec![1, 1]));
    let conv = graph.node(
        "conv",
        "Conv",
        &[&padded, &kernel],
        &[no_pads, strides, dilations],
    );
    let leaky = graph.node(
        "leaky",
        "LeakyRelu",
        &[&conv],
        &[("alpha", Attribute::Float(0.25))],
    );
    let shift = graph.node(
        "shift",
        "Constant",
        &[],
        &[("value_floats", Attribute::Floats(vec![0.5]))],
    );
    let shifted = graph.node("shifted", "Add", &[&leaky, &shift], &[]);
    let sequence_shape = graph.int64s("sequence_shape", &[6, 1, 3]);
    let sequence = graph.node("sequence", "Reshape", &[&shifted, &sequence_shape], &[]);
    let w = graph.weights("w", &[1, 16, 3], &numbers(12, 48));
    let r = graph.weights("r", &[1, 16, 4], &numbers(13, 64));
    let hidden = ("hidden_size", Attribute::Int(4));
    let all_steps = graph.node("all_steps", "LSTM", &[&sequence, &w, &r], &[hidden]);
    let starts = graph.int64s("starts", &[5]);
    let ends = graph.int64s("ends", &[6]);
    let axes = graph.int64s("axes", &[0]);
    let last = graph.node("last", "Slice", &[&all_steps, &starts, &ends, &axes], &[]);
    let flat_shape = graph.int64s("flat_shape", &[1, 4]);
    let y = graph.node("y", "Reshape", &[&last, &flat_shape], &[]);
    graph.output(&y, &[1, 4]);
    graph.finish().unwrap()
}

/// Returns the Python of the peers' environment.
fn peer_python() -> PathBuf {
    std::env::var_os("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a Python with onnx and onnxruntime; ./test makes one")
        .into()
}

/// Checks a model with the official checker and computes it with ONNX Runtime.
fn peer_outputs(python: &Path, model: &[u8], input: &[f32]) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.onnx"), model).unwrap();
    std::fs::write(
        dir.path().join("input.json"),
        serde_json::to_vec(input).unwrap(),
    )
    .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/onnx_peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_official_checker_accepts_the_files_and_onnx_runtime_computes_the_same() {
    let python = peer_python();
    for model in [small_model(), every_attribute()] {
        let mut engine = CpuEngine::load(&model).unwrap();
        let spec = engine.inputs()[0].clone();
        let input = numbers(21, spec.checked_len().unwrap());
        let mut ours = vec![Vec::new(); engine.outputs().len()];
        engine
            .run(&[TensorView::f32(&spec.shape, &input)], &mut ours)
            .unwrap();

        let peer = peer_outputs(&python, &model, &input);
        assert_eq!(peer["ir_version"], 7);
        assert_eq!(peer["opset"], 13);
        for (spec, ours) in engine.outputs().iter().zip(&ours) {
            let theirs = peer["outputs"][&spec.name].as_array().unwrap();
            assert_eq!(theirs.len(), ours.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                let difference = (f64::from(*ours) - theirs.as_f64().unwrap()).abs();
                assert!(difference <= 1e-6, "{}: {ours} {theirs}", spec.name);
            }
        }
        let signature = Signature::read(&model).unwrap();
        assert_eq!(
            serde_json::to_value(signature.metadata).unwrap(),
            peer["metadata"]
        );
    }
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    assert_eq!(small_model(), small_model());
    // The hash of the current bytes: detects a change of the writer that alters shipped models.
    assert_eq!(
        sha256_hex(&small_model()),
        "92523ca97760a5d25305bd02f77250357fd04ae47a1e6d5d9005dc2644bbb8e8"
    );
}

#[test]
fn the_signature_is_that_of_the_builder() {
    let signature = Signature::read(&small_model()).unwrap();
    assert_eq!(signature.inputs, [TensorSpec::f32("window", [1, 4, 3])]);
    assert_eq!(
        signature.outputs,
        [
            TensorSpec::f32("scores", [1, 5]),
            TensorSpec::f32("shares", [1, 5])
        ]
    );
    assert_eq!(
        signature.metadata[SCALER_HASH_KEY],
        sha256_hex(common::SCALER)
    );
}

#[test]
fn equal_weights_are_stored_once() {
    let build = |second: &[f32]| {
        let mut graph = GraphBuilder::new("sharing");
        let x = graph.input("x", &[1, 64]);
        let first = graph.weights("first", &[64], &[0.5; 64]);
        let second = graph.weights("second", &[64], second);
        let sum = graph.node("sum", "Add", &[&x, &first], &[]);
        let y = graph.node("y", "Mul", &[&sum, &second], &[]);
        graph.output(&y, &[1, 64]);
        graph.finish().unwrap()
    };
    let (shared, separate) = (build(&[0.5; 64]), build(&[0.25; 64]));
    assert!(
        separate.len() - shared.len() >= 64 * 4,
        "{} {}",
        separate.len(),
        shared.len()
    );
    for (model, expected) in [(shared, 0.75), (separate, 0.375)] {
        let mut outputs = vec![Vec::new()];
        let mut engine = CpuEngine::load(&model).unwrap();
        engine
            .run(&[TensorView::f32(&[1, 64], &[1.0; 64])], &mut outputs)
            .unwrap();
        assert_eq!(outputs[0], [expected; 64]);
    }
}

/// Builds a graph with one fault and returns the fault.
fn fault(build: impl FnOnce(&mut GraphBuilder)) -> GraphFault {
    let mut graph = GraphBuilder::new("faulty");
    build(&mut graph);
    match graph.finish().unwrap_err() {
        InferError::Graph { graph, fault } => {
            assert_eq!(graph, "faulty");
            fault
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_faulty_graph_is_refused_with_its_fault() {
    let named = |name: &str| GraphFault::Name(name.to_owned());
    assert_eq!(fault(|_| ()), GraphFault::Empty);
    assert_eq!(
        fault(|graph| {
            graph.input("x", &[1]);
            graph.input("x", &[1]);
        }),
        named("x")
    );
    assert_eq!(
        fault(|graph| {
            graph.input("", &[1]);
        }),
        named("")
    );
    let mut other = GraphBuilder::new("other");
    let foreign = other.input("foreign", &[1]);
    assert_eq!(
        fault(|graph| {
            graph.node("y", "Neg", &[&foreign], &[]);
        }),
        GraphFault::Undefined {
            node: "y".to_owned(),
            value: "foreign".to_owned()
        }
    );
    assert_eq!(
        fault(|graph| {
            graph.weights("w", &[2, 3], &[0.0; 5]);
        }),
        GraphFault::Length {
            name: "w".to_owned(),
            shape: vec![2, 3],
            got: 5
        }
    );
    assert_eq!(
        fault(|graph| {
            graph.weights("w", &[2], &[0.0, f32::NAN]);
        }),
        GraphFault::NotFinite {
            name: "w".to_owned(),
            index: 1,
            value: "NaN".to_owned()
        }
    );
    assert_eq!(
        fault(|graph| {
            graph.input("x", &[1, 0]);
        }),
        GraphFault::Shape {
            name: "x".to_owned(),
            shape: vec![1, 0]
        }
    );
}
