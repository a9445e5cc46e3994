//! The shipped stages in a graph built in code are refused as in a topology, in the same words.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use heqis_actors::{EdgeOptions, GraphBuilder, StageOptions};
use heqis_compute::{Journal, Signal, TrtEngine};
use heqis_gateway::source::CsvReplay;
use heqis_gateway::{Cleaner, Indicators, NpuFeature};
use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Override, Request, load};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

fn read<T: DeserializeOwned>(params: Value) -> T {
    serde_json::from_value(params).unwrap()
}

/// Codes and messages of the faults of `topologies/baseline.toml` with another model in `engine`.
fn in_a_topology(bundle: &str) -> Vec<String> {
    let mut request = Request::new("topologies/baseline.toml", repository());
    let set = format!("stages.engine.params.bundle=models/{bundle}");
    request.overrides.push(Override::set(set));
    match load(&request, &registry()) {
        Ok(_) => Vec::new(),
        Err(faults) => (faults.list.iter())
            .map(|fault| format!("{} {}", fault.code.name(), fault.message))
            .collect(),
    }
}

/// The same of the same stages in code.
fn in_code(bundle: &str) -> Vec<String> {
    let (options, edge) = (StageOptions::default, EdgeOptions::default);
    let graph = GraphBuilder::new("baseline")
        .base(repository())
        .source::<CsvReplay>(
            "market",
            read(json!({ "paths": ["data/ashare/002032.SZ.csv"] })),
            options(),
        )
        .stage::<Cleaner>("cleaner", read(json!({})), options())
        .stage::<Indicators>("indicators", read(json!({})), options())
        .stage::<NpuFeature>(
            "features",
            read(json!({ "bundle": "models/baseline-factors", "backends": ["cpu"] })),
            options(),
        )
        .stage::<TrtEngine>(
            "engine",
            read(json!({ "bundle": format!("models/{bundle}"), "backends": ["cpu"] })),
            options(),
        )
        .stage::<Signal>(
            "signal",
            read(json!({ "rule": { "enter": 0.002, "exit": 0.0012, "min_confidence": 0.4 } })),
            options(),
        )
        .stage::<Journal>(
            "journal",
            read(json!({ "path": "/tmp/no/journal" })),
            options(),
        );
    let names = [
        "market",
        "cleaner",
        "indicators",
        "features",
        "engine",
        "signal",
        "journal",
    ];
    let graph = (names.windows(2)).fold(graph, |graph, pair| graph.edge(pair[0], pair[1], edge()));
    (graph.check().iter())
        .map(|fault| format!("{} {}", fault.kind, fault.message))
        .collect()
}

#[test]
fn a_model_of_another_models_factors_is_refused_in_the_same_words() {
    assert_eq!(in_code("baseline-direction"), [""; 0]);
    let faults = in_code("multi-gan-direction");
    assert!(!faults.is_empty());
    assert!(
        faults
            .iter()
            .all(|fault| fault.starts_with("contract-mismatch ")),
        "{faults:?}"
    );
    assert_eq!(faults, in_a_topology("multi-gan-direction"));
}
