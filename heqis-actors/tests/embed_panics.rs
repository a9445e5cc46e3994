//! Code of the program that panics ends no thread of a graph, and is never silent.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::mpsc;
use std::time::Duration;

use heqis_actors::{
    BridgeOptions, BuildContext, DropCause, EdgeOptions, Emitter, Event, Frame, GraphBuilder,
    GraphHandle, Key, Next, NodeReport, Nothing, Payload, PayloadError, PayloadType, Source, Stage,
    StageError, Tensor, decode_meta, encode_meta, sp::Inproc,
};

const BAD: u64 = 3;

/// Where the program's code panics, at the third value.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
enum At {
    Nowhere,
    Drop,
    Key,
    Encode,
    Decode,
    Tensor,
}

struct Value(u64, At);

impl Value {
    fn check(&self, at: At) {
        assert!(self.0 != BAD || self.1 != at, "value {BAD} at {at:?}");
    }
}

impl Payload for Value {
    const NAME: &'static str = "value";
    const WIRE: bool = true;

    fn key(&self) -> Key {
        self.check(At::Key);
        0
    }

    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        self.check(At::Encode);
        encode_meta(Self::NAME, &(self.0, self.1 == At::Decode), meta)
    }

    fn decode(meta: &[u8], _: Tensor) -> Result<Self, PayloadError> {
        let (value, panics): (u64, bool) = decode_meta(Self::NAME, meta)?;
        let value = Self(value, if panics { At::Decode } else { At::Nowhere });
        value.check(At::Decode);
        Ok(value)
    }

    fn tensor(&self) -> Option<&Tensor> {
        self.check(At::Tensor);
        None
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.check(At::Drop);
    }
}

fn values(at: At) -> impl Iterator<Item = Value> + Send {
    (1..=5).map(move |value| Value(value, at))
}

/// A source and a stage whose drop panics.
struct Dropped<const SOURCE: bool>(u64);

impl<const SOURCE: bool> Drop for Dropped<SOURCE> {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

impl Source for Dropped<true> {
    type Config = ();
    type Out = Value;

    fn next(&mut self) -> Result<Next<Value>, StageError> {
        self.0 += 1;
        Ok(match self.0 {
            1..=5 => Next::Item(Value(self.0, At::Nowhere)),
            _ => Next::End,
        })
    }
}

impl Stage for Dropped<false> {
    type Config = ();
    type In = Value;
    type Out = Nothing;

    fn process(
        &mut self,
        _: &Frame<Value>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

/// Waits for the end, which comes.
fn end(graph: GraphHandle) -> NodeReport {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(graph.wait_blocking())));
    ended
        .recv_timeout(Duration::from_secs(20))
        .expect("the graph ends")
}

/// Runs the graph; returns its report and the reasons of its events.
fn run(graph: GraphBuilder) -> (NodeReport, String) {
    let events = graph.events();
    let report = end(graph.spawn().unwrap());
    let reasons = events.into_iter().filter_map(|event| match event {
        Event::StageFailed { reason, .. } | Event::FrameUnreadable { reason, .. } => Some(reason),
        _ => None,
    });
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    (report, reasons)
}

#[test]
fn a_drop_that_panics_ends_nothing() {
    let sink = |_: &Frame<Value>| ();
    let graph = || GraphBuilder::new("drops");
    let source = |_: &BuildContext| Ok(Dropped::<true>(0));
    let stage = |_: &BuildContext| Ok(Dropped::<false>(0));
    for graph in [
        graph()
            .source_iter("in", values(At::Drop))
            .sink_fn("out", sink),
        graph().source_with("in", source).sink_fn("out", sink),
        graph()
            .source_iter("in", values(At::Nowhere))
            .stage_with("out", stage),
    ] {
        let (report, reasons) = run(graph.chain(&["in", "out"]));
        assert_eq!((report.failure, report.edges[0].delivered), (None, 5));
        assert!(reasons.contains("dropped: panic: "), "{reasons}");
    }
}

#[test]
fn a_key_that_panics_fails_the_source() {
    let (report, _) = run(GraphBuilder::new("keys")
        .source_iter("in", values(At::Key))
        .sink_fn("out", |_: &Frame<Value>| ())
        .chain(&["in", "out"]));
    let failure = report.failure.unwrap();
    assert!(
        failure.contains("source 'in': panic: value 3 at Key"),
        "{failure}"
    );
    assert_eq!(report.edges[0].delivered, 2);
}

/// Runs two nodes; returns their reports and the reasons of their events.
fn two_nodes(at: At) -> [(NodeReport, String); 2] {
    let (hub, payload) = (Inproc::new(), PayloadType::of::<Value>());
    let bridge = || BridgeOptions::new("inproc://values".parse().unwrap());
    let edge = EdgeOptions::new();
    let there = GraphBuilder::new("g")
        .node("there")
        .inproc(hub.clone())
        .remote("in")
        .sink_fn("out", |_: &Frame<Value>| ())
        .edge_in(0, ("in", "out"), payload, edge, bridge());
    let here = GraphBuilder::new("g")
        .node("here")
        .inproc(hub)
        .source_iter("in", values(at))
        .remote("out")
        .edge_out(0, ("in", "out"), payload, edge, bridge())
        .drain_timeout(Duration::from_millis(200));
    let stop = there.stop_handle();
    let there = std::thread::spawn(move || run(there));
    let here = run(here);
    if here.0.failure.is_some() {
        stop.stop();
    }
    [here, there.join().unwrap()]
}

#[test]
fn a_codec_that_panics_drops_the_frame() {
    let dropped = |report: &NodeReport| report.edges[0].dropped.get(&DropCause::Decode).copied();
    let [(here, reasons), _] = two_nodes(At::Encode);
    assert_eq!(
        (dropped(&here), here.edges[0].delivered, here.is_clean()),
        (Some(1), 4, false)
    );
    assert!(
        reasons.contains("item 3") && reasons.contains("value 3 at Encode"),
        "{reasons}"
    );
    let [(here, _), (there, reasons)] = two_nodes(At::Decode);
    assert_eq!((dropped(&here), dropped(&there)), (Some(1), Some(1)));
    assert!(
        reasons.contains("frame 3") && reasons.contains("value 3 at Decode"),
        "{reasons}"
    );
}

#[test]
fn an_actor_that_panics_ends_the_graph_with_a_failure() {
    let [(here, _), _] = two_nodes(At::Tensor);
    let failure = here.failure.unwrap();
    assert!(
        failure.contains("'in->out': its actor has panicked"),
        "{failure}"
    );
}
