//! The official ONNX test cases for LSTM, GRU and RNN through the CPU backend.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use heqis_infer::{CpuEngine, Engine, InferError, TensorView};
use prost::Message;

/// The part of `TensorProto` that these cases use.
#[derive(Clone, PartialEq, Message)]
struct TensorFile {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl TensorFile {
    fn read(path: &Path) -> Self {
        let tensor = TensorFile::decode(fs::read(path).unwrap().as_slice()).unwrap();
        assert_eq!(tensor.data_type, 1, "{} must be f32", path.display());
        tensor
    }

    fn shape(&self) -> Vec<usize> {
        self.dims
            .iter()
            .map(|&dim| usize::try_from(dim).unwrap())
            .collect()
    }

    fn data(&self) -> Vec<f32> {
        self.raw_data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word))
            .collect()
    }
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/onnx/node")
        .join(name)
}

/// Runs a case and returns the largest absolute difference of any output element.
fn max_abs_error(name: &str) -> Result<f32, InferError> {
    let dir = case(name);
    let mut engine = CpuEngine::load(&fs::read(dir.join("model.onnx")).unwrap())?;
    let read = |kind: &str, count: usize| -> Vec<TensorFile> {
        (0..count)
            .map(|i| TensorFile::read(&dir.join(format!("test_data_set_0/{kind}_{i}.pb"))))
            .collect()
    };
    let (inputs, expected) = (
        read("input", engine.inputs().len()),
        read("output", engine.outputs().len()),
    );
    let tensors: Vec<_> = inputs
        .iter()
        .map(|tensor| (tensor.shape(), tensor.data()))
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(shape, data)| TensorView::f32(shape, data))
        .collect();
    let mut outputs = vec![Vec::new(); expected.len()];
    engine.run(&views, &mut outputs)?;
    let mut worst = 0.0_f32;
    for ((expected, got), spec) in expected.iter().zip(&outputs).zip(engine.outputs()) {
        assert_eq!(expected.shape(), spec.shape, "{name}: {}", spec.name);
        assert_eq!(expected.data().len(), got.len(), "{name}: {}", spec.name);
        for (expected, got) in expected.data().iter().zip(got) {
            worst = worst.max((expected - got).abs());
        }
    }
    Ok(worst)
}

/// Cases that RTen computes.
const SUPPORTED: [&str; 4] = [
    "test_lstm_bidirectional",
    "test_lstm_defaults",
    "test_lstm_reverse",
    "test_lstm_with_initial_bias",
];

/// Cases that RTen 0.27 refuses, with the words that say why. Nets exported by this project avoid all three: they use
/// no RNN node and no peepholes, and a GRU only with `linear_before_reset=1`.
const REFUSED: [(&str, &str); 10] = [
    (
        "test_gru_bidirectional",
        "`linear_before_reset=0` is not supported",
    ),
    (
        "test_gru_defaults",
        "`linear_before_reset=0` is not supported",
    ),
    (
        "test_gru_reverse",
        "`linear_before_reset=0` is not supported",
    ),
    (
        "test_gru_seq_length",
        "`linear_before_reset=0` is not supported",
    ),
    (
        "test_gru_with_initial_bias",
        "`linear_before_reset=0` is not supported",
    ),
    (
        "test_lstm_with_peepholes",
        "operator has 8 inputs but maximum is 7",
    ),
    (
        "test_simple_rnn_bidirectional",
        "operator not supported: RNN",
    ),
    ("test_simple_rnn_defaults", "operator not supported: RNN"),
    ("test_simple_rnn_reverse", "operator not supported: RNN"),
    (
        "test_simple_rnn_with_initial_bias",
        "operator not supported: RNN",
    ),
];

#[test]
fn supported_cases_agree_with_the_official_outputs() {
    for name in SUPPORTED {
        let error = max_abs_error(name).unwrap();
        assert!(error <= 1e-6, "{name}: largest absolute error {error:e}");
    }
}

#[test]
fn refused_cases_say_why() {
    for (name, words) in REFUSED {
        let message = max_abs_error(name).unwrap_err().to_string();
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[test]
fn every_case_of_the_folder_is_accounted_for() {
    let mut folder: Vec<String> = fs::read_dir(case(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folder.sort();
    let mut listed: Vec<&str> = SUPPORTED
        .into_iter()
        .chain(REFUSED.map(|(name, _)| name))
        .collect();
    listed.sort_unstable();
    assert_eq!(folder, listed);
}
