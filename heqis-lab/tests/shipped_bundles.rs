//! The shipped trained bundles are reproducible from the committed settings and data, and the shipped topologies use them as
//! intended.
//!
//! The training takes minutes: the test that rebuilds the bundles to the byte is ignored, and run by
//! `cargo test -p heqis-lab --test shipped_bundles -- --ignored`. `train.rs` checks on small trainings that a training repeats
//! bit for bit; the tests here compare settings and data with the digests in the bundles.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use heqis_infer::backend::RKNN_LIBRARY;
use heqis_infer::bundle::sha256_hex;
use heqis_infer::{BackendKind, Bundle, Libraries, Manifest, open, open_with};
use heqis_train::train::TrainConfig;
use serde_json::Value;

const BUNDLES: [&str; 2] = ["cae-factors", "multi-gan-direction"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn bundle(name: &str) -> Bundle {
    Bundle::load(project().join("models").join(name)).unwrap()
}

fn figures(manifest: &Manifest) -> Value {
    serde_json::to_value(&manifest.figures).unwrap()
}

#[test]
fn settings_and_data_are_those_of_the_bundles() {
    let config = TrainConfig::read(&project().join("training/shipped.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("002032.SZ");
    let status = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .current_dir(project())
        .args(["prepare", "data/ashare/002032.SZ.csv", "--out"])
        .arg(&set)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let data = sha256_hex(&std::fs::read(set.join("manifest.json")).unwrap());
    for name in BUNDLES {
        let bundle = bundle(name);
        let manifest = bundle.manifest();
        let run = &figures(manifest)["run"];
        assert_eq!(run["config_sha256"], config.sha256().unwrap(), "{name}");
        assert_eq!(run["seed"], config.seed, "{name}");
        assert_eq!(manifest.training_span.source_sha256, data, "{name}");
        let weights = run["weights_sha256"].as_object().unwrap();
        assert_eq!(weights.len(), config.generators.len(), "{name}");
    }
}

/// The additions of `convert` and `verify` to a bundle are in fields of their own and not part of the training.
#[test]
#[ignore = "trains two games, some minutes"]
fn the_commands_of_the_guide_rebuild_the_bundles_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let to = dir.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(project().join(name), to).unwrap();
    };
    for name in [
        "data/ashare/002032.SZ.csv",
        "training/shipped.toml",
        "training/single-pair.toml",
    ] {
        copy(name);
    }
    for words in [
        "prepare data/ashare/002032.SZ.csv --out target/data/002032.SZ",
        "train --config training/shipped.toml --out target/runs/shipped",
        "train --config training/single-pair.toml --out target/runs/single-pair",
        "export --run target/runs/shipped --compare target/runs/single-pair --out models",
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
            .current_dir(dir.path())
            .args(words.split(' '))
            .status()
            .unwrap();
        assert!(status.success(), "{words}");
    }
    for name in BUNDLES {
        let (shipped, made) = (
            project().join("models").join(name),
            dir.path().join("models").join(name),
        );
        for file in ["model.onnx", "scaler_params.json", "MODEL_CARD.md"] {
            let read = |dir: &Path| std::fs::read(dir.join(file)).unwrap();
            assert!(read(&shipped) == read(&made), "{name}/{file}");
        }
        let manifest = |dir: &Path| -> Value {
            let text = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
            let mut manifest: Value = serde_json::from_str(&text).unwrap();
            manifest.as_object_mut().unwrap().remove("verified");
            let files = manifest["files"].as_object_mut().unwrap();
            files.retain(|file, _| made.join(file).exists());
            manifest
        };
        assert_eq!(manifest(&shipped), manifest(&made), "{name}");
    }
}

/// A change of any setting makes another training.
#[test]
fn the_digest_of_settings_follows_their_meaning() {
    let path = project().join("training/shipped.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = |text: &str| TrainConfig::parse(&path, text).unwrap().sha256().unwrap();
    assert_eq!(digest(&text), digest(&format!("# other words\n{text}")));
    let other = text.replace("dropout = 0.2", "dropout = 0.1");
    assert_ne!(digest(&text), digest(&other));
}

#[test]
fn the_bundles_load_and_pass_their_self_test_on_the_cpu() {
    for name in BUNDLES {
        let opened = open(&bundle(name), &[BackendKind::Cpu], true).unwrap();
        assert_eq!(opened.self_test.windows, 4, "{name}");
    }
}

/// Published daily direction accuracy lies between 56 and 59 per cent: much more would be a leak.
#[test]
fn the_accuracy_is_plausible() {
    let figures = figures(bundle("multi-gan-direction").manifest());
    for span in ["validation", "test"] {
        let direction = &figures[span]["returns"]["direction"];
        let share = direction["share"].as_f64().unwrap();
        assert!(share > 0.4 && share < 0.6, "{span}: {direction}");
        assert!(direction["of"].as_u64().unwrap() > 300, "{span}");
    }
}

#[test]
fn the_shipped_topologies_decide_by_the_rule_of_the_validation_span() {
    let rule = figures(bundle("multi-gan-direction").manifest())["rule"].clone();
    let mut checked = 0;
    for name in ["dual-board", "single-host", "fan-out", "live-tcp"] {
        let path = project().join(format!("topologies/{name}.toml"));
        let topology: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        for (stage, entry) in topology["stages"].as_table().unwrap() {
            if entry["kind"].as_str() != Some("signal") {
                continue;
            }
            for key in ["enter", "exit", "min_confidence"] {
                let set = entry["params"]["rule"][key].as_float();
                assert_eq!(set, rule[key].as_f64(), "{key} of {stage} in {name}.toml");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 5);
}

#[test]
fn the_feature_model_is_shipped_with_a_build_for_the_npu_that_passed_its_gate() {
    let bundle = bundle("cae-factors");
    let build = bundle.file("model.rknn").unwrap();
    assert!(build.starts_with(b"RKNN"));
    let verified = &bundle.manifest().verified[&BackendKind::Rknn];
    assert!(verified.passed && verified.by.contains("rk3568") && verified.by.contains("fp16"));
    assert!(verified.max_abs_error > 0.0 && verified.max_abs_error <= verified.tolerance);
    let trading = verified.trading.as_ref().unwrap();
    assert_eq!(trading.decisions, 0);
    assert_eq!(trading.reference_return, trading.backend_return);
    // Without the NPU's library the CPU is used, and the reason is reported.
    let libraries = Libraries::from_env().with(RKNN_LIBRARY, "/nowhere/librknnrt.so");
    let list = [BackendKind::Rknn, BackendKind::Cpu];
    let opened = open_with(&bundle, &list, false, &libraries).unwrap();
    assert_eq!(opened.backend, BackendKind::Cpu);
    let reason = &opened.fallbacks[0].reason;
    assert!(
        reason.contains("/nowhere/librknnrt.so does not load"),
        "{reason}"
    );
}
