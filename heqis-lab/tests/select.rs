//! The choice among models: what it looks at, what it refuses to look at, and what it writes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_backtest::BrokerConfig;
use heqis_backtest::metrics::{Basis, Curve};
use heqis_backtest::run::Settings;
use heqis_data::predictions::Predictions;
use heqis_data::prepare::Options;
use heqis_data::store::manifest::TrainTo;
use heqis_lab::select::candidate::{Candidate, Forecast};
use heqis_lab::select::choose::{Trial, best, deflate, score};
use heqis_lab::select::folds::FoldPlan;
use heqis_lab::select::judge::Judge;
use heqis_lab::select::report::Selected;
use heqis_lab::select::{SelectArgs, run, select};
use heqis_quant::{Bar, Date, DecisionRule, Marks, SignalMode};
use heqis_train::train::TrainedRun;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data/ashare")
        .join(name)
}

fn history() -> Vec<Bar> {
    let import = heqis_data::import_args::ImportArgs::default();
    import.one_series(&data("002032.SZ.csv")).unwrap().1
}

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn plan() -> FoldPlan {
    FoldPlan {
        validate_from: day("2008-01-02"),
        test_from: day("2014-01-02"),
        folds: 3,
        purge_bars: 1,
        embargo_days: 5,
    }
}

fn judge() -> Judge {
    Judge {
        settings: Settings {
            rule: DecisionRule {
                enter: 0.001,
                exit: -0.001,
                min_confidence: 0.0,
                min_exit_confidence: 0.0,
            },
            ..Settings::default()
        },
        events: Vec::new(),
    }
}

/// A candidate that says `of(bars, place)` after each close.
fn candidate(
    name: &str,
    bars: &[Bar],
    fitted_to: Option<Date>,
    of: impl Fn(usize) -> f64,
) -> Candidate {
    let forecasts = bars.iter().enumerate().map(|(place, bar)| {
        let predicted_return = of(place);
        let up = if predicted_return > 0.0 { 0.8 } else { 0.1 };
        let forecast = Forecast {
            predicted_return,
            probabilities: Some([0.9 - up, 0.1, up]),
            fitted_to,
        };
        (bar.time_ns, forecast)
    });
    Candidate {
        name: name.to_owned(),
        forecasts: BTreeMap::from([(bars[0].symbol, forecasts.collect())]),
    }
}

/// Knows what comes, up to a day, and the contrary of it afterwards.
fn oracle_up_to(bars: &[Bar], last: Date) -> Candidate {
    candidate("oracle", bars, None, |place| {
        let Some(next) = bars.get(place + 1) else {
            return 0.0;
        };
        let coming = next.close / bars[place].close - 1.0;
        if bars[place].date < last {
            coming
        } else {
            -coming
        }
    })
}

fn choice(selected: &Selected) -> (&str, f64) {
    let winner = &selected.trials[selected.chosen];
    (&winner.candidate, winner.score)
}

#[test]
fn the_score_is_the_mean_less_its_standard_error() {
    // Mean 2, deviation 1, over the root of 3.
    assert!((score(&[1.0, 2.0, 3.0]) - (2.0 - 1.0 / 3.0_f64.sqrt())).abs() < 1e-15);
    assert_eq!(score(&[1.5]), 1.5);
    assert_eq!(score(&[]), 0.0);
    assert!(score(&[2.0, 2.0]) > score(&[0.0, 4.0]), "the steadier one");
}

#[test]
fn of_equal_scores_the_first_and_simplest_wins() {
    let trial = |name: &str, score| Trial {
        candidate: name.to_owned(),
        mode: SignalMode::Return,
        folds: Vec::new(),
        score,
        joined: Curve::of(&[], &Basis::default()),
        shape: None,
    };
    assert_eq!(best(&[]), None);
    assert_eq!(
        best(&[trial("a", 0.5), trial("b", 0.7), trial("c", 0.7)]),
        Some(1)
    );
    assert_eq!(best(&[trial("a", -0.5), trial("b", f64::NAN)]), Some(0));
}

#[test]
fn one_who_knows_the_future_is_chosen_and_what_comes_later_does_not_count() {
    let bars = history();
    let plan = plan();
    // It turns round where the test span begins: chosen all the same, and the test shows it.
    let oracle = oracle_up_to(&bars, plan.test_from);
    let selected = select(&bars, &plan, &[oracle], &judge(), 0).unwrap();
    let (name, score) = choice(&selected);
    assert_eq!(name, "oracle");
    assert!(score > 3.0, "{score}");
    assert!(selected.deflation.deflated.unwrap() > 0.99);
    assert!(selected.test.metrics.curve.total_return < -0.5);
    // Three rules, and the regressions, the trees and one table in three modes each.
    assert_eq!((selected.trials.len(), selected.deflation.trials), (12, 12));
}

#[test]
fn holders_get_the_shares_that_a_suspected_ex_right_must_have_given() {
    let bars = history();
    // So small an account that no day's volume bounds it.
    let broker = BrokerConfig {
        cash_cents: 10_000_000,
        ..BrokerConfig::default()
    };
    let judge = Judge {
        settings: Settings {
            broker,
            ..judge().settings
        },
        events: Vec::new(),
    };
    let suspected = bars
        .iter()
        .filter(|bar| bar.marks.contains(Marks::EX_RIGHT_SUSPECTED))
        .count();
    assert!(suspected >= 4, "{suspected}");
    assert_eq!(judge.assumed(&bars).len(), suspected);
    let span = 905..2000;
    let forecasts = heqis_lab::select::baselines::hold(&bars);
    let run = judge
        .run(&bars, span.clone(), &forecasts, SignalMode::Return)
        .unwrap();
    // Bought at the second open, held to the last close; the overnight move of an ex-right day counts as nothing.
    let bought = &bars[span.start + 1];
    let mut worth = bought.close / bought.open;
    for pair in bars[span.start + 1..span.end].windows(2) {
        worth *= pair[1].close / pair[1].reference_close(pair[0].date, pair[0].close);
    }
    let total = 1.0 + run.metrics.curve.total_return;
    // Lots, a tick of slippage, fees, cents of reference prices.
    assert!((total / worth - 1.0).abs() < 0.02, "{total} {worth}");
    // A known event takes the place of the assumed one.
    let known = Judge {
        events: judge.assumed(&bars),
        ..judge
    };
    assert!(known.assumed(&bars).is_empty());
    assert_eq!(
        known
            .run(&bars, span, &forecasts, SignalMode::Return)
            .unwrap(),
        run
    );
}

#[test]
fn nothing_of_the_test_span_reaches_the_choice() {
    let bars = history();
    let plan = plan();
    let whole = select(
        &bars,
        &plan,
        &[oracle_up_to(&bars, plan.test_from)],
        &judge(),
        0,
    )
    .unwrap();
    // Another future: prices doubled from the test span on, and forecasts turned round.
    let mut other = bars.clone();
    for bar in other.iter_mut().filter(|bar| bar.date >= plan.test_from) {
        for price in [&mut bar.open, &mut bar.high, &mut bar.low, &mut bar.close] {
            *price *= 2.0;
        }
    }
    let changed = select(
        &other,
        &plan,
        &[oracle_up_to(&bars, day("2099-01-01"))],
        &judge(),
        0,
    )
    .unwrap();
    assert_eq!(whole.trials, changed.trials);
    assert_eq!(
        (whole.chosen, whole.deflation),
        (changed.chosen, changed.deflation)
    );
    assert_ne!(whole.test, changed.test);
}

#[test]
fn the_best_of_many_coins_is_not_believed() {
    let bars = history();
    let coins: Vec<Candidate> = (0..12)
        .map(|coin| {
            let random = std::cell::RefCell::new(ChaCha8Rng::seed_from_u64(coin));
            candidate(&format!("coin{coin}"), &bars, None, |_| {
                random.borrow_mut().random_range(-0.01..0.01)
            })
        })
        .collect();
    let selected = select(&bars, &plan(), &coins, &judge(), 0).unwrap();
    let winner = &selected.trials[selected.chosen];
    let deflated = selected.deflation.deflated.unwrap();
    assert!(deflated < 0.95, "{} has {deflated}", winner.name());
    assert_ne!(winner.candidate, "cash");
    assert_eq!(selected.choice(), ("cash", SignalMode::Return));
    assert_eq!(
        selected.verdict(),
        format!("not believed: {deflated:.3} < 0.95")
    );
    // The best trial and its run are still there.
    let row: BTreeMap<String, String> = selected.row().into_iter().collect();
    assert_eq!(
        (row["choice"].as_str(), &row["best"]),
        ("cash", &winner.candidate)
    );
    assert!(row["test_days"].parse::<usize>().unwrap() > 0);
    let lenient = Selected {
        believe_from: deflated,
        ..select(&bars, &plan(), &coins, &judge(), 0).unwrap()
    };
    assert_eq!(lenient.verdict(), "believed");
    assert_eq!(lenient.choice(), (winner.candidate.as_str(), winner.mode));
    let alone = winner.shape.unwrap().probability_above(0.0).unwrap();
    assert!(deflated < alone);
    // Trials that were made before count as well.
    let more = deflate(&selected.trials, selected.chosen, 1000, &Basis::default());
    assert_eq!(more.trials, selected.deflation.trials + 1000);
    assert!(more.deflated.unwrap() < deflated);
}

#[test]
fn forecasts_of_one_who_has_seen_too_much_are_refused() {
    let bars = history();
    let plan = plan();
    let days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
    let folds = plan.cut(&days).unwrap();
    let limit = days[folds.folds[0].train.end - 1];
    let after = days[folds.folds[0].train.end];
    let judge = judge();
    let by = |fitted_to| {
        let model = candidate("g1", &bars, fitted_to, |_| 0.01);
        select(&bars, &plan, &[model], &judge, 0)
    };
    assert!(by(Some(limit)).is_ok());
    let text = by(Some(after)).unwrap_err().to_string();
    let words = format!(
        "candidate g1, 002032.SZ: the forecast for {}",
        days[folds.folds[0].validation.start]
    );
    assert!(text.starts_with(&words), "{text}");
    assert!(
        text.contains(&format!("up to {limit}, got {after}")),
        "{text}"
    );
    // One day without a forecast is one day that could have been left out on purpose.
    let mut holed = candidate("g1", &bars, None, |_| 0.01);
    let missing = days[folds.folds[1].validation.start + 3];
    holed
        .forecasts
        .get_mut(&bars[0].symbol)
        .unwrap()
        .remove(&bars[folds.folds[1].validation.start + 3].time_ns);
    let text = select(&bars, &plan, &[holed], &judge, 0)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(&format!("has no forecast for {missing}")),
        "{text}"
    );
}

#[test]
fn an_ensemble_is_the_mean_of_all_that_speak() {
    let bars = &history()[..3];
    let parts = [
        candidate("a", bars, Some(day("2001-01-01")), |_| 0.02),
        candidate("b", &bars[..2], Some(day("2002-01-01")), |_| -0.01),
    ];
    let mean = Candidate::ensemble("ensemble", &parts);
    let forecasts = &mean.forecasts[&bars[0].symbol];
    assert_eq!(forecasts.len(), 2, "b says nothing of the third bar");
    let one = forecasts[&bars[0].time_ns];
    assert!((one.predicted_return - 0.005).abs() < 1e-15);
    let wanted = [(0.1 + 0.8) / 2.0, 0.1, (0.8 + 0.1) / 2.0];
    for (got, wanted) in one.probabilities.unwrap().iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
    }
    assert_eq!(
        one.fitted_to,
        Some(day("2002-01-01")),
        "the younger fit binds"
    );
    assert!(Candidate::ensemble("none", &[]).forecasts.is_empty());
}

#[test]
fn a_table_without_probabilities_is_tried_by_its_returns_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g1.csv");
    let bars = history();
    let rows = bars
        .iter()
        .map(|bar| format!("{},002032.SZ,0.01\n", bar.date));
    let text: String = rows.collect();
    std::fs::write(&path, format!("date,symbol,predicted_return\n{text}")).unwrap();
    let table = Predictions::read(&path).unwrap();
    let candidate = Candidate::of_table("g1", &table, &bars);
    assert_eq!(candidate.modes(), [SignalMode::Return]);
    let selected = select(&bars, &plan(), &[candidate], &judge(), 0).unwrap();
    let tried = selected
        .trials
        .iter()
        .filter(|trial| trial.candidate == "g1");
    assert_eq!(tried.map(Trial::name).collect::<Vec<_>>(), ["g1_return"]);
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: SelectArgs,
}

#[test]
fn the_command_writes_a_row_a_symbol_with_the_losers_in_it_and_counts_looks_at_the_test_span() {
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
    // The choice has the greatest score of all columns; one who never buys scores nothing.
    let scores = row.iter().filter(|(name, _)| name.ends_with("_score"));
    let most = scores
        .map(|(_, value)| value.parse::<f64>().unwrap())
        .fold(f64::MIN, f64::max);
    assert_eq!(row["score"].parse::<f64>().unwrap(), most);
    assert_eq!(row["g2_return_score"], "0");
    // Buying every day is holding.
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
        ("--candidate=g 3=x.csv", "a name is ASCII"),
    ] {
        let mut words = words.clone();
        words.push(word.to_owned());
        let text = go(&words).unwrap_err().to_string();
        assert!(text.contains(expected), "{word}: {text}");
    }
}

#[test]
fn bundles_are_candidates_behind_the_day_that_they_were_made_on() {
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
    // Weights up to 2012-05-17, penalties chosen up to 2014-06-25, as the manifest says.
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

/// Two generators and an encoder as small as can be: it is about who sees what, not about how well.
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
fn generators_are_trained_for_every_fold_on_days_before_it_and_the_test_span_changes_no_trial() {
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
        // Three rules, and the regressions, the trees, two generators and their mean in three modes each.
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
        // The gap of one day and five, and the day that the last label looks at.
        let seen = corpus.series[0].dates.iter();
        let between = seen.filter(|date| corpus.seen_to().unwrap() < **date && **date < from);
        assert!(between.count() >= 6, "{name}");
        assert!(
            corpus.series[0].label_dates.iter().all(|date| *date <= to),
            "{name}"
        );
    }

    // A second look trains nothing anew, and finds the same.
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

    // Another future: it ends early.
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
