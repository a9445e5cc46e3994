//! Trainings are reproducible bit for bit, learn a planted signal, and learn nothing from a random walk.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;
mod trainings;

use std::path::{Path, PathBuf};

use heqis_data::prepare::prepare;
use heqis_data::store::manifest::TrainTo;
use heqis_quant::FeatureSet;
use heqis_quant::stats::Proportion;
use heqis_train::corpus::{Split, WINDOW_BARS};
use heqis_train::metrics::Score;
use heqis_train::metrics::forecast::Truth;
use heqis_train::nets::discriminator::DiscriminatorConfig;
use heqis_train::nets::generator::{Body, GeneratorKind};
use heqis_train::nets::weights::collect;
use heqis_train::train::config::GeneratorSpec;
use heqis_train::train::curves::Point;
use heqis_train::train::progress::NoProgress;
use heqis_train::train::run::RunManifest;
use heqis_train::train::spec::EncoderSpec;
use heqis_train::train::{SavedWeights, TrainConfig, TrainedRun, train};
use market::{closes, files, options, prepared};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use trainings::tiny;

/// Returns the files of a run, without the times of its events.
fn reproducible_files(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = files(run);
    all.retain(|(path, _)| !path.ends_with("progress.jsonl"));
    all
}

fn coin(rng: &mut ChaCha8Rng, _: [bool; 2]) -> bool {
    rng.next_u32().is_multiple_of(2)
}

#[test]
fn another_seed_gives_other_weights_and_a_run_with_other_settings_cannot_be_continued() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let config = tiny(&set, "");
    let one = root.path().join("one");
    let first = train(&config, &one, false, &mut NoProgress).unwrap();
    let mut config = config;
    config.seed = 12;
    let refused = train(&config, &one, true, &mut NoProgress).unwrap_err();
    assert!(refused.to_string().contains("other settings"), "{refused}");
    let second = train(&config, &root.path().join("two"), false, &mut NoProgress).unwrap();
    let digest = |manifest: &RunManifest| manifest.metrics["g1"].weights_sha256.clone();
    assert_ne!(digest(&first), digest(&second));

    // Resuming a finished run does nothing; a changed checkpoint is refused.
    config.seed = 11;
    assert_eq!(train(&config, &one, true, &mut NoProgress).unwrap(), first);
    let checkpoints = one.join("checkpoints");
    for entry in std::fs::read_dir(&checkpoints).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let refused = train(&config, &one, true, &mut NoProgress).unwrap_err();
    assert!(refused.to_string().contains("digest"), "{refused}");
}

#[test]
fn a_run_directory_contains_the_trained_networks() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let out = root.path().join("run");
    let manifest = train(&tiny(&set, ""), &out, false, &mut NoProgress).unwrap();
    let run = TrainedRun::open(&out).unwrap();
    assert_eq!(run.manifest, manifest);
    let corpus = run.corpus().unwrap();
    for generator in run.generators(SavedWeights::Best).unwrap() {
        let forecast = generator.predict(&corpus, Split::Validation).unwrap();
        let truth = Truth::of(&corpus, corpus.samples(Split::Validation));
        let score = Score::of(&forecast, &truth, corpus.target_scale);
        let metrics = &manifest.metrics[&generator.name];
        assert_eq!(score.mse, metrics.validation_mse);
        assert_eq!(score.cross_entropy, metrics.validation_cross_entropy);
        let best = metrics.best.loss.unwrap();
        assert!((score.mse + score.cross_entropy - best).abs() < 1e-12);
    }
    assert_eq!(run.generators(SavedWeights::Pretrained).unwrap().len(), 2);
}

/// Returns the epochs and validation losses of a network in the selected rows of `curves.csv`.
fn losses(run: &Path, selected: impl Fn(&str, usize) -> bool, network: &str) -> Vec<(usize, f64)> {
    let mut reader = csv::Reader::from_path(run.join("curves.csv")).unwrap();
    reader
        .deserialize::<Point>()
        .map(Result::unwrap)
        .filter(|point| point.network == network && selected(&point.phase, point.epoch))
        .map(|point| (point.epoch, point.validation_loss.unwrap()))
        .collect()
}

#[test]
fn the_best_weights_of_all_epochs_are_kept_and_fine_tuning_never_increases_the_loss() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let out = root.path().join("run");
    let manifest = train(&tiny(&set, ""), &out, false, &mut NoProgress).unwrap();
    let mut tuned = 0;
    for (name, metrics) in &manifest.metrics {
        let adversarial = losses(&out, |phase, _| phase == "game", name);
        let best = adversarial.iter().map(|(epoch, loss)| {
            let of = |name_of_phase: &str| {
                losses(&out, |phase, e| phase == name_of_phase && e == *epoch, name)
            };
            let distilled = of("distil").last().map_or(*loss, |(_, loss)| *loss);
            tuned += of("fine_tune").len();
            of("fine_tune")
                .iter()
                .fold(distilled, |best, (_, loss)| best.min(*loss))
        });
        let least = best.fold(f64::INFINITY, f64::min);
        assert_eq!(metrics.best.loss, Some(least), "{name}");
    }
    assert_eq!(tuned, 4, "two passes after each of two distillations");
}

#[test]
fn an_mpd_contains_the_encoder_trained_before_it() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let mut config = tiny(&set, "");
    config.generators = vec![GeneratorSpec {
        hidden: Some(8),
        heads: Some(2),
        ..GeneratorSpec::new("m", GeneratorKind::Mpd, 4)
    }];
    config.schedule.pretraining_epochs = 0;
    config.schedule.adversarial_epochs = 0;
    let out = root.path().join("run");
    train(&config, &out, false, &mut NoProgress).unwrap();
    let run = TrainedRun::open(&out).unwrap();
    let generators = run.generators(SavedWeights::Best).unwrap();
    let Body::Mpd(mpd) = &generators[0].net.body else {
        panic!("no mpd")
    };
    let encoder = run.encoder().unwrap().unwrap();
    assert_eq!(collect(&mpd.encoder).unwrap(), collect(&encoder).unwrap());
    // It reads only the features, and the encoder has improved.
    assert_eq!(generators[0].config.features, 3);
    let losses = losses(&out, |phase, _| phase == "encoder", "encoder");
    assert!(losses[losses.len() - 1].1 < losses[0].1);
}

/// Prepares the real bars in the directory of the committed settings, below `root`.
fn real(root: &Path) -> PathBuf {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv");
    let set = root.join("target/data/002032.SZ");
    let mut options = options(&[&table], &set);
    options.features = FeatureSet::standard();
    options.window_bars = WINDOW_BARS;
    options.train_to = TrainTo::Fraction(0.6);
    prepare(&options).unwrap();
    set
}

/// A discriminator that learns nothing stays at a half; one that recognises every candidate leaves the generators no gradient.
#[test]
fn discriminators_of_real_bars_become_better_than_chance_and_never_perfect() {
    let root = tempfile::tempdir().unwrap();
    let mut config = tiny(&real(root.path()), "");
    config.encoder = EncoderSpec::None;
    config.discriminator = DiscriminatorConfig::default();
    config.data.samples_per_epoch = 512;
    config.optimiser.discriminator_learning_rate = 1e-3;
    config.schedule.distil_every = 0;
    config.schedule.adversarial_epochs = 10;
    let out = root.path().join("run");
    train(&config, &out, false, &mut NoProgress).unwrap();
    let mut reader = csv::Reader::from_path(out.join("curves.csv")).unwrap();
    let points: Vec<Point> = reader.deserialize().map(Result::unwrap).collect();
    for name in ["d-g1", "d-g2"] {
        let own = points.iter().filter(|point| point.network == name);
        let shares: Vec<f64> = own
            .map(|p| (p.real_accuracy.unwrap() + p.fake_accuracy.unwrap()) / 2.0)
            .collect();
        assert_eq!(shares.len(), 10);
        let best = shares.iter().copied().fold(0.0, f64::max);
        assert!(shares[0] < 0.6 && best > 0.6, "{name}: {shares:?}");
        assert!(best < 0.95, "{name}: {shares:?}");
    }
}

/// Returns every other kind of generator, small, with pre-training only; the MPD contains a trained encoder.
fn other_generators(set: &Path) -> TrainConfig {
    use GeneratorKind::{Dct, DeepTransformer, Gru, Lstm, Mpd, Rnn, Tcn};
    let mut config = tiny(set, "threads = 0");
    config.encoder = EncoderSpec::Cae {
        window_bars: 8,
        factors: 2,
        channels: Some(vec![4, 8]),
    };
    let small = |name, kind| GeneratorSpec {
        hidden: Some(32),
        ..GeneratorSpec::new(name, kind, 8)
    };
    let both = |name, kind| GeneratorSpec {
        bidirectional: true,
        ..small(name, kind)
    };
    config.generators = vec![
        small("rnn", Rnn),
        both("gru", Gru),
        both("lstm", Lstm),
        small("tcn", Tcn),
        small("mpd", Mpd),
        small("dct", Dct),
        small("deep", DeepTransformer),
    ];
    config.optimiser.learning_rate = 3e-3;
    config.schedule.encoder_epochs = 3;
    config.schedule.pretraining_epochs = 12;
    config.schedule.adversarial_epochs = 0;
    config
}

/// Returns the three default generators with shorter windows, with pre-training and adversarial training.
fn default_generators(set: &Path) -> TrainConfig {
    let mut config = tiny(set, "");
    config.encoder = Default::default();
    config.generators = GeneratorSpec::defaults();
    for spec in &mut config.generators {
        spec.window_bars /= 2;
    }
    config.optimiser.learning_rate = 3e-3;
    config.schedule.pretraining_epochs = 12;
    config.schedule.adversarial_epochs = 3;
    config.schedule.identity_epochs = 1;
    config.schedule.distil_every = 0;
    config
}

fn directions(config: &TrainConfig, out: &Path) -> Vec<(String, Proportion)> {
    train(config, out, false, &mut NoProgress).unwrap();
    let run = TrainedRun::open(out).unwrap();
    let corpus = run.corpus().unwrap();
    run.generators(SavedWeights::Best)
        .unwrap()
        .iter()
        .map(|generator| {
            let forecast = generator.predict(&corpus, Split::Test).unwrap();
            let truth = Truth::of(&corpus, corpus.samples(Split::Test));
            let score = Score::of(&forecast, &truth, corpus.target_scale);
            (generator.name.clone(), score.direction)
        })
        .collect()
}

#[test]
fn every_kind_of_generator_learns_a_planted_signal() {
    let root = tempfile::tempdir().unwrap();
    // Four of five moves repeat the sign of the move before the last.
    let planted = |rng: &mut ChaCha8Rng, before: [bool; 2]| before[0] == (rng.next_u32() % 10 < 8);
    let set = prepared(root.path(), &[closes(1_600, 5, planted)]);
    for (name, share) in all_directions(&set, root.path()) {
        assert!(share.share >= 0.75, "{name}: {share:?}");
        assert!(
            share.wilson_high < 0.9,
            "{name} is better than the signal allows: {share:?}"
        );
    }
}

#[test]
fn no_kind_of_generator_learns_anything_from_a_random_walk() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(1_600, 6, coin)]);
    for (name, share) in all_directions(&set, root.path()) {
        let chance = share.wilson_low..=share.wilson_high;
        assert!(chance.contains(&0.5), "{name}: {share:?}");
    }
}

/// Returns the proportions of correctly predicted signs of the three default generators and of all other kinds.
fn all_directions(set: &Path, root: &Path) -> Vec<(String, Proportion)> {
    let (default, other) = (default_generators(set), other_generators(set));
    let kinds = default.generators.iter().chain(&other.generators);
    let kinds: Vec<String> = kinds.map(|spec| format!("{:?}", spec.kind)).collect();
    assert_eq!(kinds[..3], ["Gru", "Lstm", "Transformer"]);
    for kind in ["Rnn", "Tcn", "DeepTransformer", "Dct", "Mpd"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}");
    }
    let mut all = directions(&default, &root.join("default"));
    all.extend(directions(&other, &root.join("other")));
    all
}

/// Networks are trained in parallel, each on one thread.
#[test]
fn the_number_of_threads_does_not_change_the_result() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let run = |threads: usize| {
        let mut config = tiny(&set, "");
        config.threads = threads;
        let dir = root.path().join(threads.to_string());
        train(&config, &dir, false, &mut NoProgress).unwrap();
        // Only the number of threads in `run.json` may differ.
        let mut all = reproducible_files(&dir);
        all.retain(|(path, _)| !path.ends_with("run.json"));
        (RunManifest::read(&dir).unwrap(), all)
    };
    let ((mut one, one_files), (two, two_files)) = (run(1), run(2));
    assert_eq!(one_files.len(), two_files.len());
    for ((path, one), (other, two)) in one_files.iter().zip(&two_files) {
        assert_eq!(path, other);
        assert!(one == two, "{} differs", path.display());
    }
    one.config.threads = 2;
    assert_eq!(one, two);
    // A run can be continued with any number of threads.
    let dir = root.path().join("1");
    assert_eq!(
        train(&two.config, &dir, true, &mut NoProgress).unwrap(),
        two
    );
}

/// Non-finite losses end a training with an error; the earlier epochs are kept.
#[test]
fn a_training_that_diverges_fails_with_its_place() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(root.path(), &[closes(400, 3, coin)]);
    let mut config = tiny(&set, "");
    config.optimiser.learning_rate = 1e30;
    let dir = root.path().join("run");
    let message = train(&config, &dir, false, &mut NoProgress)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(", epoch ") && message.contains("diverged"),
        "{message}"
    );
    assert!(!RunManifest::read(&dir).unwrap().finished);
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_gpu_is_refused_by_a_build_without_support() {
    let root = tempfile::tempdir().unwrap();
    let set = prepared(
        root.path(),
        &[closes(400, 3, |rng, _| rng.next_u32().is_multiple_of(2))],
    );
    let config = tiny(&set, "device = \"gpu\"");
    let message = train(&config, &root.path().join("run"), false, &mut NoProgress)
        .unwrap_err()
        .to_string();
    assert!(message.contains("--features wgpu"), "{message}");
    assert!(!root.path().join("run").exists());
}
