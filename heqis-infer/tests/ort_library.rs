//! Loading ONNX Runtime's library. One test in a process of its own, since a process has one ONNX Runtime.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "stand_in/mod.rs"]
mod stand_in;

use std::path::Path;

use heqis_infer::ort::{OrtFault, Provider};
use heqis_infer::{Engine, OrtEngine, TensorView};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_missing_or_wrong_library_is_named_and_the_first_usable_one_stays() {
    let model = common::small_model();
    let load = |path: &Path| OrtEngine::load(path, &model, Provider::Cpu, Path::new(""));
    let fault = |path: &Path| match load(path).unwrap_err() {
        OrtFault::Library {
            path: named,
            reason,
        } => {
            assert_eq!(Path::new(&named), path);
            reason
        }
        other => panic!("{other}"),
    };
    let missing = fault(Path::new("/nowhere/libonnxruntime.so"));
    assert!(missing.contains("No such file"), "{missing}");
    let text = tempfile::NamedTempFile::new().unwrap();
    fault(text.path());
    let another = fault(stand_in::stand_in());
    assert!(another.contains("OrtGetApiBase"), "{another}");

    let library = common::onnx_runtime();
    let before = threads();
    let mut engine = load(&library).unwrap();
    let window = [0.5; 12];
    let mut outputs = vec![Vec::new(), Vec::new()];
    let view = TensorView::f32(&[1, 4, 3], &window);
    engine.run(&[view], &mut outputs).unwrap();
    assert_eq!(
        threads(),
        before,
        "a session computes on its caller's thread"
    );
    load(&library).unwrap();
    let fault = load(stand_in::stand_in()).unwrap_err();
    assert!(matches!(fault, OrtFault::OtherLibrary { .. }), "{fault}");
}
