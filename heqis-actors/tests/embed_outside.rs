//! Frames that leave a graph for the program: the end of a receiver, and frames that the program still holds.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Number;
use heqis_actors::sp::Inproc;
use heqis_actors::{
    BridgeOptions, ChannelSink, EdgeOptions, GraphBuilder, GraphHandle, NodeReport, PayloadType,
    channel_out,
};

const PATIENCE: Duration = Duration::from_secs(10);

fn numbers(count: u64) -> impl Iterator<Item = Number> + Send {
    (1..=count).map(|value| Number { value, group: 0 })
}

/// A node that sends 500 numbers, and one that gives them to the program.
fn pair(sink: ChannelSink<Number>) -> [GraphHandle; 2] {
    let hub = Inproc::new();
    let node = |name: &str| GraphBuilder::new("pair").node(name).inproc(hub.clone());
    let bridge = || BridgeOptions::new("inproc://numbers".parse().unwrap());
    let (ends, payload) = (("count", "out"), PayloadType::of::<Number>());
    let front = node("front")
        .source_iter("count", numbers(500))
        .stream("count", "numbers")
        .remote("out")
        .edge_out(0, ends, payload, EdgeOptions::default(), bridge());
    let back = node("back").remote("count").output("out", sink).edge_in(
        0,
        ends,
        payload,
        EdgeOptions::default(),
        bridge(),
    );
    [front, back].map(|graph| graph.spawn().unwrap())
}

fn ends(graph: GraphHandle) -> NodeReport {
    let graph = Arc::new(graph);
    let (ended, end) = std::sync::mpsc::channel();
    let waiting = graph.clone();
    std::thread::spawn(move || drop(ended.send(waiting.wait_blocking())));
    let report = end.recv_timeout(PATIENCE);
    report.unwrap_or_else(|_| panic!("it does not end: {:?}", graph.report()))
}

#[test]
fn a_receiver_that_is_dropped_at_the_end_of_its_stream_stops_no_node() {
    for _ in 0..30 {
        let (sink, receiver) = channel_out();
        let graphs = pair(sink);
        assert_eq!(receiver.into_iter().count(), 500);
        for graph in graphs {
            let report = ends(graph);
            assert!(!report.left && report.is_clean(), "{report:?}");
        }
    }
    for _ in 0..100 {
        let (sink, receiver) = channel_out::<Number>();
        let graph = GraphBuilder::new("one")
            .source_iter("count", numbers(100))
            .output("out", sink)
            .chain(&["count", "out"])
            .spawn()
            .unwrap();
        assert_eq!(receiver.into_iter().count(), 100);
        assert!(!ends(graph).left);
    }
}

#[test]
fn a_receiver_that_is_dropped_before_the_end_stops_its_node() {
    let (sink, mut receiver) = channel_out();
    let [front, back] = pair(sink);
    assert!(receiver.recv().is_some());
    drop(receiver);
    assert!(ends(back).left);
    assert!(front.stop_blocking(Duration::from_millis(200)).left);
}

#[test]
fn frames_that_the_program_holds_are_not_acknowledged_until_it_drops_them() {
    let (sink, receiver) = channel_out();
    let [front, back] = pair(sink);
    let mut held: Vec<_> = receiver.into_iter().collect();
    let dropped = held.drain(..100).count() as u64;
    let begun = Instant::now();
    let waits = loop {
        let edge = back.report().edges[0].clone();
        if let Some(reason) = edge.waits {
            break reason;
        }
        assert!(begun.elapsed() < PATIENCE, "{edge:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(waits, "the program holds 400 frames that it has received");
    let edge = front.report().edges[0].clone();
    assert_eq!((edge.delivered, edge.in_flight), (dropped, 400));
    let copies = held.clone();
    drop(held);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(front.report().edges[0].delivered, dropped);
    drop(copies);
    for graph in [front, back] {
        let report = ends(graph);
        assert!(!report.left && report.is_clean(), "{report:?}");
    }
}

#[test]
fn a_node_that_is_stopped_while_the_program_holds_frames_leaves_them_to_the_sender() {
    let (sink, receiver) = channel_out();
    let [front, back] = pair(sink);
    let held: Vec<_> = receiver.into_iter().collect();
    let report = back.stop_blocking(Duration::from_millis(300));
    assert!(report.left, "{report:?}");
    assert_eq!(front.report().edges[0].delivered, 0);
    assert_eq!(held.len(), 500);
    let report = front.stop_blocking(Duration::from_millis(200));
    assert_eq!(report.edges[0].in_doubt.map(|some| some.frames), Some(500));
}
