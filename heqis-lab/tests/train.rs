//! The command `train`: a training that is killed continues to the same bytes, and the shipped smoke settings run.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;
#[path = "../../heqis-train/tests/trainings/mod.rs"]
mod trainings;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heqis_train::train::run::RunManifest;
use market::{closes, files, prepared};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use trainings::tiny;

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
}

/// Returns the files of a run without the times of its events.
fn without_times(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = files(run);
    all.retain(|(path, _)| !path.ends_with("progress.jsonl"));
    all
}

fn coin(rng: &mut ChaCha8Rng, _: [bool; 2]) -> bool {
    rng.next_u32().is_multiple_of(2)
}

#[test]
fn a_killed_training_resumes_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let config = toml::to_string(&tiny(&set, "")).unwrap();
    let path = root.path().join("train.toml");
    std::fs::write(&path, config).unwrap();
    let command = |out: &str| {
        let mut command = lab();
        command
            .args(["train", "--json", "--config"])
            .arg(&path)
            .arg("--out")
            .arg(root.path().join(out));
        command
    };
    let whole = command("whole").output().unwrap();
    assert!(whole.status.success(), "{whole:?}");

    let mut killed = command("killed").stdout(Stdio::piped()).spawn().unwrap();
    // One epoch of each phase is complete: encoder, pre-training and adversarial; then the process is killed at an arbitrary point.
    let line = BufReader::new(killed.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| {
            line.contains(r#""event":"epoch""#) && line.contains(r#""phase":"game","points"#)
        });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(line.is_some());
    let dir = root.path().join("killed");
    assert!(!RunManifest::read(&dir).unwrap().finished);

    let other = command("killed").output().unwrap();
    let message = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        !other.status.success() && message.contains("--resume"),
        "{message}"
    );
    let resumed = command("killed").arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    let (whole, killed) = (
        without_times(&root.path().join("whole")),
        without_times(&dir),
    );
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(names(&whole), names(&killed));
    for ((path, one), (_, other)) in whole.iter().zip(&killed) {
        assert!(one == other, "{} differs", path.display());
    }
    for phase in ["encoder,", "alone,", "game,", "distil,", "fine_tune,"] {
        let (_, curves) = whole
            .iter()
            .find(|(p, _)| p.ends_with("curves.csv"))
            .unwrap();
        assert!(String::from_utf8_lossy(curves).contains(phase), "{phase}");
    }
    // Every line of the events is complete, including those around the kill.
    let events = std::fs::read_to_string(dir.join("progress.jsonl")).unwrap();
    let parsed = events
        .lines()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(events.lines().count() - parsed.count() <= 1);
}

fn real(root: &Path) -> PathBuf {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv");
    let set = root.join("target/data/002032.SZ");
    let mut prepare = lab();
    prepare.arg("prepare").arg(table).arg("--out").arg(&set);
    let answer = prepare.output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    set
}

#[test]
fn the_smoke_settings_run_through_every_phase_on_real_bars() {
    let root = tempfile::tempdir().unwrap();
    real(root.path());
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../training/smoke.toml");
    let mut train = lab();
    train
        .current_dir(root.path())
        .args(["train", "--out", "run", "--config"])
        .arg(config);
    let answer = train.output().unwrap();
    assert!(answer.status.success(), "{answer:?}");
    let out = root.path().join("run");
    assert!(RunManifest::read(&out).unwrap().finished);
    let mut plots: Vec<String> = std::fs::read_dir(out.join("plots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    plots.sort();
    assert_eq!(
        plots,
        [
            "discriminator-loss.svg",
            "discriminators.svg",
            "encoder-loss.svg",
            "fit-g1.svg",
            "fit-g2.svg",
            "fit-g3.svg",
            "latent.svg",
            "reconstruction.svg",
            "training-loss.svg",
            "validation-direction.svg",
            "validation-loss.svg"
        ]
    );
    let events = std::fs::read_to_string(out.join("progress.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "end");
    assert_eq!(last["eta_seconds"], 0.0);
}
