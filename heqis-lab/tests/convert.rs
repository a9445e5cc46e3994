//! Builds for the boards: the script for TensorRT with a fake trtexec, and Rockchip's real toolkit where its environment is
//! given.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use heqis_infer::{BackendKind, Bundle};
use heqis_lab::convert::calibration::training_windows;
use heqis_lab::convert::{Build, NpuArgs, gpu, rknn};
use heqis_lab::implementation::Implementation;
use heqis_lab::verify::trading::Trade;
use heqis_lab::verify::{BoardArgs, VerifyArgs, implementations, run as verified};
use heqis_lab::windows::{Outputs, Windows};
use heqis_test_harness::{Group, run, tests, variable};

const RKNN_ENVIRONMENT: &str = "HEQIS_RKNN_ENV";

fn main() -> ExitCode {
    run([
        Group::always(tests![
            engines_are_built_by_a_script_and_added_to_the_bundles,
            calibration_uses_the_training_span_only,
            a_difference_is_reported_in_classes_decisions_and_profit,
        ]),
        Group::needs(
            variable(RKNN_ENVIRONMENT, "the environment of Rockchip's toolkit"),
            tests![rockchips_toolkit_builds_a_model_whose_simulator_agrees],
        ),
    ])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn bars() -> PathBuf {
    root().join("data/ashare/002032.SZ.csv")
}

/// Copies shipped bundles, so that they can be changed.
fn copies<const N: usize>(names: [&str; N]) -> (tempfile::TempDir, [PathBuf; N]) {
    let directory = tempfile::tempdir().unwrap();
    let dirs = names.map(|name| {
        let dir = directory.path().join("models").join(name);
        fs::create_dir_all(&dir).unwrap();
        for entry in fs::read_dir(root().join("models").join(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        dir
    });
    (directory, dirs)
}

/// A program with the output of trtexec of TensorRT 8.
const TRTEXEC: &str = "#!/bin/sh\n\
    for arg; do case $arg in --saveEngine=*) out=${arg#*=};; --onnx=*) onnx=${arg#*=};; esac; done\n\
    echo '[I] === Device Information ==='\n\
    echo '[10/02/2022-10:00:00] [I] Selected Device: Xavier NX'\n\
    echo '[10/02/2022-10:00:00] [I] TensorRT version: 8.5.2'\n\
    wc -c <$onnx >$out\n";

fn engines_are_built_by_a_script_and_added_to_the_bundles() {
    let (directory, dirs) = copies(["baseline-factors", "baseline-direction"]);
    let out = directory.path().join("board");
    gpu::script(&dirs, &out).unwrap();
    let again = gpu::script(&dirs, &out).unwrap_err().to_string();
    assert!(again.contains("exists already"), "{again}");
    let missing = gpu::adopt(&dirs, &out).unwrap_err().to_string();
    assert!(missing.contains("model.engine"), "{missing}");

    let trtexec = directory.path().join("trtexec");
    fs::write(&trtexec, TRTEXEC).unwrap();
    fs::set_permissions(&trtexec, fs::Permissions::from_mode(0o755)).unwrap();
    let script = out.join("build-engines.sh");
    let status = Command::new("sh")
        .arg(&script)
        .env("HEQIS_TRTEXEC", &trtexec)
        .status()
        .unwrap();
    assert!(status.success());
    let lines = gpu::adopt(&dirs, &out).unwrap();
    assert!(
        lines[0].ends_with("for TensorRT 8.5.2 on Xavier NX"),
        "{lines:?}"
    );
    for dir in &dirs {
        let bundle = Bundle::load(dir).unwrap();
        let engine = String::from_utf8(bundle.file("model.engine").unwrap().to_vec()).unwrap();
        assert_eq!(engine.trim(), bundle.model().len().to_string());
        assert!(bundle.file("model.engine.json").is_some());
    }

    // A board whose trtexec reports no version, one whose build fails, and one with another model.
    let place = out.join("baseline-factors");
    fs::write(
        place.join("model.engine.json"),
        r#"{"tensorrt": "", "gpu": "x"}"#,
    )
    .unwrap();
    let refused = gpu::adopt(&dirs[..1], &out).unwrap_err().to_string();
    assert!(refused.contains("names no version or no GPU"), "{refused}");
    fs::write(&trtexec, "#!/bin/sh\necho 'no such layer' >&2\nexit 1\n").unwrap();
    let failed = Command::new("sh")
        .arg(&script)
        .env("HEQIS_TRTEXEC", &trtexec)
        .output()
        .unwrap();
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("no such layer"));
    fs::copy(
        out.join("baseline-direction/model.onnx"),
        place.join("model.onnx"),
    )
    .unwrap();
    let refused = gpu::adopt(&dirs[..1], &out).unwrap_err().to_string();
    assert!(
        refused.contains("model.onnx differs from that of"),
        "{refused}"
    );
}

fn calibration_uses_the_training_span_only() {
    let bundle = Bundle::load(root().join("models/baseline-factors")).unwrap();
    let shape = &bundle.manifest().inputs[0].shape;
    let windows = training_windows(&bundle, &[bars()], 60).unwrap();
    assert_eq!(windows.count, 60);
    assert_eq!(windows.inputs[0].len(), 60 * shape[1] * shape[2]);
    // The scaler was fitted on that span, so every value lies within its range.
    assert!(
        windows.inputs[0]
            .iter()
            .all(|value| (-1e-6..=1.0 + 1e-6).contains(value))
    );
    let refused = training_windows(&bundle, &[bars()], 1_000_000)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("1000000 windows of the training span are required"),
        "{refused}"
    );
    let direction = Bundle::load(root().join("models/baseline-direction")).unwrap();
    let refused = training_windows(&direction, &[bars()], 1)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("only a feature model"), "{refused}");
}

/// The model with its outputs shifted.
struct Shifted {
    model: Box<dyn Implementation>,
    by: f32,
}

impl Implementation for Shifted {
    fn name(&self) -> String {
        "shifted".to_owned()
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, heqis_lab::LabError> {
        let mut outputs = self.model.compute(windows)?;
        let values = outputs.iter_mut().flatten();
        values.for_each(|value| *value += self.by);
        Ok(outputs)
    }
}

fn a_difference_is_reported_in_classes_decisions_and_profit() {
    let dirs =
        ["baseline-factors", "baseline-direction"].map(|name| root().join("models").join(name));
    let trade = |with: &PathBuf| Trade {
        bars: vec![bars()],
        with: Some(with.clone()),
        settings: None,
        from: None,
        to: None,
    };
    for (dir, with) in [(&dirs[0], &dirs[1]), (&dirs[1], &dirs[0])] {
        let bundle = Bundle::load(dir).unwrap();
        let compare = |by: f32| {
            let model = Box::new(implementations::Rten::new(bundle.model()).unwrap());
            trade(with)
                .compare(&bundle, &mut Shifted { model, by })
                .unwrap()
        };
        let none = compare(0.0);
        assert!(none.bars > 1000, "{none:?}");
        assert_eq!((none.class_flips, none.decisions), (0, 0));
        assert_eq!(none.reference_return, none.backend_return);
        // Larger than any factor or return.
        let far = compare(3.0);
        assert_eq!(
            (far.bars, far.reference_return),
            (none.bars, none.reference_return)
        );
        assert!(far.decisions > 0, "{far:?}");
    }
    let bundle = Bundle::load(&dirs[0]).unwrap();
    let alone = Trade {
        with: None,
        ..trade(&dirs[1])
    };
    let mut implementation = implementations::Rten::new(bundle.model()).unwrap();
    let refused = alone
        .compare(&bundle, &mut implementation)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("needs a direction model to trade"),
        "{refused}"
    );
}

/// The environment of `convert setup` takes 700 MB and runs on one kind of machine, so the test needs it to be given.
fn rockchips_toolkit_builds_a_model_whose_simulator_agrees() {
    let env = std::env::var_os(RKNN_ENVIRONMENT).unwrap();
    let (_directory, [dir, with]) = copies(["cae-factors", "multi-gan-direction"]);
    let mut npu = NpuArgs {
        env: env.into(),
        ..NpuArgs::default()
    };
    let verify = |npu: &NpuArgs, gate: f32| {
        verified(&VerifyArgs {
            bundle: dir.clone(),
            run: None,
            windows: 100,
            seed: 1,
            tolerance: 1e-5,
            python: None,
            boards: BoardArgs {
                simulate: true,
                npu: npu.clone(),
                gate,
                trade: vec![bars()],
                with: Some(with.clone()),
                flips: 1.0,
                write: true,
                ..BoardArgs::default()
            },
            json: false,
        })
    };
    // The toolkit reproduces the shipped bytes.
    let shipped = Bundle::load(&dir).unwrap();
    let output = verify(&npu, 0.005).unwrap();
    assert!(output.good, "{}", output.lines.join("\n"));
    let summary = rknn(&shipped, &npu).unwrap();
    assert!(summary.contains("rk3568"), "{summary}");
    let again = Bundle::load(&dir).unwrap();
    assert_eq!(again.file("model.rknn"), shipped.file("model.rknn"));
    let half = again.manifest().verified[&BackendKind::Rknn].clone();
    assert!(half.passed && half.max_abs_error > 0.0);
    assert!(half.trading.is_some_and(|trading| trading.bars > 1000));

    // The simulator represents only the build in the bundle.
    (npu.precision, npu.calibrate, npu.calibration) = (Build::Int8, vec![bars()], 50);
    let other = verify(&npu, 1.0).unwrap_err().to_string();
    assert!(other.contains("is not what the toolkit builds"), "{other}");
    rknn(&Bundle::load(&dir).unwrap(), &npu).unwrap();
    let refused = verify(&npu, 0.001).unwrap();
    assert!(!refused.good, "8 bits differ by more than a thousandth");
    let eight = Bundle::load(&dir).unwrap().manifest().verified[&BackendKind::Rknn].clone();
    assert!(!eight.passed && eight.max_abs_error > half.max_abs_error);
}
