//! `/metrics` through the official Prometheus parser: sound, complete, and with bounded labels.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use stand::{Stand, get, request, root, wait_until};

/// The interpreter of the test peers.
fn python() -> String {
    std::env::var("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a Python with the Prometheus parser; ./test makes one")
}

fn parse(python: &str, text: &str) -> Value {
    let mut child = Command::new(python)
        .arg(root().join("tests/peers/metrics_peer.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_stage_and_edge_is_exported_and_the_parser_accepts_every_line() {
    let python = python();
    let stand = Stand::dual_board()
        .set("stages.engine.params.simulate_latency_us=1000")
        .set("stages.engine.batch.max=1");
    let fleet = stand.start(&[]);
    wait_until("decisions are written", || {
        stand.journal_lines("journal") > 200
    });
    wait_until(
        "both nodes have compared their clocks over both edges",
        || {
            stand.ports[..2].iter().all(|&port| {
                let text = get(port, "/metrics")
                    .map(|(_, text)| text)
                    .unwrap_or_default();
                text.matches("\nheqis_link_clock_offset_seconds{").count() == 2
            })
        },
    );
    let nodes = [
        (
            stand.ports[0],
            "gateway",
            &["cleaner", "indicators", "features", "ring", "feedback"][..],
        ),
        (
            stand.ports[1],
            "compute",
            &["engine", "signal", "journal"][..],
        ),
    ];
    for (port, node, stages) in nodes {
        let (status, text) = get(port, "/metrics").unwrap();
        assert_eq!(status, 200);
        let families = parse(&python, &text);
        let labels = |family: &str, label: &str| -> Vec<String> {
            let values = families[family]["labels"][label].as_array();
            let mut values: Vec<String> = values
                .into_iter()
                .flatten()
                .map(|value| value.as_str().unwrap().to_owned())
                .collect();
            values.sort();
            values
        };
        for stage in stages {
            assert!(
                labels("heqis_stage_latency_seconds", "stage").contains(&(*stage).to_owned()),
                "{node} {stage}"
            );
        }
        let mut edges = match node {
            "gateway" => vec![
                "market->cleaner",
                "cleaner->indicators",
                "indicators->features",
                "features->ring",
                "ring",
                "ring->engine",
                "signal->feedback",
            ],
            _ => vec![
                "ring->engine",
                "engine->signal",
                "signal->journal",
                "signal->feedback",
            ],
        };
        edges.sort_unstable();
        // The client strips `_total` from the names of counters.
        assert_eq!(labels("heqis_edge_frames", "edge"), edges);
        assert_eq!(labels("heqis_edge_queue_depth", "edge"), edges);
        assert_eq!(
            labels("heqis_edge_frames", "outcome").len(),
            12,
            "sent, two good outcomes, nine causes"
        );
        assert_eq!(
            labels("heqis_link_up", "edge"),
            ["ring->engine", "signal->feedback"]
        );
        for family in [
            "heqis_link_clock_offset_seconds",
            "heqis_link_clock_uncertainty_seconds",
        ] {
            assert_eq!(labels(family, "edge"), labels("heqis_link_up", "edge"));
        }
        for (name, family) in families.as_object().unwrap() {
            assert!(name.starts_with("heqis_"), "{name}");
            assert_eq!(
                family["labels"]["node"],
                serde_json::json!([node]),
                "{name}"
            );
            for (label, values) in family["labels"].as_object().unwrap() {
                assert!(
                    values.as_array().unwrap().len() <= 64,
                    "{name}: label {label} is not bounded: {values}"
                );
            }
        }
    }
    let (status, body) = get(stand.ports[0], "/healthz").unwrap();
    assert_eq!((status, body.as_str()), (200, "alive\n"));
    assert_eq!(get(stand.ports[0], "/nothing").unwrap().0, 404);
    fleet.finish().clean();
}

#[test]
fn foreign_host_names_and_wrong_tokens_are_refused_and_counted() {
    const TOKEN: &str = "00112233445566778899aabbccddeeff";
    let stand = Stand::dual_board()
        .set("nodes.compute.dashboard.stay=true")
        .env("HEQIS_METRICS_TOKEN", TOKEN);
    let fleet = stand.start(&[]);
    let port = stand.ports[1];
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let status = |method: &str, path: &str, lines: &[&str]| {
        request(port, method, path, lines).map_or(0, |(status, _)| status)
    };
    wait_until("the node is alive", || {
        status("GET", "/healthz", &["Host: compute"]) == 200
    });
    for path in ["/metrics", "/report", "/readyz", "/healthz"] {
        for host in ["Host: evil.example", "Host: 10.0.0.1", "Host: gateway", ""] {
            let found = status("GET", path, &[host, &bearer(TOKEN)]);
            assert!(matches!(found, 400 | 421), "{path} {host}: {found}");
        }
        for method in ["GET", "HEAD"] {
            let found = status(method, path, &["Host: localhost"]);
            let expected = if path == "/healthz" { 200 } else { 401 };
            assert_eq!(found, expected, "{method} {path} without the token");
        }
    }
    let right = ["Host: compute:9101", &bearer(TOKEN)];
    wait_until("the stages are built", || {
        status("GET", "/report", &right) == 200
    });
    let wrong = ["Host: localhost", &bearer(&TOKEN.replace('0', "1"))];
    let statuses: Vec<u16> = (0..25).map(|_| status("GET", "/metrics", &wrong)).collect();
    assert_eq!((statuses[0], statuses[24]), (401, 429));
    let (found, text) = request(port, "GET", "/metrics", &right).unwrap();
    assert_eq!(found, 200, "the owner is not locked out");
    let counted = "heqis_wrong_tokens_total{node=\"compute\",server=\"metrics\"} 25";
    assert!(text.contains(counted), "{text}");
    fleet.signal("TERM");
    fleet.finish();
}
