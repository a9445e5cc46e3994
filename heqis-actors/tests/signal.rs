//! SIGTERM in mid-stream: a node drains, closes its books, prints its report and leaves with success.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Collect, CollectConfig, Count};
use heqis_actors::{DropCause, EdgeOptions, GraphBuilder, NodeReport, Policy, StageOptions};
use links::{books_of, endless, until};
use rustix::process::{Pid, Signal, kill_process};

/// Drain timeout of the child, milliseconds, by environment; also what makes it the child.
const DRAIN_MS: &str = "HEQIS_TEST_DRAIN_MS";
/// How long its stage takes for a frame, microseconds.
const TAKES_US: &str = "HEQIS_TEST_TAKES_US";
const FLOWING: &str = "frames flow";
const REPORT: &str = "report ";

fn number(variable: &str) -> u64 {
    std::env::var(variable).unwrap().parse().unwrap()
}

#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn child() {
    let collect = CollectConfig {
        takes: Duration::from_micros(number(TAKES_US)),
        ..CollectConfig::default()
    };
    let seen = collect.seen.clone();
    std::thread::spawn(move || {
        until("frames", || seen.lock().unwrap().len() >= 20);
        say(FLOWING);
    });
    let own = StageOptions {
        arbiter: Some("collect".into()),
        ..StageOptions::default()
    };
    let report = GraphBuilder::new("signal")
        .source::<Count>("count", endless(0), StageOptions::default())
        .stage::<Collect>("collect", collect, own)
        .edge(
            "count",
            "collect",
            EdgeOptions {
                policy: Policy::Block,
                capacity: 500,
                ..EdgeOptions::default()
            },
        )
        .stop_on_signals()
        .run(Duration::from_millis(number(DRAIN_MS)))
        .unwrap();
    say(&format!(
        "{REPORT}{}",
        serde_json::to_string(&report).unwrap()
    ));
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs the child until frames flow, sends it SIGTERM, and returns what it reports before it leaves.
fn report_after_sigterm(drain_ms: u64, takes_us: u64) -> NodeReport {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .envs([
            (DRAIN_MS, drain_ms.to_string()),
            (TAKES_US, takes_us.to_string()),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let flowing = lines.by_ref().any(|line| line == FLOWING);
    assert!(flowing, "the child ended before anything flowed");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let report =
        lines.find_map(|line| Some(serde_json::from_str(line.strip_prefix(REPORT)?).unwrap()));
    assert!(
        child.wait().unwrap().success(),
        "a drained node leaves with success"
    );
    report.expect("the report is printed")
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
    assert_eq!((lost.edge.as_str(), lost.cause), ("count->collect", DropCause::Shutdown));
    assert!(lost.frames > 300, "{lost:?}");
}
