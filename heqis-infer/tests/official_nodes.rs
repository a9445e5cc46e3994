//! The official ONNX test cases for LSTM, GRU and RNN in RTen and in ONNX Runtime: what each computes, and why not.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use heqis_infer::ort::Provider;
use heqis_infer::{CpuEngine, Engine, OrtEngine, TensorView};
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
        let place = path.display();
        assert!(
            matches!(tensor.data_type, 1 | 6),
            "{place} must be f32 or i32"
        );
        tensor
    }

    fn shape(&self) -> Vec<usize> {
        self.dims
            .iter()
            .map(|&dim| usize::try_from(dim).unwrap())
            .collect()
    }

    fn words(&self) -> impl Iterator<Item = [u8; 4]> {
        self.raw_data.as_chunks::<4>().0.iter().copied()
    }

    fn data(&self) -> Vec<f32> {
        self.words().map(f32::from_le_bytes).collect()
    }
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/onnx/node")
        .join(name)
}

/// Loads a case's model in one of the runtimes.
type Load<'a> = &'a dyn Fn(&[u8]) -> Result<Box<dyn Engine>, String>;

fn rten(model: &[u8]) -> Result<Box<dyn Engine>, String> {
    CpuEngine::load(model)
        .map(|engine| Box::new(engine) as Box<dyn Engine>)
        .map_err(|error| error.to_string())
}

/// Runs a case and returns the largest absolute difference of any output element.
fn max_abs_error(name: &str, load: Load<'_>) -> Result<f32, String> {
    let dir = case(name);
    let mut engine = load(&fs::read(dir.join("model.onnx")).unwrap())?;
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
        .map(|tensor| {
            let ints: Vec<i32> = tensor.words().map(i32::from_le_bytes).collect();
            (tensor.shape(), tensor.data(), ints, tensor.data_type)
        })
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(shape, floats, ints, data_type)| match data_type {
            1 => TensorView::f32(shape, floats),
            _ => TensorView::i32(shape, ints),
        })
        .collect();
    let mut outputs = vec![Vec::new(); expected.len()];
    engine
        .run(&views, &mut outputs)
        .map_err(|error| error.to_string())?;
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

/// What RTen 0.27 says of what it lacks. Nets exported by this project avoid all three: they use no RNN node and no
/// peepholes, and a GRU only with `linear_before_reset=1`.
const RESET: Option<&str> = Some("`linear_before_reset=0` is not supported");
const PEEPHOLES: Option<&str> = Some("operator has 8 inputs but maximum is 7");
const RNN: Option<&str> = Some("operator not supported: RNN");

/// Each case with RTen's refusal, or `None` where it computes the case. ONNX Runtime computes them all.
const CASES: [(&str, Option<&str>); 14] = [
    ("test_gru_bidirectional", RESET),
    ("test_gru_defaults", RESET),
    ("test_gru_reverse", RESET),
    ("test_gru_seq_length", RESET),
    ("test_gru_with_initial_bias", RESET),
    ("test_lstm_bidirectional", None),
    ("test_lstm_defaults", None),
    ("test_lstm_reverse", None),
    ("test_lstm_with_initial_bias", None),
    ("test_lstm_with_peepholes", PEEPHOLES),
    ("test_simple_rnn_bidirectional", RNN),
    ("test_simple_rnn_defaults", RNN),
    ("test_simple_rnn_reverse", RNN),
    ("test_simple_rnn_with_initial_bias", RNN),
];

#[test]
fn rten_agrees_with_the_official_outputs_or_says_why_not() {
    for (name, refusal) in CASES {
        match (max_abs_error(name, &rten), refusal) {
            (Ok(error), None) => assert!(error <= 1e-6, "{name}: largest error {error:e}"),
            (Err(message), Some(words)) => assert!(message.contains(words), "{name}: {message}"),
            (got, expected) => panic!("{name}: {got:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn onnx_runtime_agrees_with_the_official_outputs() {
    let Some(library) = common::onnx_runtime() else {
        return;
    };
    let load = |model: &[u8]| {
        OrtEngine::load(&library, model, Provider::Cpu, Path::new(""))
            .map(|engine| Box::new(engine) as Box<dyn Engine>)
            .map_err(|fault| fault.to_string())
    };
    for (name, _) in CASES {
        let error = max_abs_error(name, &load).unwrap();
        assert!(error <= 1e-6, "{name}: largest error {error:e}");
    }
}

#[test]
fn every_case_of_the_folder_is_in_the_table() {
    let mut folder: Vec<String> = fs::read_dir(case(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folder.sort();
    assert_eq!(folder, CASES.map(|(name, _)| name));
}
