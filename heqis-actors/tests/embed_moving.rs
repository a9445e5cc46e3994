//! The state of one key moves from a running graph to another one: nothing is lost and nothing counts twice.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod merging;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::Number;
use heqis_actors::testing::GraphTest;
use heqis_actors::{
    AnyFrame, Clock, DropCause, EdgeReport, Emitter, Frame, GraphBuilder, Key, MoveError, MovedKey,
    Next, NodeReport, Payload, Receiver, Sender, Snapshot, Stage, StageError, StageOptions,
    StateOptions, Window, WindowSpan, channel, channel_out,
};
use merging::{Book, Log, LogConfig};

const MS: i64 = 1_000_000;

fn sum(span: &WindowSpan, frames: &[Frame<Number>]) -> Number {
    Number {
        value: frames.iter().map(|frame| frame.value).sum(),
        group: u64::try_from(span.key).unwrap(),
    }
}

/// A graph of windows, with both ends in the hands of the test.
struct Node {
    sender: Option<Sender<Number>>,
    sums: Receiver<Number>,
    graph: GraphTest,
}

impl Node {
    fn new(window: &Window, clock: &Clock) -> Self {
        let (sender, source) = channel(64);
        let (sink, sums) = channel_out();
        let graph = GraphBuilder::new("moving")
            .input::<Number>("numbers", source)
            .window("window", window.clone(), sum)
            .output("sums", sink)
            .chain(&["numbers", "window", "sums"]);
        Self {
            sender: Some(sender),
            sums,
            graph: GraphTest::at(clock, graph).unwrap(),
        }
    }

    fn send(&self, value: u64, group: u64) {
        let sender = self.sender.as_ref().unwrap();
        sender.send(Number { value, group }).unwrap();
    }

    /// Ends the stream; returns the bytes of every sum, and the edge in front of the windows.
    fn end(mut self) -> (Vec<(u64, Vec<u8>)>, EdgeReport) {
        self.sender = None;
        let sums = self.sums.into_iter();
        let sums = sums.map(|sum| {
            let mut bytes = Vec::new();
            sum.encode(&mut bytes).unwrap();
            (sum.group, bytes)
        });
        let sums = sums.collect();
        let report = self.graph.wait_blocking();
        assert!(report.books_close());
        let mut edges = report.edges.into_iter();
        let edge = edges.find(|edge| edge.edge == "numbers->window").unwrap();
        (sums, edge)
    }
}

/// What the windows of each of four keys give while key 2 moves back and forth between two graphs, or none does.
fn sums(window: &Window, moves: bool) -> Vec<(u64, Vec<u8>)> {
    let clock = Clock::virtual_at(0);
    let nodes = [(); 2].map(|()| Node::new(window, &clock));
    let mut owner = 0;
    for value in 1..=160 {
        nodes.iter().for_each(|node| node.graph.settle());
        clock.advance_to(i64::try_from(value).unwrap() * MS);
        let group = value % 4;
        let node = if group == 2 { owner } else { group % 2 };
        nodes[usize::try_from(node).unwrap()].send(value, group);
        if moves && value % 23 == 0 {
            let [from, to] = [owner, 1 - owner].map(|node| usize::try_from(node).unwrap());
            let moved = nodes[from].graph.take_key_blocking(&["window"], 2).unwrap();
            let moved = MovedKey::from_bytes(&moved.to_bytes().unwrap()).unwrap();
            nodes[to].graph.put_key_blocking(&moved).unwrap();
            owner = 1 - owner;
        }
    }
    let mut all: Vec<_> = nodes.into_iter().flat_map(|node| node.end().0).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_sums_of_keys_that_move_are_those_of_keys_that_stay() {
    let time = Duration::from_millis;
    for window in [
        Window::tumbling(10),
        Window::sliding(10, 3),
        Window::tumbling(time(30)),
        Window::sliding(time(30), time(10)),
        Window::session(time(5)),
    ] {
        let window = window.per_key().lateness(Duration::ZERO);
        let moved = sums(&window, true);
        assert!(!moved.is_empty());
        assert!(moved == sums(&window, false), "{window:?}");
    }
}

#[test]
fn a_key_that_has_left_does_not_start_afresh_and_can_come_back() {
    let clock = Clock::virtual_at(0);
    let window = Window::tumbling(3).per_key();
    let [a, b] = [(); 2].map(|()| Node::new(&window, &clock));
    a.send(1, 7);
    a.send(2, 7);
    let moved = a.graph.take_key_blocking(&["window"], 7).unwrap();
    // A program that was killed takes it once more.
    assert_eq!(a.graph.take_key_blocking(&["window"], 7).unwrap(), moved);
    a.send(4, 7);
    b.send(100, 7);
    // The other node has begun with the key by itself.
    b.graph.settle();
    let error = b.graph.put_key_blocking(&moved).unwrap_err();
    let has_windows = StageError::config("the key has open windows here");
    assert!(
        matches!(&error, MoveError::Stage(stage, error)
            if stage == "window" && error.to_string() == has_windows.to_string()),
        "{error}"
    );
    a.graph.put_key_blocking(&moved).unwrap();
    a.graph.put_key_blocking(&moved).unwrap();
    a.send(8, 7);
    let (sums, edge) = a.end();
    assert_eq!(edge.dropped[&DropCause::Refused], 1);
    let mut bytes = Vec::new();
    let expected = Number {
        value: 11,
        group: 7,
    };
    expected.encode(&mut bytes).unwrap();
    assert_eq!(sums, [(7, bytes)]);
    b.end();
}

#[test]
fn a_key_can_be_taken_at_any_time_from_the_start() {
    // The pause may come before the source's first turn.
    for _ in 0..200 {
        let node = Node::new(&Window::tumbling(3).per_key(), &Clock::virtual_at(0));
        node.graph.take_key_blocking(&["window"], 1).unwrap();
        node.end();
    }
}

#[test]
fn what_cannot_be_moved_is_said() {
    let clock = Clock::virtual_at(0);
    let node = Node::new(&Window::tumbling(3), &clock);
    let error = |stages: &[&str]| node.graph.take_key_blocking(stages, 1).unwrap_err();
    assert_eq!(
        error(&["window"]).to_string(),
        "stage 'window': the windows are not per key"
    );
    assert_eq!(
        error(&["windows"]).to_string(),
        "stage 'windows': this node runs no such stage"
    );
    node.end();
    let node = Node::new(&Window::tumbling(3).per_key(), &clock);
    let moved = node.graph.take_key_blocking(&["window"], 1).unwrap();
    let error = node.graph.take_key_blocking(&[], 1).unwrap_err();
    assert!(matches!(&error, MoveError::Gone(stages) if stages == &["window"]));
    let other = Node::new(&Window::tumbling(4).per_key(), &clock);
    node.send(1, 2);
    let two = node.graph.take_key_blocking(&["window"], 2).unwrap();
    let error = other.graph.put_key_blocking(&two).unwrap_err();
    assert!(error.to_string().contains("other windows"), "{error}");
    other.graph.put_key_blocking(&moved).unwrap();
    other.end();
    node.end();
}

/// A node that sums ten numbers of each of two keys, of a replayable source that has made those up to `upto`.
fn counting(node: &str, upto: &Arc<AtomicU64>) -> (GraphBuilder, Receiver<Number>) {
    let (sink, sums) = channel_out();
    let (clock, upto) = (Clock::real(), upto.clone());
    let (now, mut next) = (clock.clone(), 1);
    let numbers = move || {
        if next > 100 {
            return Ok(Next::End);
        }
        if next > upto.load(Ordering::Relaxed) {
            return Ok(Next::At(now.now_ns() + MS));
        }
        let (value, group) = (next, next % 2);
        next += 1;
        Ok(Next::Item(Number { value, group }))
    };
    // Node b has the odd numbers alone.
    let all = node == "a";
    let graph = GraphBuilder::new("replayed")
        .node(node)
        .clock(clock)
        .source_fn("numbers", numbers)
        .stream("numbers", "one to a hundred")
        .filter("own", move |number: &Frame<Number>| {
            all || number.group == 1
        })
        .window("window", Window::tumbling(10).per_key(), sum)
        .output::<Number>("sums", sink)
        .chain(&["numbers", "own", "window", "sums"]);
    (graph, sums)
}

fn values(sums: Receiver<Number>) -> Vec<(u64, u64)> {
    sums.into_iter().map(|sum| (sum.group, sum.value)).collect()
}

fn in_front_of_windows(report: NodeReport) -> EdgeReport {
    let mut edges = report.edges.into_iter();
    edges.find(|edge| edge.edge == "own->window").unwrap()
}

#[test]
fn a_stopped_node_knows_what_has_left_and_a_node_that_replays_skips_what_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let state = |node: &str| StateOptions::new(folder.path().join(node));
    let upto = Arc::new(AtomicU64::new(100));
    let (graph, sums) = counting("a", &upto);
    let graph = graph.spawn().unwrap();
    let mut unmoved = values(sums);
    graph.wait_blocking();

    upto.store(55, Ordering::Relaxed);
    let (graph, mut sums) = counting("a", &upto);
    let graph = graph.state(state("a")).spawn().unwrap();
    while in_front_of_windows(graph.report()).delivered < 55 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // What a program has not received yet is no part of the state: 2 windows of each key.
    let mut all: Vec<_> = (0..4)
        .map(|_| sums.recv().unwrap())
        .map(|sum| (sum.group, sum.value))
        .collect();
    let moved = graph.take_key_blocking(&["window"], 1).unwrap();
    graph.stop_blocking(Duration::from_secs(5));
    all.extend(values(sums));

    // Both nodes see the later numbers; each one has its own key.
    upto.store(100, Ordering::Relaxed);
    let (graph, sums) = counting("a", &upto);
    let graph = graph.state(state("a")).spawn().unwrap();
    all.extend(values(sums));
    assert_eq!(
        graph
            .take_key_blocking(&["window"], 1)
            .unwrap_or_else(|_| moved.clone()),
        moved
    );
    let edge = in_front_of_windows(graph.wait_blocking());
    assert_eq!(
        (edge.delivered, edge.dropped[&DropCause::Refused]),
        (23, 22)
    );

    let (graph, sums) = counting("b", &upto);
    let graph = graph.state(state("b")).put_key(moved).spawn().unwrap();
    all.extend(values(sums));
    let edge = in_front_of_windows(graph.wait_blocking());
    assert_eq!((edge.duplicate, edge.delivered), (28, 22));
    all.sort_unstable();
    unmoved.sort_unstable();
    assert_eq!(all, unmoved);
}

/// Sums the numbers of each key since the start. Its state is that of the records.
#[derive(Default)]
struct Totals(BTreeMap<u64, u64>);

impl Stage for Totals {
    type Config = ();
    type In = Number;
    type Out = Number;
    const RECOVERS: bool = true;

    fn recover(&mut self, record: &AnyFrame) {
        let record = record.payload::<Number>().unwrap();
        self.0.insert(record.group, record.value);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        let total = self.0.remove(&(key as u64));
        total.map(|total| Snapshot::bytes(&total)).transpose()
    }

    fn put_key(
        &mut self,
        key: Key,
        state: &[u8],
        _: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        self.0.insert(key as u64, Snapshot::read(state)?);
        Ok(())
    }

    fn process(
        &mut self,
        number: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        let group = number.group;
        let total = self.0.entry(group).or_default();
        *total += number.value;
        out.emit(
            number.head(),
            Number {
                value: *total,
                group,
            },
        );
        Ok(())
    }
}

#[test]
fn a_state_that_comes_back_is_not_overridden_by_the_records_from_before_it_left() {
    let start = |book: &Book, moved: Option<MovedKey>| {
        let (sender, source) = channel::<Number>(8);
        let log = LogConfig {
            book: book.clone(),
            ..LogConfig::default()
        };
        let graph = GraphBuilder::new("totals")
            .input("numbers", source)
            .stage_with("totals", |_| Ok(Totals::default()))
            .stage::<Log>("log", log, StageOptions::default())
            .chain(&["numbers", "totals", "log"]);
        let graph = moved.into_iter().fold(graph, GraphBuilder::put_key);
        (sender, GraphTest::spawn(graph).unwrap())
    };
    let number = |value| Number { value, group: 5 };
    let books = [(); 2].map(|()| Book::default());
    let [(to_a, a), (to_b, b)] = [start(&books[0], None), start(&books[1], None)];
    to_a.send(number(1)).unwrap();
    let moved = a.take_key_blocking(&["totals"], 5).unwrap();
    b.put_key_blocking(&moved).unwrap();
    to_b.send(number(10)).unwrap();
    let moved = b.take_key_blocking(&["totals"], 5).unwrap();
    a.kill();
    // The log of the first node ends with 1, and the key has come back with 11.
    let (to_a, a) = start(&books[0], Some(moved));
    to_a.send(number(100)).unwrap();
    drop((to_a, to_b));
    assert!(a.wait_blocking().books_close() && b.wait_blocking().books_close());
    let last = books[0]
        .lock()
        .unwrap()
        .last()
        .map(|(_, total)| total.value);
    assert_eq!(last, Some(111));
}
