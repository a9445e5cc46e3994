//! The metrics that `deploy/` queries are those that nodes export.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use heqis_actors::{ClockOffset, DropCause, Metrics};
use heqis_runtime::machine::{Identity, MachineGauges, Sensors};
use heqis_runtime::topology::Board;
use heqis_runtime::watch::{Outcome, WatchCounters};
use serde_json::Value;

/// Labels that Prometheus adds by itself, and the one of histograms.
const FOREIGN_LABELS: [&str; 3] = ["job", "instance", "le"];
/// Functions and words of the query language that are used.
const WORDS: [&str; 16] = [
    "abs",
    "sum",
    "by",
    "rate",
    "increase",
    "histogram_quantile",
    "and",
    "or",
    "unless",
    "on",
    "max",
    "min",
    "label_values",
    "day_of_week",
    "hour",
    "minute",
];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Labels of every metric that a node can export, by name.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::new("gateway");
    metrics.set_info("0.0.0", "graph");
    metrics.stage_latency("stage").observe_ns(1);
    metrics.path_latency("stage").observe_ns(1);
    metrics.stage_restarts("stage").inc();
    metrics.stage_counters("stage").counter("event").inc();
    metrics.edge_frames("edge", "sent").inc();
    metrics.edge_depth("edge").set(1);
    metrics.edge_wait("edge").observe_ns(1);
    metrics.budget_overruns("path").inc();
    let link = metrics.link("edge");
    link.reject("cause");
    link.outage.observe_ns(1);
    link.set_clock(Some(ClockOffset::new(2, 1)));
    WatchCounters::new(&metrics).unwrap().touch("peer");
    heqis_runtime::run::waiting_gauge(&metrics)
        .unwrap()
        .set(["edge"], 1.0);
    for gauge in heqis_runtime::run::certificate_gauges(&metrics).unwrap() {
        gauge.set(["node"], 1.0);
    }
    let identity = Identity {
        board: Board::Host,
        model: None,
        compatible: Vec::new(),
    };
    MachineGauges::new(&metrics, &identity, Sensors::default())
        .unwrap()
        .touch();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    found.insert("up".into(), BTreeSet::new());
    for line in metrics
        .render()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (name, rest) = line.split_once('{').unwrap();
        let labels = rest.split_once('}').unwrap().0;
        let names = labels
            .split("\",")
            .map(|label| label.split('=').next().unwrap().trim().to_owned());
        found.entry(name.to_owned()).or_default().extend(names);
    }
    found
}

/// Every word of an expression that is no number, with what stands right behind it; strings are left out, so that a
/// template variable inside one is no word.
fn words(expr: &str) -> Vec<(String, char)> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut word = String::new();
    for next in expr.chars().chain([' ']) {
        if next == '"' {
            quoted = !quoted;
        }
        if !quoted && (next.is_ascii_alphanumeric() || next == '_' || next == '$') {
            word.push(next);
        } else if !word.is_empty() {
            words.push((std::mem::take(&mut word), next));
        }
    }
    words.retain(|(word, _)| {
        !word.starts_with(|first: char| first.is_ascii_digit() || first == '$')
    });
    words
}

/// Asserts that a node exports what `expr` names.
fn check(expr: &str, exported: &BTreeMap<String, BTreeSet<String>>) {
    let balance = |open: char, close: char| {
        expr.chars().filter(|&c| c == open).count() == expr.chars().filter(|&c| c == close).count()
    };
    assert!(
        balance('(', ')') && balance('{', '}') && balance('[', ']'),
        "{expr}"
    );
    let words = words(expr);
    let metrics: Vec<&String> = words
        .iter()
        .map(|(word, _)| word)
        .filter(|word| word.starts_with("heqis_") || *word == "up")
        .collect();
    assert!(!metrics.is_empty(), "{expr}: names no metric");
    let mut labels: BTreeSet<&str> = FOREIGN_LABELS.into_iter().collect();
    for metric in &metrics {
        let own = exported.get(*metric);
        labels.extend(
            own.unwrap_or_else(|| panic!("{expr}: no node exports {metric}"))
                .iter()
                .map(String::as_str),
        );
    }
    for (word, _) in words.iter().filter(|(word, _)| !metrics.contains(&word)) {
        assert!(
            WORDS.contains(&word.as_str()) || labels.contains(word.as_str()),
            "{expr}: {word} is no function and no label of {metrics:?}"
        );
    }
    for outcome in expr.split("outcome=\"").skip(1) {
        let outcome = outcome.split('"').next().unwrap();
        let known = ["sent", "delivered", "duplicate"].contains(&outcome)
            || DropCause::ALL
                .iter()
                .any(|cause| outcome == format!("dropped_{}", cause.name()))
            || (expr.contains("heqis_watchdog_commands_total")
                && Outcome::NAMES.contains(&outcome));
        assert!(known, "{expr}: nothing has the outcome {outcome}");
    }
}

#[test]
fn every_alarm_asks_for_what_is_exported_and_says_what_it_means() {
    let text = std::fs::read_to_string(deploy().join("prometheus/alerts.yml")).unwrap();
    let exported = exported();
    let alerts: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 8);
    for alert in alerts {
        let expr = alert
            .lines()
            .find_map(|line| line.trim().strip_prefix("expr: "))
            .unwrap();
        check(expr, &exported);
        for part in ["severity:", "summary:", "description:"] {
            assert!(alert.contains(part), "{alert}: lacks {part}");
        }
        // What an alarm quotes must be a label that its expression leaves.
        for quoted in alert.split("{{ $labels.").skip(1) {
            let label = quoted.split(' ').next().unwrap();
            let known = FOREIGN_LABELS.contains(&label)
                || exported
                    .iter()
                    .any(|(name, labels)| expr.contains(name.as_str()) && labels.contains(label));
            assert!(known, "{expr}: has no label {label}");
        }
    }
}

#[test]
fn decisions_are_counted_where_they_are_made_and_not_again_where_they_return() {
    let panels = std::fs::read_to_string(deploy().join("grafana/dashboards/HEQIS/pipeline.json"));
    let alerts = std::fs::read_to_string(deploy().join("prometheus/alerts.yml"));
    let of_decisions = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("buy|hold|sell"));
        lines.map(|line| line.replace('\\', "")).collect()
    };
    let (panels, alerts) = (of_decisions(panels.unwrap()), of_decisions(alerts.unwrap()));
    assert!(!panels.is_empty() && !alerts.is_empty());
    for expr in panels.iter().chain(&alerts) {
        let left_out = r#"unless on (node, stage) heqis_stage_events_total{event="repeat"}"#;
        assert!(
            expr.contains(left_out),
            "{expr}: counts stages that take decisions back"
        );
    }
}

#[test]
fn every_panel_asks_for_what_is_exported_and_can_be_provisioned() {
    let exported = exported();
    let folder = deploy().join("grafana/dashboards/HEQIS");
    let mut panels = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let dashboard: Value =
            serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        assert_eq!(dashboard["id"], Value::Null, "the server gives the number");
        assert!(dashboard["uid"].as_str().is_some_and(|uid| !uid.is_empty()));
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert!(
            variables
                .iter()
                .any(|one| one["type"] == "datasource" && one["name"] == "datasource")
        );
        for variable in variables.iter().filter(|one| one["type"] == "query") {
            check(variable["query"]["query"].as_str().unwrap(), &exported);
        }
        let mut numbers = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(
                numbers.insert(panel["id"].as_i64()),
                "{title}: its number is taken"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                panel["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 20),
                "{title}"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{title}"
            );
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                check(expr, &exported);
                let windowed = !expr.contains("rate(") || expr.contains("[$__rate_interval]");
                assert!(
                    windowed,
                    "{title}: a rate must span what the scrape interval needs"
                );
                panels += 1;
            }
        }
    }
    assert!(panels >= 10);
}

#[test]
#[should_panic(expected = "no node exports heqis_colour_total")]
fn a_metric_that_is_gone_is_noticed() {
    check("rate(heqis_colour_total[5m])", &exported());
}

#[test]
#[should_panic(expected = "colour is no function and no label")]
fn a_label_that_is_gone_is_noticed() {
    check("sum by (colour) (heqis_link_up)", &exported());
}
