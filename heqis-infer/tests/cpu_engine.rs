//! The CPU backend's results and refusals.
#![allow(clippy::unwrap_used)]

mod common;

use common::{numbers, reference, small_model};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::tensor::TensorFault;
use heqis_infer::{BackendKind, CpuEngine, Engine, InferError, TensorSpec, TensorView};
use proptest::prelude::*;

fn run(engine: &mut CpuEngine, rows: usize, data: &[f32]) -> Result<Vec<Vec<f32>>, InferError> {
    let mut outputs = vec![Vec::new(), Vec::new()];
    engine.run(&[TensorView::f32(&[rows, 4, 3], data)], &mut outputs)?;
    Ok(outputs)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn names_types_and_shapes_are_those_of_the_file() {
    let engine = CpuEngine::load(&small_model()).unwrap();
    assert_eq!(engine.backend(), BackendKind::Cpu);
    assert_eq!(engine.inputs(), [TensorSpec::f32("window", [1, 4, 3])]);
    assert_eq!(
        engine.outputs(),
        [
            TensorSpec::f32("scores", [1, 5]),
            TensorSpec::f32("shares", [1, 5])
        ]
    );
}

#[test]
fn outputs_agree_with_the_formula_in_f64() {
    let mut engine = CpuEngine::load(&small_model()).unwrap();
    for seed in 0..50 {
        let window = numbers(seed, 12);
        let (scores, shares) = reference(&window);
        let outputs = run(&mut engine, 1, &window).unwrap();
        for (expected, got) in scores.iter().chain(&shares).zip(outputs.iter().flatten()) {
            assert!(
                (expected - got).abs() <= 2e-6,
                "seed {seed}: {expected} {got}"
            );
        }
    }
}

proptest! {
    #[test]
    fn each_row_of_a_batch_has_the_bits_of_a_call_with_that_row_alone(
        rows in 1_usize..20,
        seed in any::<u64>(),
        scale in prop::sample::select(vec![1e-6_f32, 1.0, 1e3]),
    ) {
        let mut engine = CpuEngine::load(&small_model()).unwrap();
        let data: Vec<f32> = numbers(seed, rows * 12).iter().map(|value| value * scale).collect();
        let batch = run(&mut engine, rows, &data).unwrap();
        for row in 0..rows {
            let alone = run(&mut engine, 1, &data[row * 12..(row + 1) * 12]).unwrap();
            for (batch, alone) in batch.iter().zip(&alone) {
                prop_assert_eq!(bits(&batch[row * 5..(row + 1) * 5]), bits(alone));
            }
        }
    }
}

#[test]
fn two_engines_of_one_model_give_the_same_bits() {
    let mut engines = [
        CpuEngine::load(&small_model()).unwrap(),
        CpuEngine::load(&small_model()).unwrap(),
    ];
    let data = numbers(7, 12 * 16);
    let [first, second] = engines
        .each_mut()
        .map(|engine| run(engine, 16, &data).unwrap());
    assert_eq!(bits(&first.concat()), bits(&second.concat()));
}

#[test]
fn a_call_on_the_engines_own_thread_gives_the_same_bits() {
    let mut engine = CpuEngine::load(&small_model()).unwrap();
    let data = numbers(8, 24);
    let outside = run(&mut engine, 2, &data).unwrap();
    let thread = engine.thread();
    let inside = thread.run(|| run(&mut engine, 2, &data).unwrap());
    assert_eq!(bits(&outside.concat()), bits(&inside.concat()));
}

#[test]
fn earlier_content_of_the_buffers_is_replaced() {
    let mut engine = CpuEngine::load(&small_model()).unwrap();
    let data = numbers(9, 12);
    let fresh = run(&mut engine, 1, &data).unwrap();
    let mut used = vec![vec![9.0; 100], vec![9.0; 3]];
    engine
        .run(&[TensorView::f32(&[1, 4, 3], &data)], &mut used)
        .unwrap();
    assert_eq!(used, fresh);
}

fn tensor_fault(result: Result<(), InferError>) -> (String, TensorFault) {
    match result.unwrap_err() {
        InferError::Tensor { tensor, fault } => (tensor, fault),
        other => panic!("expected a tensor fault, got {other}"),
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name_and_rule() {
    let mut engine = CpuEngine::load(&small_model()).unwrap();
    let data = numbers(3, 24);
    let mut outputs = vec![Vec::new(), Vec::new()];
    let ints = [1_i32; 12];

    let fault = tensor_fault(engine.run(&[], &mut outputs));
    assert_eq!(
        fault,
        (
            "inputs".to_owned(),
            TensorFault::Count {
                expected: 1,
                got: 0
            }
        )
    );
    let fault = tensor_fault(engine.run(
        &[TensorView::f32(&[1, 4, 3], &data[..12])],
        &mut outputs[..1],
    ));
    assert_eq!(
        fault,
        (
            "outputs".to_owned(),
            TensorFault::Count {
                expected: 2,
                got: 1
            }
        )
    );
    for shape in [&[1, 3, 4][..], &[4, 3], &[1, 12], &[1, 4, 3, 1]] {
        let (tensor, fault) =
            tensor_fault(engine.run(&[TensorView::f32(shape, &data[..12])], &mut outputs));
        assert_eq!(tensor, "window");
        assert!(
            matches!(fault, TensorFault::Shape { .. }),
            "{shape:?}: {fault}"
        );
    }
    let (_, fault) =
        tensor_fault(engine.run(&[TensorView::f32(&[2, 4, 3], &data[..23])], &mut outputs));
    assert_eq!(
        fault,
        TensorFault::Length {
            shape: vec![2, 4, 3],
            expected: 24,
            got: 23
        }
    );
    let (_, fault) =
        tensor_fault(engine.run(&[TensorView::f32(&[usize::MAX, 4, 3], &data)], &mut outputs));
    assert!(matches!(fault, TensorFault::Length { .. }), "{fault}");
    let (_, fault) = tensor_fault(engine.run(&[TensorView::i32(&[1, 4, 3], &ints)], &mut outputs));
    assert!(matches!(fault, TensorFault::Dtype { .. }), "{fault}");
}

#[test]
fn a_value_that_is_not_finite_is_refused_by_index() {
    let mut engine = CpuEngine::load(&small_model()).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut data = numbers(3, 12);
        data[7] = bad;
        let message = run(&mut engine, 1, &data).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("tensor window: element 7 is {bad}; every value must be finite")
        );
    }
}

#[test]
fn an_output_that_overflows_is_returned_and_affects_no_other_row() {
    let mut graph = GraphBuilder::new("overflow");
    let x = graph.input("x", &[1, 1]);
    let y = graph.node("y", "Mul", &[&x, &x], &[]);
    graph.output(&y, &[1, 1]);
    let mut engine = CpuEngine::load(&graph.finish().unwrap()).unwrap();
    let mut outputs = vec![Vec::new()];
    engine
        .run(&[TensorView::f32(&[3, 1], &[2.0, 1e30, 3.0])], &mut outputs)
        .unwrap();
    assert_eq!(outputs, [[4.0, f32::INFINITY, 9.0]]);
}

#[test]
fn an_output_of_another_shape_than_declared_is_an_error() {
    let mut graph = GraphBuilder::new("wrong shape");
    let x = graph.input("x", &[1, 2]);
    let y = graph.node("y", "Neg", &[&x], &[]);
    graph.output(&y, &[1, 3]);
    // The runtime may detect it at load time or at run time; one of the two must.
    let result = CpuEngine::load(&graph.finish().unwrap()).and_then(|mut engine| {
        engine.run(&[TensorView::f32(&[1, 2], &[1.0, 2.0])], &mut [Vec::new()])
    });
    let message = result.unwrap_err().to_string();
    assert!(
        message.contains("output y must have shape [1, 3], got [1, 2]"),
        "{message}"
    );
}

#[test]
fn an_operator_that_the_runtime_lacks_is_named() {
    let mut graph = GraphBuilder::new("unknown");
    let x = graph.input("x", &[1, 2]);
    let y = graph.node("y", "Levitate", &[&x], &[]);
    graph.output(&y, &[1, 2]);
    let error = CpuEngine::load(&graph.finish().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "backend cpu: operator not supported: Levitate"
    );
}

#[test]
fn a_real_model_with_classical_operators_is_refused_with_the_operators_name() {
    let model = include_bytes!("data/logreg_iris.onnx");
    let message = CpuEngine::load(model).unwrap_err().to_string();
    assert_eq!(
        message,
        "backend cpu: operator not supported: ai.onnx.ml/LinearClassifier"
    );
}
