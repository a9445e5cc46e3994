//! The NPU backend against a stand-in for the vendor's runtime, compiled here, and against the vendor's own library
//! where its path is given.
#![allow(clippy::unwrap_used)]

#[path = "stand_in/mod.rs"]
mod stand_in;

use std::path::Path;
use std::process::ExitCode;

use heqis_infer::rknn::RknnFault;
use heqis_infer::{BackendKind, Engine, InferError, RknnEngine, TensorSpec, TensorView};
use heqis_test_harness::{Group, run, tests, variable};
use stand_in::{compile, stand_in};

/// A window of 2 rows by 3 features in f16, and two outputs in f32.
const PLAIN: &str = "STANDIN\n\
    tensor in window 3 3 1 2 3 3 3 1 2 3 1 1 0 0 12\n\
    tensor out factors 3 2 1 2 3 2 1 2 0 1 0 0 8\n";

const VENDOR_LIBRARY: &str = "HEQIS_RKNN_VENDOR_LIBRARY";

fn main() -> ExitCode {
    run([
        Group::always(tests![
            a_batch_is_computed_row_by_row_through_bound_memory,
            images_in_the_npus_native_layout_are_returned_in_the_models_order,
            each_step_that_fails_is_named_with_the_vendors_code,
            a_model_that_is_not_the_bundles_is_refused,
            a_missing_or_wrong_library_is_named,
            cores_are_selected_where_the_runtime_supports_them,
            calls_failures_and_drops_leak_nothing,
        ]),
        Group::needs(
            variable(VENDOR_LIBRARY, "the vendor's library"),
            tests![the_vendors_own_library_without_a_board_is_a_clear_error],
        ),
    ])
}

fn specs() -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    (
        vec![TensorSpec::f32("window", [1, 2, 3])],
        vec![TensorSpec::f32("factors", [1, 2])],
    )
}

fn load(model: &str) -> Result<RknnEngine, RknnFault> {
    let (inputs, outputs) = specs();
    RknnEngine::load(stand_in(), model.as_bytes(), &inputs, &outputs)
}

fn a_batch_is_computed_row_by_row_through_bound_memory() {
    let mut engine = load(PLAIN).unwrap();
    assert_eq!(engine.backend(), BackendKind::Rknn);
    assert_eq!(engine.versions().runtime, "2.3.2 (stand-in)");
    assert_eq!(engine.versions().driver, "0.9.8");
    let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0, 1.0, 0.0, 0.0, -1.0];
    let mut outputs = vec![Vec::new()];
    let view = TensorView::f32(&[2, 2, 3], &rows);
    engine.run(&[view], &mut outputs).unwrap();
    // 1 + 4 + 9 + 16 + 25 + 36 = 91, and 3 − 6 = −3.
    assert_eq!(outputs[0], [91.0, 92.0, -3.0, -2.0]);
}

fn images_in_the_npus_native_layout_are_returned_in_the_models_order() {
    // Logical 1 × 3 × 2 × 2; native NC1HWC2 with groups of 8 channels and lines of 4, int8 of scale 0.5 and zero 10.
    let model = "STANDIN\n\
        tensor in window 1 4 1 2 2 3 2 5 1 1 2 2 8 2 0.5 10 4 64\n\
        tensor out factors 0 4 1 2 1 1 2 5 1 1 1 1 8 1 1 0 0 16\n";
    let inputs = [TensorSpec::f32("window", [1, 3, 2, 2])];
    let outputs = [TensorSpec::f32("factors", [1, 2])];
    let mut engine = RknnEngine::load(stand_in(), model.as_bytes(), &inputs, &outputs).unwrap();
    let window: Vec<f32> = (0..12).map(|i| i as f32 / 2.0 - 2.0).collect();
    let expected: f32 = window.iter().zip(1..).map(|(v, j)| v * j as f32).sum();
    let mut out = vec![Vec::new()];
    let view = TensorView::f32(&[1, 3, 2, 2], &window);
    engine.run(&[view], &mut out).unwrap();
    assert_eq!(out[0], [expected, expected + 1.0]);
}

fn each_step_that_fails_is_named_with_the_vendors_code() {
    for (fail, expected) in [
        (
            "fail init -13",
            "rknn_init returned -13 (model was built for another chip)",
        ),
        ("fail init -3", "rknn_init returned -3 (device unavailable)"),
        (
            "fail query_5 -1",
            "rknn_query of versions returned -1 (failed)",
        ),
        (
            "fail query_0 -7",
            "rknn_query of tensor counts returned -7 (invalid context)",
        ),
        (
            "fail query_1 -5",
            "rknn_query of input returned -5 (invalid parameter)",
        ),
        (
            "fail query_8 -5",
            "rknn_query of input returned -5 (invalid parameter)",
        ),
        (
            "fail query_9 -77",
            "rknn_query of output returned -77 (unknown code)",
        ),
        ("fail create_mem -4", "no memory of 12 bytes for window"),
        ("short_mem", "no memory of 12 bytes for window"),
        (
            "fail set_io_mem -5",
            "rknn_set_io_mem of window returned -5 (invalid parameter)",
        ),
    ] {
        let fault = load(&format!("{PLAIN}{fail}\n")).unwrap_err();
        assert_eq!(fault.to_string(), expected, "{fail}");
    }
    assert_eq!(
        load("not a model").unwrap_err().to_string(),
        "rknn_init returned -6 (invalid model)"
    );
    for (fail, expected) in [
        ("fail run -2", "rknn_run returned -2 (timed out)"),
        (
            "fail sync_to -1",
            "rknn_mem_sync of window returned -1 (failed)",
        ),
        (
            "fail sync_from -1",
            "rknn_mem_sync of factors returned -1 (failed)",
        ),
    ] {
        let mut engine = load(&format!("{PLAIN}{fail}\n")).unwrap();
        let view = TensorView::f32(&[1, 2, 3], &[0.0; 6]);
        match engine.run(&[view], &mut [Vec::new()]).unwrap_err() {
            InferError::RunFailed { backend, reason } => {
                assert_eq!((backend, reason.as_str()), (BackendKind::Rknn, expected));
            }
            other => panic!("{other}"),
        }
    }
}

fn a_model_that_is_not_the_bundles_is_refused() {
    let (inputs, outputs) = specs();
    let load = |model: &str, inputs: &[TensorSpec], outputs: &[TensorSpec]| {
        RknnEngine::load(stand_in(), model.as_bytes(), inputs, outputs)
            .unwrap_err()
            .to_string()
    };
    let wide = [TensorSpec::f32("window", [1, 2, 4])];
    assert_eq!(
        load(PLAIN, &wide, &outputs),
        "input window: shape must be [1, 2, 4], the model has 6 elements in [1, 2, 3]"
    );
    assert_eq!(
        load(PLAIN, &[], &outputs),
        "the model has 1 inputs, the bundle 0"
    );
    let int64 = PLAIN.replace("1 2 0 1 0 0 8", "1 2 8 1 0 0 16");
    assert_eq!(
        load(&int64, &inputs, &outputs),
        "output factors: element type 8 is none of f32, f16, int8 and uint8"
    );
    let small = PLAIN.replace("0 0 12", "0 0 11");
    assert_eq!(
        load(&small, &inputs, &outputs),
        "input window: elements of [1, 2, 3] do not fit its memory of 11 bytes"
    );
}

fn a_missing_or_wrong_library_is_named() {
    let (inputs, outputs) = specs();
    let load = |path: &Path| RknnEngine::load(path, b"", &inputs, &outputs).unwrap_err();
    match load(Path::new("/nowhere/librknnrt.so")) {
        RknnFault::Library { path, reason } => {
            assert_eq!(path, "/nowhere/librknnrt.so");
            assert!(reason.contains("No such file"), "{reason}");
        }
        other => panic!("{other}"),
    }
    let old = compile("rknnrt_old", &["rknn_mem_sync=rknn_mem_sync_of_old"]);
    match RknnEngine::load(&old, PLAIN.as_bytes(), &inputs, &outputs).unwrap_err() {
        RknnFault::Symbol { name, .. } => assert_eq!(name, "rknn_mem_sync"),
        other => panic!("{other}"),
    }
}

fn cores_are_selected_where_the_runtime_supports_them() {
    let run = |cores: &str| {
        let mut engine = load(PLAIN).unwrap();
        engine.set_cores(stand_in(), cores).unwrap();
        let mut out = vec![Vec::new()];
        let view = TensorView::f32(&[1, 2, 3], &[0.0; 6]);
        engine.run(&[view], &mut out).unwrap();
        // The stand-in adds a thousand times the mask.
        out[0][0] / 1000.0
    };
    let masks = ["auto", "0", "1", "0,1", "0,1,2"].map(run);
    assert_eq!(masks, [0.0, 1.0, 2.0, 3.0, 7.0]);
    let refuse = |model: &str, cores: &str| {
        let mut engine = load(model).unwrap();
        engine.set_cores(stand_in(), cores).unwrap_err().to_string()
    };
    let rule = "cores must be auto or numbers from 0 to 2 separated by commas";
    assert_eq!(refuse(PLAIN, "3"), format!("{rule}, got \"3\""));
    assert_eq!(refuse(PLAIN, ""), format!("{rule}, got \"\""));
    let one_core = format!("{PLAIN}fail set_core_mask -5\n");
    assert_eq!(
        refuse(&one_core, "0"),
        "rknn_set_core_mask returned -5 (invalid parameter)"
    );
    let (inputs, outputs) = specs();
    let old = compile("rknnrt_coreless", &["rknn_set_core_mask=unknown"]);
    let mut engine = RknnEngine::load(&old, PLAIN.as_bytes(), &inputs, &outputs).unwrap();
    match engine.set_cores(&old, "0").unwrap_err() {
        RknnFault::Symbol { name, .. } => assert_eq!(name, "rknn_set_core_mask"),
        other => panic!("{other}"),
    }
}

fn calls_failures_and_drops_leak_nothing() {
    // A library of its own, since the counts are global to a library.
    let path = compile("rknnrt_counted", &["COUNTED"]);
    // SAFETY: the stand-in has no initialisers, and the function has this signature.
    #[allow(unsafe_code)]
    let live = || unsafe {
        let library = libloading::Library::new(&path).unwrap();
        library
            .get::<unsafe extern "C" fn() -> i64>(b"standin_live\0")
            .unwrap()()
    };
    let (inputs, outputs) = specs();
    let load = |model: String| RknnEngine::load(&path, model.as_bytes(), &inputs, &outputs);
    // Keeps the library loaded, and with it its counts.
    let mut engine = load(PLAIN.to_owned()).unwrap();
    assert_eq!(live(), 3);
    let window = [1.0; 6];
    let mut out = vec![Vec::new()];
    for _ in 0..100_000 {
        let view = TensorView::f32(&[1, 2, 3], &window);
        engine.run(&[view], &mut out).unwrap();
    }
    assert_eq!(live(), 3);
    for fail in ["query_9 -5", "create_mem -4", "set_io_mem -5", "query_5 -1"] {
        load(format!("{PLAIN}fail {fail}\n")).unwrap_err();
        assert_eq!(live(), 3, "{fail}");
    }
    let second = load(PLAIN.to_owned()).unwrap();
    assert_eq!(live(), 6);
    drop(second);
    assert_eq!(live(), 3);
}

/// The toolkit's library for a PC is a proxy to a board; without one its `rknn_init` answers −3.
fn the_vendors_own_library_without_a_board_is_a_clear_error() {
    let path = std::env::var_os(VENDOR_LIBRARY).unwrap();
    let (inputs, outputs) = specs();
    let fault =
        RknnEngine::load(Path::new(&path), PLAIN.as_bytes(), &inputs, &outputs).unwrap_err();
    assert!(
        matches!(&fault, RknnFault::Call { call, code: -3 } if call == "rknn_init"),
        "{fault}"
    );
}
