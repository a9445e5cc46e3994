//! A model with a state keeps it between steps, in RTen and in the real ONNX Runtime, and over a change of the engine.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use heqis_infer::backend::ORT_LIBRARY;
use heqis_infer::bundle::{SCALER_HASH_KEY, STATE_KEY, sha256_hex};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{
    BackendKind, Bundle, BundleParts, Engine, Golden, GoldenWindow, InferError, Libraries,
    ModelState, StatefulModel, TensorView, open_with,
};

/// Features of a bar, and hidden units.
const WIDTH: usize = 3;
const HIDDEN: usize = 4;

/// The cell by its definition: the state after a bar.
fn cell(h: &[f64; HIDDEN], bar: &[f32]) -> [f64; HIDDEN] {
    let (of_x, of_h) = (common::numbers(1, 12), common::numbers(2, 16));
    std::array::from_fn(|k| {
        let of_x = (0..WIDTH).map(|i| f64::from(bar[i]) * f64::from(of_x[i * HIDDEN + k]));
        let of_h = (0..HIDDEN).map(|i| h[i] * f64::from(of_h[i * HIDDEN + k]));
        of_x.chain(of_h).sum::<f64>().tanh()
    })
}

/// A bundle of the cell: its outputs are the next state `h_next` and `y`, the same values in another shape.
fn parts(states: &str) -> BundleParts {
    let mut graph = GraphBuilder::new("recurrent");
    let h = graph.input("h", &[1, HIDDEN]);
    let x = graph.input("x", &[1, WIDTH]);
    let of_x = graph.weights("of_x", &[WIDTH, HIDDEN], &common::numbers(1, 12));
    let of_h = graph.weights("of_h", &[HIDDEN, HIDDEN], &common::numbers(2, 16));
    let from_x = graph.node("from_x", "MatMul", &[&x, &of_x], &[]);
    let from_h = graph.node("from_h", "MatMul", &[&h, &of_h], &[]);
    let sum = graph.node("sum", "Add", &[&from_x, &from_h], &[]);
    let next = graph.node("h_next", "Tanh", &[&sum], &[]);
    let square = graph.int64s("square", &[1, 2, 2]);
    let y = graph.node("y", "Reshape", &[&next, &square], &[]);
    graph.output(&next, &[1, HIDDEN]);
    graph.output(&y, &[1, 2, 2]);
    graph.metadata(STATE_KEY, states);
    graph.metadata(SCALER_HASH_KEY, sha256_hex(common::SCALER));
    let bar = common::numbers(3, WIDTH);
    let after = cell(&[0.0; HIDDEN], &bar)
        .map(|value| value as f32)
        .to_vec();
    BundleParts {
        name: "recurrent".to_owned(),
        model: graph.finish().unwrap(),
        window_bars: 1,
        golden: Golden {
            tolerance: 1e-5,
            windows: vec![GoldenWindow {
                label: "first".to_owned(),
                inputs: BTreeMap::from([
                    ("x".to_owned(), bar),
                    ("h".to_owned(), vec![0.0; HIDDEN]),
                ]),
                outputs: BTreeMap::from([
                    ("h_next".to_owned(), after.clone()),
                    ("y".to_owned(), after),
                ]),
            }],
        },
        ..common::small_parts()
    }
}

/// An opened engine of each backend that this machine can test.
fn engines(bundle: &Bundle) -> Vec<Box<dyn Engine>> {
    let libraries = Libraries::from_env().with(ORT_LIBRARY, common::onnx_runtime());
    let open = |backend| {
        open_with(bundle, &[backend], true, &libraries)
            .unwrap()
            .engine
    };
    [BackendKind::Cpu, BackendKind::Ort].map(open).into()
}

/// Asserts that a step gives the values of the definition after `expected`, and advances that.
fn step(
    model: &mut StatefulModel,
    state: &mut ModelState,
    expected: &mut [f64; HIDDEN],
    bar: &[f32],
) {
    model
        .step(state, &[TensorView::f32(&[1, WIDTH], bar)])
        .unwrap();
    *expected = cell(expected, bar);
    let got = model.output(0);
    assert_eq!(got.len(), HIDDEN);
    for (got, expected) in got.iter().zip(expected) {
        assert!(
            (f64::from(*got) - *expected).abs() <= 1e-5,
            "{got} {expected}"
        );
    }
}

#[test]
fn the_state_continues_from_step_to_step_for_each_series_and_over_a_change_of_the_engine() {
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("recurrent"), &parts("h=h_next")).unwrap();
    assert!(bundle.is_stateful());
    let names = |specs: Vec<&heqis_infer::TensorSpec>| -> Vec<String> {
        specs.iter().map(|spec| spec.name.clone()).collect()
    };
    assert_eq!(names(bundle.inputs().collect()), ["x"]);
    assert_eq!(names(bundle.outputs().collect()), ["y"]);
    let bars = common::numbers(9, 30 * WIDTH);
    let mut states = [ModelState::default(), ModelState::default()];
    let mut expected = [[0.0; HIDDEN]; 2];
    // The second engine continues from the state that the first has left.
    for engine in engines(&bundle) {
        let mut model = StatefulModel::new(&bundle, engine);
        for (position, bar) in bars.chunks_exact(WIDTH).enumerate() {
            let which = usize::from(position % 3 == 0);
            step(&mut model, &mut states[which], &mut expected[which], bar);
        }
    }
    assert_ne!(states[0], states[1]);
}

#[test]
fn a_step_that_fails_leaves_the_state_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("recurrent"), &parts("h=h_next")).unwrap();
    let bars = common::numbers(9, 2 * WIDTH);
    for engine in engines(&bundle) {
        let mut model = StatefulModel::new(&bundle, engine);
        let (mut state, mut expected) = (ModelState::default(), [0.0; HIDDEN]);
        step(&mut model, &mut state, &mut expected, &bars[..WIDTH]);
        let before = state.clone();
        let nan = [f32::NAN; WIDTH];
        let good = &bars[WIDTH..];
        for wrong in [
            vec![TensorView::f32(&[1, WIDTH], &nan)],
            vec![TensorView::f32(&[2, WIDTH], &bars)],
            vec![TensorView::f32(&[1, WIDTH], good); 2],
            vec![],
        ] {
            let error = model.step(&mut state, &wrong).unwrap_err();
            assert!(matches!(error, InferError::Tensor { .. }), "{error}");
            assert_eq!(state, before);
        }
        step(&mut model, &mut state, &mut expected, good);
    }
}

#[test]
fn states_that_do_not_fit_the_model_are_faults_of_the_bundle() {
    let root = tempfile::tempdir().unwrap();
    let refuse = |states: &str| {
        let error = Bundle::write(root.path().join("recurrent"), &parts(states)).unwrap_err();
        let words = error.to_string();
        words.split_once("model.onnx: ").unwrap().1.to_owned()
    };
    assert_eq!(refuse("h"), "heqis.state must be input=output,…, got \"h\"");
    assert_eq!(refuse("c=h_next"), "heqis.state: the model has no input c");
    assert_eq!(refuse("h=c"), "heqis.state: the model has no output c");
    assert_eq!(
        refuse("h=y"),
        "heqis.state: h takes f32 [1, 4], y gives f32 [1, 2, 2]"
    );
    assert_eq!(
        refuse("h=h_next,h=h_next"),
        "heqis.state: h=h_next uses a tensor twice"
    );
}

#[test]
fn a_next_state_that_is_not_finite_leaves_the_state_unchanged() {
    let root = tempfile::tempdir().unwrap();
    let mut graph = GraphBuilder::new("squares");
    let x = graph.input("x", &[1, 1]);
    let h = graph.input("h", &[1, 1]);
    let y = graph.node("y", "Mul", &[&x, &x], &[]);
    let next = graph.node("h_next", "Add", &[&y, &h], &[]);
    graph.output(&y, &[1, 1]);
    graph.output(&next, &[1, 1]);
    graph.metadata(STATE_KEY, "h=h_next");
    let zero = || vec![0.0];
    let template = parts("h=h_next");
    let one = BundleParts {
        model: graph.finish().unwrap(),
        golden: Golden {
            tolerance: 0.0,
            windows: vec![GoldenWindow {
                label: "zero".into(),
                inputs: BTreeMap::from([("x".into(), zero()), ("h".into(), zero())]),
                outputs: BTreeMap::from([("y".into(), zero()), ("h_next".into(), zero())]),
            }],
        },
        ..template
    };
    let bundle = Bundle::write(root.path().join("squares"), &one).unwrap();
    let engine = heqis_infer::open(&bundle, &[BackendKind::Cpu], true)
        .unwrap()
        .engine;
    let mut model = StatefulModel::new(&bundle, engine);
    let mut state = ModelState::default();
    let mut give = |model: &mut StatefulModel, x: f32| {
        model
            .step(&mut state, &[TensorView::f32(&[1, 1], &[x])])
            .unwrap();
        (model.output(0)[0], state.clone())
    };
    let (_, before) = give(&mut model, 2.0);
    let (y, after) = give(&mut model, 1e30);
    assert_eq!((y, after), (f32::INFINITY, before));
    assert_eq!(model.kept_states(), 1);
    let (y, after) = give(&mut model, 3.0);
    assert_eq!(y, 9.0);
    assert_eq!(format!("{after:?}"), "ModelState([[13.0]])");
}
