//! The choice among models: its inputs, its protection of the test span, and its files.
#![allow(clippy::unwrap_used, missing_docs)]

mod commands;
#[path = "../../../heqis-data/tests/market/mod.rs"]
mod market;

use heqis_backtest::BrokerConfig;
use heqis_backtest::metrics::{Basis, Curve};
use heqis_backtest::settings::Settings;
use heqis_data::predictions::Predictions;
use heqis_lab::select::candidate::{Candidate, Forecast};
use heqis_lab::select::choose::{Trial, best, deflate, score};
use heqis_lab::select::evaluator::Evaluator;
use heqis_lab::select::folds::FoldPlan;
use heqis_lab::select::report::Selected;
use heqis_lab::select::select;
use heqis_quant::{Bar, Date, DecisionRule, Marks, SignalMode};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

fn evaluator() -> Evaluator {
    Evaluator {
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

/// A candidate that predicts `of(bars, index)` after each close.
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

/// Predicts the next return up to a day, and its negative afterwards.
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
    // Mean 2, deviation 1, divided by the root of 3.
    assert!((score(&[1.0, 2.0, 3.0]) - (2.0 - 1.0 / 3.0_f64.sqrt())).abs() < 1e-15);
    assert_eq!(score(&[1.5]), 1.5);
    assert_eq!(score(&[]), 0.0);
    assert!(score(&[2.0, 2.0]) > score(&[0.0, 4.0]), "the steadier one");
}

#[test]
fn on_a_tie_the_first_and_simplest_trial_wins() {
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
fn an_oracle_is_chosen_and_the_test_span_does_not_count() {
    let bars = history();
    let plan = plan();
    // Its forecasts flip at the start of the test span: it is still chosen, and the test run shows the loss.
    let oracle = oracle_up_to(&bars, plan.test_from);
    let selected = select(&bars, &plan, &[oracle], &evaluator(), 0).unwrap();
    let (name, score) = choice(&selected);
    assert_eq!(name, "oracle");
    assert!(score > 3.0, "{score}");
    assert!(selected.deflation.deflated.unwrap() > 0.99);
    assert!(selected.test.metrics.curve.total_return < -0.5);
    // Three rules in one mode, and the regressions, the trees and one table in three modes each.
    assert_eq!((selected.trials.len(), selected.deflation.trials), (12, 12));
}

#[test]
fn holders_receive_the_shares_of_a_suspected_ex_right() {
    let bars = history();
    // The account is too small for the volume limit of any day.
    let broker = BrokerConfig {
        cash_cents: 10_000_000,
        ..BrokerConfig::default()
    };
    let evaluator = Evaluator {
        settings: Settings {
            broker,
            ..evaluator().settings
        },
        events: Vec::new(),
    };
    let suspected = bars
        .iter()
        .filter(|bar| bar.marks.contains(Marks::EX_RIGHT_SUSPECTED))
        .count();
    assert!(suspected >= 4, "{suspected}");
    assert_eq!(evaluator.assumed(&bars).len(), suspected);
    let span = 905..2000;
    let forecasts = heqis_lab::select::baselines::hold(&bars);
    let run = evaluator
        .run(&bars, span.clone(), &forecasts, SignalMode::Return)
        .unwrap();
    // Bought at the second open, held to the last close; the overnight move of an ex-right day counts as zero.
    let bought = &bars[span.start + 1];
    let mut worth = bought.close / bought.open;
    for pair in bars[span.start + 1..span.end].windows(2) {
        worth *= pair[1].close / pair[1].reference_close(pair[0].date, pair[0].close);
    }
    let total = 1.0 + run.metrics.curve.total_return;
    // Lots, a tick of slippage, fees, cents of reference prices.
    assert!((total / worth - 1.0).abs() < 0.02, "{total} {worth}");
    // A known event replaces the assumed one.
    let known = Evaluator {
        events: evaluator.assumed(&bars),
        ..evaluator
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
fn the_choice_does_not_depend_on_the_test_span() {
    let bars = history();
    let plan = plan();
    let whole = select(
        &bars,
        &plan,
        &[oracle_up_to(&bars, plan.test_from)],
        &evaluator(),
        0,
    )
    .unwrap();
    // Another future: prices doubled from the test span on, and forecasts negated.
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
        &evaluator(),
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
fn the_best_of_many_random_candidates_is_not_believed() {
    let bars = history();
    let coins: Vec<Candidate> = (0..12)
        .map(|coin| {
            let random = std::cell::RefCell::new(ChaCha8Rng::seed_from_u64(coin));
            candidate(&format!("coin{coin}"), &bars, None, |_| {
                random.borrow_mut().random_range(-0.01..0.01)
            })
        })
        .collect();
    let selected = select(&bars, &plan(), &coins, &evaluator(), 0).unwrap();
    let winner = &selected.trials[selected.chosen];
    let deflated = selected.deflation.deflated.unwrap();
    assert!(deflated < 0.95, "{} has {deflated}", winner.name());
    assert_ne!(winner.candidate, "cash");
    assert_eq!(selected.choice(), ("cash", SignalMode::Return));
    assert_eq!(
        selected.verdict(),
        format!("not believed: {deflated:.3} < 0.95")
    );
    // The best trial and its run are still reported.
    let row: BTreeMap<String, String> = selected.row().into_iter().collect();
    assert_eq!(
        (row["choice"].as_str(), &row["best"]),
        ("cash", &winner.candidate)
    );
    assert!(row["test_days"].parse::<usize>().unwrap() > 0);
    let lenient = Selected {
        believe_from: deflated,
        ..select(&bars, &plan(), &coins, &evaluator(), 0).unwrap()
    };
    assert_eq!(lenient.verdict(), "believed");
    assert_eq!(lenient.choice(), (winner.candidate.as_str(), winner.mode));
    let alone = winner.shape.unwrap().probability_above(0.0).unwrap();
    assert!(deflated < alone);
    // Earlier trials count as well.
    let more = deflate(&selected.trials, selected.chosen, 1000, &Basis::default());
    assert_eq!(more.trials, selected.deflation.trials + 1000);
    assert!(more.deflated.unwrap() < deflated);
}

#[test]
fn forecasts_of_a_model_fitted_on_later_days_are_rejected() {
    let bars = history();
    let plan = plan();
    let days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
    let folds = plan.cut(&days).unwrap();
    let limit = days[folds.folds[0].train.end - 1];
    let after = days[folds.folds[0].train.end];
    let evaluator = evaluator();
    let by = |fitted_to| {
        let model = candidate("g1", &bars, fitted_to, |_| 0.01);
        select(&bars, &plan, &[model], &evaluator, 0)
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
    // A missing forecast is rejected, since a day could have been left out on purpose.
    let mut holed = candidate("g1", &bars, None, |_| 0.01);
    let missing = days[folds.folds[1].validation.start + 3];
    holed
        .forecasts
        .get_mut(&bars[0].symbol)
        .unwrap()
        .remove(&bars[folds.folds[1].validation.start + 3].time_ns);
    let text = select(&bars, &plan, &[holed], &evaluator, 0)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains(&format!("has no forecast for {missing}")),
        "{text}"
    );
}

#[test]
fn an_ensemble_is_the_mean_of_all_forecasts() {
    let bars = &history()[..3];
    let parts = [
        candidate("a", bars, Some(day("2001-01-01")), |_| 0.02),
        candidate("b", &bars[..2], Some(day("2002-01-01")), |_| -0.01),
    ];
    let mean = Candidate::ensemble("ensemble", &parts);
    let forecasts = &mean.forecasts[&bars[0].symbol];
    assert_eq!(forecasts.len(), 2, "b has no forecast for the third bar");
    let one = forecasts[&bars[0].time_ns];
    assert!((one.predicted_return - 0.005).abs() < 1e-15);
    let expected = [(0.1 + 0.8) / 2.0, 0.1, (0.8 + 0.1) / 2.0];
    for (got, expected) in one.probabilities.unwrap().iter().zip(expected) {
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }
    assert_eq!(
        one.fitted_to,
        Some(day("2002-01-01")),
        "the later fit counts"
    );
    assert!(Candidate::ensemble("none", &[]).forecasts.is_empty());
}

#[test]
fn a_table_without_probabilities_has_the_return_mode_only() {
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
    let selected = select(&bars, &plan(), &[candidate], &evaluator(), 0).unwrap();
    let tried = selected
        .trials
        .iter()
        .filter(|trial| trial.candidate == "g1");
    assert_eq!(tried.map(Trial::name).collect::<Vec<_>>(), ["g1_return"]);
}
