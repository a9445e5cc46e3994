//! Training on the cross-section: a planted order of the instruments is learned by every kind of generator and by trees, and a
//! shuffled one by none; a pool is retrained for every fold.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::path::{Path, PathBuf};

use heqis_data::predictions::Predictions;
use heqis_data::prepare::{self, Options};
use heqis_infer::bundle::sha256_hex;
use heqis_quant::Date;
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use heqis_train::corpus::Split;
use heqis_train::metrics::daily::{DailyMean, DailySeries};
use heqis_train::metrics::forecast::Truth;
use heqis_train::train::progress::{Event, ProgressObserver};
use heqis_train::train::{SavedWeights, TrainConfig, TrainedRun, train};
use heqis_train::walk_forward::WalkForward;

struct Silent;

impl ProgressObserver for Silent {
    fn on_step(&mut self) {}

    fn on_event(&mut self, _: &Event<'_>) -> Result<(), heqis_train::TrainError> {
        Ok(())
    }
}

/// A data set of ten instruments whose returns persist: who did better today does better tomorrow, mostly.
fn planted(root: &Path, days: usize) -> PathBuf {
    let tables = root.join("tables");
    std::fs::create_dir(&tables).unwrap();
    for index in 0..10 {
        let mut state = 77 + index as u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let (mut close, mut trend) = (5_000.0_f64, 0.0);
        let rows = market::rows(index, days).into_iter().map(|row| {
            let date = row.split(',').next().unwrap().to_owned();
            // Half of the variance of a return is that of the day before.
            trend = 0.7 * trend + 0.02 * random();
            let open = close;
            close *= 1.0 + trend;
            let (high, low) = (open.max(close), open.min(close));
            let price = |cents: f64| cents.round() / 100.0;
            let (o, h, l, c) = (price(open), price(high), price(low), price(close));
            format!("{date},{o},{h},{l},{c},{}", 1_000_000.0 + 1e5 * random())
        });
        let rows: Vec<String> = rows.collect();
        market::write_table(&tables, index, &rows);
    }
    let set = root.join("set");
    let target = Target {
        price: TargetPrice::Close,
        horizon_days: 1,
        kind: TargetKind::Rank,
        benchmark: None,
    };
    prepare::prepare(&Options {
        target,
        ..market::options(&[&tables], &set)
    })
    .unwrap();
    set
}

/// All kinds of generators in one game.
fn settings(set: &Path, loss: &str, more: &str) -> TrainConfig {
    let mut text = format!(
        r#"
        seed = 5
        [data]
        set = {set:?}
        batches = "days"
        days_per_step = 4
        {more}
        [losses]
        value_loss = "{loss}"
        adversarial = 0.1
        [optimiser]
        learning_rate = 3e-3
        [schedule]
        encoder_epochs = 1
        pretraining_epochs = 8
        adversarial_epochs = 2
        identity_epochs = 1
        distil_every = 2
        fine_tune_epochs = 1
        stop_by = "rank_ic"
        [discriminator]
        branch_channels = 4
        channels = 8
        hidden = 8
        [encoder]
        kind = "cae"
        window_bars = 4
        factors = 2
        channels = [4, 8]
        "#
    );
    for kind in [
        "gru",
        "lstm",
        "rnn",
        "transformer",
        "deep-transformer",
        "dct",
        "mpd",
    ] {
        let heads = if ["gru", "lstm", "rnn", "tcn"].contains(&kind) {
            ""
        } else {
            "heads = 2\nlayers = 1"
        };
        text += &format!(
            "[[generators]]\nname = \"{kind}\"\nkind = \"{kind}\"\nwindow_bars = 4\nhidden = 8\n{heads}\n"
        );
    }
    TrainConfig::parse(Path::new("test.toml"), &text).unwrap()
}

/// RankIC of every generator on the test span.
fn rank_ics(config: &TrainConfig, out: &Path) -> Vec<(String, DailyMean)> {
    let manifest = train(config, out, false, &mut Silent).unwrap();
    assert!(
        manifest
            .metrics
            .values()
            .all(|metrics| metrics.validation_rank_ic.is_some())
    );
    let run = TrainedRun::open(out).unwrap();
    let corpus = run.corpus().unwrap();
    let truth = Truth::of(&corpus, corpus.samples(Split::Test));
    let mut all = Vec::new();
    for weights in [SavedWeights::Pretrained, SavedWeights::Best] {
        for generator in run.generators(weights).unwrap() {
            let values = generator
                .predict(&corpus, Split::Test)
                .unwrap()
                .returns
                .unwrap();
            let mean = DailySeries::rank_ic(&values, &truth).mean(1).unwrap();
            all.push((format!("{} {weights:?}", generator.name), mean));
        }
    }
    all
}

#[test]
fn a_planted_order_is_learned_by_every_kind_of_generator_and_a_shuffled_one_by_none() {
    let root = tempfile::tempdir().unwrap();
    let set = planted(root.path(), 360);
    for loss in ["ic", "listwise"] {
        for (name, mean) in rank_ics(&settings(&set, loss, ""), &root.path().join(loss)) {
            assert!(mean.mean > 0.25 && mean.t > 5.0, "{loss}, {name}: {mean:?}");
        }
    }
    let shuffled = settings(&set, "ic", "shuffle_labels = true");
    for (name, mean) in rank_ics(&shuffled, &root.path().join("shuffled")) {
        assert!(
            mean.t.abs() < 3.0 && mean.mean.abs() < 0.12,
            "{name}: {mean:?}"
        );
    }
}

fn walk(config: TrainConfig, out: PathBuf, seeds: u64) -> WalkForward {
    WalkForward {
        config,
        from: Date::parse("2015-09-01").unwrap(),
        to: Some(Date::parse("2016-04-29").unwrap()),
        folds: 2,
        seeds,
        out,
    }
}

#[test]
fn a_pool_is_retrained_for_every_fold_and_trees_and_ridge_learn_the_planted_order() {
    let root = tempfile::tempdir().unwrap();
    let set = planted(root.path(), 360);
    let mut config = settings(&set, "mse", "embargo_days = 2");
    config.generators.truncate(2);
    config.schedule.pretraining_epochs = 2;
    let out = root.path().join("walk");
    let record = walk(config.clone(), out.clone(), 2)
        .run(&mut |_| {})
        .unwrap();
    let of = |name: &str| {
        record
            .models
            .iter()
            .find(|model| model.model == name)
            .unwrap()
    };
    assert!(
        of("trees").rank_ic.unwrap().mean > 0.25,
        "{:?}",
        of("trees")
    );
    assert!(of("ridge").rank_ic.unwrap().mean > 0.25);
    assert!(of("last return").rank_ic.unwrap().mean > 0.25);
    assert_eq!(of("last value").rank_ic, None);
    assert_eq!(of("ensemble, game").by_seed.len(), 2);
    assert_eq!(of("gru, alone").by_fold.len(), 2);
    for fold in &record.folds {
        assert!(fold.fitted_to.unwrap() < fold.evaluated[0], "{fold:?}");
    }
    // Every file has its digest, and forecasts are tables that no rule with thresholds accepts.
    for (name, digest) in &record.files {
        assert_eq!(
            &sha256_hex(&std::fs::read(out.join(name)).unwrap()),
            digest,
            "{name}"
        );
    }
    let table = Predictions::read(&out.join("forecasts/trees.csv")).unwrap();
    assert_eq!(table.kind(), TargetKind::Rank);
    let text = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(text.contains("| last value | 0 | ranks nothing"), "{text}");
    // Complete trainings are not repeated, and give the same files.
    let again = walk(config, out.clone(), 2).run(&mut |_| {}).unwrap();
    assert_eq!(again, record);
}

#[test]
fn shuffled_labels_leave_chance_in_every_linear_model_and_in_trees() {
    let root = tempfile::tempdir().unwrap();
    let set = planted(root.path(), 360);
    let config = settings(&set, "mse", "shuffle_labels = true");
    let record = walk(config, root.path().join("walk"), 0)
        .run(&mut |_| {})
        .unwrap();
    assert_eq!(record.models.len(), 4);
    for model in &record.models {
        if let Some(mean) = model.rank_ic {
            assert!(
                mean.low < 0.0 && mean.high > 0.0,
                "{}: {mean:?}",
                model.model
            );
        }
    }
}

#[test]
fn trees_of_ranks_are_a_bundle_that_computes_as_in_the_lab_and_fits_no_threshold() {
    let root = tempfile::tempdir().unwrap();
    let config = settings(&planted(root.path(), 360), "mse", "");
    let dir = heqis_train::trees::bundle::write(&config, root.path(), "trees").unwrap();
    let again = heqis_train::trees::bundle::write(&config, &root.path().join("again"), "trees");
    for name in ["model.onnx", "manifest.json", "MODEL_CARD.md"] {
        let bytes = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert_eq!(bytes(&dir), bytes(again.as_ref().unwrap()), "{name}");
    }
    let loaded = heqis_bundle::load::<heqis_bundle::DirectionLayout>(&dir).unwrap();
    assert_eq!((loaded.layout.rows, loaded.layout.factors), (1, 0));
    assert_eq!(loaded.layout.scaler.target().kind, TargetKind::Rank);
    let opened = heqis_infer::open(&loaded.bundle, &[heqis_infer::BackendKind::Cpu], true).unwrap();
    assert_eq!(
        (opened.self_test.windows, opened.self_test.max_abs_error),
        (4, 0.0)
    );
    let refused = heqis_bundle::check_thresholds(&loaded)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("rank of close t to close t+1"),
        "{refused}"
    );
    let by_day = settings(&root.path().join("set"), "mse", "scale_by_day = \"rank\"");
    let refused = heqis_train::trees::bundle::write(&by_day, root.path(), "other").unwrap_err();
    assert!(
        refused.to_string().contains("data.scale_by_day"),
        "{refused}"
    );
}

#[test]
fn a_loss_of_days_without_batches_of_days_is_refused() {
    let text = "[data]\nset = \"s\"\n[losses]\nvalue_loss = \"ic\"\n";
    let refused = TrainConfig::parse(Path::new("test.toml"), text)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("needs data.batches = \"days\""),
        "{refused}"
    );
    // Settings of former versions keep their digest.
    let plain = TrainConfig::parse(Path::new("test.toml"), "[data]\nset = \"s\"\n").unwrap();
    let json = serde_json::to_string(&plain).unwrap();
    for key in [
        "batches",
        "days_per_step",
        "scale_by_day",
        "shuffle_labels",
        "value_loss",
        "stop_by",
    ] {
        assert!(!json.contains(key), "{key}");
    }
}
