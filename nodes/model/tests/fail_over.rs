//! When a backend fails while it computes, the next one computes the same row from the same state, and the notes say so.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../heqis-infer/tests/stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeMap;
use std::path::Path;

use heqis_actors::{BuildContext, Clock, StageError};
use heqis_bundle::{BundleError, Layout, Role};
use heqis_infer::backend::RKNN_LIBRARY;
use heqis_infer::bundle::STATE_KEY;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{
    BackendKind, BackendPolicy, Bundle, BundleParts, Golden, GoldenWindow, Libraries, ModelState,
    Precision, TensorView, TrainingSpan,
};
use heqis_model::{ModelRequest, StageModel, ValidityPolicy};

/// A model that computes what the stand-in for the NPU does, `y = total' = total + x₀ + 2·x₁`, with its build for the NPU,
/// whose `fail_run`th run fails. Run 1 is the self-test.
fn running_total(dir: &Path, fail_run: u32) {
    let mut graph = GraphBuilder::new("running-total");
    let x = graph.input("x", &[1, 2]);
    let total = graph.input("total", &[1, 1]);
    let weights = graph.weights("weights", &[2, 1], &[1.0, 2.0]);
    let gain = graph.node("gain", "MatMul", &[&x, &weights], &[]);
    let y = graph.node("y", "Add", &[&gain, &total], &[]);
    let next = graph.node("total_next", "Identity", &[&y], &[]);
    graph.output(&y, &[1, 1]);
    graph.output(&next, &[1, 1]);
    graph.metadata(STATE_KEY, "total=total_next");
    let npu = format!(
        "STANDIN\n\
         tensor in x 3 2 1 2 3 2 1 2 0 1 0 0 8\n\
         tensor in total 3 2 1 1 3 2 1 1 0 1 0 0 4\n\
         tensor out y 3 2 1 1 3 2 1 1 0 1 0 0 4\n\
         tensor out total_next 3 2 1 1 3 2 1 1 0 1 0 0 4\n\
         fail_run {fail_run} -2\n"
    );
    let parts = BundleParts {
        name: "running-total".into(),
        task: "factors".into(),
        created_by: "a test".into(),
        precision: Precision::F32,
        model: graph.finish().unwrap(),
        scaler_params: b"{}".to_vec(),
        other_files: BTreeMap::from([("model.rknn".into(), npu.into_bytes())]),
        model_card: String::new(),
        feature_names: vec!["a".into(), "b".into()],
        window_bars: 1,
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
                label: "one".into(),
                inputs: BTreeMap::from([
                    ("x".into(), vec![1.0, 2.0]),
                    ("total".into(), vec![10.0]),
                ]),
                outputs: BTreeMap::from([
                    ("y".into(), vec![15.0]),
                    ("total_next".into(), vec![15.0]),
                ]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap();
}

/// A layout without rules.
struct AnyLayout;

impl Layout for AnyLayout {
    const ROLE: Role = Role::Factors;

    fn read(_: &Bundle) -> Result<Self, BundleError> {
        Ok(Self)
    }
}

fn open(dir: &Path, cx: &BuildContext, strict: bool) -> StageModel {
    let request = ModelRequest {
        bundle: dir,
        backends: &[BackendKind::Rknn, BackendKind::Cpu],
        strict,
        force: false,
        policy: BackendPolicy::First,
        validity: ValidityPolicy::default(),
    };
    let libraries = Libraries::from_env().with(RKNN_LIBRARY, stand_in::stand_in());
    StageModel::open_with::<AnyLayout>(&request, cx, libraries)
        .unwrap()
        .0
}

fn step(model: &mut StageModel, state: &mut ModelState, x: [f32; 2]) -> Result<f32, StageError> {
    model.run(state, &[TensorView::f32(&[1, 2], &x)])?;
    Ok(model.output(0)[0])
}

#[test]
fn the_next_backend_continues_from_the_same_state_and_the_failure_is_counted_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("engine", directory.path(), Clock::virtual_at(0));
    // The self-test, two steps of one series, one of the other; then the NPU fails.
    running_total(&directory.path().join("model"), 5);
    let mut model = open(Path::new("model"), &cx, false);
    let (mut one, mut other) = (ModelState::default(), ModelState::default());
    assert_eq!(step(&mut model, &mut one, [1.0, 1.0]), Ok(3.0));
    assert_eq!(step(&mut model, &mut one, [1.0, 0.0]), Ok(4.0));
    assert_eq!(step(&mut model, &mut other, [0.0, 50.0]), Ok(100.0));
    let report = || (cx.counter("fallback").get(), cx.counters().notes());
    let (count, notes) = report();
    assert_eq!((count, notes["backend"].as_str()), (0, "rknn"));
    assert_eq!(step(&mut model, &mut one, [0.0, 1.0]), Ok(6.0));
    let (count, notes) = report();
    assert_eq!((count, notes["backend"].as_str()), (1, "cpu"));
    assert!(notes["skipped.rknn"].contains("rknn_run returned -2"));
    assert_eq!(step(&mut model, &mut other, [0.0, 1.0]), Ok(102.0));
    assert_eq!(step(&mut model, &mut one, [0.0, 1.0]), Ok(8.0));
    assert_eq!(report().0, 1);
}

#[test]
fn strict_keeps_the_frame_and_the_state() {
    let directory = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("engine", directory.path(), Clock::virtual_at(0));
    running_total(&directory.path().join("model"), 3);
    let mut model = open(Path::new("model"), &cx, true);
    let mut state = ModelState::default();
    assert_eq!(step(&mut model, &mut state, [1.0, 1.0]), Ok(3.0));
    let before = state.clone();
    match step(&mut model, &mut state, [1.0, 1.0]) {
        // Each frame is kept while the stage is rebuilt.
        Err(StageError::Unavailable(reason)) => {
            assert!(reason.contains("rknn_run returned -2"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(state, before);
    assert_eq!(step(&mut model, &mut state, [1.0, 1.0]), Ok(6.0));
}

#[test]
fn an_input_that_is_not_finite_fails_its_frame_alone() {
    let directory = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("engine", directory.path(), Clock::virtual_at(0));
    running_total(&directory.path().join("model"), 0);
    let mut model = open(Path::new("model"), &cx, false);
    let mut state = ModelState::default();
    assert_eq!(step(&mut model, &mut state, [1.0, 1.0]), Ok(3.0));
    let failed = step(&mut model, &mut state, [f32::NAN, 1.0]);
    assert!(matches!(failed, Err(StageError::Failed(_))), "{failed:?}");
    assert_eq!(step(&mut model, &mut state, [1.0, 1.0]), Ok(6.0));
    assert_eq!(cx.counter("fallback").get(), 0);
}

#[test]
fn a_backend_with_too_many_invalid_results_is_replaced_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let cx = BuildContext::detached("engine", directory.path(), Clock::virtual_at(0));
    running_total(&directory.path().join("model"), 0);
    let mut model = open(Path::new("model"), &cx, false);
    let backend = || cx.counters().notes()["backend"].clone();
    let half = |model: &mut StageModel| model.record_validity((0..64).map(|row| row % 2 == 0));
    assert_eq!((half(&mut model), backend().as_str()), (Ok(()), "rknn"));
    assert_eq!(model.record_validity([true, false, false, false]), Ok(()));
    assert_eq!(
        (backend().as_str(), cx.counter("fallback").get()),
        ("cpu", 1)
    );
    let why = cx.counters().notes()["skipped.rknn"].clone();
    assert!(
        why.contains("the model is broken: 33 of the last 64"),
        "{why}"
    );
    // The next backend begins with an empty window, and is the last.
    let mut state = ModelState::default();
    assert_eq!(step(&mut model, &mut state, [1.0, 1.0]), Ok(3.0));
    assert_eq!(half(&mut model), Ok(()));
    match model.record_validity([false; 64]) {
        Err(StageError::Config(reason)) => {
            assert!(reason.contains(": no backend available: "), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}
