//! The command `select`.

use clap::Parser;
use heqis_data::prepare::Options;
use heqis_data::store::manifest::TrainTo;
use heqis_lab::select::{SelectArgs, run};
use heqis_quant::Date;
use heqis_train::train::TrainedRun;
use std::collections::BTreeMap;
use std::path::Path;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SelectArgs,
}

#[test]
fn the_command_writes_one_row_for_each_symbol_with_all_trials_and_counts_test_runs() {
    let folder = tempfile::tempdir().unwrap();
    let bars = history();
    let mut words = vec![
        "select".to_owned(),
        data("002032.SZ.csv").display().to_string(),
        "--validate-from=2008-01-02".to_owned(),
        "--test-from=2014-01-02".to_owned(),
        "--folds=3".to_owned(),
        format!("--out={}", folder.path().display()),
    ];
    for (name, gain) in [("g1", 0.01), ("g2", -0.01)] {
        let path = folder.path().join(format!("{name}.csv"));
        let mut text = "symbol,date,predicted_return,p_down,p_flat,p_up,fitted_to\n".to_owned();
        for bar in &bars {
            text.push_str(&format!("002032.SZ,{},{gain},0.3,0.3,0.4,\n", bar.date));
        }
        std::fs::write(&path, text).unwrap();
        words.push(format!("--candidate={name}={}", path.display()));
    }
    let go = |words: &[String]| {
        run(&Cli::try_parse_from(words).unwrap().args).map(|answer| answer.lines)
    };
    let lines = go(&words).unwrap();
    assert!(
        lines[0].starts_with("002032.SZ: ") && lines[0].contains("of 18 trials"),
        "{lines:?}"
    );
    let path = folder.path().join("best_metrics.csv");
    let rows = || {
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let rows: Vec<BTreeMap<String, String>> =
            reader.deserialize().map(Result::unwrap).collect();
        rows
    };
    let first = rows();
    assert_eq!(first.len(), 1);
    let row = &first[0];
    assert_eq!(
        (
            row["symbol"].as_str(),
            row["trials"].as_str(),
            row["test_looks"].as_str()
        ),
        ("002032.SZ", "18", "1")
    );
    for name in ["cash", "hold", "last"] {
        assert!(row.contains_key(&format!("{name}_return_score")), "{name}");
    }
    for name in ["linear", "boosted", "g1", "g2", "ensemble"] {
        for mode in ["return", "class", "both"] {
            assert!(
                row.contains_key(&format!("{name}_{mode}_score")),
                "{name} {mode}"
            );
        }
    }
    // The choice has the highest score of all columns; cash has a score of zero.
    let scores = row.iter().filter(|(name, _)| name.ends_with("_score"));
    let most = scores
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .fold(f64::MIN, f64::max);
    assert_eq!(row["score"].parse::<f64>().unwrap(), most);
    assert_eq!(row["g2_return_score"], "0");
    // Buying every day equals holding.
    assert_eq!(row["g1_return_score"], row["hold_return_score"]);
    go(&words).unwrap();
    let second = rows();
    assert_eq!(second[0]["test_looks"], "2");
    let without = |mut row: BTreeMap<String, String>| {
        row.remove("test_looks");
        row
    };
    assert_eq!(without(first[0].clone()), without(second[0].clone()));

    for (word, expected) in [
        ("--candidate=g1", "must be NAME=SOURCE"),
        ("--candidate=hold=x.csv", "the name hold is taken"),
        ("--candidate=g1=x.csv", "the name g1 is taken"),
        ("--candidate=g 3=x.csv", "a name may hold only ASCII"),
    ] {
        let mut words = words.clone();
        words.push(word.to_owned());
        let text = go(&words).unwrap_err().to_string();
        assert!(text.contains(expected), "{word}: {text}");
    }
}

#[test]
fn bundles_are_candidates_after_their_last_fitted_day() {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let [factors, direction] =
        ["baseline-factors", "baseline-direction"].map(|name| models.join(name));
    let go = |validate_from: &str, made: &str| {
        let words = [
            "select".to_owned(),
            data("002032.SZ.csv").display().to_string(),
            format!("--validate-from={validate_from}"),
            "--test-from=2015-09-01".to_owned(),
            "--folds=2".to_owned(),
            format!(
                "--candidate=shipped={},{}{made}",
                factors.display(),
                direction.display()
            ),
            format!("--out={}", folder.path().display()),
        ];
        run(&Cli::try_parse_from(words).unwrap().args).map(|answer| answer.lines)
    };
    // Weights up to 2012-05-17, penalties chosen up to 2014-06-25, as the manifest states.
    let lines = go("2014-09-01", "@2014-06-25").unwrap();
    assert!(lines[0].contains("of 12 trials"), "{lines:?}");
    for (validate_from, made, words) in [
        ("2014-06-30", "@2014-06-25", "must be fitted on days up to"),
        (
            "2014-09-01",
            "@2012-05-16",
            "but its scaler up to 2012-05-17",
        ),
        (
            "2014-09-01",
            "",
            "bundles need the last day that they were fitted on",
        ),
        ("2014-09-01", "@soon", "must be written YYYYMMDD"),
    ] {
        let text = go(validate_from, made).unwrap_err().to_string();
        assert!(text.contains(words), "{validate_from} {made}: {text}");
    }
}

/// Two generators and an encoder of minimal size: the test concerns their data, not their skill.
const TINY: &str = r#"
seed = 5
[data]
set = "SET"
symbols = "002032.SZ"
samples_per_epoch = 128
[schedule]
encoder_epochs = 1
pretraining_epochs = 1
adversarial_epochs = 1
identity_epochs = 1
distil_every = 0
fine_tune_epochs = 0
[discriminator]
branch_channels = 4
channels = 8
hidden = 8
[[generators]]
name = "g1"
kind = "gru"
window_bars = 6
hidden = 8
[[generators]]
name = "g2"
kind = "lstm"
window_bars = 8
hidden = 8
[encoder]
kind = "t3vae"
window_bars = 4
factors = 2
"#;

#[test]
fn generators_are_trained_for_every_fold_on_earlier_days_and_the_test_span_changes_no_trial() {
    let root = tempfile::tempdir().unwrap();
    let test_from = day("2014-01-02");
    let go = |name: &str, table: &Path| {
        let work = root.path().join(name);
        let set = work.join("set");
        std::fs::create_dir_all(&work).unwrap();
        heqis_data::prepare::prepare(&Options {
            train_to: TrainTo::Fraction(0.6),
            ..market::options(&[table], &set)
        })
        .unwrap();
        let config = work.join("train.toml");
        std::fs::write(&config, TINY.replace("SET", &set.display().to_string())).unwrap();
        let words = [
            "select".to_owned(),
            table.display().to_string(),
            "--validate-from=2012-01-04".to_owned(),
            format!("--test-from={test_from}"),
            "--folds=2".to_owned(),
            format!("--train={}", config.display()),
            format!("--out={}", work.join("out").display()),
        ];
        let lines = run(&Cli::try_parse_from(words.clone()).unwrap().args)
            .unwrap()
            .lines;
        // Three rules in one mode, and the regressions, the trees, two generators and their mean in three modes each.
        assert!(lines[0].contains("of 18 trials"), "{lines:?}");
        let text = std::fs::read_to_string(work.join("out/selection.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        (work.join("out/folds/002032.SZ"), record, words)
    };
    let (runs, whole, words) = go("whole", &data("002032.SZ.csv"));

    let judged = whole["symbols"][0]["folds"].as_array().unwrap();
    let span =
        |value: &serde_json::Value| ["from", "to"].map(|end| day(value[end].as_str().unwrap()));
    let mut spans: Vec<[Date; 2]> = judged
        .iter()
        .map(|fold| span(&fold["validation"]))
        .collect();
    spans.push(span(&whole["symbols"][0]["test"]));
    for (name, [from, to]) in ["fold-1", "fold-2", "test"].into_iter().zip(spans) {
        let run = TrainedRun::open(&runs.join(name).join("run")).unwrap();
        let corpus = run.corpus().unwrap();
        assert!(run.manifest.days.training.to < run.manifest.days.validation.from);
        assert!(corpus.seen_to().unwrap() < from, "{name}");
        // The gap of one day and five, and the day of the last label.
        let dates = corpus.series[0].dates.iter();
        let between = dates.filter(|date| corpus.seen_to().unwrap() < **date && **date < from);
        assert!(between.count() >= 6, "{name}");
        assert!(
            corpus.series[0].label_dates.iter().all(|date| *date <= to),
            "{name}"
        );
    }

    // A second run trains nothing and has the same result.
    let stamp = |name: &str| {
        std::fs::metadata(runs.join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let weights = [
        "fold-1/run/best/g1.safetensors",
        "test/run/best/g2.safetensors",
    ];
    let before = weights.map(|name| std::fs::read(runs.join(name)).unwrap());
    let epochs = stamp("fold-1/run/checkpoints/latest.json");
    run(&Cli::try_parse_from(words).unwrap().args).unwrap();
    assert!(before == weights.map(|name| std::fs::read(runs.join(name)).unwrap()));
    assert_eq!(epochs, stamp("fold-1/run/checkpoints/latest.json"));

    // A history that ends earlier.
    let table = root.path().join("002032.SZ.csv");
    let text = std::fs::read_to_string(data("002032.SZ.csv")).unwrap();
    let early = text.lines().take_while(|line| !line.starts_with("2015"));
    std::fs::write(&table, early.collect::<Vec<_>>().join("\n")).unwrap();
    let (_, changed, _) = go("changed", &table);
    assert_eq!(
        whole["symbols"][0]["trials"],
        changed["symbols"][0]["trials"]
    );
    assert_ne!(
        whole["symbols"][0]["test"]["metrics"],
        changed["symbols"][0]["test"]["metrics"]
    );
}
