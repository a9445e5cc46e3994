//! Heterogeneous edge quant inference: market data through two small boards, trading signals back in milliseconds.
//!
//! This package is the façade for programs that embed HEQIS. Each module is a crate of the workspace:
//!
//! - [`actors`]: stages as actors, edges with closed books, the NNG bridge between nodes. Independent of markets.
//! - [`quant`]: bars, instruments, dated A-share rules, streaming indicators, scaler, decision rules. Pure.
//! - [`infer`]: one `Engine` trait, its backends, and the checked model bundle.
//! - [`bundle`]: what a bundle must be to serve as a model of features or of decisions.
//! - [`data`]: readers of files of bars and of journals.
//! - [`messages`]: the payloads between the stages.
//! - [`gateway`], [`compute`]: the stages of the two nodes.
//! - `runtime`, with the Cargo feature of that name: topology files, their check, and runs of them.
//!
//! Not here: training and backtests (`heqis-lab`), and the web page (`heqis-dashboard`).
//!
//! # Example
//!
//! The whole pipeline on one instrument: bars of a file become journalled decisions. `examples/` shows a stage, a source and
//! a backend of one's own, and a payload over the wire.
//!
//! ```
//! use std::time::Duration;
//!
//! use heqis::actors::{EdgeOptions, GraphBuilder, StageOptions};
//! use heqis::compute::{Journal, Signal, TrtEngine};
//! use heqis::gateway::{Cleaner, Indicators, NpuFeature, source::CsvReplay};
//! use serde_json::{from_value, json};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let journal = folder.path().join("decisions.jsonl");
//! let options = StageOptions::default;
//! // Parameters are those of a topology file's tables; relative paths start at the base.
//! let market = json!({ "paths": ["data/ashare/002032.SZ.csv"], "to": "2006-12-29" });
//! let features = json!({ "bundle": "models/baseline-factors", "rows": 1, "backends": ["cpu"] });
//! let engine = json!({ "bundle": "models/baseline-direction", "backends": ["cpu"] });
//! let signal = json!({ "rule": { "enter": 0.002, "exit": 0.0012, "min_confidence": 0.4 } });
//! let mut graph = GraphBuilder::new("embedded")
//!     .base(env!("CARGO_MANIFEST_DIR"))
//!     .source::<CsvReplay>("market", from_value(market)?, options())
//!     .stage::<Cleaner>("cleaner", Default::default(), options())
//!     .stage::<Indicators>("indicators", Default::default(), options())
//!     .stage::<NpuFeature>("features", from_value(features)?, options())
//!     .stage::<TrtEngine>("engine", from_value(engine)?, options())
//!     .stage::<Signal>("signal", from_value(signal)?, options())
//!     .stage::<Journal>("journal", from_value(json!({ "path": journal }))?, options());
//! let order = ["market", "cleaner", "indicators", "features", "engine", "signal", "journal"];
//! for pair in order.windows(2) {
//!     graph = graph.edge(pair[0], pair[1], EdgeOptions::default());
//! }
//! // Runs until the source has ended and every frame is processed.
//! let report = graph.run(Duration::from_secs(5))?;
//! assert!(report.is_clean(), "the books of every edge close");
//!
//! let (decisions, closed) = heqis::data::journal::last(&journal, usize::MAX)?;
//! assert!(closed && decisions.len() > 100);
//! # Ok(())
//! # }
//! ```

pub use heqis_actors as actors;
pub use heqis_bundle as bundle;
pub use heqis_compute as compute;
pub use heqis_data as data;
pub use heqis_gateway as gateway;
pub use heqis_infer as infer;
pub use heqis_messages as messages;
pub use heqis_quant as quant;
#[cfg(feature = "runtime")]
pub use heqis_runtime as runtime;
