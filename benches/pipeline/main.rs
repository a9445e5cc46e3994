//! Latency from bar to decision across two processes, and the share of inference.
//!
//! ```text
//! cargo bench --bench pipeline [-- --rounds N]
//! ```
//!
//! The bench is the gateway and starts itself once more as the compute node; the two edges of
//! `topologies/dual-board.toml` connect them over TCP. Rounds alternate over all arms:
//!
//! - `shipped`: the trained models of that topology; the engine has a thread of its own, the default.
//! - `tls`: the same over `tls+tcp`, with certificates of both nodes.
//! - `linear`: the linear baselines, where the models cost next to nothing.
//! - `one thread`: the same, with the engine on the arbiter of all the other stages: `arbiter = "pipeline"`.
//! - `null`: stages that compute nothing in place of `npu-feature` and `trt-engine`.
//! - `bare tokio`: no pipeline, one message of a frame's size from process to process at the same pace, one way: the time
//!   this machine needs to wake a sleeping process for its socket. A round trip would hide half of it, because the
//!   response reaches a receiver that is still awake.
//!
//! Latency is measured at 500 bars per second of four symbols, one bar at a time; throughput at full speed, from the first
//! decision to the last. The waterfall is taken from the time stamps of each decision. The clocks of two processes agree to
//! the microsecond at best; the age of a decision back at the gateway is measured by the clock of its birth.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

mod bare;
mod graph;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use graph::{Arm, Seen, compute, gateway, one_process};
use heqis_actors::NodeReport;
use heqis_tls::Authority;
use serde::Deserialize;

const SYMBOLS: u32 = 4;
const PACE_PER_S: u32 = 500;
/// Days of a paced run: three seconds.
const PACED_DAYS: u32 = 375;
const FLOOD_DAYS: u32 = 10_000;
/// Upper limit of the median time that the pipeline adds to the inference.
const BAR_US: f64 = 100.0;

fn free_ports() -> [u16; 2] {
    let held = [0; 2].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// Starts this program once more.
fn again(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs both nodes; returns the times at the gateway and the report of the compute node.
fn two_processes(
    arm: Arm,
    days: u32,
    rate_per_s: Option<f64>,
    journal: &Path,
) -> (Seen, NodeReport) {
    let ports = free_ports();
    let [from, to] = ports.map(|port| port.to_string());
    let path = journal.to_str().unwrap();
    let child = again(&["compute", arm.name(), &from, &to, path]);
    let seen = gateway(arm, days, rate_per_s, ports, journal);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: NodeReport = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report.is_clean(), "{report:?}");
    (seen, report)
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

/// A row of the waterfall; rows sort in pipeline order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// Index of the stage in the pipeline.
    place: usize,
    /// Whether this is the time in the stage; otherwise the time from the previous stage to this one.
    works: bool,
    stage: String,
}

impl Step {
    fn label(&self) -> String {
        if self.works {
            format!("{} works", self.stage)
        } else {
            format!("→ {}", self.stage)
        }
    }
}

/// One paced run: median and 99th percentile of each part, µs.
struct Paced {
    steps: BTreeMap<Step, (f64, f64)>,
    decision: (f64, f64),
    inference: (f64, f64),
    overhead: (f64, f64),
    journal: (f64, f64),
    back: (f64, f64),
}

fn paced(arm: Arm, journal: &Path) -> Paced {
    let (seen, compute) = two_processes(arm, PACED_DAYS, Some(PACE_PER_S.into()), journal);
    let mut name = journal.as_os_str().to_owned();
    name.push(".timings.jsonl");
    let text = std::fs::read_to_string(PathBuf::from(name)).unwrap();
    let mut steps: BTreeMap<Step, Vec<f64>> = BTreeMap::new();
    let [mut decision, mut inference, mut overhead] = [const { Vec::new() }; 3];
    for line in text.lines() {
        let timings: Timings = serde_json::from_str(line).unwrap();
        let (mut left_us, mut inference_us) = (0.0, 0.0);
        // The first stamp is that of the source: both its times are the birth.
        for (place, timing) in timings.stages.into_iter().enumerate().skip(1) {
            let work_us = timing.leave_us - timing.enter_us;
            if ["features", "engine"].contains(&timing.stage.as_str()) {
                inference_us += work_us;
            }
            let way_us = timing.enter_us - left_us;
            for (works, us) in [(false, way_us), (true, work_us)] {
                let stage = timing.stage.clone();
                let step = Step {
                    place,
                    works,
                    stage,
                };
                steps.entry(step).or_default().push(us);
            }
            left_us = timing.leave_us;
        }
        decision.push(left_us);
        inference.push(inference_us);
        overhead.push(left_us - inference_us);
    }
    let journal = compute
        .stages
        .iter()
        .find(|stage| stage.stage == "journal")
        .unwrap();
    Paced {
        steps: steps
            .into_iter()
            .map(|(step, us)| (step, quantiles(us)))
            .collect(),
        decision: quantiles(decision),
        inference: quantiles(inference),
        overhead: quantiles(overhead),
        journal: (journal.age.p50_us, journal.age.p99_us),
        back: quantiles(seen.ages_us),
    }
}

/// The median and the 99th percentile.
fn quantiles(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() * 99 / 100])
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantiles(values.into_iter().collect()).0
}

/// All measurements, by round.
#[derive(Default)]
struct Rounds {
    paced: BTreeMap<Arm, Vec<Paced>>,
    bare: Vec<(f64, f64)>,
    /// Decisions per second in one process and in two.
    speeds: BTreeMap<Arm, Vec<(f64, f64)>>,
}

impl Rounds {
    fn measure(&mut self, journal: &Path) {
        self.bare.push(bare::one_way());
        for arm in Arm::ALL {
            self.paced.entry(arm).or_default().push(paced(arm, journal));
        }
        for arm in Arm::ALL {
            let one = one_process(arm, journal).per_s();
            let two = two_processes(arm, FLOOD_DAYS, None, journal).0.per_s();
            self.speeds.entry(arm).or_default().push((one, two));
        }
    }

    /// The medians over the rounds of one median and one 99th percentile.
    fn figure(&self, arm: Arm, pick: &dyn Fn(&Paced) -> (f64, f64)) -> (f64, f64) {
        let rounds = &self.paced[&arm];
        (
            median(rounds.iter().map(|round| pick(round).0)),
            median(rounds.iter().map(|round| pick(round).1)),
        )
    }

    fn print_row(&self, label: &str, pick: &dyn Fn(&Paced) -> (f64, f64)) {
        let cells = Arm::ALL.map(|arm| {
            let (p50, p99) = self.figure(arm, pick);
            format!("{p50:.1} | {p99:.1}")
        });
        println!("| {label} | {} |", cells.join(" | "));
    }

    fn print(&self) {
        let heads = Arm::ALL.map(|arm| format!("{} p50 | p99", arm.name()));
        println!(
            "| {PACE_PER_S} bars/s, two processes, µs | {} |",
            heads.join(" | ")
        );
        println!("|---{}|", "|---|---".repeat(heads.len()));
        for step in self.paced[&Arm::Null][0].steps.keys() {
            self.print_row(&step.label(), &|round| round.steps[step]);
        }
        self.print_row("source → decision", &|round| round.decision);
        self.print_row("of it inference", &|round| round.inference);
        self.print_row("**pipeline over inference**", &|round| round.overhead);
        self.print_row("source → journal, written", &|round| round.journal);
        self.print_row("source → decision back at the gateway", &|round| {
            round.back
        });
        let bare = median(self.bare.iter().map(|round| round.0));
        let tail = median(self.bare.iter().map(|round| round.1));
        println!(
            "\nbare tokio at the same pace, one way: p50 {bare:.1} µs, p99 {tail:.1} µs; what the pipeline adds until \
             a decision, in units of such messages:"
        );
        for arm in Arm::ALL {
            let (overhead, _) = self.figure(arm, &|round| round.overhead);
            // By round, because the cost of a wake-up changes from minute to minute.
            let rounds = self.paced[&arm].iter().zip(&self.bare);
            let ratio = median(rounds.map(|(round, bare)| round.overhead.0 / bare.0));
            let met = if overhead <= BAR_US { "met" } else { "missed" };
            println!(
                "- {}: {ratio:.1} (bar of {BAR_US:.0} µs: {overhead:.1} µs, {met})",
                arm.name()
            );
        }
        println!("\n| decisions/s at full speed | one process | two processes | two to one |");
        println!("|---|---|---|---|");
        for (arm, rounds) in &self.speeds {
            let one = median(rounds.iter().map(|round| round.0));
            let two = median(rounds.iter().map(|round| round.1));
            let ratio = median(rounds.iter().map(|round| round.1 / round.0));
            println!("| {} | {one:.0} | {two:.0} | {ratio:.2} |", arm.name());
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["compute", arm, from, to, journal] => {
            let arm = Arm::ALL.into_iter().find(|known| known.name() == arm);
            let ports = [from, to].map(|port| port.parse().unwrap());
            let report = compute(arm.unwrap(), ports, Path::new(journal));
            println!("{}", serde_json::to_string(&report).unwrap());
        }
        ["listen", address] => bare::listen(address),
        _ => {
            let at = words.iter().position(|&word| word == "--rounds");
            let rounds = at.map_or(5, |at| words[at + 1].parse().unwrap());
            let folder = tempfile::tempdir().unwrap();
            let journal = folder.path().join("decisions.jsonl");
            let authority = Authority::create(folder.path(), "bench", 1).unwrap();
            for name in ["gateway", "compute"] {
                authority.issue(name, 1).unwrap();
            }
            let mut measured = Rounds::default();
            for _ in 0..rounds {
                measured.measure(&journal);
            }
            measured.print();
        }
    }
}
