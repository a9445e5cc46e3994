//! The official ONNX cases of recurrent nodes, computed by the layers.
//!
//! The GRU's official cases have the reset gate before the product. They agree with these layers where a case has one step
//! only, because the state that the gate scales is then 0.

use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use heqis_train::nets::layers::recurrent::{CellKind, RecurrentLayer};
use prost::Message;

use crate::common::elements;

/// The part of `TensorProto` that these cases use.
#[derive(Clone, PartialEq, Message)]
struct TensorFile {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

/// Shape and elements of a case's file.
fn read(case: &str, file: &str) -> (Vec<usize>, Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../heqis-infer/tests/data/onnx/node")
        .join(case)
        .join("test_data_set_0")
        .join(file);
    let tensor = TensorFile::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    let words = tensor.raw_data.as_chunks::<4>().0;
    (
        tensor.dims.iter().map(|&dim| dim as usize).collect(),
        words.iter().map(|&word| f32::from_le_bytes(word)).collect(),
    )
}

fn param<const D: usize>(data: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
    Param::from_data(TensorData::new(data, shape), &Device::flex())
}

fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|index| matrix[index % rows * columns + index / rows])
        .collect()
}

/// The layer of one direction of a case.
fn layer(case: &str, kind: CellKind, direction: usize) -> RecurrentLayer {
    let part = |file: &str| -> (usize, usize, Vec<f32>) {
        let (dims, data) = read(case, file);
        let (rows, columns) = (dims[1], dims.get(2).copied().unwrap_or(1));
        let data = data[direction * rows * columns..][..rows * columns].to_vec();
        (rows, columns, data)
    };
    let (width, inputs, w) = part("input_1.pb");
    let (_, hidden, r) = part("input_2.pb");
    let bias = match case.ends_with("bias") {
        true => part("input_3.pb").2,
        false => vec![0.0; 2 * width],
    };
    let (of_input, of_state) = bias.split_at(width);
    let (of_input, of_state) = match kind {
        CellKind::Gru => (of_input.to_vec(), Some(param(of_state.to_vec(), [width]))),
        _ => (
            of_input.iter().zip(of_state).map(|(a, b)| a + b).collect(),
            None,
        ),
    };
    RecurrentLayer {
        input: param(transposed(&w, width, inputs), [inputs, width]),
        recurrent: param(transposed(&r, width, hidden), [hidden, width]),
        input_bias: param(of_input, [width]),
        recurrent_bias: of_state,
        kind,
    }
}

#[test]
fn the_layers_agree_with_the_official_outputs() {
    use CellKind::{Gru, Lstm, Rnn};
    for (case, kind, backwards) in [
        ("test_gru_defaults", Gru, vec![false]),
        ("test_gru_with_initial_bias", Gru, vec![false]),
        ("test_lstm_defaults", Lstm, vec![false]),
        ("test_lstm_with_initial_bias", Lstm, vec![false]),
        ("test_lstm_reverse", Lstm, vec![true]),
        ("test_lstm_bidirectional", Lstm, vec![false, true]),
        ("test_simple_rnn_defaults", Rnn, vec![false]),
        ("test_simple_rnn_with_initial_bias", Rnn, vec![false]),
        ("test_simple_rnn_reverse", Rnn, vec![true]),
        ("test_simple_rnn_bidirectional", Rnn, vec![false, true]),
    ] {
        let (dims, x) = read(case, "input_0.pb");
        let [rows, batch, inputs] = dims[..] else {
            panic!("{dims:?}")
        };
        let mut ends = Vec::new();
        for (direction, &backward) in backwards.iter().enumerate() {
            let mut steps: Vec<Tensor<2>> = x
                .chunks(batch * inputs)
                .map(|step| {
                    let data = TensorData::new(step.to_vec(), [batch, inputs]);
                    Tensor::from_data(data, &Device::flex())
                })
                .collect();
            assert_eq!(steps.len(), rows);
            if backward {
                steps.reverse();
            }
            let states = layer(case, kind, direction).forward(&steps);
            ends.extend(elements(states.last().unwrap().clone()));
        }
        let (_, expected) = read(case, "output_0.pb");
        assert_eq!(ends.len(), expected.len(), "{case}");
        for (end, expected) in ends.iter().zip(&expected) {
            assert!((end - expected).abs() < 1e-6, "{case}: {end} {expected}");
        }
    }
}
