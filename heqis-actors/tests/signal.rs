//! SIGTERM in mid-stream: a node that asked for it drains, closes its books, prints its report and leaves with success. A
//! signal does before and after what the program has set.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use common::{Collect, CollectConfig, Count};
use heqis_actors::{DropCause, EdgeOptions, GraphBuilder, NodeReport, StageOptions};
use links::{books_of, endless, until};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Drain timeout of the child, milliseconds, by environment; also what makes it the child.
const DRAIN_MS: &str = "HEQIS_TEST_DRAIN_MS";
/// How long its stage takes for a frame, microseconds.
const TAKES_US: &str = "HEQIS_TEST_TAKES_US";
const FLOWING: &str = "frames flow";
const REPORT: &str = "report ";

fn number(variable: &str) -> u64 {
    std::env::var(variable).unwrap().parse().unwrap()
}

/// What the child does when its graph has ended: leaves, or reports again and waits for another signal.
const THEN: &str = "HEQIS_TEST_THEN";

fn graph() -> GraphBuilder {
    let collect = CollectConfig {
        takes: Duration::from_micros(number(TAKES_US)),
        ..CollectConfig::default()
    };
    let seen = collect.seen.clone();
    std::thread::spawn(move || {
        until("frames", || seen.lock().unwrap().len() >= 20);
        say(FLOWING);
    });
    let own = StageOptions::new().arbiter("collect");
    let edge = EdgeOptions::new().capacity(500);
    GraphBuilder::new("signal")
        .source::<Count>("count", endless(0), StageOptions::default())
        .stage::<Collect>("collect", collect, own)
        .edge("count", "collect", edge)
}

#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn child() {
    let drain = Duration::from_millis(number(DRAIN_MS));
    match std::env::var(THEN).unwrap().as_str() {
        "leaves" => report(&graph().stop_on_signals().run(drain).unwrap()),
        "waits" => {
            // The second graph gets the signals as the first did.
            report(&graph().stop_on_signals().run(drain).unwrap());
            report(&graph().stop_on_signals().run(drain).unwrap());
            wait();
        }
        "does not ask" => {
            let graph = graph().spawn().unwrap();
            graph.wait_blocking();
        }
        "handles it" => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let own = || signal(SignalKind::terminate()).unwrap();
                let mut before = own();
                let graph = graph().stop_on_signals().start().await.unwrap();
                report(&graph.wait().await);
                // The graph took that signal. The next one is the program's again.
                say(FLOWING);
                before.recv().await;
                report(&graph.report());
            });
        }
        other => panic!("{other}"),
    }
}

fn report(report: &NodeReport) {
    say(&format!(
        "{REPORT}{}",
        serde_json::to_string(report).unwrap()
    ));
}

/// Waits for a signal that ends the process.
fn wait() -> ! {
    say(FLOWING);
    loop {
        std::thread::park();
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// A child, and the lines that it writes.
struct Watched(Child, Box<dyn Iterator<Item = String>>);

impl Watched {
    fn start(then: &str, drain_ms: u64, takes_us: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored", "--nocapture"])
            .envs([
                (DRAIN_MS, drain_ms.to_string()),
                (TAKES_US, takes_us.to_string()),
                (THEN, then.into()),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self(child, Box::new(lines.map(Result::unwrap)))
    }

    /// Sends SIGTERM as soon as the child says that it is ready for it.
    fn terminate(&mut self) {
        let flowing = self.1.by_ref().any(|line| line == FLOWING);
        assert!(flowing, "the child ended before anything flowed");
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
    }

    fn report(&mut self) -> NodeReport {
        self.1
            .find_map(|line| Some(serde_json::from_str(line.strip_prefix(REPORT)?).unwrap()))
            .expect("the report is printed")
    }

    fn ended(mut self) -> ExitStatus {
        self.1.by_ref().for_each(drop);
        self.0.wait().unwrap()
    }
}

/// Runs the child until frames flow, sends it SIGTERM, and returns what it reports before it leaves.
fn report_after_sigterm(drain_ms: u64, takes_us: u64) -> NodeReport {
    let mut child = Watched::start("leaves", drain_ms, takes_us);
    child.terminate();
    let report = child.report();
    assert!(
        child.ended().success(),
        "a drained node leaves with success"
    );
    report
}

#[test]
fn a_node_that_is_terminated_finishes_frames_in_flight() {
    let report = report_after_sigterm(30_000, 100);
    assert!(report.is_clean(), "{report:?}");
    let books = books_of(&report, "count->collect");
    assert!(
        books.delivered >= 20 && books.delivered == books.sent,
        "{books:?}"
    );
}

#[test]
fn a_node_that_cannot_finish_in_time_books_the_rest_as_dropped_for_shutdown() {
    // Five hundred frames of 20 ms each are far from done after 10 ms.
    let report = report_after_sigterm(10, 20_000);
    assert!(report.books_close() && !report.is_clean(), "{report:?}");
    let [lost] = &report.lost()[..] else {
        panic!("{report:?}");
    };
    assert_eq!(
        (lost.edge.as_str(), lost.cause),
        ("count->collect", DropCause::Shutdown)
    );
    assert!(lost.frames > 300, "{lost:?}");
}

#[test]
fn a_signal_ends_the_process_again_once_the_graphs_that_asked_for_it_have_ended() {
    let mut child = Watched::start("waits", 30_000, 100);
    for _ in 0..2 {
        child.terminate();
        let report = child.report();
        assert!(report.left && report.is_clean(), "{report:?}");
    }
    child.terminate();
    assert_eq!(child.ended().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_graph_that_did_not_ask_leaves_signals_alone() {
    let mut child = Watched::start("does not ask", 30_000, 100);
    child.terminate();
    assert_eq!(child.ended().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_program_that_handles_signals_gets_them_back() {
    let mut child = Watched::start("handles it", 30_000, 100);
    child.terminate();
    assert!(child.report().is_clean());
    child.terminate();
    child.report();
    assert!(child.ended().success());
}
