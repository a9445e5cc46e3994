//! Random and damaged bytes as a model: always an error or an engine that answers, never a panic.
#![allow(clippy::unwrap_used)]

mod common;

use heqis_infer::onnx::Signature;
use heqis_infer::{CpuEngine, Engine, TensorView};
use proptest::prelude::*;

/// Loads some bytes and, where they are a model after all, runs them; the outcome is free, a panic is not.
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

#[test]
fn empty_bytes_are_refused_in_words() {
    let message = CpuEngine::load(&[]).unwrap_err().to_string();
    assert_eq!(
        message,
        "backend cpu: model does not load: unknown model file type"
    );
}
