//! ONNX Runtime as a backend, with the real library: the one of the tests' Python.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use heqis_infer::backend::ORT_LIBRARY;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::ort::{OrtFault, Provider};
use heqis_infer::{
    BackendKind, Bundle, CpuEngine, Engine, InferError, Libraries, OrtEngine, TensorView, open_with,
};

fn load(library: &Path, model: &[u8]) -> Result<OrtEngine, OrtFault> {
    OrtEngine::load(library, model, Provider::Cpu, Path::new(""))
}

#[test]
fn a_batch_has_the_bits_of_its_rows_and_the_values_of_the_definition() {
    let library = common::onnx_runtime();
    let mut engine = load(&library, &common::small_model()).unwrap();
    assert_eq!(engine.backend(), BackendKind::Ort);
    let rows = common::numbers(7, 36);
    let mut batch = vec![Vec::new(), Vec::new()];
    engine
        .run(&[TensorView::f32(&[3, 4, 3], &rows)], &mut batch)
        .unwrap();
    for (row, window) in rows.chunks_exact(12).enumerate() {
        let mut alone = vec![Vec::new(), Vec::new()];
        engine
            .run(&[TensorView::f32(&[1, 4, 3], window)], &mut alone)
            .unwrap();
        let (scores, shares) = common::reference(window);
        for (output, expected) in [scores, shares].iter().enumerate() {
            assert_eq!(alone[output], batch[output][5 * row..5 * row + 5]);
            for (got, expected) in alone[output].iter().zip(expected) {
                assert!((got - expected).abs() <= 1e-6, "{got} {expected}");
            }
        }
    }
}

#[test]
fn bad_inputs_are_refused_as_by_every_other_backend() {
    let library = common::onnx_runtime();
    let mut engines: [Box<dyn Engine>; 2] = [
        Box::new(load(&library, &common::small_model()).unwrap()),
        Box::new(CpuEngine::load(&common::small_model()).unwrap()),
    ];
    let nan = [f32::NAN; 12];
    for view in [
        TensorView::f32(&[1, 4, 3], &nan),
        TensorView::f32(&[1, 4, 3], &nan[..11]),
        TensorView::f32(&[1, 3, 4], &[0.0; 12]),
        TensorView::i32(&[1, 4, 3], &[0; 12]),
    ] {
        let [ort, rten] = engines.each_mut().map(|engine| {
            let error = engine
                .run(&[view], &mut [Vec::new(), Vec::new()])
                .unwrap_err();
            assert!(matches!(error, InferError::Tensor { .. }), "{error}");
            error.to_string()
        });
        assert_eq!(ort, rten);
    }
}

#[test]
fn what_the_library_lacks_is_named() {
    let library = common::onnx_runtime();
    let mut graph = GraphBuilder::new("strange");
    let x = graph.input("x", &[1, 2]);
    let y = graph.node("y", "Somersault", &[&x], &[]);
    graph.output(&y, &[1, 2]);
    let strange = graph.finish().unwrap();
    assert_eq!(
        load(&library, &strange).unwrap_err(),
        OrtFault::Operator("Somersault".to_owned())
    );
    assert!(matches!(
        CpuEngine::load(&strange).unwrap_err(),
        InferError::OperatorNotSupported { operator, .. } if operator == "Somersault"
    ));
    // Known, but not for this type.
    let mut graph = GraphBuilder::new("words");
    let x = graph.input("x", &[1, 2]);
    let y = graph.node("y", "StringNormalizer", &[&x], &[]);
    graph.output(&y, &[2]);
    let fault = load(&library, &graph.finish().unwrap()).unwrap_err();
    assert!(
        matches!(&fault, OrtFault::Model(words) if words.contains("StringNormalizer")),
        "{fault}"
    );
    // Classical operators are there, but labels and maps are nothing that an engine gives.
    let iris =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/logreg_iris.onnx"));
    let fault = load(&library, &iris.unwrap()).unwrap_err();
    assert!(matches!(fault, OrtFault::Signature(_)), "{fault}");
    let fault = load(&library, b"not a model").unwrap_err();
    assert!(matches!(fault, OrtFault::Signature(_)), "{fault}");
    // An addition of shapes that do not fit.
    let mut graph = GraphBuilder::new("misfit");
    let x = graph.input("x", &[1, 2]);
    let three = graph.weights("three", &[3], &[1.0; 3]);
    let y = graph.node("y", "Add", &[&x, &three], &[]);
    graph.output(&y, &[1, 2]);
    let fault = load(&library, &graph.finish().unwrap()).unwrap_err();
    assert!(matches!(fault, OrtFault::Model(_)), "{fault}");
}

#[test]
fn providers_that_the_library_lacks_are_skipped_with_its_message() {
    let library = common::onnx_runtime();
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("small"), &common::small_parts()).unwrap();
    let libraries = Libraries::from_env()
        .with(ORT_LIBRARY, library)
        .with_cache(root.path());
    let list = [
        BackendKind::OrtTensorrt,
        BackendKind::Cuda,
        BackendKind::Ort,
        BackendKind::Cpu,
    ];
    let opened = open_with(&bundle, &list, false, &libraries).unwrap();
    assert_eq!(opened.backend, BackendKind::Ort);
    assert_eq!(opened.self_test.windows, 2);
    let reasons: Vec<String> = opened.fallbacks.iter().map(ToString::to_string).collect();
    assert!(
        reasons[0].starts_with("backend ort-tensorrt unavailable: execution provider tensorrt: "),
        "{reasons:?}"
    );
    assert!(
        reasons[1].starts_with("backend cuda unavailable: execution provider cuda: "),
        "{reasons:?}"
    );
}
