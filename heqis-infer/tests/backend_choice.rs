//! Which backend `open` selects, and what it reports about the others.
#![allow(clippy::unwrap_used)]

mod common;

use heqis_infer::backend::{CUDA_LIBRARY, ORT_LIBRARY};
use heqis_infer::{
    BackendKind, Bundle, InferError, Libraries, Opened, TensorView, Unavailable, open_with,
};

fn bundle() -> (tempfile::TempDir, Bundle) {
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("small"), &common::small_parts()).unwrap();
    (root, bundle)
}

/// Opens without the libraries that the machine has installed.
fn open(bundle: &Bundle, backends: &[BackendKind], strict: bool) -> Result<Opened, InferError> {
    let libraries = Libraries::from_env()
        .with(ORT_LIBRARY, "/nowhere/libonnxruntime.so")
        .with(CUDA_LIBRARY, "/nowhere/libcuda.so.1");
    open_with(bundle, backends, strict, &libraries)
}

fn unavailable(backend: BackendKind) -> Unavailable {
    let reason = match backend {
        BackendKind::Rknn => "the bundle has no model.rknn",
        BackendKind::Cuda => {
            "library /nowhere/libonnxruntime.so: /nowhere/libonnxruntime.so: cannot open shared object file: No such file or directory"
        }
        BackendKind::Tensorrt => {
            "library /nowhere/libcuda.so.1: /nowhere/libcuda.so.1: cannot open shared object file: No such file or \
             directory"
        }
        other => unreachable!("{other}"),
    };
    Unavailable {
        backend,
        reason: reason.to_owned(),
    }
}

#[test]
fn the_first_backend_that_works_is_used_and_the_others_are_reported_in_order() {
    let (_root, bundle) = bundle();
    let list = [
        BackendKind::Tensorrt,
        BackendKind::Rknn,
        BackendKind::Cpu,
        BackendKind::Cuda,
    ];
    let mut opened = open(&bundle, &list, false).unwrap();
    assert_eq!(opened.backend, BackendKind::Cpu);
    assert_eq!(
        opened.fallbacks,
        [
            unavailable(BackendKind::Tensorrt),
            unavailable(BackendKind::Rknn)
        ]
    );
    assert_eq!(opened.self_test.windows, 2);

    let mut outputs = vec![Vec::new(), Vec::new()];
    let window = common::numbers(5, 12);
    opened
        .engine
        .run(&[TensorView::f32(&[1, 4, 3], &window)], &mut outputs)
        .unwrap();
    assert_eq!(outputs.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn strict_forbids_falling_back_and_allows_a_first_choice_that_works() {
    let (_root, bundle) = bundle();
    let error = open(&bundle, &[BackendKind::Rknn, BackendKind::Cpu], true).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "bundle {}: backend rknn unavailable: the bundle has no model.rknn; strict forbids falling back",
            bundle.dir().display()
        )
    );
    let opened = open(&bundle, &[BackendKind::Cpu, BackendKind::Rknn], true).unwrap();
    assert!(opened.fallbacks.is_empty());
}

#[test]
fn a_list_without_a_working_backend_names_each_reason() {
    let (_root, bundle) = bundle();
    match open(&bundle, &[BackendKind::Cuda, BackendKind::Rknn], false).unwrap_err() {
        InferError::NoBackend { tried, .. } => {
            assert_eq!(
                tried,
                [
                    unavailable(BackendKind::Cuda),
                    unavailable(BackendKind::Rknn)
                ]
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_empty_list_and_a_repeated_backend_are_refused() {
    let (_root, bundle) = bundle();
    let message = |list: &[BackendKind]| open(&bundle, list, false).unwrap_err().to_string();
    assert_eq!(
        message(&[]),
        "backend list: must name at least one backend, got none"
    );
    assert_eq!(
        message(&[BackendKind::Cpu, BackendKind::Rknn, BackendKind::Cpu]),
        "backend list: must name each backend once, got cpu twice"
    );
}
