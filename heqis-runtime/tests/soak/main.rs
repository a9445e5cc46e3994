//! The soak: a live pipeline under ten times a real load, and what it takes of the machine while time goes by.
//!
//! Bars of some hundred symbols come over TCP, are recorded, and are decided on another node. After a warm-up, in which the
//! windows of all symbols fill, resident memory, descriptors and threads of both nodes have to stay where they are.
//!
//! `HEQIS_SOAK_MINUTES` says for how long, `HEQIS_RUNTIME` names another program; `./chaos soak` sets the first.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub
)]

mod feed;
mod samples;
#[path = "../stand/mod.rs"]
mod stand;

use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use feed::Feed;
use samples::{Sample, verdict};
use stand::{Stand, edge, event, get, root, wait_until};

/// Two hours of bars at ten times the load.
const MINUTES: f64 = 12.0;
/// Ten times the 5,000 bars of a minute that the whole A-share market gives a node.
const BARS_PER_S: f64 = 10.0 * 5_000.0 / 60.0;
/// Bars of a symbol before its first decision.
const WARM_UP: f64 = 297.0;
/// Least time in which the pages of both nodes have all the bars and decisions that they keep by the middle of the run; a
/// shorter run goes without pages.
const WITH_PAGES: Duration = Duration::from_secs(8 * 60);
/// Most time between two samples.
const EVERY: Duration = Duration::from_secs(10);

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn live() -> Stand {
    let stand = Stand::live();
    let feedback = stand.folder.path().join("feedback.csv");
    stand
        .set("nodes.gateway.state.every=\"5s\"")
        .set("stages.journal.params.segment_bytes=4194304")
        .set("stages.feedback.params.log=false")
        .set(&format!(
            "stages.feedback.params.path=\"{}\"",
            feedback.display()
        ))
}

fn main() -> ExitCode {
    let minutes: f64 =
        std::env::var("HEQIS_SOAK_MINUTES").map_or(MINUTES, |text| text.parse().unwrap());
    let run = Duration::from_secs_f64(minutes * 60.0);
    // As few symbols as needed so that all windows are full after a quarter of the time.
    let symbols = (run.as_secs_f64() / 4.0 * BARS_PER_S / WARM_UP).clamp(1.0, 900.0) as u32;
    let stand = match run < WITH_PAGES {
        true => live().without_pages(),
        false => live(),
    };
    let program = std::env::var("HEQIS_RUNTIME")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_heqis-runtime").to_owned());
    let program = root().join(program).display().to_string();
    let log = |node: &str| stand.folder.path().join(format!("{node}.log"));
    let [mut gateway, mut compute] = ["gateway", "compute"].map(|node| {
        let mut command = stand.command(&[&program], &["--node", node]);
        command
            .stdout(
                std::fs::File::create(stand.folder.path().join(format!("{node}.json"))).unwrap(),
            )
            .stderr(std::fs::File::create(log(node)).unwrap());
        Process(command.spawn().unwrap())
    });
    let pids = [gateway.0.id(), compute.0.id()];
    wait_until("both nodes are ready", || {
        let is_ready = |port| get(port, "/readyz").is_some_and(|(status, _)| status == 200);
        is_ready(stand.ports[0]) && is_ready(stand.ports[1])
    });
    println!("{minutes} minutes, {symbols} symbols, {BARS_PER_S:.0} bars a second");
    println!("{}", Sample::HEADER);
    let feed = Feed::start(*stand.ports.last().unwrap(), symbols, BARS_PER_S);
    let begun = Instant::now();
    let every = EVERY.min(run / 40);
    let mut samples = Vec::new();
    while begun.elapsed() < run {
        std::thread::sleep(every);
        let sample = Sample::take(begun.elapsed(), pids, stand.folder.path(), feed.sent());
        println!("{sample}");
        samples.push(sample);
    }
    let sent = feed.sent();
    drop(feed);
    let mut faults = verdict(&samples);
    for (name, child) in [("gateway", &mut gateway), ("compute", &mut compute)] {
        stand::signal_process(child.0.id(), "TERM");
        let status = child.0.wait().unwrap();
        let printed = std::fs::read(stand.folder.path().join(format!("{name}.json"))).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&printed).unwrap_or_default();
        if !status.success() || summary["faults"] != serde_json::json!([]) {
            faults.push(format!("{name} ended with {status}: {}", summary["faults"]));
        }
        match name {
            "gateway" => {
                let out = edge(&summary, "ring->engine", "sender");
                println!("gateway: {out}");
            }
            _ => {
                let decisions = event(&summary, "journal", "written");
                println!("{sent} bars sent, {decisions} decisions written");
                if decisions == 0 {
                    faults.push("nothing was decided".into());
                }
            }
        }
    }
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    match faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
