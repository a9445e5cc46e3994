//! A commit log and what begins again: on one node, over a bridge, and over three nodes of which the first two are killed.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Number;
use heqis_actors::sp::Inproc;
use heqis_actors::testing::GraphTest;
use heqis_actors::{
    BridgeOptions, BuildContext, Clock, EdgeOptions, Emitter, FaultKind, Frame, GraphBuilder, Next,
    NodeReport, Nothing, Origins, PayloadType, RecordingOptions, Snapshot, Stage, StageError,
    StateOptions, Window, WindowSpan, channel, read_commit_log,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(10);

fn number(value: u64) -> Number {
    Number { value, group: 0 }
}

fn sum(_: &WindowSpan, numbers: &[Frame<Number>]) -> Number {
    number(numbers.iter().map(|number| number.value).sum())
}

/// A commit log that recognises nothing itself: each frame becomes a line.
struct Log(PathBuf, BuildContext);

#[derive(Serialize, Deserialize)]
struct Record(Origins, u64);

fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn sums(path: &Path) -> Vec<u64> {
    records(path).iter().map(|record| record.1).collect()
}

impl Stage for Log {
    type Config = PathBuf;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "lines";
    const COMMIT_LOG: bool = true;

    fn build(path: &PathBuf, cx: &BuildContext) -> Result<Self, StageError> {
        for record in records(path) {
            cx.committed().insert_origins(&record.0);
        }
        Ok(Self(path.clone(), cx.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        use std::io::Write as _;
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.0);
        let record = Record(frame.head().origins(), frame.value);
        let line = serde_json::to_string(&record).unwrap() + "\n";
        file.unwrap().write_all(line.as_bytes()).unwrap();
        self.1.committed().insert_head(frame.head());
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ends(graph: &GraphTest) -> NodeReport {
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        threads.spawn(move || drop(ended.send(graph.wait_blocking())));
        end.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let report = graph.report();
            graph.stop_handle().abandon();
            panic!("it does not end: {report:?}")
        })
    })
}

/// A source of the numbers up to `count`, which waits at `limit`.
fn numbers(graph: GraphBuilder, count: u64, limit: &Arc<AtomicU64>) -> GraphBuilder {
    let (mut last, limit) = (0, limit.clone());
    let next = move || {
        Ok(match last {
            _ if last == count => Next::End,
            _ if last >= limit.load(Ordering::Relaxed) => {
                Next::At(Clock::real().now_ns() + 1_000_000)
            }
            _ => {
                last += 1;
                Next::Item(number(last))
            }
        })
    };
    graph
        .source_fn("numbers", next)
        .stream("numbers", "numbers")
}

fn start(graph: GraphBuilder) -> GraphTest {
    GraphTest::at(&Clock::real(), graph).unwrap()
}

fn expected(count: u64, size: usize) -> Vec<u64> {
    let all: Vec<u64> = (1..=count).collect();
    all.chunks(size).map(|window| window.iter().sum()).collect()
}

/// Windows of `size` on one node with their source and their log.
fn on_one_node(log: &Path, size: usize, limit: &Arc<AtomicU64>) -> GraphTest {
    let graph = numbers(GraphBuilder::new("sums"), 60, limit)
        .window("sum", Window::tumbling(size), sum)
        .stage::<Log>("log", log.to_owned(), Default::default())
        .chain(&["numbers", "sum", "log"]);
    start(graph)
}

#[test]
fn a_log_on_the_node_of_its_source_records_nothing_twice_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let limit = Arc::new(AtomicU64::new(35));
    let killed = on_one_node(&log, 10, &limit);
    until("three windows", || sums(&log).len() == 3);
    killed.kill();
    limit.store(60, Ordering::Relaxed);
    let report = ends(&on_one_node(&log, 10, &limit));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.edges[1].duplicate, 3);
    assert_eq!(sums(&log), expected(60, 10));
}

#[test]
fn a_log_on_the_node_of_a_recorded_channel_with_a_state_records_nothing_twice_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [log, state, recording] =
        ["log", "state", "recording"].map(|name| folder.path().join(name));
    let graph = || {
        let (sender, source) = channel(64);
        let graph = GraphBuilder::new("sums")
            .input("numbers", source)
            .record("numbers", RecordingOptions::new(recording.clone()))
            .window("sum", Window::tumbling(10), sum)
            .stage::<Log>("log", log.clone(), Default::default())
            .chain(&["numbers", "sum", "log"])
            .state(StateOptions::new(state.clone()).every(PATIENCE));
        (sender, start(graph))
    };
    let (sender, killed) = graph();
    for (first, last, records) in [(1, 15, 1), (16, 35, 3)] {
        for value in first..=last {
            sender.send(number(value)).unwrap();
        }
        until("windows", || sums(&log).len() == records);
        if last == 15 {
            killed.save().unwrap();
        }
    }
    killed.kill();
    let (sender, graph) = graph();
    for value in 36..=60 {
        sender.send(number(value)).unwrap();
    }
    drop(sender);
    let report = ends(&graph);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(sums(&log), expected(60, 10));
}

#[test]
fn a_record_of_items_of_which_some_are_recorded_is_counted_and_no_clean_run() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let limit = Arc::new(AtomicU64::new(35));
    let killed = on_one_node(&log, 7, &limit);
    until("five windows", || sums(&log).len() == 5);
    killed.kill();
    limit.store(60, Ordering::Relaxed);
    // Windows of another size: 31 to 35 are recorded, 36 to 40 are not.
    let graph = on_one_node(&log, 10, &limit);
    let report = ends(&graph);
    assert_eq!(
        (report.edges[1].duplicate, report.edges[1].overlapping),
        (3, 1)
    );
    assert!(!report.is_clean() && report.lost().is_empty(), "{report:?}");
    let sum = sums(&log).iter().sum::<u64>();
    assert_eq!(sum, 60 * 61 / 2 + (31..=35).sum::<u64>());
}

#[test]
fn every_record_of_one_item_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let limit = Arc::new(AtomicU64::new(60));
    let twice = |frame: &Frame<Number>, out: &mut Emitter<'_, Number>| {
        out.emit(frame.head(), number(frame.value));
        out.emit(frame.head(), number(frame.value));
        Ok(())
    };
    let graph = || {
        numbers(GraphBuilder::new("twice"), 60, &limit)
            .stage_fn("twice", twice)
            .chain(&["numbers", "twice", "log"])
    };
    let own = graph().stage::<Log>("log", log.clone(), Default::default());
    assert!(ends(&start(own)).is_clean());
    assert_eq!(sums(&log).iter().sum::<u64>(), 60 * 61);

    let shipped = folder.path().join("shipped");
    let line = |frame: &Frame<Number>| frame.value.to_string();
    let report = ends(&start(graph().commit_log("log", shipped.clone(), line)));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(read_commit_log(&shipped).unwrap().len(), 120);
}

/// A node of a graph of which others have the rest.
fn node(name: &str, hub: &Inproc) -> GraphBuilder {
    GraphBuilder::new("sums").node(name).inproc(hub.clone())
}

fn bridge(name: &str) -> BridgeOptions {
    BridgeOptions::new(format!("inproc://{name}").parse().unwrap())
}

#[test]
fn two_nodes_end_that_begin_again_after_everything_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let limit = Arc::new(AtomicU64::new(60));
    for _ in 0..10 {
        let hub = Inproc::new();
        let (ends_of, payload) = (("numbers", "log"), PayloadType::of::<Number>());
        let edge = EdgeOptions::default();
        let front = numbers(node("front", &hub), 60, &limit)
            .remote("log")
            .edge_out(0, ends_of, payload, edge, bridge("a"));
        let back = node("back", &hub)
            .remote("numbers")
            .stage::<Log>("log", log.clone(), Default::default())
            .edge_in(0, ends_of, payload, edge, bridge("a"));
        let graphs = [start(front), start(back)];
        for graph in &graphs {
            let report = ends(graph);
            assert!(report.is_clean() && !report.left, "{report:?}");
        }
    }
    assert_eq!(sums(&log), (1..=60).collect::<Vec<_>>());
}

/// Three nodes with windows on the second one, and windows of them on the third where `again` says how many.
struct Three {
    hub: Inproc,
    log: PathBuf,
    limit: Arc<AtomicU64>,
    again: usize,
}

impl Three {
    fn front(&self) -> GraphTest {
        let graph = numbers(node("front", &self.hub), 200, &self.limit)
            .remote("sum")
            .remote("again")
            .remote("log");
        let (ends, payload) = (("numbers", "sum"), PayloadType::of::<Number>());
        start(graph.edge_out(0, ends, payload, EdgeOptions::default(), bridge("a")))
    }

    fn middle(&self) -> GraphTest {
        let (payload, edge) = (PayloadType::of::<Number>(), EdgeOptions::default());
        let graph = node("middle", &self.hub)
            .remote("numbers")
            .window("sum", Window::tumbling(10), sum)
            .remote("again")
            .remote("log")
            .edge_in(0, ("numbers", "sum"), payload, edge, bridge("a"))
            .edge_out(1, ("sum", "again"), payload, edge, bridge("b"));
        start(graph)
    }

    fn back(&self) -> GraphTest {
        let (payload, edge) = (PayloadType::of::<Number>(), EdgeOptions::default());
        let graph = node("back", &self.hub)
            .remote("numbers")
            .remote("sum")
            .window("again", Window::tumbling(self.again), sum)
            .stage::<Log>("log", self.log.clone(), Default::default())
            .edge_in(1, ("sum", "again"), payload, edge, bridge("b"))
            .edge("again", "log", edge);
        start(graph)
    }
}

#[test]
fn windows_on_a_middle_node_are_unshifted_after_restarts_of_the_nodes_in_turn() {
    for (again, cut) in [(1, 57), (3, 107)] {
        let folder = tempfile::tempdir().unwrap();
        let nodes = Three {
            hub: Inproc::new(),
            log: folder.path().join("log"),
            limit: Arc::new(AtomicU64::new(cut)),
            again,
        };
        let size = 10 * again;
        let whole = cut - cut % size as u64;
        let back = nodes.back();
        let (front, middle) = (nodes.front(), nodes.middle());
        until("acknowledgements", || {
            front.report().edges[0].delivered == whole
        });
        // The middle node forgets what was recorded, and the front node what was acknowledged.
        middle.kill();
        let middle = nodes.middle();
        let taken = |graph: &GraphTest| {
            let report = graph.report();
            (report.edges[0].delivered, report.edges[1].sent)
        };
        until("the rest again", || taken(&middle).0 == cut - whole);
        front.kill();
        nodes.limit.store(cut + 3, Ordering::Relaxed);
        let front = nodes.front();
        until("more", || taken(&middle).0 == cut + 3 - whole);
        middle.kill();
        let middle = nodes.middle();
        until("the rest once more", || taken(&middle).0 >= 3);
        nodes.limit.store(200, Ordering::Relaxed);
        for graph in [&front, &middle, &back] {
            let report = ends(graph);
            assert!(report.is_clean() && !report.left, "{report:?}");
        }
        assert_eq!(sums(&nodes.log), expected(200, size));
    }
}

#[test]
fn items_that_come_to_a_log_by_two_ways_are_recorded_twice_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (hub, limit) = (Inproc::new(), Arc::new(AtomicU64::new(60)));
    let (payload, edge) = (PayloadType::of::<Number>(), EdgeOptions::default());
    // No node sees both ways.
    let front = numbers(node("front", &hub), 60, &limit)
        .remote("left")
        .remote("right")
        .remote("log")
        .edge_out(0, ("numbers", "left"), payload, edge, bridge("0"))
        .edge_out(1, ("numbers", "right"), payload, edge, bridge("1"));
    let middle = |name: &str, own: u32, other: &str| {
        node(name, &hub)
            .remote("numbers")
            .map(name, |frame: &Frame<Number>| number(frame.value))
            .remote(other)
            .remote("log")
            .edge_in(
                own,
                ("numbers", name),
                payload,
                edge,
                bridge(&own.to_string()),
            )
            .edge_out(
                own + 2,
                (name, "log"),
                payload,
                edge,
                bridge(&(own + 2).to_string()),
            )
    };
    let back = node("back", &hub)
        .remote("numbers")
        .remote("left")
        .remote("right")
        .stage::<Log>("log", log.clone(), Default::default())
        .edge_in(2, ("left", "log"), payload, edge, bridge("2"))
        .edge_in(3, ("right", "log"), payload, edge, bridge("3"));
    let (left, right) = (middle("left", 0, "right"), middle("right", 1, "left"));
    let graphs = [front, left, right, back].map(start);
    let reports = graphs.each_ref().map(ends);
    for report in &reports[..3] {
        assert!(report.is_clean() && !report.left, "{report:?}");
    }
    let edges = &reports[3].edges;
    assert_eq!(edges.iter().map(|edge| edge.duplicate).sum::<u64>(), 0);
    let counted = edges.iter().any(|edge| edge.overlapping > 0);
    assert!(counted && !reports[3].is_clean(), "{:?}", reports[3]);
    assert_eq!(sums(&log).iter().sum::<u64>(), 60 * 61);
}

#[test]
fn windows_in_the_order_of_arrival_on_a_middle_node_get_a_warning() {
    let (payload, edge) = (PayloadType::of::<Number>(), EdgeOptions::default());
    let limit = Arc::new(AtomicU64::new(60));
    let graph = |sources: usize| {
        let hub = Inproc::new();
        let graph = numbers(node("middle", &hub), 60, &limit)
            .remote("others")
            .window("sum", Window::tumbling(10), sum)
            .remote("log")
            .edge("numbers", "sum", edge)
            .edge_out(1, ("sum", "log"), payload, edge, bridge("b"));
        match sources {
            1 => graph,
            _ => graph.edge_in(0, ("others", "sum"), payload, edge, bridge("a")),
        }
    };
    let of_order = |graph: GraphBuilder| {
        let faults = graph.check();
        let found = faults
            .iter()
            .find(|fault| fault.kind == FaultKind::OrderNotRepeatable);
        found.map(ToString::to_string)
    };
    assert_eq!(of_order(graph(1)), None);
    assert_eq!(of_order(graph(2).state(StateOptions::new("state"))), None);
    let warning = of_order(graph(2)).unwrap();
    let says = "the windows of `sum` follow the order in which frames of `numbers` and `others->sum` arrive";
    assert!(warning.contains(says), "{warning}");
}
