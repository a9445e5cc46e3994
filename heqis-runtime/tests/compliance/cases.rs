//! One entry for each kind of the registry.

use std::path::Path;

use heqis_actors::{Config, Source, Stage, StageKind};
use heqis_compute::{Journal, PortfolioStage, Rank, Signal, TrtEngine};
use heqis_gateway::source::{CsvReplay, Serial, Simulated, TcpLines};
use heqis_gateway::{Cleaner, Feedback, Indicators, NpuFeature, SymbolRouter};
use heqis_runtime::registry::registry;
use serde_json::{Value, json};

use crate::harness::{FailsOnce, Feed};
use crate::live;

/// How a stage kind is tried: behind which other kind, and with which parameters.
pub(crate) struct StageCase {
    pub(crate) kind: &'static str,
    /// The kind that feeds it; that kind's own entry says what feeds it in turn.
    pub(crate) after: &'static str,
    /// Parameters; paths that it writes to start at the directory.
    pub(crate) params: fn(&Path) -> Value,
    /// The kind that takes its frames, where one has to: a stage whose state is in the commit log needs the log.
    pub(crate) into: Option<&'static str>,
    /// Files that it writes, in the directory.
    pub(crate) artefacts: &'static [&'static str],
    /// The same kind, failing once; `None` for the ring buffer, which is never rebuilt.
    pub(crate) fails_once: Option<fn() -> StageKind>,
    /// Whether it gets the frames that it holds again after a failure; they then count as delivered twice.
    pub(crate) holds_frames: bool,
}

impl StageCase {
    fn of<S: Stage<Config: Config>>(after: &'static str, params: fn(&Path) -> Value) -> Self {
        Self {
            kind: S::KIND,
            after,
            params,
            into: None,
            artefacts: &[],
            fails_once: Some(StageKind::stage::<FailsOnce<S>>),
            holds_frames: S::HOLDS_FRAMES,
        }
    }

    pub(crate) fn is_ring(&self) -> bool {
        self.kind == "ring-buffer"
    }

    pub(crate) fn is_commit_log(&self) -> bool {
        registry().kind(self.kind).unwrap().commit_log
    }

    pub(crate) fn is_sink(&self) -> bool {
        registry().kind(self.kind).unwrap().is_sink()
    }
}

/// Every stage kind.
pub(crate) fn stages() -> Vec<StageCase> {
    vec![
        StageCase::of::<Cleaner>(CsvReplay::KIND, |_| json!({})),
        StageCase::of::<SymbolRouter>(
            Cleaner::KIND,
            |_| json!({ "symbols": ["002032.SZ", "600000.SH"] }),
        ),
        StageCase::of::<Indicators>(Cleaner::KIND, |_| json!({ "market": {} })),
        StageCase::of::<NpuFeature>(
            Indicators::KIND,
            |_| json!({ "bundle": "models/baseline-factors", "backends": ["cpu"] }),
        ),
        StageCase::of::<TrtEngine>(
            NpuFeature::KIND,
            |_| json!({ "bundle": "models/baseline-direction", "backends": ["cpu"] }),
        ),
        StageCase {
            into: Some(Journal::KIND),
            ..StageCase::of::<Signal>(TrtEngine::KIND, |_| {
                json!({
                    "rule": { "enter": 0.002, "exit": 0.0012, "min_confidence": 0.4 },
                    "filters": { "stop_loss": 0.1 },
                })
            })
        },
        StageCase::of::<Rank>(TrtEngine::KIND, |_| json!({})),
        StageCase {
            into: Some(Journal::KIND),
            ..StageCase::of::<PortfolioStage>(Rank::KIND, |_| json!({ "rule": { "hold": 1 } }))
        },
        StageCase {
            artefacts: &["decisions.jsonl"],
            ..StageCase::of::<Journal>(
                Signal::KIND,
                |directory| json!({ "path": directory.join("decisions.jsonl") }),
            )
        },
        StageCase {
            artefacts: &["feedback.csv"],
            ..StageCase::of::<Feedback>(
                Journal::KIND,
                |directory| json!({ "path": directory.join("feedback.csv") }),
            )
        },
        StageCase {
            kind: "ring-buffer",
            after: Cleaner::KIND,
            params: |_| json!({ "capacity": 64, "policy": "block" }),
            into: None,
            artefacts: &[],
            fails_once: None,
            holds_frames: false,
        },
    ]
}

/// How a source is tried.
pub(crate) struct SourceCase {
    pub(crate) kind: &'static str,
    /// Parameters, without those that its feed adds.
    pub(crate) params: fn() -> Value,
    pub(crate) feed: Feed,
}

impl SourceCase {
    fn of<S: Source<Config: Config>>(params: fn() -> Value, feed: Feed) -> Self {
        Self {
            kind: S::KIND,
            params,
            feed,
        }
    }

    pub(crate) fn is_replayable(&self) -> bool {
        registry().kind(self.kind).unwrap().replayable
    }
}

/// Every source.
pub(crate) fn sources() -> Vec<SourceCase> {
    vec![
        SourceCase::of::<CsvReplay>(
            || {
                json!({
                    "paths": ["data/ashare/002032.SZ.csv", "data/ashare/600000.SH.csv"],
                    "from": "2005-01-01",
                    "to": "2007-12-31",
                })
            },
            Feed::None,
        ),
        SourceCase::of::<Simulated>(
            || json!({ "seed": 7, "symbols": 3, "days": 200 }),
            Feed::None,
        ),
        SourceCase::of::<TcpLines>(|| json!({ "format": "json" }), Feed::Live(live::TCP)),
        SourceCase::of::<Serial>(|| json!({}), Feed::Live(live::SERIAL)),
    ]
}
