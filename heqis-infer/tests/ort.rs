//! ONNX Runtime as a backend, with the real library: the one of the tests' Python.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use heqis_infer::onnx::GraphBuilder;
use heqis_infer::ort::{OrtFault, Provider};
use heqis_infer::{
    BackendKind, Bundle, CpuEngine, Engine, InferError, Libraries, OrtEngine, Stream, TensorView,
    Tick, open_with,
};

fn load(library: &Path, model: &[u8]) -> Result<OrtEngine, OrtFault> {
    OrtEngine::load(library, model, Provider::Cpu, Path::new(""))
}

#[test]
fn a_batch_has_the_bits_of_its_rows_and_the_values_of_the_definition() {
    let Some(library) = common::onnx_runtime() else {
        return;
    };
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
    let Some(library) = common::onnx_runtime() else {
        return;
    };
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
    let Some(library) = common::onnx_runtime() else {
        return;
    };
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
fn providers_that_the_library_was_built_without_are_passed_over_with_its_words() {
    let Some(library) = common::onnx_runtime() else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("small"), &common::small_parts()).unwrap();
    let libraries = Libraries {
        ort: library,
        cache: root.path().to_owned(),
        ..Libraries::from_env()
    };
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

/// Hidden units of the recurrent models.
const HIDDEN: usize = 4;

/// A recurrent cell, unrolled over `steps` bars of 3 features, from the state `h` to `h_next`; output `y` is the state
/// after the last bar in another shape.
fn recurrent(steps: usize) -> Vec<u8> {
    let mut graph = GraphBuilder::new("recurrent");
    let x = graph.input("x", &[1, 3 * steps]);
    let mut h = graph.input("h", &[1, HIDDEN]);
    let of_x = graph.weights("of_x", &[3, HIDDEN], &common::numbers(1, 12));
    let of_h = graph.weights("of_h", &[HIDDEN, HIDDEN], &common::numbers(2, 16));
    let axes = graph.int64s("axes", &[1]);
    for step in 0..steps {
        let at = 3 * step as i64;
        let name = |what: &str| format!("{what}_{step}");
        let starts = graph.int64s(&name("starts"), &[at]);
        let ends = graph.int64s(&name("ends"), &[at + 3]);
        let bar = graph.node(&name("bar"), "Slice", &[&x, &starts, &ends, &axes], &[]);
        let from_x = graph.node(&name("from_x"), "MatMul", &[&bar, &of_x], &[]);
        let from_h = graph.node(&name("from_h"), "MatMul", &[&h, &of_h], &[]);
        let sum = graph.node(&name("sum"), "Add", &[&from_x, &from_h], &[]);
        h = graph.node(&name("state"), "Tanh", &[&sum], &[]);
    }
    let square = graph.int64s("square", &[1, 2, 2]);
    let y = graph.node("y", "Reshape", &[&h, &square], &[]);
    let next = graph.node("h_next", "Identity", &[&h], &[]);
    graph.output(&y, &[1, 2, 2]);
    graph.output(&next, &[1, HIDDEN]);
    graph.finish().unwrap()
}

/// What the engine gives for whole sequences of bars from a state of zero.
fn whole(engine: &mut dyn Engine, bars: &[f32]) -> Vec<f32> {
    let mut out = vec![Vec::new(), Vec::new()];
    let shape = [1, bars.len()];
    let inputs = [
        TensorView::f32(&shape, bars),
        TensorView::f32(&[1, HIDDEN], &[0.0; HIDDEN]),
    ];
    engine.run(&inputs, &mut out).unwrap();
    out.swap_remove(0)
}

#[test]
fn a_streaming_model_keeps_its_state_between_ticks_and_forgets_it_over_a_gap() {
    type Load = Box<dyn Fn(&[u8]) -> Box<dyn Engine>>;
    let mut loads: Vec<Load> = vec![Box::new(|model| Box::new(CpuEngine::load(model).unwrap()))];
    if let Some(library) = common::onnx_runtime() {
        loads.push(Box::new(move |model| {
            Box::new(load(&library, model).unwrap())
        }));
    }
    let bars = common::numbers(9, 30);
    for load in loads {
        let close = |got: &[f32], expected: &[f32]| {
            let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(
                worst.clone().all(|error| error <= 1e-6),
                "{got:?} {expected:?}"
            );
            assert_eq!(got.len(), expected.len());
        };
        let mut stream = Stream::new(load(&recurrent(1)), &[("h", "h_next")]).unwrap();
        let tick = |stream: &mut Stream, sequence: u64, bar: usize| {
            let mut out = vec![Vec::new()];
            let view = TensorView::f32(&[1, 3], &bars[3 * bar..3 * bar + 3]);
            let tick = stream.tick(sequence, &[view], &mut out).unwrap();
            (tick, out.swap_remove(0))
        };
        // Ten ticks are one sequence of ten.
        for bar in 0..10 {
            let (kind, got) = tick(&mut stream, 100 + bar as u64, bar);
            assert_eq!(
                kind,
                if bar == 0 {
                    Tick::Fresh
                } else {
                    Tick::Continued
                }
            );
            let expected = whole(load(&recurrent(bar + 1)).as_mut(), &bars[..3 * bar + 3]);
            close(&got, &expected);
        }
        // Tick 110 is lost: 111 begins anew, and 112 goes on from there.
        assert_eq!(tick(&mut stream, 111, 4).0, Tick::Fresh);
        let (kind, got) = tick(&mut stream, 112, 5);
        assert_eq!(kind, Tick::Continued);
        close(&got, &whole(load(&recurrent(2)).as_mut(), &bars[12..18]));
        // A refused tick changes nothing.
        let nan = [f32::NAN; 3];
        let view = TensorView::f32(&[1, 3], &nan);
        stream.tick(113, &[view], &mut [Vec::new()]).unwrap_err();
        let (kind, got) = tick(&mut stream, 113, 6);
        assert_eq!(kind, Tick::Continued);
        close(&got, &whole(load(&recurrent(3)).as_mut(), &bars[12..21]));
        stream.reset();
        assert_eq!(tick(&mut stream, 114, 0).0, Tick::Fresh);
    }
}

#[test]
fn states_that_do_not_fit_the_model_are_refused() {
    let refuse = |pairs: &[(&str, &str)]| {
        let engine = Box::new(CpuEngine::load(&recurrent(1)).unwrap());
        Stream::new(engine, pairs).unwrap_err().to_string()
    };
    assert_eq!(
        refuse(&[("c", "h_next")]),
        "state: the model has no input c"
    );
    assert_eq!(refuse(&[("h", "c")]), "state: the model has no output c");
    assert_eq!(
        refuse(&[("h", "y")]),
        "state: h takes f32 [1, 4], y gives f32 [1, 2, 2]"
    );
    assert_eq!(
        refuse(&[("h", "h_next"), ("h", "h_next")]),
        "state: h=h_next uses a tensor twice"
    );
}
