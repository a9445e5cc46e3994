//! The TensorRT backend against stand-ins for TensorRT 8 and 10 and for the driver, compiled here with the real shim; and
//! against NVIDIA's headers and library where variables name them.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use heqis_infer::backend::{CUDA_LIBRARY, TENSORRT_LIBRARY, TENSORRT_SHIM, TRTEXEC};
use heqis_infer::bundle::{SCALER_HASH_KEY, sha256_hex};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::tensorrt::{EngineInfo, TensorrtFault};
use heqis_infer::{
    BackendKind, Bundle, Engine, Golden, GoldenWindow, InferError, Libraries, TensorView,
    TensorrtEngine, open_with,
};
use heqis_test_harness::{Group, run, tests, variable};
use stand_in::{compile_from, shim, source};

/// Variables that name what only NVIDIA distributes.
const HEADERS_8: &str = "HEQIS_TENSORRT_INCLUDE_8";
const HEADERS_10: &str = "HEQIS_TENSORRT_INCLUDE_10";
const LEAN_LIBRARY: &str = "HEQIS_TENSORRT_LEAN_LIBRARY";

fn main() -> ExitCode {
    run([
        Group::always(tests![
            both_majors_compute_a_batch_row_by_row_on_any_thread,
            each_step_of_tensorrt_that_fails_is_reported_with_its_message,
            an_engine_of_another_version_or_gpu_is_refused,
            an_engine_that_is_not_the_bundles_is_refused,
            libraries_that_are_missing_old_or_of_another_version_are_named,
            an_engine_is_built_once_for_a_model_and_kept,
            a_builder_that_fails_is_reported_with_its_last_output_and_leaves_nothing,
            a_gpu_that_fails_is_replaced_by_the_next_backend_within_the_batch,
            calls_failures_and_drops_leak_nothing,
        ]),
        Group::needs(
            variable(HEADERS_8, "NVIDIA's headers of TensorRT 8"),
            tests![the_shim_compiles_without_a_warning_against_nvidias_headers_of_8],
        ),
        Group::needs(
            variable(HEADERS_10, "NVIDIA's headers of TensorRT 10"),
            tests![the_shim_compiles_without_a_warning_against_nvidias_headers_of_10],
        ),
        Group::needs(
            variable(LEAN_LIBRARY, "NVIDIA's library"),
            tests![nvidias_own_library_without_a_gpu_is_a_clear_error],
        ),
    ])
}

const TENSORS: &str = "tensor in window 0 3 1 4 3\ntensor out sums 0 2 1 2\n";
/// The versions that the stand-ins report, as numbers and in words.
const MAJORS: [(u32, &str, &str); 2] = [(8, "8502", "8.5.2"), (10, "100300", "10.3.0")];

/// A stand-in's number of living objects.
#[allow(unsafe_code)]
fn live(path: &Path) -> i64 {
    // SAFETY: the stand-ins have no initialisers, and the function has this signature.
    unsafe {
        let library = libloading::Library::new(path).unwrap();
        library
            .get::<unsafe extern "C" fn() -> i64>(b"standin_live\0")
            .unwrap()()
    }
}

/// The stand-ins of one major and the shim that was built for it, compiled once; `trtexec` is missing.
fn libraries(major: u32) -> Libraries {
    static ALL: OnceLock<[Libraries; 2]> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        MAJORS.map(|(major, number, _)| {
            let headers = [source(&format!("nvinfer/{major}"))];
            Libraries::from_env()
                .with(
                    CUDA_LIBRARY,
                    compile_from("cuda.c", &format!("cuda_for_{major}"), &[]),
                )
                .with(TENSORRT_SHIM, shim(&format!("shim_{major}"), &headers))
                .with(
                    TENSORRT_LIBRARY,
                    nvinfer(&format!("nvinfer_{major}"), major, number, &[]),
                )
                .with(TRTEXEC, "/nowhere/trtexec")
        })
    });
    all[usize::from(major == 10)].clone()
}

fn nvinfer(name: &str, major: u32, number: &str, more: &[&str]) -> PathBuf {
    let (major, number) = (format!("MAJOR={major}"), format!("VERSION={number}"));
    let defines: Vec<&str> = [major.as_str(), number.as_str()]
        .iter()
        .chain(more)
        .copied()
        .collect();
    compile_from("nvinfer.cpp", name, &defines)
}

/// A bundle whose ONNX model computes the same as the stand-in, with some further files.
fn bundle(files: &[(&str, String)]) -> (tempfile::TempDir, Bundle) {
    let mut graph = GraphBuilder::new("sum");
    let window = graph.input("window", &[1, 4, 3]);
    let shape = graph.int64s("shape", &[1, 12]);
    let flat = graph.node("flat", "Reshape", &[&window, &shape], &[]);
    let weights: Vec<f32> = (1..=12).flat_map(|j| [j as f32; 2]).collect();
    let weights = graph.weights("weights", &[12, 2], &weights);
    let product = graph.node("product", "MatMul", &[&flat, &weights], &[]);
    let bias = graph.weights("bias", &[2], &[0.0, 1.0]);
    let sums = graph.node("sums", "Add", &[&product, &bias], &[]);
    graph.output(&sums, &[1, 2]);
    graph.metadata(SCALER_HASH_KEY, sha256_hex(common::SCALER));
    let mut parts = common::small_parts();
    parts.model = graph.finish().unwrap();
    parts.other_files = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.clone().into_bytes()))
        .collect();
    parts.golden = Golden {
        tolerance: 1e-4,
        windows: vec![GoldenWindow {
            label: "ones".to_owned(),
            inputs: BTreeMap::from([("window".to_owned(), vec![1.0; 12])]),
            outputs: BTreeMap::from([("sums".to_owned(), vec![78.0, 79.0])]),
        }],
    };
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("sum"), &parts).unwrap();
    (root, bundle)
}

/// The files of an engine that was built for a version of TensorRT and the stand-in's GPU.
fn engine_files(text: String, version: &str) -> [(&'static str, String); 2] {
    let info = format!(r#"{{"tensorrt": "{version}", "gpu": "Stand-in GPU"}}"#);
    [("model.engine", text), ("model.engine.json", info)]
}

/// Opens with a cache of the test's own.
fn open_engine(
    bundle: &Bundle,
    libraries: &Libraries,
    cache: &Path,
) -> Result<TensorrtEngine, TensorrtFault> {
    TensorrtEngine::open(bundle, &libraries.clone().with_cache(cache))
}

fn open(major: u32, tail: &str) -> Result<TensorrtEngine, TensorrtFault> {
    let (_, number, words) = MAJORS[usize::from(major == 10)];
    let files = engine_files(format!("STANDIN {number}\n{TENSORS}{tail}\n"), words);
    let (root, bundle) = bundle(&files);
    open_engine(&bundle, &libraries(major), root.path())
}

fn both_majors_compute_a_batch_row_by_row_on_any_thread() {
    for (major, _, version) in MAJORS {
        let mut engine = open(major, "").unwrap();
        assert_eq!(engine.backend(), BackendKind::Tensorrt);
        let EngineInfo { tensorrt, gpu, .. } = engine.info();
        assert_eq!((&**tensorrt, &**gpu), (version, "Stand-in GPU"));
        // The driver's context belongs to a thread; the stage computes on another than the one that opened.
        let worker = std::thread::spawn(move || {
            let rows = [[0.0; 12], [1.0; 12], [2.0; 12]].concat();
            let mut out = vec![Vec::new()];
            engine
                .run(&[TensorView::f32(&[3, 4, 3], &rows)], &mut out)
                .unwrap();
            out
        });
        assert_eq!(
            worker.join().unwrap()[0],
            [0.0, 1.0, 78.0, 79.0, 156.0, 157.0]
        );
    }
}

fn each_step_of_tensorrt_that_fails_is_reported_with_its_message() {
    for (major, ..) in MAJORS {
        let fault = open(major, "fail context").unwrap_err();
        assert_eq!(fault.to_string(), "tensorrt: no execution context");
        let mut engine = open(major, "fail enqueue").unwrap();
        let view = TensorView::f32(&[1, 4, 3], &[0.0; 12]);
        match engine.run(&[view], &mut [Vec::new()]).unwrap_err() {
            InferError::RunFailed { backend, reason } => {
                assert_eq!(backend, BackendKind::Tensorrt);
                assert_eq!(
                    reason,
                    "tensorrt: enqueue failed: stand-in: an illegal instruction was encountered"
                );
            }
            other => panic!("{other}"),
        }
    }
}

fn an_engine_of_another_version_or_gpu_is_refused() {
    let libraries = libraries(8);
    let refuse = |files: &[(&str, String)]| {
        let (root, bundle) = bundle(files);
        open_engine(&bundle, &libraries, root.path())
            .unwrap_err()
            .to_string()
    };
    let no_builder = "building an engine: building an engine: /nowhere/trtexec: No such file or directory (os error 2), \
                      since ";
    assert_eq!(
        refuse(&engine_files(format!("STANDIN 8502\n{TENSORS}"), "8.4.1")),
        format!(
            "{no_builder}model.engine was built for TensorRT 8.4.1 on Stand-in GPU, this machine has TensorRT 8.5.2 on \
             Stand-in GPU"
        )
    );
    let unsigned = [("model.engine", format!("STANDIN 8502\n{TENSORS}"))];
    assert_eq!(
        refuse(&unsigned),
        format!("{no_builder}model.engine.json: the bundle has none")
    );
    // One that claims to fit and does not: TensorRT's own check.
    assert_eq!(
        refuse(&engine_files(format!("STANDIN 8401\n{TENSORS}"), "8.5.2")),
        "tensorrt: the engine does not load: The engine plan file is not compatible with this version of TensorRT, \
         expecting 8502 got 8401"
    );
}

fn an_engine_that_is_not_the_bundles_is_refused() {
    for (major, number, version) in MAJORS {
        let refuse = |tensors: &str| {
            let files = engine_files(format!("STANDIN {number}\n{tensors}\n"), version);
            let (root, bundle) = bundle(&files);
            open_engine(&bundle, &libraries(major), root.path())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refuse(&TENSORS.replace("3 1 4 3", "3 1 3 4")),
            "tensor window: shape must be [1, 4, 3], the engine has [1, 3, 4]"
        );
        assert_eq!(
            refuse(&TENSORS.replace("3 1 4 3", "3 -1 4 3")),
            "tensor window: shape must be [1, 4, 3], the engine has [-1, 4, 3]"
        );
        assert_eq!(
            refuse(&TENSORS.replace("sums 0", "sums 1")),
            "tensor sums: element type must be f32, the engine has number 1"
        );
        assert_eq!(
            refuse(&TENSORS.replace("sums", "sum")),
            "tensor sums: the engine has no such output"
        );
        assert_eq!(
            refuse(&format!("{TENSORS}tensor out more 0 1 1")),
            "tensor more: the engine has it, the bundle has not"
        );
        assert_eq!(
            refuse(&format!("{TENSORS}tensor out flat 0 9 1 1 1 1 1 1 1 1 1")),
            "tensorrt: tensor 2 of the engine cannot be described"
        );
    }
}

fn libraries_that_are_missing_old_or_of_another_version_are_named() {
    let good = libraries(8);
    let (root, bundle) = bundle(&engine_files(format!("STANDIN 8502\n{TENSORS}"), "8.5.2"));
    let refuse = |libraries: Libraries| {
        open_engine(&bundle, &libraries, root.path())
            .unwrap_err()
            .to_string()
    };
    let cuda = |name: &str, defines: &[&str]| {
        good.clone()
            .with(CUDA_LIBRARY, compile_from("cuda.c", name, defines))
    };
    let missing = "/nowhere/lib.so: /nowhere/lib.so: cannot open shared object file: No such file or directory";
    let nowhere = PathBuf::from("/nowhere/lib.so");
    let without_driver = good.clone().with(CUDA_LIBRARY, nowhere.clone());
    assert_eq!(refuse(without_driver), format!("library {missing}"));
    let without_shim = good.clone().with(TENSORRT_SHIM, nowhere.clone());
    assert_eq!(refuse(without_shim), format!("library {missing}"));
    let without_tensorrt = good.clone().with(TENSORRT_LIBRARY, nowhere);
    assert_eq!(refuse(without_tensorrt), format!("library {missing}"));

    for (function, code, name) in [
        ("cuInit", 100, "CUDA_ERROR_NO_DEVICE"),
        ("cuDeviceGet", 101, "unknown code"),
        ("cuDeviceGetName", 101, "unknown code"),
        ("cuDevicePrimaryCtxRetain", 2, "CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuCtxSetCurrent", 201, "CUDA_ERROR_INVALID_CONTEXT"),
        ("cuStreamCreate", 2, "CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuMemHostAlloc", 2, "CUDA_ERROR_OUT_OF_MEMORY"),
    ] {
        let defines = [format!("FAIL=\"{function}\""), format!("CODE={code}")];
        let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
        let libraries = cuda(&format!("cuda_{function}"), &defines);
        let lost = libraries.path(CUDA_LIBRARY);
        assert_eq!(
            refuse(libraries),
            format!("{function} returned {code} ({name})")
        );
        assert_eq!(live(&lost), 0, "{function}");
    }
    let old = cuda(
        "cuda_old",
        &["cuStreamSynchronize=cuStreamSynchronize_of_old"],
    );
    let path = old.path(CUDA_LIBRARY).display().to_string();
    assert_eq!(
        refuse(old),
        format!("library {path} has no function cuStreamSynchronize")
    );

    let another = good.clone().with(TENSORRT_SHIM, good.path(CUDA_LIBRARY));
    let path = another.path(TENSORRT_SHIM).display().to_string();
    assert_eq!(
        refuse(another),
        format!("library {path} has no function heqis_tensorrt_abi")
    );
    let newer = good
        .clone()
        .with(TENSORRT_LIBRARY, libraries(10).path(TENSORRT_LIBRARY));
    let path = newer.path(TENSORRT_LIBRARY).display().to_string();
    assert_eq!(
        refuse(newer),
        format!("library {path}: the library is TensorRT 10, the shim was built for 8")
    );
    let bogus = good.clone().with(
        TENSORRT_LIBRARY,
        nvinfer("nvinfer_bogus", 8, "8502", &["BOGUS"]),
    );
    let path = bogus.path(TENSORRT_LIBRARY).display().to_string();
    assert_eq!(
        refuse(bogus),
        format!("library {path}: no runtime: CUDA initialization failure with error: 35")
    );
    let other = good.with(
        TENSORRT_LIBRARY,
        nvinfer(
            "nvinfer_other",
            8,
            "8502",
            &["createInferRuntime_INTERNAL=create"],
        ),
    );
    let path = other.path(TENSORRT_LIBRARY).display().to_string();
    assert_eq!(
        refuse(other),
        format!("library {path}: no createInferRuntime_INTERNAL")
    );
}

/// A program in trtexec's place.
fn builder(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("trtexec");
    let mut file = fs::File::create(&path).unwrap();
    write!(file, "#!/bin/sh\nfor arg; do case $arg in --saveEngine=*) out=${{arg#*=}};; --onnx=*) onnx=${{arg#*=}};; esac; done\n{script}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn an_engine_is_built_once_for_a_model_and_kept() {
    let (root, bundle) = bundle(&[]);
    let script = format!(
        "echo \"$@\" >> {}/calls\ntest -s $onnx\nprintf 'STANDIN 8502\\n{}' > $out\n",
        root.path().display(),
        TENSORS.replace('\n', "\\n")
    );
    let libraries = libraries(8).with(TRTEXEC, builder(root.path(), &script));
    let cache = root.path().join("cache");
    for _ in 0..2 {
        let mut engine = open_engine(&bundle, &libraries, &cache).unwrap();
        let mut out = vec![Vec::new()];
        engine
            .run(&[TensorView::f32(&[1, 4, 3], &[1.0; 12])], &mut out)
            .unwrap();
        assert_eq!(out[0], [78.0, 79.0]);
    }
    let calls = fs::read_to_string(root.path().join("calls")).unwrap();
    assert_eq!(calls.lines().count(), 1);
    assert!(calls.contains("--fp16"), "{calls}");
    // The engine alone is left.
    let left: Vec<PathBuf> = fs::read_dir(cache.join("tensorrt"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].extension().is_some_and(|ending| ending == "engine"));
}

fn a_builder_that_fails_is_reported_with_its_last_output_and_leaves_nothing() {
    let (root, bundle) = bundle(&[]);
    let libraries = libraries(8).with(
        TRTEXEC,
        builder(
            root.path(),
            "echo half > $out\necho 'Error: no plugin' 'for Somersault' >&2\nexit 3\n",
        ),
    );
    let cache = root.path().join("cache");
    let fault = open_engine(&bundle, &libraries, &cache)
        .unwrap_err()
        .to_string();
    assert!(
        fault.ends_with("exit status: 3: … Error: no plugin for Somersault"),
        "{fault}"
    );
    assert_eq!(fs::read_dir(cache.join("tensorrt")).unwrap().count(), 0);
}

fn a_gpu_that_fails_is_replaced_by_the_next_backend_within_the_batch() {
    // The self-test is run 1; the batch is runs 2 to 4 and fails at its second row.
    let (root, bundle) = bundle(&engine_files(
        format!("STANDIN 8502\n{TENSORS}fail_run 3\n"),
        "8.5.2",
    ));
    let libraries = libraries(8).with_cache(root.path());
    let list = [BackendKind::Tensorrt, BackendKind::Cpu];
    let rows = [[0.0; 12], [1.0; 12], [2.0; 12]].concat();
    let view = TensorView::f32(&[3, 4, 3], &rows);
    let mut out = vec![Vec::new()];
    let mut opened = open_with(&bundle, &list, false, &libraries).unwrap();
    assert_eq!(opened.backend, BackendKind::Tensorrt);
    opened.engine.run(&[view], &mut out).unwrap();
    assert_eq!(out[0], [0.0, 1.0, 78.0, 79.0, 156.0, 157.0]);
    assert_eq!(opened.engine.backend(), BackendKind::Cpu);
    assert_eq!(opened.engine.failed_over().len(), 1);
    let mut strict = open_with(&bundle, &list, true, &libraries).unwrap();
    let error = strict.engine.run(&[view], &mut out).unwrap_err();
    assert!(matches!(error, InferError::RunFailed { .. }), "{error}");
}

fn calls_failures_and_drops_leak_nothing() {
    for (major, number, version) in MAJORS {
        // Libraries of its own, since the counts are global to a library.
        let libraries = libraries(major)
            .with(
                CUDA_LIBRARY,
                compile_from("cuda.c", &format!("cuda_counted_{major}"), &[]),
            )
            .with(
                TENSORRT_LIBRARY,
                nvinfer(&format!("nvinfer_counted_{major}"), major, number, &[]),
            );
        let open = |tail: &str| {
            let files = engine_files(format!("STANDIN {number}\n{TENSORS}{tail}\n"), version);
            let (root, bundle) = bundle(&files);
            open_engine(&bundle, &libraries, root.path())
        };
        let both = || {
            (
                live(&libraries.path(CUDA_LIBRARY)),
                live(&libraries.path(TENSORRT_LIBRARY)),
            )
        };
        // Holds the libraries loaded, and with them their counts: context, stream and two memories; runtime, engine and
        // execution context.
        let mut engine = open("").unwrap();
        assert_eq!(both(), (4, 3));
        let (window, mut out) = ([1.0; 12], vec![Vec::new()]);
        for _ in 0..100_000 {
            engine
                .run(&[TensorView::f32(&[1, 4, 3], &window)], &mut out)
                .unwrap();
        }
        assert_eq!(both(), (4, 3));
        for tail in ["fail context", "tensor out more 0 1 1"] {
            open(tail).unwrap_err();
            assert_eq!(both(), (4, 3), "{tail}");
        }
        let second = open("").unwrap();
        assert_eq!(both(), (8, 6));
        drop(second);
        assert_eq!(both(), (4, 3));
    }
}

/// The paths in an environment variable.
fn paths(variable: &str) -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os(variable).unwrap()).collect()
}

fn the_shim_compiles_without_a_warning_against_nvidias_headers_of_8() {
    shim("shim_of_headers_8", &paths(HEADERS_8));
}

fn the_shim_compiles_without_a_warning_against_nvidias_headers_of_10() {
    shim("shim_of_headers_10", &paths(HEADERS_10));
}

/// NVIDIA's library for inference alone, of TensorRT 10, on a machine without a GPU.
fn nvidias_own_library_without_a_gpu_is_a_clear_error() {
    let paths = paths(LEAN_LIBRARY);
    let (root, bundle) = bundle(&engine_files(
        format!("STANDIN 100300\n{TENSORS}"),
        "10.3.0",
    ));
    let refuse = |libraries: Libraries| {
        open_engine(&bundle, &libraries, root.path())
            .unwrap_err()
            .to_string()
    };
    let path = paths[0].display();
    let eight = libraries(8).with(TENSORRT_LIBRARY, paths[0].clone());
    assert_eq!(
        refuse(eight),
        format!("library {path}: the library is TensorRT 10, the shim was built for 8")
    );
    let ten = libraries(10).with(TENSORRT_LIBRARY, paths[0].clone());
    let words = refuse(ten);
    assert!(
        words.starts_with(&format!("library {path}: no runtime")),
        "{words}"
    );
}
