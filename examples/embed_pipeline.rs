//! The whole pipeline in one program: bars of a file become journalled decisions, without a topology file.
//!
//! ```sh
//! cargo run --example embed_pipeline
//! ```
//!
//! The stages are those of `topologies/baseline.toml`, the parameters those of their tables. A tap counts the decisions on
//! their way into the journal; afterwards the journal is read back and compared with the count.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use heqis::actors::{EdgeOptions, GraphBuilder, StageOptions, Tap};
use heqis::compute::{Journal, Signal, TrtEngine};
use heqis::data::journal;
use heqis::gateway::source::CsvReplay;
use heqis::gateway::{Cleaner, Indicators, NpuFeature};
use heqis::messages::DecisionMessage;
use heqis::quant::Side;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The stages in the order of the data.
const STAGES: [&str; 7] = [
    "market",
    "cleaner",
    "indicators",
    "features",
    "engine",
    "signal",
    "journal",
];

/// Reads the parameters of a stage, as a topology file would hold them.
fn params<C: DeserializeOwned>(table: Value) -> Result<C, serde_json::Error> {
    serde_json::from_value(table)
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("decisions.jsonl");
    let decided = Arc::new(AtomicUsize::new(0));
    let counter = decided.clone();
    let options = StageOptions::default;
    let mut graph = GraphBuilder::new("embedded")
        // Relative paths start here.
        .base(env!("CARGO_MANIFEST_DIR"))
        .source::<CsvReplay>(
            "market",
            params(json!({ "paths": ["data/ashare/002032.SZ.csv"] }))?,
            options(),
        )
        .stage::<Cleaner>("cleaner", params(json!({}))?, options())
        .stage::<Indicators>("indicators", params(json!({}))?, options())
        .stage::<NpuFeature>(
            "features",
            params(json!({ "bundle": "models/baseline-factors", "rows": 1, "backends": ["cpu"] }))?,
            options(),
        )
        .stage::<TrtEngine>(
            "engine",
            params(json!({ "bundle": "models/baseline-direction", "backends": ["cpu"] }))?,
            options(),
        )
        .stage::<Signal>(
            "signal",
            params(json!({ "rule": { "enter": 0.002, "exit": 0.0012, "min_confidence": 0.4 } }))?,
            options(),
        )
        .stage::<Journal>("journal", params(json!({ "path": path }))?, options())
        .tap(
            "journal",
            Tap::new(move |frame| {
                if frame.payload::<DecisionMessage>().is_some() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }),
        );
    for pair in STAGES.windows(2) {
        graph = graph.edge(pair[0], pair[1], EdgeOptions::default());
    }
    // Runs until the source has ended and every frame is processed.
    let report = graph.run(Duration::from_secs(5))?;

    let (records, closed) = read(&path)?;
    let buys = records.iter().filter(|side| **side == Side::Buy).count();
    println!(
        "{} decisions, {buys} of them to buy, journal closed: {closed}",
        records.len()
    );
    for edge in &report.edges {
        println!(
            "{}: sent {}, delivered {}",
            edge.edge, edge.sent, edge.delivered
        );
    }
    assert!(
        report.is_clean() && closed,
        "the books and the journal close"
    );
    assert_eq!(records.len(), decided.load(Ordering::Relaxed));
    assert!(buys > 0);
    Ok(())
}

/// Returns the sides of a journal's decisions, and whether its run ended in an orderly way.
fn read(path: &Path) -> Result<(Vec<Side>, bool), journal::JournalError> {
    let (records, closed) = journal::last(path, usize::MAX)?;
    Ok((
        records.iter().map(|(_, record)| record.side).collect(),
        closed,
    ))
}
