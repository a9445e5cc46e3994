//! The search over settings: reproducible, resumable, every trial counted, and faults named before the first trial.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_lab::search::space::{Dimension, Space};
use heqis_lab::search::{SearchArgs, run};
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SearchArgs,
}

const SPACE: &str = r#"
[space]
"rule.enter" = { from = -0.01, to = 0.01 }
"broker.buy_days" = { from = 1, to = 6 }
mode = { choices = ["return", "class", "both"] }

[settings]
"rule.exit" = -0.02
"rule.min_confidence" = 0.0
"#;

fn bars() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv")
}

/// A table of forecasts: those of `good` know the next return, the others state noise.
fn forecasts(dir: &Path, name: &str, good: bool) -> String {
    let import = heqis_data::import_args::ImportArgs::default();
    let bars = import.one_series(&bars()).unwrap().1;
    let mut text = "symbol,date,predicted_return,p_down,p_flat,p_up\n".to_owned();
    for (at, bar) in bars.iter().enumerate() {
        let next = bars
            .get(at + 1)
            .map_or(0.0, |next| next.close / bar.close - 1.0);
        let noise = (at * 7919 % 1000) as f64 / 1e5 - 0.005;
        let value = if good { next + noise } else { noise };
        let up = if value > 0.0 { 0.6 } else { 0.1 };
        text += &format!("002032.SZ,{},{value},{},0.3,{up}\n", bar.date, 0.7 - up);
    }
    let path = dir.join(format!("{name}.csv"));
    std::fs::write(&path, text).unwrap();
    format!("--candidate={name}={}", path.display())
}

struct Command {
    dir: tempfile::TempDir,
    words: Vec<String>,
}

impl Command {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("space.toml"), SPACE).unwrap();
        let words = vec![
            "search".to_owned(),
            bars().display().to_string(),
            "--validate-from=2010-01-04".to_owned(),
            "--test-from=2014-01-02".to_owned(),
            "--folds=2".to_owned(),
            format!("--space={}", dir.path().join("space.toml").display()),
            forecasts(dir.path(), "noise", false),
            forecasts(dir.path(), "seer", true),
        ];
        Self { dir, words }
    }

    fn run(&self, out: &str, more: &[&str]) -> Result<Vec<String>, String> {
        let mut words = self.words.clone();
        words.push(format!("--out={}", self.dir.path().join(out).display()));
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let args = Cli::try_parse_from(words).unwrap().args;
        run(&args)
            .map(|answer| answer.lines)
            .map_err(|error| error.to_string())
    }

    fn read(&self, out: &str, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(out).join(name)).unwrap()
    }

    fn result(&self, out: &str) -> Value {
        serde_json::from_str(&self.read(out, "search.json")).unwrap()
    }
}

#[test]
fn a_search_is_the_same_with_any_threads_and_after_any_interruption() {
    let command = Command::new();
    command
        .run("whole", &["--trials=36", "--threads=1"])
        .unwrap();
    command
        .run("parts", &["--trials=3", "--threads=2"])
        .unwrap();
    // What a process that was ended within a line leaves.
    let path = command.dir.path().join("parts/trials.jsonl");
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"trial\":3,\"pla");
    std::fs::write(&path, torn).unwrap();
    command
        .run("parts", &["--trials=29", "--threads=2"])
        .unwrap();
    let lines = command
        .run("parts", &["--trials=36", "--threads=2"])
        .unwrap();
    assert_eq!(lines[0], "36 trials, 29 of them from the record before");
    let [whole, parts] = ["whole", "parts"].map(|out| command.read(out, "trials.jsonl"));
    assert!(whole == parts);
    assert_eq!(whole.lines().count(), 37);
    let [mut whole, mut parts] = ["whole", "parts"].map(|out| command.result(out));
    assert_eq!(
        [whole["test_looks"].take(), parts["test_looks"].take()],
        [1, 3].map(Value::from)
    );
    assert_eq!(whole, parts);
}

#[test]
fn the_model_that_knows_the_future_is_found_and_each_trial_raises_the_bar() {
    let command = Command::new();
    let best = |out: &str, more: &[&str]| {
        command.run(out, more).unwrap();
        command.result(out)
    };
    let tpe = best("tpe", &["--trials=40"]);
    assert_eq!(tpe["candidate"], "seer");
    assert_eq!(tpe["believed"], true);
    let later = |out: &str| {
        let trials = command.read(out, "trials.jsonl");
        let trials = trials.lines().skip(25).map(|line| {
            let trial: Value = serde_json::from_str(line).unwrap();
            usize::from(trial["values"]["candidate"] == "seer")
        });
        trials.sum::<usize>()
    };
    let random = best("random", &["--trials=40", "--sampler=random"]);
    assert_eq!(random["candidate"], "seer");
    // After its start the estimator prefers the model that was better.
    assert!(
        later("tpe") > later("random"),
        "{} {}",
        later("tpe"),
        later("random")
    );
    let more = best("more", &["--trials=40", "--earlier-trials=100000"]);
    let number = |result: &Value, name: &str| result[name].as_f64().unwrap();
    assert!(number(&more, "expected_best_sharpe") > number(&tpe, "expected_best_sharpe"));
    // The settings of the best trial are those of a backtest.
    let text = command.read("tpe", "best_settings.toml");
    let settings = heqis_backtest::settings::Settings::parse(&text, "best").unwrap();
    assert_eq!(settings.rule.exit, -0.02);
    assert_eq!(
        Value::from(settings.rule.enter),
        tpe["best"]["values"]["rule.enter"]
    );
}

#[test]
fn a_record_of_another_search_is_refused() {
    let command = Command::new();
    command.run("out", &["--trials=1"]).unwrap();
    let error = command.run("out", &["--trials=2", "--seed=2"]).unwrap_err();
    assert!(error.contains("another seed"), "{error}");
    std::fs::write(
        command.dir.path().join("space.toml"),
        SPACE.replace("0.01 }", "0.02 }"),
    )
    .unwrap();
    let error = command.run("out", &["--trials=2"]).unwrap_err();
    assert!(error.contains("another space"), "{error}");
    let path = command.dir.path().join("out/trials.jsonl");
    std::fs::write(&path, "{\"search\": 1}\n").unwrap();
    assert!(command.run("out", &["--trials=2"]).is_err());
}

#[test]
fn faults_of_a_space_name_the_key_and_the_rule() {
    let names = ["a".to_owned(), "b".to_owned()];
    let parse = |text: &str| Space::parse(text, "space.toml", &names, toml::Table::new());
    for (text, expected) in [
        ("[space]\n\"rule.entr\" = { from = 0.0, to = 1.0 }", "entr"),
        (
            "[space]\n\"rule.enter\" = { from = 1.0, to = 0.0 }",
            "rule.enter: must have from below to",
        ),
        (
            "[space]\n\"rule.enter\" = { from = 0.0, to = 1.0, log = true }",
            "above 0 with log",
        ),
        (
            "[space]\n\"rule.enter\" = { from = nan, to = 1.0 }",
            "must have numbers",
        ),
        (
            "[space]\n\"rule.enter\" = { from = 0.0 }",
            "must have from and to",
        ),
        (
            "[space]\n\"rule.enter\" = { choices = [0.1] }",
            "at least two choices",
        ),
        (
            "[space]\n\"rule.enter\" = { from = 0.0, to = 1.0, step = 2 }",
            "unknown field",
        ),
        (
            "[space]\nmode = { choices = [\"return\", \"up\"] }",
            "mode: must be a signal mode",
        ),
        (
            "[space]\ncandidate = { choices = [\"a\", \"c\"] }",
            "candidate: must be one of a, b, got c",
        ),
        (
            "[space]\n\"rule.enter\" = { from = 0.0, to = 1.0 }\n[settings]\n\"rule.enter\" = 0.5",
            "searched or set, not both",
        ),
        (
            "[space]\n\"rule.enter.x\" = { from = 0.0, to = 1.0 }\n[settings]\n\"rule.enter\" = 0.5",
            "enter must hold keys",
        ),
        (
            "[space]\n\"broker.buy_days\" = { from = -3, to = 4 }",
            "space.toml",
        ),
        ("space = 3", "must be a space of settings"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn every_point_of_a_dimension_lies_within_it() {
    let whole = Dimension::Whole { from: -2, to: 3 };
    let log = Dimension::Range {
        from: 0.001,
        to: 10.0,
        log: true,
    };
    let choices = Dimension::Choices(vec![1.into(), 2.into()]);
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..1000 {
        let point = f64::from(step) / 1000.0;
        seen.insert(whole.value(point).as_integer().unwrap());
        let value = log.value(point).as_float().unwrap();
        assert!((0.001..=10.0).contains(&value));
    }
    assert_eq!(Vec::from_iter(seen), [-2, -1, 0, 1, 2, 3]);
    assert_eq!(whole.value(1.0).as_integer(), Some(3));
    assert_eq!(choices.value(1.0).as_integer(), Some(2));
    assert_eq!(
        log.value(0.5)
            .as_float()
            .map(|value| (value * 10.0).round()),
        Some(1.0)
    );
}
