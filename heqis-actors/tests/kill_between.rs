//! Three processes under `kill -9` and SIGTERM at random moments: windows on the node between two others, which knows neither
//! the source nor the commit log, stay unshifted, and windows of them on the last node too. `cargo test -p heqis-actors --test
//! kill_between -- --ignored two_hundred` kills 200 times.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Number;
use heqis_actors::{
    BridgeOptions, Clock, EdgeOptions, Frame, GraphBuilder, Next, PayloadType, Window, WindowSpan,
    read_commit_log,
};
use links::{Dice, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};

/// What makes this program a node: its index, the windows of windows, the number of items, and the folder of the run.
const NODE: &str = "HEQIS_KILL_BETWEEN";
const DRAIN: Duration = Duration::from_millis(200);

fn sum(_: &WindowSpan, numbers: &[Frame<Number>]) -> Number {
    let value = numbers.iter().map(|number| number.value).sum();
    Number { value, group: 0 }
}

fn graph(node: usize, again: usize, count: u64, folder: &Path) -> GraphBuilder {
    let (payload, edge) = (PayloadType::of::<Number>(), EdgeOptions::default());
    let bridge = |name: &str| {
        let endpoint = format!("ipc://{}", folder.join(name).display());
        BridgeOptions::new(endpoint.parse().unwrap())
    };
    let (first, second) = (("numbers", "sum"), ("sum", "again"));
    let graph = GraphBuilder::new("between").node(["front", "between", "back"][node]);
    match node {
        0 => {
            let mut last = 0;
            let mut due_ns = 0;
            let next = move || {
                let now_ns = Clock::real().now_ns();
                if last == count {
                    return Ok(Next::End);
                }
                if now_ns < due_ns {
                    return Ok(Next::At(due_ns));
                }
                last += 1;
                due_ns = now_ns + 100_000;
                Ok(Next::Item(Number {
                    value: last,
                    group: 0,
                }))
            };
            graph
                .source_fn("numbers", next)
                .stream("numbers", count)
                .remote("sum")
                .edge_out(0, first, payload, edge, bridge("first"))
        }
        1 => graph
            .remote("numbers")
            .window("sum", Window::tumbling(10), sum)
            .remote("again")
            .edge_in(0, first, payload, edge, bridge("first"))
            .edge_out(1, second, payload, edge, bridge("second")),
        _ => graph
            .remote("sum")
            .window("again", Window::tumbling(again), sum)
            .commit_log("log", folder.join("log"), |sum: &Frame<Number>| {
                sum.value.to_string()
            })
            .edge_in(1, second, payload, edge, bridge("second"))
            .edge("again", "log", edge),
    }
}

fn start(node: usize, again: usize, count: u64, folder: &Path) -> Child {
    let path = folder.join("errors.txt");
    let errors = OpenOptions::new().create(true).append(true).open(path);
    Command::new(std::env::current_exe().unwrap())
        .args(["node", "--exact", "--ignored", "--nocapture"])
        .env(NODE, format!("{node} {again} {count} {}", folder.display()))
        .stdout(Stdio::null())
        .stderr(errors.unwrap())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the other tests of this file run it as a process of its own"]
fn node() {
    let text = std::env::var(NODE).unwrap();
    let parts: Vec<&str> = text.splitn(4, ' ').collect();
    let number = |at: usize| parts[at].parse::<usize>().unwrap();
    let graph = graph(
        number(0),
        number(1),
        number(2) as u64,
        &PathBuf::from(parts[3]),
    );
    let report = graph.stop_on_signals().run(DRAIN).unwrap();
    assert!(
        report.edges.iter().all(|edge| edge.overlapping == 0),
        "{report:?}"
    );
    // A node that has left is started again.
    std::process::exit(i32::from(report.left));
}

/// Processes that end with the test.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ended(child: &mut Child) -> bool {
    child
        .try_wait()
        .unwrap()
        .is_some_and(|status| status.success())
}

fn run(again: usize, kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let size = 10 * again as u64;
    let count = (1_000 + 700 * kills).next_multiple_of(size);
    let begin = |node: usize| start(node, again, count, folder);
    let failure = |what: String| {
        let errors = std::fs::read_to_string(folder.join("errors.txt")).unwrap_or_default();
        format!("windows of {size}, seed {seed}: {what}\n{errors}")
    };
    let mut dice = Dice(seed);
    let Running(running) = &mut Running((0..3).map(begin).collect());
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.within(30..200)));
        if running.iter_mut().any(ended) {
            break;
        }
        let which = dice.draw(3) as usize;
        let signal = match dice.per_mille(400) {
            true => Signal::TERM,
            false => Signal::KILL,
        };
        kill_process(Pid::from_child(&running[which]), signal).unwrap();
        let status = running[which].wait().unwrap();
        assert!(
            status.code().is_none_or(|code| code < 2),
            "{}",
            failure(status.to_string())
        );
        running[which] = begin(which);
    }
    // A node that was killed in its last moments needs the others once more.
    let (begun, mut alone) = (Instant::now(), Instant::now());
    loop {
        let over: Vec<bool> = running.iter_mut().map(ended).collect();
        if !over.contains(&false) {
            break;
        }
        if !over.contains(&true) {
            alone = Instant::now();
        }
        if alone.elapsed() > Duration::from_secs(3) {
            for at in (0..3).filter(|at| over[*at]) {
                running[at] = begin(at);
            }
            alone = Instant::now();
        }
        assert!(
            begun.elapsed() < PATIENCE * 3,
            "{}",
            failure("does not end".into())
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let found = read_commit_log(folder.join("log")).unwrap();
    let windows = (1..=count / size).map(|window| {
        let last = window * size;
        (last - size + 1..=last).sum::<u64>().to_string()
    });
    assert!(
        found == windows.collect::<Vec<_>>(),
        "{}",
        failure(format!("{found:?}"))
    );
}

fn run_both(kills: u64, seed: u64) {
    std::thread::scope(|threads| {
        for again in [1, 3] {
            threads.spawn(move || run(again, kills, seed + again as u64));
        }
    });
}

#[test]
fn windows_between_two_nodes_are_unshifted_when_any_of_them_is_killed_a_few_times() {
    run_both(5, 40);
}

#[test]
#[ignore = "takes a minute: 200 kills"]
fn two_hundred_kills() {
    let seed = std::env::var("HEQIS_KILL_SEED").map_or(0, |seed| seed.parse().unwrap());
    run_both(100, seed);
}
