//! A topology whose bars take two ways by symbol: the decisions are those of one way, and every listing shows the ports.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Code, Override, Plan, Request, graph, load, load_text};

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

fn request() -> Request {
    Request::new("topologies/baseline.toml", repository())
}

/// `topologies/baseline.toml` with a router after the cleaner, and a second way for the symbols that are not listed.
fn routed() -> String {
    let text = std::fs::read_to_string(repository().join("topologies/baseline.toml")).unwrap();
    let text = text.replace(
        "[stages.indicators]",
        "[stages.router]\nkind = \"symbol-router\"\nnode = \"host\"\nparams = { symbols = [\"600000.SH\"] }\n\n[stages.indicators]",
    );
    let text = text.replace(
        "from = \"cleaner\"\nto = \"indicators\"",
        "from = \"cleaner\"\nto = \"router\"\n\n[[edges]]\nfrom = \"router.listed\"\nto = \"indicators\"",
    );
    let others = [
        ("rest-indicators", "kind = \"indicators\""),
        (
            "rest-features",
            "kind = \"npu-feature\"\nparams = { bundle = \"models/baseline-factors\", backends = [\"cpu\"] }",
        ),
        (
            "rest-engine",
            "kind = \"trt-engine\"\nparams = { bundle = \"models/baseline-direction\", backends = [\"cpu\"] }",
        ),
    ];
    let stages = others.map(|(name, rest)| format!("[stages.{name}]\nnode = \"host\"\n{rest}\n\n"));
    let ways = [
        ("router.others", "rest-indicators"),
        ("rest-indicators", "rest-features"),
        ("rest-features", "rest-engine"),
        ("rest-engine", "signal"),
    ];
    let edges = ways.map(|(from, to)| format!("\n[[edges]]\nfrom = \"{from}\"\nto = \"{to}\"\n"));
    let text = text.replace(
        "[stages.signal]",
        &format!("{}[stages.signal]", stages.concat()),
    );
    text + &edges.concat()
}

fn plan(text: &str, folder: &Path) -> Plan {
    let mut request = request();
    for set in [
        format!(
            "stages.journal.params.path={}",
            folder.join("decisions.jsonl").display()
        ),
        format!(
            "stages.feedback.params.path={}",
            folder.join("feedback.csv").display()
        ),
    ] {
        request.overrides.push(Override::set(set));
    }
    load_text(text, &request, &registry()).unwrap_or_else(|faults| {
        panic!("{:#?}", faults.list);
    })
}

/// The decisions of a run, without their numbers and checksums, in the order of symbol and date.
fn decisions(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let report = plan(text, folder.path())
        .graph("host")
        .unwrap()
        .run(Duration::from_secs(60))
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let journal = std::fs::read_to_string(folder.path().join("decisions.jsonl")).unwrap();
    let records = journal.lines().filter_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| record.get(name).map(ToString::to_string);
        Some(
            [
                field("symbol")?,
                field("date")?,
                field("side")?,
                field("confidence")?,
            ]
            .join(" "),
        )
    });
    let mut records: Vec<String> = records.collect();
    records.sort();
    records
}

#[test]
fn two_ways_by_symbol_decide_as_one_does() {
    let one = std::fs::read_to_string(repository().join("topologies/baseline.toml")).unwrap();
    let (one, two) = (decisions(&one), decisions(&routed()));
    assert!(one.len() > 1000, "{} decisions", one.len());
    assert_eq!(one, two);
}

#[test]
fn drawings_and_edges_name_the_ports() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&routed(), folder.path());
    let (mermaid, dot) = (graph::mermaid(&plan), graph::dot(&plan));
    let listed = "stage_router -->|\"from listed<br/>block 1024\"| stage_indicators";
    assert!(mermaid.contains(listed), "{mermaid}");
    let others = "\"router\" -> \"rest-indicators\" [label=\"from others\\nblock 1024\"];";
    assert!(dot.contains(others), "{dot}");
    let names: Vec<&str> = plan.edges.iter().map(|edge| edge.name.as_str()).collect();
    assert!(names.contains(&"router.listed->indicators"), "{names:?}");
    assert_eq!(
        plan.edges[names.len() - 1].ends(),
        ("rest-engine", "signal")
    );
}

#[test]
fn an_override_reaches_the_edge_of_a_port_by_its_name_in_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let set = |name: &str| {
        let mut request = request();
        let path = folder.path().join("decisions.jsonl");
        request.overrides = vec![
            Override::set(format!("edges.{name}.capacity=7")),
            Override::set(format!("stages.journal.params.path={}", path.display())),
        ];
        load_text(&routed(), &request, &registry())
    };
    let plan = set("\"router.listed->indicators\"").unwrap();
    let edge = plan
        .edges
        .iter()
        .find(|edge| edge.name == "router.listed->indicators")
        .unwrap();
    assert_eq!(edge.options.capacity, 7);
    let faults = set("router.listed->indicators").unwrap_err();
    assert_eq!(
        faults.list[0].code,
        Code::NothingToOverride,
        "{:?}",
        faults.list
    );
    assert!(load(&request(), &registry()).is_ok());
}
