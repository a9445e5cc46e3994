//! Heterogeneous edge quant inference: market data through two small boards, trading signals back in milliseconds.
//!
//! This package is the façade for programs that embed HEQIS. Each module is a crate of the workspace, most of them behind a
//! Cargo feature, so that a program compiles only what it uses:
//!
//! | feature | modules |
//! |---|---|
//! | none | [`actors`], [`prelude`]: stages as actors, edges with closed books, the bridge between nodes. Independent of markets |
//! | `quant` | [`quant`]: bars, instruments, dated A-share rules, streaming indicators, scaler, decision rules. Pure. [`factors`]: factors as expressions |
//! | `infer` | [`infer`]: one `Engine` trait, its backends, and the checked model bundle |
//! | `pipeline` | both, and [`gateway`], [`compute`]: the stages of the two nodes; [`messages`]: their payloads; [`bundle`]; [`data`]: readers of bars and journals |
//! | `tls` | [`tls`]: certificates of nodes, for edges that leave the machine |
//! | `topology` | all of these, and [`runtime`]: topology files, their check, runs of them; [`main_with`]: a binary with own stage kinds |
//!
//! Not here: training and backtests (`heqis-lab`), and the web page (`heqis-dashboard`). Metrics need no feature: every graph has
//! them, and [`Reporter`](actors::Reporter) renders them as text.
//!
//! ```
//! use std::time::Duration;
//!
//! use heqis::prelude::*;
//!
//! #[derive(Payload)]
//! struct Word(String);
//!
//! let report = GraphBuilder::new("hello")
//!     .source_iter("words", ["hello", "", "graph"].map(|word| Word(word.into())))
//!     .filter("written", |word: &Frame<Word>| !word.0.is_empty())
//!     .sink_fn("print", |word: &Frame<Word>| println!("{}", word.0))
//!     .chain(&["words", "written", "print"])
//!     .run(Duration::from_secs(1))?;
//! assert!(report.is_clean(), "every frame is delivered");
//! # Ok::<(), GraphError>(())
//! ```
//!
//! # The whole pipeline
//!
//! Bars of a file become journalled decisions (feature `pipeline`). `examples/` has programs for each way of
//! embedding, which `docs/embedding.md` explains.
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

// The table links to modules that a build without features does not have.
#![cfg_attr(not(feature = "topology"), allow(rustdoc::broken_intra_doc_links))]

pub use heqis_actors as actors;
#[cfg(feature = "pipeline")]
pub use heqis_bundle as bundle;
#[cfg(feature = "pipeline")]
pub use heqis_compute as compute;
#[cfg(feature = "pipeline")]
pub use heqis_data as data;
#[cfg(feature = "quant")]
pub use heqis_factors as factors;
#[cfg(feature = "pipeline")]
pub use heqis_gateway as gateway;
#[cfg(feature = "infer")]
pub use heqis_infer as infer;
#[cfg(feature = "pipeline")]
pub use heqis_messages as messages;
#[cfg(feature = "quant")]
pub use heqis_quant as quant;
#[cfg(feature = "topology")]
pub use heqis_runtime as runtime;
#[cfg(feature = "topology")]
pub use heqis_runtime::{main_with, registry};
#[cfg(feature = "tls")]
pub use heqis_tls as tls;

/// The programs in the pages are compiled and run.
#[cfg(all(doctest, feature = "topology"))]
#[doc = include_str!("../docs/embedding.md")]
mod embedding {}

#[cfg(all(doctest, feature = "topology"))]
#[doc = include_str!("../docs/state-and-resume.md")]
mod state_and_resume {}

/// What nearly every program that builds a graph names.
pub mod prelude {
    pub use heqis_actors::{
        BatchOptions, BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Ending, Event,
        Events, Frame, GraphBuilder, GraphError, GraphHandle, Head, Inputs, Join, Key, Next,
        NodeReport, Nothing, Outputs, Payload, PayloadError, PayloadType, Policy, RestartOptions,
        Source, Stage, StageError, StageOptions, StopHandle, Tap, Tensor, Waker, decode_meta,
        encode_meta,
    };
}
