//! The graph of the dual-board topology, by node, and stages that exist only for the bench.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heqis_actors::{
    BatchOptions, BridgeOptions, BuildContext, EdgeOptions, Emitter, Frame, GraphBuilder,
    NodeReport, Nothing, PIPELINE, PayloadType, RingBufferConfig, Stage, StageError, StageOptions,
    Tensor,
};
use heqis_compute::journal::{Existing, Mismatch};
use heqis_compute::{Journal, JournalConfig, Signal, SignalConfig, TrtEngine, TrtEngineConfig};
use heqis_gateway::source::{Simulated, SimulatedConfig};
use heqis_gateway::{Cleaner, Indicators, IndicatorsConfig, NpuFeature, NpuFeatureConfig};
use heqis_messages::{DecisionMessage, FeatureRow, Features, PredictionMessage};
use heqis_quant::Prediction;
use heqis_tls::{Identity, IdentityFiles};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{FLOOD_DAYS, SYMBOLS};

const DRAIN: Duration = Duration::from_secs(30);
const STAGES: [&str; 9] = [
    "market",
    "cleaner",
    "indicators",
    "features",
    "ring",
    "engine",
    "signal",
    "journal",
    "watch",
];

#[derive(Deserialize, JsonSchema)]
struct NullConfig {}

/// Forwards the last row without scaling, window or model.
struct NullFeatures;

impl Stage for NullFeatures {
    type Config = NullConfig;
    type In = FeatureRow;
    type Out = Features;
    const KIND: &'static str = "null-features";
    const ABOUT: &'static str = "Computes nothing.";

    fn build(_: &NullConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<FeatureRow>,
        out: &mut Emitter<'_, Features>,
    ) -> Result<(), StageError> {
        let tensor = Tensor::new(&[1, 20], vec![0.5; 20]).map_err(StageError::failed)?;
        out.emit(
            frame.head(),
            Features {
                bar: frame.bar,
                set_id: frame.set_id,
                tensor,
                snapshot: frame.snapshot,
            },
        );
        Ok(())
    }
}

/// Returns the same prediction for every input.
struct NullEngine;

impl Stage for NullEngine {
    type Config = NullConfig;
    type In = Features;
    type Out = PredictionMessage;
    const KIND: &'static str = "null-engine";
    const ABOUT: &'static str = "Computes nothing.";
    const BLOCKING: bool = true;

    fn build(_: &NullConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<Features>,
        out: &mut Emitter<'_, PredictionMessage>,
    ) -> Result<(), StageError> {
        let prediction = Prediction {
            predicted_return: 0.0,
            probabilities: [0.3, 0.4, 0.3],
        };
        out.emit(
            frame.head(),
            PredictionMessage {
                bar: frame.bar,
                prediction,
                snapshot: frame.snapshot,
            },
        );
        Ok(())
    }
}

/// Times of the decisions that returned to the gateway.
#[derive(Default)]
pub(crate) struct Seen {
    first: Option<Instant>,
    last: Option<Instant>,
    /// From the birth of a bar to the return of its decision, on one clock.
    pub(crate) ages_us: Vec<f64>,
}

impl Seen {
    pub(crate) fn per_s(&self) -> f64 {
        let elapsed = self.last.unwrap() - self.first.unwrap();
        (self.ages_us.len() - 1) as f64 / elapsed.as_secs_f64()
    }
}

#[derive(Deserialize, JsonSchema)]
struct WatchConfig {
    #[serde(skip)]
    seen: Arc<Mutex<Seen>>,
}

/// Replaces `feedback`: records the times.
struct Watch(Arc<Mutex<Seen>>);

impl Stage for Watch {
    type Config = WatchConfig;
    type In = DecisionMessage;
    type Out = Nothing;
    const KIND: &'static str = "watch";
    const ABOUT: &'static str = "Records when decisions return.";

    fn build(config: &WatchConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.seen.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<DecisionMessage>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let mut seen = self.0.lock().unwrap();
        let now = Instant::now();
        seen.first.get_or_insert(now);
        seen.last = Some(now);
        let head = frame.head();
        seen.ages_us
            .push((head.enter_ns() - head.born_ns) as f64 / 1e3);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arm {
    Shipped,
    Tls,
    Linear,
    OneThread,
    Null,
}

/// The pair of models of an arm.
struct Models {
    features: &'static str,
    /// Rows of a window.
    rows: usize,
    direction: &'static str,
}

impl Arm {
    pub(crate) const ALL: [Self; 5] = [
        Self::Shipped,
        Self::Tls,
        Self::Linear,
        Self::OneThread,
        Self::Null,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Tls => "tls",
            Self::Linear => "linear",
            Self::OneThread => "one thread",
            Self::Null => "null",
        }
    }

    fn models(self) -> Option<Models> {
        match self {
            Self::Shipped | Self::Tls => Some(Models {
                features: "models/cae-factors",
                rows: 32,
                direction: "models/multi-gan-direction",
            }),
            Self::Linear | Self::OneThread => Some(Models {
                features: "models/baseline-factors",
                rows: 1,
                direction: "models/baseline-direction",
            }),
            Self::Null => None,
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One end of an edge; with TLS the certificates lie next to the journal.
fn bridge(arm: Arm, port: u16, [name, peer]: [&str; 2], journal: &Path) -> BridgeOptions {
    let scheme = if arm == Arm::Tls { "tls+tcp" } else { "tcp" };
    let options = BridgeOptions::new(format!("{scheme}://127.0.0.1:{port}").parse().unwrap());
    let files = IdentityFiles::in_directory(journal.parent().unwrap(), name);
    let security = (arm == Arm::Tls).then(|| Identity::new(files, Some(name)).link_with(peer));
    options.security(security).credit(64)
}

fn plain() -> StageOptions {
    StageOptions::default()
}

fn with_gateway(graph: GraphBuilder, arm: Arm, days: u32, rate_per_s: Option<f64>) -> GraphBuilder {
    let simulated = SimulatedConfig {
        seed: 1,
        symbols: SYMBOLS,
        days,
        start: None,
        rate_per_s,
    };
    let graph = graph
        .source::<Simulated>("market", simulated, plain())
        .stage::<Cleaner>("cleaner", Default::default(), plain())
        .stage::<Indicators>("indicators", IndicatorsConfig::default(), plain());
    let graph = match arm.models() {
        Some(models) => graph.stage::<NpuFeature>(
            "features",
            NpuFeatureConfig {
                bundle: models.features.into(),
                rows: models.rows,
                backends: vec![heqis_infer::BackendKind::Cpu],
                strict: true,
                force: false,
                prefer: heqis_infer::BackendPolicy::First,
                max_invalid_share: 0.5,
                invalid_window: 64,
                on_invalid: Default::default(),
            },
            plain(),
        ),
        None => graph.stage::<NullFeatures>("features", NullConfig {}, plain()),
    };
    let ring = RingBufferConfig::new(4096);
    graph
        .ring_buffer("ring", ring, plain())
        .edge("market", "cleaner", EdgeOptions::default())
        .edge("cleaner", "indicators", EdgeOptions::default())
        .edge("indicators", "features", EdgeOptions::default())
        .edge("features", "ring", EdgeOptions::default())
}

fn with_compute(graph: GraphBuilder, arm: Arm, journal: &Path) -> GraphBuilder {
    let mut batch = StageOptions::new().batch(BatchOptions::new().max(8));
    batch.arbiter = (arm == Arm::OneThread).then(|| PIPELINE.to_owned());
    let graph = match arm.models() {
        Some(models) => graph.stage::<TrtEngine>(
            "engine",
            TrtEngineConfig {
                bundle: models.direction.into(),
                backends: vec![heqis_infer::BackendKind::Cpu],
                strict: true,
                force: false,
                prefer: heqis_infer::BackendPolicy::First,
                max_invalid_share: 0.5,
                invalid_window: 64,
                on_invalid: Default::default(),
                simulate_latency_us: 0,
            },
            batch,
        ),
        None => graph.stage::<NullEngine>("engine", NullConfig {}, batch),
    };
    let rule = heqis_quant::DecisionRule {
        enter: 0.002,
        exit: 0.0012,
        min_confidence: 0.4,
        min_exit_confidence: 0.0,
    };
    let signal = SignalConfig {
        mode: Default::default(),
        rule,
        filters: Default::default(),
        trading_state: Default::default(),
        trading_state_file: None,
    };
    let journal = JournalConfig {
        path: journal.to_owned(),
        segment_bytes: 16 << 20,
        daily: false,
        // Each round writes a journal of its own.
        existing: Existing::New,
        mismatch: Mismatch::New,
        sync: Default::default(),
        timings: true,
    };
    graph
        .stage::<Signal>("signal", signal, plain())
        .stage::<Journal>("journal", journal, plain())
        .edge("engine", "signal", EdgeOptions::default())
        .edge("signal", "journal", EdgeOptions::default())
}

/// Runs the gateway and returns the times of the returned decisions.
pub(crate) fn gateway(
    arm: Arm,
    days: u32,
    rate_per_s: Option<f64>,
    ports: [u16; 2],
    journal: &Path,
) -> Seen {
    let bridge = |port| bridge(arm, port, ["gateway", "compute"], journal);
    let graph = GraphBuilder::new("bench").node("gateway").base(root());
    let mut graph = with_gateway(graph, arm, days, rate_per_s);
    for stage in &STAGES[5..8] {
        graph = graph.remote(stage);
    }
    let seen = Arc::<Mutex<Seen>>::default();
    let report = graph
        .stage::<Watch>("watch", WatchConfig { seen: seen.clone() }, plain())
        .edge_out(
            0,
            ("ring", "engine"),
            PayloadType::of::<Features>(),
            EdgeOptions::default(),
            bridge(ports[0]),
        )
        .edge_in(
            1,
            ("signal", "watch"),
            PayloadType::of::<DecisionMessage>(),
            EdgeOptions::default(),
            bridge(ports[1]),
        )
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    std::mem::take(&mut *seen.lock().unwrap())
}

pub(crate) fn compute(arm: Arm, ports: [u16; 2], journal: &Path) -> NodeReport {
    let bridge = |port| bridge(arm, port, ["compute", "gateway"], journal);
    let mut graph = GraphBuilder::new("bench").node("compute").base(root());
    for stage in &STAGES[..5] {
        graph = graph.remote(stage);
    }
    with_compute(graph, arm, journal)
        .remote("watch")
        .edge_in(
            0,
            ("ring", "engine"),
            PayloadType::of::<Features>(),
            EdgeOptions::default(),
            bridge(ports[0]),
        )
        .edge_out(
            1,
            ("signal", "watch"),
            PayloadType::of::<DecisionMessage>(),
            EdgeOptions::default(),
            bridge(ports[1]),
        )
        .run(DRAIN)
        .unwrap()
}

/// Runs all stages in this process and returns the times of the decisions.
pub(crate) fn one_process(arm: Arm, journal: &Path) -> Seen {
    let graph = GraphBuilder::new("bench").node("host").base(root());
    let graph = with_gateway(graph, arm, FLOOD_DAYS, None);
    let seen = Arc::<Mutex<Seen>>::default();
    let report = with_compute(graph, arm, journal)
        .stage::<Watch>("watch", WatchConfig { seen: seen.clone() }, plain())
        .edge("ring", "engine", EdgeOptions::default())
        .edge("signal", "watch", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    std::mem::take(&mut *seen.lock().unwrap())
}
