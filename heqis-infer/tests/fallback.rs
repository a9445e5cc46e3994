//! A backend that fails while it computes is replaced by the next one of the list.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeMap;

use heqis_infer::backend::{ORT_LIBRARY, RKNN_LIBRARY};
use heqis_infer::bundle::{SCALER_HASH_KEY, sha256_hex};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{
    BackendKind, BackendPolicy, Bundle, Golden, GoldenWindow, InferError, Libraries, TensorView,
    open_with, select_with,
};

/// A bundle whose ONNX model computes what the stand-in computes, out[k] = k + Σ (j + 1) · in[j], with a build of it
/// for the NPU that ends with `tail`.
fn bundle(tail: &str) -> (tempfile::TempDir, Bundle, Libraries) {
    let mut graph = GraphBuilder::new("sum");
    let window = graph.input("window", &[1, 4, 3]);
    let shape = graph.int64s("shape", &[1, 12]);
    let flat = graph.node("flat", "Reshape", &[&window, &shape], &[]);
    let weights: Vec<f32> = (1..=12).flat_map(|j| [j as f32; 2]).collect();
    let weights = graph.weights("weights", &[12, 2], &weights);
    let product = graph.node("product", "MatMul", &[&flat, &weights], &[]);
    let bias = graph.weights("bias", &[2], &[0.0, 1.0]);
    let sums = graph.node("sums", "Add", &[&product, &bias], &[]);
    graph.output(&sums, &[1, 2]);
    graph.metadata(SCALER_HASH_KEY, sha256_hex(common::SCALER));

    let rknn = format!(
        "STANDIN\n\
         tensor in window 3 3 1 4 3 3 3 1 4 3 0 1 0 0 48\n\
         tensor out sums 3 2 1 2 3 2 1 2 0 1 0 0 8\n\
         {tail}\n"
    );
    let mut parts = common::small_parts();
    parts.model = graph.finish().unwrap();
    parts.other_files = BTreeMap::from([("model.rknn".to_owned(), rknn.into_bytes())]);
    parts.golden = Golden {
        tolerance: 1e-4,
        windows: vec![GoldenWindow {
            label: "ones".to_owned(),
            inputs: BTreeMap::from([("window".to_owned(), vec![1.0; 12])]),
            outputs: BTreeMap::from([("sums".to_owned(), vec![78.0, 79.0])]),
        }],
    };
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("sum"), &parts).unwrap();
    let libraries = Libraries::from_env()
        .with(RKNN_LIBRARY, stand_in::stand_in())
        // A missing file, so that the test does not depend on what the machine has installed.
        .with(ORT_LIBRARY, "/nowhere/libonnxruntime.so");
    (root, bundle, libraries)
}

const PREFERENCE: [BackendKind; 3] = [BackendKind::Rknn, BackendKind::Cuda, BackendKind::Cpu];

/// Three rows; the sums are 78 times the row's number.
fn batch() -> Vec<f32> {
    [[0.0; 12], [1.0; 12], [2.0; 12]].concat()
}

#[test]
fn the_batch_in_which_a_backend_fails_is_computed_by_the_next() {
    // The self-test is run 1; the batch is runs 2 to 4 and fails at its second row.
    let (_root, bundle, libraries) = bundle("fail_run 3 -2");
    let mut opened = open_with(&bundle, &PREFERENCE, false, &libraries).unwrap();
    assert_eq!(opened.backend, BackendKind::Rknn);
    assert!(opened.engine.failed_over().is_empty());
    let mut out = vec![Vec::new()];
    let rows = batch();
    let view = TensorView::f32(&[3, 4, 3], &rows);
    opened.engine.run(&[view], &mut out).unwrap();
    assert_eq!(out[0], [0.0, 1.0, 78.0, 79.0, 156.0, 157.0]);
    assert_eq!(opened.engine.backend(), BackendKind::Cpu);
    let failed: Vec<String> = opened
        .engine
        .failed_over()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        failed,
        [
            "backend rknn unavailable: rknn_run returned -2 (timed out)",
            "backend cuda unavailable: library /nowhere/libonnxruntime.so: \
             /nowhere/libonnxruntime.so: cannot open shared object file: No such file or directory",
        ]
    );
    opened.engine.run(&[view], &mut out).unwrap();
    assert_eq!(opened.engine.failed_over().len(), 2);
}

#[test]
fn strict_returns_the_failure_instead() {
    let (_root, bundle, libraries) = bundle("fail_run 2 -3");
    let mut opened = open_with(&bundle, &PREFERENCE, true, &libraries).unwrap();
    let rows = batch();
    let view = TensorView::f32(&[3, 4, 3], &rows);
    match opened.engine.run(&[view], &mut [Vec::new()]).unwrap_err() {
        InferError::RunFailed { backend, reason } => {
            assert_eq!(backend, BackendKind::Rknn);
            assert_eq!(reason, "rknn_run returned -3 (device unavailable)");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_list_without_another_working_backend_ends_with_every_reason() {
    let (_root, bundle, libraries) = bundle("fail_run 2 -1");
    let list = [BackendKind::Rknn, BackendKind::Cuda];
    let mut opened = open_with(&bundle, &list, false, &libraries).unwrap();
    let rows = batch();
    let view = TensorView::f32(&[3, 4, 3], &rows);
    match opened.engine.run(&[view], &mut [Vec::new()]).unwrap_err() {
        InferError::NoBackend { tried, .. } => assert_eq!(tried.len(), 2),
        other => panic!("{other}"),
    }
}

#[test]
fn a_bad_input_does_not_change_the_backend() {
    let (_root, bundle, libraries) = bundle("");
    let mut opened = open_with(&bundle, &PREFERENCE, false, &libraries).unwrap();
    let view = TensorView::f32(&[1, 4, 3], &[f32::NAN; 12]);
    let error = opened.engine.run(&[view], &mut [Vec::new()]).unwrap_err();
    assert!(matches!(error, InferError::Tensor { .. }), "{error}");
    assert_eq!(opened.engine.backend(), BackendKind::Rknn);
}

#[test]
fn a_build_that_computes_other_values_fails_the_self_test_and_is_skipped() {
    // The NPU's build has other weights: its library adds the element's number, the model does not.
    let (_root, good, libraries) = bundle("");
    let mut parts = common::small_parts();
    parts.other_files = BTreeMap::from([(
        "model.rknn".to_owned(),
        b"STANDIN\n\
          tensor in window 3 3 1 4 3 3 3 1 4 3 0 1 0 0 48\n\
          tensor out scores 3 2 1 5 3 2 1 5 0 1 0 0 20\n\
          tensor out shares 3 2 1 5 3 2 1 5 0 1 0 0 20\n"
            .to_vec(),
    )]);
    drop(good);
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("other"), &parts).unwrap();
    let opened = open_with(&bundle, &PREFERENCE, false, &libraries).unwrap();
    assert_eq!(opened.backend, BackendKind::Cpu);
    let reason = &opened.fallbacks[0].reason;
    assert!(
        reason.starts_with("self-test: window 0, output scores[0]"),
        "{reason}"
    );
}

#[test]
fn the_fastest_backend_is_selected_and_the_others_follow_it() {
    let (_root, bundle, libraries) = bundle("");
    let (opened, timings) = select_with(
        &bundle,
        &PREFERENCE,
        false,
        BackendPolicy::Fastest,
        &libraries,
    )
    .unwrap();
    let timed: Vec<BackendKind> = timings.iter().map(|timing| timing.backend).collect();
    assert_eq!(timed, [BackendKind::Rknn, BackendKind::Cpu]);
    let fastest = timings.iter().min_by_key(|timing| timing.window).unwrap();
    assert!(!fastest.window.is_zero());
    assert_eq!(opened.backend, fastest.backend);
    let skipped: Vec<BackendKind> = opened.fallbacks.iter().map(|one| one.backend).collect();
    assert_eq!(skipped, [BackendKind::Cuda]);
}

#[test]
fn the_first_policy_times_nothing() {
    let (_root, bundle, libraries) = bundle("");
    for (backends, strict) in [(&PREFERENCE[..], false), (&PREFERENCE[..1], true)] {
        let (opened, timings) =
            select_with(&bundle, backends, strict, BackendPolicy::First, &libraries).unwrap();
        assert_eq!((opened.backend, timings), (BackendKind::Rknn, Vec::new()));
    }
}

#[test]
fn strict_and_fastest_require_every_backend() {
    let (_root, bundle, libraries) = bundle("");
    let error = select_with(
        &bundle,
        &PREFERENCE,
        true,
        BackendPolicy::Fastest,
        &libraries,
    )
    .unwrap_err();
    assert!(
        matches!(&error, InferError::Strict { unavailable, .. } if unavailable.backend == BackendKind::Cuda),
        "{error}"
    );
    let none = [BackendKind::Cuda, BackendKind::Tensorrt];
    let error = select_with(&bundle, &none, false, BackendPolicy::Fastest, &libraries).unwrap_err();
    assert!(
        matches!(&error, InferError::NoBackend { tried, .. } if tried.len() == 2),
        "{error}"
    );
}

#[test]
fn the_fastest_backend_is_replaced_too_when_it_fails() {
    let (_root, bundle, libraries) = bundle("fail_run 1000 -3");
    let (mut opened, _) = select_with(
        &bundle,
        &PREFERENCE,
        false,
        BackendPolicy::Fastest,
        &libraries,
    )
    .unwrap();
    let mut outputs = vec![Vec::new()];
    for _ in 0..2_000 {
        let batch = batch();
        opened
            .engine
            .run(&[TensorView::f32(&[3, 4, 3], &batch)], &mut outputs)
            .unwrap();
        assert_eq!(outputs[0], [0.0, 1.0, 78.0, 79.0, 156.0, 157.0]);
    }
}
