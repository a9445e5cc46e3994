//! Prices from a thread of the program, decisions back as values: the shipped stages between two channels.
//!
//! ```sh
//! cargo run --example decisions_as_values
//! ```

use std::time::Duration;

use heqis::actors::{channel, channel_out};
use heqis::compute::{Signal, TrtEngine};
use heqis::data::{TableOptions, open};
use heqis::gateway::{Cleaner, Indicators, NpuFeature};
use heqis::messages::{BarMessage, DecisionMessage};
use heqis::prelude::*;
use heqis::quant::Side;
use serde_json::{from_value, json};

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (prices, market) = channel::<BarMessage>(1024);
    let (sink, mut decisions) = channel_out::<DecisionMessage>();
    let options = StageOptions::default;
    let features = json!({ "bundle": "models/baseline-factors", "rows": 1, "backends": ["cpu"] });
    let engine = json!({ "bundle": "models/baseline-direction", "backends": ["cpu"] });
    let rule = json!({ "rule": { "enter": 0.002, "exit": 0.0012, "min_confidence": 0.4 } });
    let graph = GraphBuilder::new("decisions")
        .base(env!("CARGO_MANIFEST_DIR"))
        .input("market", market)
        .stage::<Cleaner>("cleaner", Default::default(), options())
        .stage::<Indicators>("indicators", Default::default(), options())
        .stage::<NpuFeature>("features", from_value(features)?, options())
        .stage::<TrtEngine>("engine", from_value(engine)?, options())
        .stage::<Signal>("signal", from_value(rule)?, options())
        .output("decisions", sink)
        .chain(&[
            "market",
            "cleaner",
            "indicators",
            "features",
            "engine",
            "signal",
            "decisions",
        ])
        .spawn()?;
    // Any thread may send; a full graph makes it wait. Dropping the sender ends the stream.
    let bars = concat!(env!("CARGO_MANIFEST_DIR"), "/data/ashare/002032.SZ.csv");
    let bars = open(bars.as_ref(), &TableOptions::default())?;
    let program = std::thread::spawn(move || {
        for bar in bars.map_while(Result::ok) {
            if prices.send(BarMessage(bar)).is_err() {
                break;
            }
        }
    });
    let mut buys = 0;
    while let Some(decision) = decisions.recv() {
        buys += usize::from(decision.decision.side == Side::Buy);
    }
    program.join().map_err(|_| "the thread panicked")?;
    let report = graph.stop_blocking(Duration::from_secs(5));
    println!("{buys} decisions to buy");
    assert!(report.is_clean() && buys > 0);
    Ok(())
}
