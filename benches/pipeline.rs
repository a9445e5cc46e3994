//! How long a bar takes to become a decision, across two processes, and what of it is inference.
//!
//! ```text
//! cargo bench --bench pipeline [-- --rounds N]
//! ```
//!
//! The bench is the gateway and runs itself once more as the compute node; between them lie TCP and the two edges of
//! `topologies/dual-board.toml`. `real` runs the shipped bundles; `null` runs the same graph with stages that compute
//! nothing in place of `npu-feature` and `trt-engine`. Latency is measured at a paced 500 bars a second of one symbol;
//! throughput at full speed. Rounds visit both arms in turn. The waterfall is read from the time stamps that each
//! decision carries.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use heqis_actors::{
    BatchOptions, BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Frame, GraphBuilder,
    NodeReport, PayloadType, Policy, RingBufferConfig, Stage, StageError, StageOptions, Tensor,
};
use heqis_compute::{Journal, JournalConfig, Signal, SignalConfig, TrtEngine, TrtEngineConfig};
use heqis_gateway::source::{Simulated, SimulatedConfig};
use heqis_gateway::{
    Cleaner, Feedback, FeedbackConfig, Indicators, IndicatorsConfig, NpuFeature, NpuFeatureConfig,
};
use heqis_messages::{Decision, FeatureRow, Features, PredictionMessage};
use heqis_quant::Prediction;
use schemars::JsonSchema;
use serde::Deserialize;

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
    "feedback",
];

#[derive(Deserialize, JsonSchema)]
struct NullConfig {}

/// Passes the last row on without scaling, window or model.
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
            },
        );
        Ok(())
    }
}

/// Predicts the same whatever it is shown.
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
            },
        );
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Arm {
    Real,
    Null,
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Null => "null",
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn bridge(port: u16) -> BridgeOptions {
    BridgeOptions {
        endpoint: format!("tcp://127.0.0.1:{port}").parse().unwrap(),
        credit: 64,
        delivery: Delivery::AtLeastOnce,
        max_frame: 1 << 20,
    }
}

fn plain() -> StageOptions {
    StageOptions::default()
}

fn with_gateway(graph: GraphBuilder, arm: Arm, days: u32, rate_per_s: Option<f64>) -> GraphBuilder {
    let simulated = SimulatedConfig {
        seed: 1,
        symbols: 1,
        days,
        start: None,
        rate_per_s,
    };
    let graph = graph
        .source::<Simulated>("market", simulated, plain())
        .stage::<Cleaner>("cleaner", Default::default(), plain())
        .stage::<Indicators>("indicators", IndicatorsConfig { features: None }, plain());
    let graph = match arm {
        Arm::Real => graph.stage::<NpuFeature>(
            "features",
            NpuFeatureConfig {
                bundle: "models/baseline-factors".into(),
                backends: vec![heqis_infer::BackendKind::Cpu],
                strict: true,
            },
            plain(),
        ),
        Arm::Null => graph.stage::<NullFeatures>("features", NullConfig {}, plain()),
    };
    let ring = RingBufferConfig {
        capacity: 4096,
        policy: Policy::Block,
    };
    graph
        .ring_buffer("ring", ring, plain())
        .edge("market", "cleaner", EdgeOptions::default())
        .edge("cleaner", "indicators", EdgeOptions::default())
        .edge("indicators", "features", EdgeOptions::default())
        .edge("features", "ring", EdgeOptions::default())
}

fn with_compute(graph: GraphBuilder, arm: Arm, journal: &Path) -> GraphBuilder {
    let batch = StageOptions {
        batch: BatchOptions {
            max: 8,
            max_delay: Duration::ZERO,
        },
        ..StageOptions::default()
    };
    let graph = match arm {
        Arm::Real => graph.stage::<TrtEngine>(
            "engine",
            TrtEngineConfig {
                bundle: "models/baseline-direction".into(),
                backends: vec![heqis_infer::BackendKind::Cpu],
                strict: true,
                simulate_latency_us: 0,
            },
            batch,
        ),
        Arm::Null => graph.stage::<NullEngine>("engine", NullConfig {}, batch),
    };
    let rule = heqis_quant::DecisionRule {
        enter: 0.002,
        exit: 0.0012,
        min_confidence: 0.4,
        min_exit_confidence: 0.0,
    };
    let journal = JournalConfig {
        path: journal.to_owned(),
        sync: Default::default(),
        timings: true,
    };
    graph
        .stage::<Signal>("signal", SignalConfig { rule }, plain())
        .stage::<Journal>("journal", journal, plain())
        .edge("engine", "signal", EdgeOptions::default())
        .edge("signal", "journal", EdgeOptions::default())
}

fn gateway(arm: Arm, days: u32, rate_per_s: Option<f64>, ports: [u16; 2]) -> NodeReport {
    let graph = GraphBuilder::new("bench").node("gateway").base(root());
    let mut graph = with_gateway(graph, arm, days, rate_per_s);
    for stage in &STAGES[5..8] {
        graph = graph.remote(stage);
    }
    graph
        .stage::<Feedback>("feedback", FeedbackConfig { log: false }, plain())
        .edge_out(
            0,
            ("ring", "engine"),
            PayloadType::of::<Features>(),
            EdgeOptions::default(),
            bridge(ports[0]),
        )
        .edge_in(
            1,
            ("signal", "feedback"),
            PayloadType::of::<Decision>(),
            EdgeOptions::default(),
            bridge(ports[1]),
        )
        .run(DRAIN)
        .unwrap()
}

fn compute(arm: Arm, ports: [u16; 2], journal: &Path) -> NodeReport {
    let mut graph = GraphBuilder::new("bench").node("compute").base(root());
    for stage in &STAGES[..5] {
        graph = graph.remote(stage);
    }
    with_compute(graph, arm, journal)
        .remote("feedback")
        .edge_in(
            0,
            ("ring", "engine"),
            PayloadType::of::<Features>(),
            EdgeOptions::default(),
            bridge(ports[0]),
        )
        .edge_out(
            1,
            ("signal", "feedback"),
            PayloadType::of::<Decision>(),
            EdgeOptions::default(),
            bridge(ports[1]),
        )
        .run(DRAIN)
        .unwrap()
}

fn single(arm: Arm, days: u32, journal: &Path) -> NodeReport {
    let graph = GraphBuilder::new("bench").node("host").base(root());
    let graph = with_gateway(graph, arm, days, None);
    with_compute(graph, arm, journal)
        .stage::<Feedback>("feedback", FeedbackConfig { log: false }, plain())
        .edge("ring", "engine", EdgeOptions::default())
        .edge("signal", "feedback", EdgeOptions::default())
        .run(DRAIN)
        .unwrap()
}

fn free_ports() -> [u16; 2] {
    let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Runs both nodes; returns the decisions made.
fn two_processes(arm: Arm, days: u32, rate_per_s: Option<f64>, journal: &Path) -> u64 {
    let ports = free_ports();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "compute",
            arm.name(),
            &ports[0].to_string(),
            &ports[1].to_string(),
        ])
        .arg(journal)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let report = gateway(arm, days, rate_per_s, ports);
    assert!(child.wait().unwrap().success());
    assert!(report.is_clean(), "{report:?}");
    decisions(&report)
}

fn decisions(report: &NodeReport) -> u64 {
    let feedback = report
        .stages
        .iter()
        .find(|stage| stage.stage == "feedback")
        .unwrap();
    feedback.frames
}

#[derive(Deserialize)]
struct Timings {
    stages: Vec<StageTiming>,
}

#[derive(Deserialize)]
struct StageTiming {
    stage: String,
    enter_us: f64,
    leave_us: f64,
}

/// One round of a paced run: for each step of the waterfall, the median and the 99th percentile.
fn waterfall(journal: &Path) -> BTreeMap<String, (f64, f64)> {
    let mut name = journal.as_os_str().to_owned();
    name.push(".timings.jsonl");
    let text = std::fs::read_to_string(PathBuf::from(name)).unwrap();
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let timings: Timings = serde_json::from_str(line).unwrap();
        let mut add = |step: &str, us: f64| samples.entry(step.to_owned()).or_default().push(us);
        let mut left = 0.0;
        let mut inference = 0.0;
        for (index, timing) in timings.stages.iter().enumerate() {
            if index > 0 {
                add(
                    &format!("{index:02} to {}", timing.stage),
                    timing.enter_us - left,
                );
                add(
                    &format!("{index:02} {}", timing.stage),
                    timing.leave_us - timing.enter_us,
                );
            }
            if ["features", "engine"].contains(&timing.stage.as_str()) {
                inference += timing.leave_us - timing.enter_us;
            }
            left = timing.leave_us;
        }
        add("total", left);
        add("inference", inference);
        add("overhead", left - inference);
    }
    samples
        .into_iter()
        .map(|(step, mut us)| {
            us.sort_by(f64::total_cmp);
            (step, (us[us.len() / 2], us[us.len() * 99 / 100]))
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "compute") {
        let arm = if arguments[1] == "real" {
            Arm::Real
        } else {
            Arm::Null
        };
        let ports = [arguments[2].parse().unwrap(), arguments[3].parse().unwrap()];
        assert!(compute(arm, ports, Path::new(&arguments[4])).is_clean());
        return;
    }
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.map_or(5, |at| arguments[at + 1].parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("decisions.jsonl");
    let mut paced: BTreeMap<(&str, String), Vec<(f64, f64)>> = BTreeMap::new();
    let mut speeds: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for arm in [Arm::Real, Arm::Null] {
            two_processes(arm, 1_500, Some(500.0), &journal);
            for (step, figures) in waterfall(&journal) {
                paced.entry((arm.name(), step)).or_default().push(figures);
            }
            let start = Instant::now();
            let made = two_processes(arm, 20_000, None, &journal);
            let speed = made as f64 / start.elapsed().as_secs_f64();
            speeds
                .entry((arm.name(), "two processes"))
                .or_default()
                .push(speed);
            let start = Instant::now();
            let report = single(arm, 20_000, &journal);
            assert!(report.is_clean());
            let speed = decisions(&report) as f64 / start.elapsed().as_secs_f64();
            speeds
                .entry((arm.name(), "one process"))
                .or_default()
                .push(speed);
        }
    }
    let figure = |arm: &'static str, step: &str, pick: fn(&(f64, f64)) -> f64| {
        paced
            .get(&(arm, step.to_owned()))
            .map(|rounds| median(rounds.iter().map(pick).collect()))
    };
    let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |us| format!("{us:.1}"));
    println!(
        "| source → signal, 500 bars/s, two processes, µs | real p50 | real p99 | null p50 | null p99 |"
    );
    println!("|---|---|---|---|---|");
    let steps: std::collections::BTreeSet<&String> = paced.keys().map(|(_, step)| step).collect();
    for step in steps {
        let p50 = |arm| cell(figure(arm, step, |round| round.0));
        let p99 = |arm| cell(figure(arm, step, |round| round.1));
        let name = step.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        println!(
            "| {name} | {} | {} | {} | {} |",
            p50("real"),
            p99("real"),
            p50("null"),
            p99("null")
        );
    }
    println!("\n| throughput at full speed | decisions/s |\n|---|---|");
    for ((arm, processes), values) in speeds {
        println!("| {arm}, {processes} | {:.0} |", median(values));
    }
}
