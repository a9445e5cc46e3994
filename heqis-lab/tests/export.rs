//! A trained run is exported to bundles that compute what the networks compute, match each other, and describe themselves.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;
#[path = "../../heqis-train/tests/trainings/mod.rs"]
mod trainings;

use std::num::NonZeroUsize;
use std::path::Path;

use heqis_infer::Bundle;
use heqis_infer::bundle::{FACTORS_HASH_KEY, SCALER_HASH_KEY, sha256_hex};
use heqis_lab::input_args::InputArgs;
use heqis_lab::predict::{PredictArgs, run as predict};
use heqis_lab::verify::{self, VerifyArgs};
use heqis_train::baselines::trained;
use heqis_train::corpus::Split;
use heqis_train::export::direction::GENERATORS_KEY;
use heqis_train::export::run::{ExportArgs, run};
use heqis_train::train::progress::NoProgress;
use heqis_train::train::{TrainedRun, train};
use market::{closes, files, prepared};
use rand_chacha::rand_core::Rng;
use trainings::small;

/// Trains briefly: recurrent and attention generators, and one with an own encoder, each with another window.
fn trained_run(root: &Path) -> TrainedRun {
    let series = [3, 4].map(|seed| closes(400, seed, |rng, _| rng.next_u32().is_multiple_of(2)));
    let set = prepared(root, &series);
    let config = small(&set);
    let dir = root.join("run");
    train(&config, &dir, false, &mut NoProgress).unwrap();
    TrainedRun::open(&dir).unwrap()
}

fn args(run: &TrainedRun, out: &Path, target: &str) -> ExportArgs {
    ExportArgs {
        run: run.dir().to_owned(),
        compare: Vec::new(),
        out: out.to_owned(),
        target: target.to_owned(),
        batch: None,
        factors_name: "factors".to_owned(),
        direction_name: "direction".to_owned(),
    }
}

#[test]
fn every_bundle_computes_what_was_trained_and_an_export_repeats_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    let trained = trained_run(root.path());
    let out = root.path().join("models");
    let all = |out: &Path| ExportArgs {
        batch: NonZeroUsize::new(3),
        ..args(&trained, out, "all")
    };
    let written = run(&all(&out)).unwrap();
    let names = [
        "factors",
        "direction-g1",
        "direction-g2",
        "direction-g3",
        "direction-ensemble",
    ];
    assert_eq!(written.len(), names.len());
    for name in names {
        let verified = verify::run(&VerifyArgs {
            bundle: out.join(name),
            run: Some(trained.dir().to_owned()),
            windows: 200,
            seed: 5,
            tolerance: 1e-5,
            python: None,
            boards: verify::BoardArgs::default(),
            json: false,
        })
        .unwrap();
        assert!(verified.good, "{}", verified.lines.join("\n"));
        for side in ["trained network (burn)", "RTen, model for 3 windows"] {
            assert!(
                verified.lines.iter().any(|line| line.contains(side)),
                "{side}"
            );
        }
    }

    // Both models have the same scaler, and the direction model names the encoder that it was trained on.
    let factors = Bundle::load(out.join("factors")).unwrap();
    let scaler: serde_json::Value = serde_json::from_slice(factors.scaler_params()).unwrap();
    assert_eq!(
        (
            scaler["window_size"].as_u64(),
            factors.manifest().window_bars
        ),
        (Some(6), 6)
    );
    for (name, rows, generators) in [
        ("direction-g1", 5, "g1"),
        ("direction-g3", 6, "g3"),
        ("direction-ensemble", 8, "g1,g2,g3"),
    ] {
        let direction = Bundle::load(out.join(name)).unwrap();
        let manifest = direction.manifest();
        assert_eq!(manifest.inputs[0].shape, [1, rows, 5], "{name}");
        assert_eq!(manifest.window_bars, 6 + rows - 1);
        assert_eq!(
            manifest.feature_names,
            [
                "factor_0",
                "factor_1",
                "return_1",
                "return_5",
                "range_ratio"
            ]
        );
        assert_eq!(direction.scaler_params(), factors.scaler_params());
        let hash = sha256_hex(factors.model());
        assert_eq!(direction.metadata(FACTORS_HASH_KEY), Some(hash.as_str()));
        assert_eq!(direction.metadata(GENERATORS_KEY), Some(generators));
        assert_eq!(
            direction.metadata(SCALER_HASH_KEY),
            factors.metadata(SCALER_HASH_KEY)
        );
        let card = std::fs::read_to_string(out.join(name).join("MODEL_CARD.md")).unwrap();
        for words in [
            "### test,",
            "| last value |",
            "| g1, alone |",
            "| ensemble, game |",
            "What it cannot do",
        ] {
            assert!(card.contains(words), "{card}");
        }
    }

    let again = root.path().join("again");
    run(&all(&again)).unwrap();
    let relative = |dir: &Path| -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let all = files(dir).into_iter();
        all.map(|(path, bytes)| {
            (
                path.strip_prefix(dir).map(Path::to_owned).unwrap_or(path),
                bytes,
            )
        })
        .collect()
    };
    assert_eq!(relative(&out), relative(&again));
}

#[test]
fn another_run_with_the_same_samples_is_compared_in_the_table() {
    let root = tempfile::tempdir().unwrap();
    let game = trained_run(root.path());
    let other = |name: &str, generator: usize| {
        let mut config = game.manifest.config.clone();
        config.generators = vec![config.generators[generator].clone()];
        let dir = root.path().join(name);
        train(&config, &dir, false, &mut NoProgress).unwrap();
        TrainedRun::open(&dir).unwrap()
    };
    let corpus = game.corpus().unwrap();
    // The second generator has the longest look-back, so that a training of it alone has the same samples.
    let pair = [other("pair", 1)];
    let table = trained::table(&game, &corpus, 1, &pair).unwrap();
    assert_eq!(table.entries().len(), (6 + 2 * 4 + 2) * 2);
    let [ours, theirs] = ["g2, game", "pair: g2, game"].map(|model| table.get(model, "test"));
    let mse = |entry: Option<&heqis_train::baselines::Entry>| {
        entry.unwrap().metrics.returns.as_ref().unwrap().mse
    };
    assert_ne!(mse(ours), mse(theirs));
    let refused = trained::table(&game, &corpus, 1, &[other("short", 0)]).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("must have the data and samples"),
        "{refused}"
    );
}

#[test]
fn the_table_of_a_run_compares_every_network_with_every_baseline_on_the_same_items() {
    let root = tempfile::tempdir().unwrap();
    let trained = trained_run(root.path());
    let corpus = trained.corpus().unwrap();
    let table = trained::table(&trained, &corpus, 3, &[]).unwrap();
    // Six baselines; three generators and their ensemble, before and after the adversarial phase; three folds and the test span.
    assert_eq!(table.entries().len(), (6 + 2 * 4) * 4);
    let test = corpus.samples(Split::Test).len();
    let of = |span: &str| {
        table
            .entries()
            .iter()
            .filter(|e| e.span == span)
            .map(|e| e.metrics.items)
            .collect::<Vec<_>>()
    };
    assert!(of("test").iter().all(|items| *items == test));
    let folds: usize = (1..=3)
        .map(|fold| of(&format!("validation {fold}"))[0])
        .sum();
    assert_eq!(folds, corpus.samples(Split::Validation).len());
    // The generators' own predictions, with independently computed metrics.
    let found = trained
        .generators(heqis_train::train::SavedWeights::Best)
        .unwrap()[0]
        .predict(&corpus, Split::Test)
        .unwrap();
    let actual = corpus.samples(Split::Test).iter().map(|sample| {
        let (series, row) = corpus.place(sample);
        series.returns[row]
    });
    let errors = found.returns.unwrap().into_iter().zip(actual);
    let mse = errors.map(|(a, b)| (a - b).powi(2)).sum::<f64>() / test as f64;
    let entry = table
        .get("g1, game", "test")
        .unwrap()
        .metrics
        .returns
        .as_ref()
        .unwrap();
    assert!((entry.mse - mse).abs() < 1e-15);

    let out = root.path().join("models");
    let refused = run(&args(&trained, &out, "g9")).unwrap_err().to_string();
    assert!(refused.contains("one of g1, g2, g3, got g9"), "{refused}");
    assert!(!out.join("direction").exists());
}

#[test]
fn a_run_predicts_what_its_bundles_predict() {
    let root = tempfile::tempdir().unwrap();
    let trained = trained_run(root.path());
    let models = root.path().join("models");
    run(&args(&trained, &models, "all")).unwrap();
    let tables = root.path().join("tables");
    let predicting = |out: &str, target: &str| PredictArgs {
        input: InputArgs {
            bars: vec![trained.manifest.config.data.set.clone()],
            ..InputArgs::default()
        },
        strategy: trained.dir().display().to_string(),
        target: target.to_owned(),
        out: tables.join(out),
        fitted_to: None,
    };
    predict(&predicting("p.csv", "all")).unwrap();
    predict(&predicting("best.csv", "best")).unwrap();
    let table = |name: &str| std::fs::read_to_string(tables.join(name)).unwrap();
    let seen_to = trained.corpus().unwrap().seen_to().unwrap().to_string();
    for target in ["g1", "g2", "g3", "ensemble"] {
        let bundles = PredictArgs {
            strategy: format!(
                "{},{}",
                models.join("factors").display(),
                models.join(format!("direction-{target}")).display()
            ),
            ..predicting("bundles.csv", "best")
        };
        predict(&bundles).unwrap();
        let text = table(&format!("p-{target}.csv"));
        assert_eq!(text, table("bundles.csv"), "{target}");
        assert!(
            text.lines().skip(1).all(|line| line.ends_with(&seen_to)),
            "{target}"
        );
        assert!(text.lines().count() > 600, "{target}");
    }
    let best = trained::best(&trained).unwrap();
    assert_eq!(table("best.csv"), table(&format!("p-{best}.csv")));
    let others = std::fs::read_dir(&tables).unwrap();
    let left = others.filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert_eq!(left.count(), 0, "only the tables are left");
}
