//! The baselines agree with scikit-learn and scipy, depend only on the training span, and have the same metrics in every format
//! of their table.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use heqis_quant::stats::Proportion;
use heqis_train::baselines::boosting::{Boosting, BoostingOptions};
use heqis_train::baselines::{Comparison, ComparisonTable, Entry, EvaluationSpan};
use heqis_train::linear::logistic::Logistic;
use heqis_train::linear::ridge::Ridge;
use heqis_train::metrics::forecast::{Forecast, Truth};
use heqis_train::metrics::{CrossSections, Examples, Metrics, naive};
use serde_json::Value;

/// Metrics and fits computed by `tests/fixtures/baselines/make.py` with the versions that the file records.
fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/baselines/golden.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|value| value.as_f64().unwrap()).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn near(got: f64, expected: &Value, within: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() <= within, "{got} {expected}");
}

fn truth_of(value: &Value) -> Truth {
    let days = numbers(&value["days"]);
    Truth {
        times_ns: days.iter().map(|day| *day as i64).collect(),
        days: days.iter().map(|day| *day as i32).collect(),
        closes: numbers(&value["closes"]),
        returns: numbers(&value["returns"]),
        classes: numbers(&value["classes"])
            .into_iter()
            .map(|class| class as usize)
            .collect(),
        ..Truth::default()
    }
}

#[test]
fn every_metric_is_that_of_scikit_learn_and_scipy() {
    let golden = golden();
    let truth = truth_of(&golden["truth"]);
    let odds = rows(&golden["forecast"]["probabilities"]);
    let forecast = Forecast {
        returns: Some(numbers(&golden["forecast"]["returns"])),
        probabilities: Some(odds.iter().map(|p| [p[0], p[1], p[2]]).collect()),
    };
    let metrics = Metrics::of(&forecast, &truth).unwrap();
    let (returns, classes) = (metrics.returns.unwrap(), metrics.classes.unwrap());
    let expected = &golden["figures"];
    for (got, name) in [
        (returns.mse, "mse"),
        (returns.rmse, "rmse"),
        (returns.mae, "mae"),
        (returns.mape_price.unwrap(), "mape_price"),
        (classes.brier, "brier"),
    ] {
        near(got, &expected[name], 1e-14);
    }
    let difference = &expected["minus_last_value"];
    near(returns.minus_last_value.mean, &difference["mean"], 1e-14);
    near(returns.minus_last_value.low, &difference["low"], 1e-14);
    near(returns.minus_last_value.high, &difference["high"], 1e-14);
    let share = |got: Proportion, expected: &Value| {
        assert_eq!(
            (got.hits as u64, got.of as u64),
            (
                expected["hits"].as_u64().unwrap(),
                expected["of"].as_u64().unwrap()
            )
        );
        near(got.wilson_low, &expected["low"], 1e-12);
        near(got.wilson_high, &expected["high"], 1e-12);
    };
    share(returns.direction.unwrap(), &expected["direction"]);
    share(classes.accuracy, &expected["class"]);
    let sections = |got: CrossSections, expected: &Value| {
        assert_eq!(got.times as u64, expected["days"].as_u64().unwrap());
        // One day has a constant forecast; the last has too few items.
        assert_eq!((got.times, got.undefined_times), (18, 1));
        near(got.mean, &expected["mean"], 1e-12);
        near(got.deviation, &expected["deviation"], 1e-12);
        assert!((got.ratio - got.mean / got.deviation).abs() < 1e-12);
    };
    sections(returns.ic.unwrap(), &expected["ic"]);
    sections(returns.rank_ic.unwrap(), &expected["rank_ic"]);
}

#[test]
fn fitted_baselines_predict_as_those_of_scikit_learn() {
    let golden = golden();
    let fits = &golden["fits"];
    let (inputs, fresh) = (rows(&fits["rows"]), rows(&fits["fresh"]));
    let targets = numbers(&fits["targets"]);
    let boosting = &fits["boosting"];
    let options = BoostingOptions {
        trees: boosting["trees"].as_u64().unwrap() as usize,
        depth: boosting["depth"].as_u64().unwrap() as usize,
        learning_rate: boosting["learning_rate"].as_f64().unwrap(),
        least_leaf: boosting["least_leaf"].as_u64().unwrap() as usize,
    };
    let trees = Boosting::fit(&inputs, &targets, options).unwrap();
    let answers = trees.predict(&fresh).unwrap();
    for (got, expected) in answers.iter().zip(boosting["answers"].as_array().unwrap()) {
        near(*got, expected, 1e-12);
    }
    let ridge = Ridge::fit(
        &inputs,
        &targets,
        fits["ridge"]["penalty"].as_f64().unwrap(),
    )
    .unwrap();
    for (row, expected) in fresh
        .iter()
        .zip(fits["ridge"]["answers"].as_array().unwrap())
    {
        near(ridge.predict(row), expected, 1e-12);
    }
    let labels: Vec<usize> = numbers(&fits["labels"])
        .into_iter()
        .map(|l| l as usize)
        .collect();
    let penalty = fits["logistic"]["penalty"].as_f64().unwrap();
    let logistic = Logistic::fit(&inputs, &labels, 3, penalty).unwrap();
    for (row, expected) in fresh.iter().zip(rows(&fits["logistic"]["answers"])) {
        for (got, expected) in logistic.predict(row).iter().zip(expected) {
            // scikit-learn stops at its own tolerance.
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }
}

/// A series whose next return has the first input's sign eight times out of ten, and whose second input is noise.
fn planted(from: usize, count: usize) -> Examples {
    let (mut inputs, mut truth) = (Vec::new(), Truth::default());
    for i in from..from + count {
        let signal = if i * 7919 % 13 < 6 { -1.0 } else { 1.0 };
        let came = if i * 104_729 % 10 < 8 {
            0.02 * signal
        } else {
            -0.02 * signal
        };
        inputs.push(vec![signal, (i * 31 % 17) as f64]);
        truth.times_ns.push(i as i64);
        truth.days.push(i as i32);
        truth.closes.push(10.0);
        truth.returns.push(came);
        truth.classes.push(if came < 0.0 { 0 } else { 2 });
    }
    Examples { inputs, truth }
}

fn comparison() -> Comparison {
    let span = |name: &str, from: usize, count: usize| EvaluationSpan {
        name: name.to_owned(),
        rows: planted(from, count),
    };
    Comparison {
        training: planted(0, 650),
        validation: vec![
            span("validation 1", 650, 130),
            span("validation 2", 780, 130),
        ],
        test: Some(span("test", 910, 260)),
    }
}

#[test]
fn a_planted_signal_is_found_by_models_that_learn_and_not_by_naive_ones() {
    let table = comparison().run().unwrap();
    let direction = |model: &str| {
        let entry = table.get(model, "test").unwrap();
        entry
            .metrics
            .returns
            .as_ref()
            .unwrap()
            .direction
            .map(|share| share.share)
    };
    for model in ["ridge", "gradient boosting"] {
        assert!(
            direction(model).unwrap() > 0.75,
            "{model}: {:?}",
            direction(model)
        );
    }
    assert_eq!(direction("last value"), None);
    assert!(direction("training mean").unwrap() < 0.65);
    let class = |model: &str| {
        let entry = table.get(model, "test").unwrap();
        entry.metrics.classes.as_ref().unwrap().accuracy.share
    };
    assert!(class("logistic regression") > 0.75 && class("training majority") < 0.65);
    // Six baselines over three spans; one symbol is not a cross-section.
    assert_eq!(table.entries().len(), 18);
    let ic = |entry: &Entry| {
        entry
            .metrics
            .returns
            .as_ref()
            .is_some_and(|r| r.ic.is_some())
    };
    assert!(!table.entries().iter().any(ic));
}

#[test]
fn the_test_span_does_not_change_metrics_of_the_validation_span() {
    let original = comparison();
    let mut other = comparison();
    let test = &mut other.test.as_mut().unwrap().rows;
    test.inputs
        .iter_mut()
        .flatten()
        .for_each(|input| *input = 5.0 - *input);
    test.truth.returns.iter_mut().for_each(|value| *value = 0.3);
    test.truth.classes.iter_mut().for_each(|class| *class = 1);
    let (original, other) = (original.run().unwrap(), other.run().unwrap());
    for (a, b) in original.entries().iter().zip(other.entries()) {
        assert_eq!((&a.model, &a.span), (&b.model, &b.span));
        assert_eq!(
            a.metrics == b.metrics,
            a.span != "test",
            "{} {}",
            a.model,
            a.span
        );
    }
}

#[test]
fn a_span_without_items_or_with_missing_inputs_is_refused() {
    let mut comparison = comparison();
    comparison.validation.clear();
    let refused = comparison.run().unwrap_err().to_string();
    assert!(
        refused.contains("the validation span must have items"),
        "{refused}"
    );
    let mut comparison = self::comparison();
    comparison.training.inputs.pop();
    let refused = comparison.run().unwrap_err().to_string();
    assert!(refused.contains("got 650 and 649 inputs"), "{refused}");
}

#[test]
fn the_table_has_the_same_metrics_in_every_format() {
    let mut table = comparison().run().unwrap();
    let test = &comparison().test.unwrap().rows.truth;
    let forecast = Forecast {
        returns: Some(test.returns.clone()),
        probabilities: Some(
            test.classes
                .iter()
                .map(|c| [0, 1, 2].map(|k| f64::from(u8::from(k == *c))))
                .collect(),
        ),
    };
    table.push(Entry {
        model: "a model, \"perfect\"".to_owned(),
        span: "test".to_owned(),
        trials: 3,
        metrics: Metrics::of(&forecast, test).unwrap(),
    });
    let json: Value = serde_json::from_str(&table.json().unwrap()).unwrap();
    let csv = table.csv();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), table.entries().len());
    for ((record, entry), json) in records
        .iter()
        .zip(table.entries())
        .zip(json.as_array().unwrap())
    {
        assert_eq!(record[column("model")], entry.model);
        assert_eq!(json["model"], entry.model.as_str());
        let mse = entry.metrics.returns.as_ref().map(|returns| returns.mse);
        assert_eq!(record[column("mse")].parse::<f64>().ok(), mse);
        assert_eq!(json["figures"]["returns"]["mse"].as_f64(), mse);
        assert_eq!(record[column("ic")], *"");
    }
    let markdown = table.markdown();
    let headings: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('#'))
        .collect();
    assert_eq!(
        headings,
        [
            "### validation 1, 130 items",
            "### validation 2, 130 items",
            "### test, 260 items"
        ]
    );
    let perfect = markdown
        .lines()
        .find(|line| line.contains("perfect"))
        .unwrap();
    assert!(
        perfect.contains("| 0.0000e0 |") && perfect.contains("100.0 % [98.5, 100.0]"),
        "{perfect}"
    );
    assert!(!markdown.contains("RankIC"));
}

#[test]
fn naive_predictions_are_those_of_the_training_span() {
    assert_eq!(naive::last_value(2).returns, Some(vec![0.0, 0.0]));
    assert_eq!(naive::mean(&[0.5, 0.25], 1).returns, Some(vec![0.375]));
    let majority = naive::majority(&[0, 2, 2, 1], 2).probabilities;
    assert_eq!(majority, Some(vec![[0.25, 0.25, 0.5]; 2]));
    assert_eq!(ComparisonTable::default().markdown(), "");
}
