//! Trainings repeat bit for bit, go on after a kill as if nothing had happened, learn what can be learned, and learn
//! nothing where there is nothing.
#![allow(clippy::unwrap_used)]

mod market;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heqis_lab::figures::Share;
use heqis_lab::nets::generator::GeneratorKind;
use heqis_lab::train::config::GeneratorSpec;
use heqis_lab::train::predict::Score;
use heqis_lab::train::progress::Deaf;
use heqis_lab::train::run::RunManifest;
use heqis_lab::train::{Part, Stage, TrainConfig, TrainedRun, train};
use market::{closes, files, prepared};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// The settings of a training of seconds.
fn settings(set: &Path, more: &str) -> TrainConfig {
    let text = format!(
        r#"
        seed = 11
        {more}
        [data]
        set = {set:?}
        [schedule]
        alone_epochs = 2
        game_epochs = 6
        identity_epochs = 2
        distil_every = 3
        fine_tune_epochs = 2
        [discriminator]
        branch_channels = 4
        channels = 8
        hidden = 8
        [[generators]]
        name = "g1"
        kind = "gru"
        window_bars = 6
        hidden = 8
        dropout = 0.1
        [[generators]]
        name = "g2"
        kind = "transformer"
        window_bars = 8
        hidden = 8
        heads = 2
        layers = 1
        [encoder]
        kind = "t3vae"
        window_bars = 4
        factors = 2
        "#
    );
    TrainConfig::parse(Path::new("test.toml"), &text).unwrap()
}

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
}

/// Everything of a run but the times of its events.
fn lasting(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = files(run);
    all.retain(|(path, _)| !path.ends_with("progress.jsonl"));
    all
}

fn coin(rng: &mut ChaCha8Rng, _: [bool; 2]) -> bool {
    rng.next_u32().is_multiple_of(2)
}

#[test]
fn a_killed_training_goes_on_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let config = toml::to_string(&settings(&set, "")).unwrap();
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
    // An epoch of the encoder, one alone, and one of the game are whole; then the process dies wherever it is.
    let wanted = BufReader::new(killed.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find(|line| {
            line.contains(r#""event":"epoch""#) && line.contains(r#""phase":"game","points"#)
        });
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(wanted.is_some());
    let dir = root.path().join("killed");
    assert!(!RunManifest::read(&dir).unwrap().finished);

    let other = command("killed").output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        !other.status.success() && said.contains("--resume"),
        "{said}"
    );
    let resumed = command("killed").arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    let (whole, killed) = (lasting(&root.path().join("whole")), lasting(&dir));
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
    // Every line of the events is whole, those around the kill too.
    let events = std::fs::read_to_string(dir.join("progress.jsonl")).unwrap();
    let parsed = events
        .lines()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    assert!(events.lines().count() - parsed.count() <= 1);
}

#[test]
fn another_seed_gives_other_weights_and_other_settings_cannot_go_on() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let config = settings(&set, "");
    let one = root.path().join("one");
    let first = train(&config, &one, false, &mut Deaf).unwrap();
    let mut config = config;
    config.seed = 12;
    let refused = train(&config, &one, true, &mut Deaf).unwrap_err();
    assert!(refused.to_string().contains("other settings"), "{refused}");
    let second = train(&config, &root.path().join("two"), false, &mut Deaf).unwrap();
    let digest = |manifest: &RunManifest| manifest.figures["g1"].weights_sha256.clone();
    assert_ne!(digest(&first), digest(&second));

    // A finished run that is resumed has nothing to do; a checkpoint that was changed is refused.
    config.seed = 11;
    assert_eq!(train(&config, &one, true, &mut Deaf).unwrap(), first);
    let checkpoints = one.join("checkpoints");
    for entry in std::fs::read_dir(&checkpoints).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let refused = train(&config, &one, true, &mut Deaf).unwrap_err();
    assert!(refused.to_string().contains("digest"), "{refused}");
}

#[test]
fn a_run_directory_gives_back_what_was_trained() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let out = root.path().join("run");
    let manifest = train(&settings(&set, ""), &out, false, &mut Deaf).unwrap();
    let run = TrainedRun::open(&out).unwrap();
    assert_eq!(run.manifest, manifest);
    let corpus = run.corpus().unwrap();
    for generator in run.generators(Stage::Best).unwrap() {
        let said = generator.predict(&corpus, Part::Validation).unwrap();
        let score = Score::of(&said, corpus.target_scale);
        let told = &manifest.figures[&generator.name];
        assert_eq!(score.mse, told.validation_mse);
        assert_eq!(score.cross_entropy, told.validation_cross_entropy);
        let best = told.best.loss.unwrap();
        assert!((score.mse + score.cross_entropy - best).abs() < 1e-12);
    }
    assert_eq!(run.generators(Stage::Alone).unwrap().len(), 2);
}

/// The three default generators with shorter windows, alone and then in the game.
fn default_generators(set: &Path) -> TrainConfig {
    let mut config = settings(set, "");
    config.encoder = Default::default();
    config.generators = GeneratorSpec::defaults();
    for spec in &mut config.generators {
        spec.window_bars /= 2;
    }
    config.optimiser.learning_rate = 3e-3;
    config.schedule.alone_epochs = 12;
    config.schedule.game_epochs = 3;
    config.schedule.identity_epochs = 1;
    config.schedule.distil_every = 0;
    config
}

fn directions(config: &TrainConfig, out: &Path) -> Vec<(String, Share)> {
    train(config, out, false, &mut Deaf).unwrap();
    let run = TrainedRun::open(out).unwrap();
    let corpus = run.corpus().unwrap();
    run.generators(Stage::Best)
        .unwrap()
        .iter()
        .map(|generator| {
            let said = generator.predict(&corpus, Part::Test).unwrap();
            let score = Score::of(&said, corpus.target_scale);
            (generator.name.clone(), score.direction)
        })
        .collect()
}

#[test]
fn every_default_generator_learns_a_planted_signal() {
    let root = tempfile::tempdir().unwrap();
    // Four of five moves repeat the sign of the move before the last.
    let planted = |rng: &mut ChaCha8Rng, before: [bool; 2]| before[0] == (rng.next_u32() % 10 < 8);
    let set = prepared(root.path(), &[closes(1_600, 5, planted)]);
    let kinds = GeneratorSpec::defaults().into_iter().map(|spec| spec.kind);
    let default = [
        GeneratorKind::Gru,
        GeneratorKind::Lstm,
        GeneratorKind::Transformer,
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), default);
    for (name, share) in directions(&default_generators(&set), &root.path().join("run")) {
        assert!(share.share >= 0.75, "{name}: {share:?}");
        assert!(
            share.wilson_high < 0.9,
            "{name} knows more than there is: {share:?}"
        );
    }
}

#[test]
fn nothing_is_learned_from_a_random_walk() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(1_600, 6, coin)]);
    for (name, share) in directions(&default_generators(&set), &root.path().join("run")) {
        let chance = share.wilson_low..=share.wilson_high;
        assert!(chance.contains(&0.5), "{name}: {share:?}");
    }
}
