//! Random and damaged bytes as a model: always an error or a working engine, never a panic.
#![allow(clippy::unwrap_used)]

mod common;

use heqis_infer::onnx::Signature;
use heqis_infer::{CpuEngine, Engine, TensorView};
use proptest::prelude::*;

/// Loads bytes and, if they are a model, runs it; only a panic fails the test.
fn load_and_run(bytes: &[u8]) {
    let _ = Signature::read(bytes);
    if let Ok(mut engine) = CpuEngine::load(bytes) {
        let specs = engine.inputs().to_vec();
        let data: Vec<Vec<f32>> = specs
            .iter()
            .map(|spec| vec![0.5; spec.checked_len().unwrap().min(4096)])
            .collect();
        let views: Vec<_> = specs
            .iter()
            .zip(&data)
            .map(|(spec, data)| TensorView::f32(&spec.shape, data))
            .collect();
        let mut outputs = vec![Vec::new(); engine.outputs().len()];
        let _ = engine.run(&views, &mut outputs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        load_and_run(&bytes);
    }

    #[test]
    fn a_model_with_one_changed_byte_does_not_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = common::small_model();
        let at = at.index(bytes.len());
        bytes[at] = to;
        load_and_run(&bytes);
    }

    #[test]
    fn a_truncated_model_does_not_panic(len in any::<prop::sample::Index>()) {
        let bytes = common::small_model();
        load_and_run(&bytes[..len.index(bytes.len())]);
    }
}

/// A field of the given number whose length is 2^64 − `back`: read as a signed step, it goes backwards.
fn backward_field(number: u8, back: u8) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = u64::MAX - u64::from(back) + 1;
    while length > 0x7f {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

fn nested(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_length_that_points_backwards_is_refused_at_every_depth() {
    // After the field's own 11 bytes, a step of −11 leads to its own beginning.
    let field = || backward_field(15, 11);
    let ir_version = [0x08, 0x07];
    // model; its graph; the graph's value_info (13) and its type (2); a node's (1) attribute (5), its tensor (5) and
    // that tensor's external data (13); an attribute's graph (6).
    let in_attribute = |content: &[u8]| nested(7, &nested(1, &nested(5, content)));
    for model in [
        field(),
        nested(7, &field()),
        nested(7, &nested(13, &field())),
        nested(7, &nested(13, &nested(2, &nested(4, &nested(1, &field()))))),
        in_attribute(&field()),
        in_attribute(&nested(5, &field())),
        in_attribute(&nested(5, &nested(13, &field()))),
        in_attribute(&nested(6, &field())),
        nested(8, &field()),
        nested(14, &field()),
    ] {
        let bytes = [&ir_version[..], &model].concat();
        let message = CpuEngine::load(&bytes).unwrap_err().to_string();
        assert!(
            message.starts_with("not a usable onnx model: "),
            "{bytes:x?}: {message}"
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    // A graph in an attribute of a node of a graph … two thousand times.
    let mut content = Vec::new();
    let wrap = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 0x7f {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    };
    for _ in 0..2000 {
        content = wrap(1, &wrap(5, &wrap(6, &content)));
    }
    let bytes = [&[0x08, 0x07][..], &wrap(7, &content)].concat();
    let message = CpuEngine::load(&bytes).unwrap_err().to_string();
    assert!(message.contains("recursion limit"), "{message}");
}

#[test]
fn empty_bytes_are_refused_with_a_message() {
    let message = CpuEngine::load(&[]).unwrap_err().to_string();
    assert_eq!(
        message,
        "backend cpu: model does not load: unknown model file type"
    );
}
