//! Faults, one each, that turn a sound graph into one that is refused.
#![allow(unreachable_pub)]

use std::time::Duration;

use heqis_actors::{
    BatchOptions, BridgeOptions, EdgeOptions, FaultKind, Frame, GraphBuilder, LinkPeer,
    PayloadType, Policy, RecordingOptions, RingBufferConfig, StageOptions, StateOptions, Tap,
    Window, WindowSpan, channel_out, channel_with,
};

use crate::common::{Collect, CollectConfig, Count, Number, Twice, TwiceConfig};
use crate::stages::{Direction, Live, model};
use crate::{DRAIN, bridge, counting, edge, plain};

/// One change to the sound graph, the kind of its only fault, and a part of its message.
pub type Case = (fn(GraphBuilder) -> GraphBuilder, FaultKind, &'static str);

fn with(change: impl FnOnce(&mut StageOptions)) -> StageOptions {
    let mut options = plain();
    change(&mut options);
    options
}

/// Adds a sink with these options.
fn sink(graph: GraphBuilder, options: StageOptions) -> GraphBuilder {
    graph
        .stage::<Collect>("other", CollectConfig::default(), options)
        .edge("double", "other", edge())
}

/// Adds a sink behind an edge with these options.
fn behind(graph: GraphBuilder, options: EdgeOptions) -> GraphBuilder {
    graph
        .stage::<Collect>("other", CollectConfig::default(), plain())
        .edge("double", "other", options)
}

/// Adds a stage of windows.
fn window(graph: GraphBuilder, window: Window, workers: usize) -> GraphBuilder {
    let count = |_: &WindowSpan, frames: &[Frame<Number>]| Number::clone(&frames[0]);
    let graph = graph.window("window", window, count);
    let graph = graph.options("window", StageOptions::new().workers(workers));
    let graph = graph.sink_fn("other", |_: &Frame<Number>| ());
    graph.chain(&["double", "window", "other"])
}

/// Adds a channel with these options.
fn input(graph: GraphBuilder, options: EdgeOptions) -> GraphBuilder {
    let graph = graph.input::<Number>("in", channel_with(options).1);
    graph.edge("in", "double", edge())
}

/// Adds an edge to another node.
fn far(graph: GraphBuilder, options: EdgeOptions, bridge: BridgeOptions) -> GraphBuilder {
    let payload = PayloadType::of::<Number>();
    (graph.stream("count", "numbers").remote("far")).edge_out(
        7,
        ("double", "far"),
        payload,
        options,
        bridge,
    )
}

/// Every value that a topology refuses.
pub fn cases() -> Vec<Case> {
    use FaultKind as K;
    vec![
        (
            |g| window(g, Window::tumbling(10), 4),
            K::OutOfRange,
            "`stages.window.workers` must be 1, not 4",
        ),
        (
            |g| window(g, Window::tumbling(0).per_key(), 4),
            K::UnusableParameters,
            "stage `window` (window): a window is not empty",
        ),
        (
            |g| window(g, Window::tumbling(10).capacity(5), 1),
            K::UnusableParameters,
            "a capacity of 5 is less than the 10 frames of a window",
        ),
        (
            |g| {
                let sink = g.sink_fn("other", |_: &Frame<Number>| ());
                let sink = sink.options("other", StageOptions::new().workers(2));
                sink.edge("double", "other", edge())
            },
            K::OutOfRange,
            "`stages.other.workers` must be 1, not 2",
        ),
        (
            |g| {
                let output = g.output::<Number>("other", channel_out().0);
                let output = output.options("other", StageOptions::new().workers(2));
                output.edge("double", "other", edge())
            },
            K::OutOfRange,
            "`stages.other.workers` must be 1, not 2",
        ),
        (
            |g| input(g, EdgeOptions::new().capacity(usize::MAX)),
            K::UnusableParameters,
            "stage `in` (input): capacity must lie between",
        ),
        (
            |g| input(g, EdgeOptions::new().max_age(Duration::ZERO)),
            K::UnusableParameters,
            "max_age must be longer than nothing",
        ),
        (
            |g| behind(g, EdgeOptions::new().policy(Policy::Latest).capacity(7)),
            K::LatestHoldsOne,
            "the policy `latest` keeps one frame, not 7",
        ),
        (
            |g| g.options("colect", StageOptions::new()),
            K::UnknownStage,
            "a set of options names",
        ),
        (
            |g| {
                let payload = PayloadType::of::<Number>();
                let near = |g: GraphBuilder, route, to: &str| {
                    let near = g.sink_fn(to, |_: &Frame<Number>| ());
                    near.edge_in(route, ("far", to), payload, edge(), bridge())
                };
                near(near(g.remote("far"), 1, "near"), 2, "next")
            },
            K::AddressInUse,
            "edge `far->next` listens at inproc://embed-check, where edge `far->near` already does",
        ),
        (
            |g| g.edge("count", "double", edge()),
            K::DuplicateEdge,
            "`count->double` is declared twice",
        ),
        (
            |g| sink(g, with(|o| o.batch.max = 0)),
            K::OutOfRange,
            "`stages.other.batch.max` must lie between 1 and 4096, not 0",
        ),
        (
            |g| sink(g, with(|o| o.workers = 0)),
            K::OutOfRange,
            "`stages.other.workers` must lie between 1 and 64, not 0",
        ),
        (
            |g| sink(g, with(|o| o.workers = 65)),
            K::OutOfRange,
            "not 65",
        ),
        (
            |g| sink(g, with(|o| o.priority = Some(0))),
            K::OutOfRange,
            "between 1 and 99, not 0",
        ),
        (
            |g| sink(g, with(|o| o.restart.window = Duration::ZERO)),
            K::OutOfRange,
            "`restart.window` of stage `other` must be longer than nothing",
        ),
        (
            |g| sink(g, with(|o| o.restart.backoff_min = Duration::from_secs(60))),
            K::OutOfRange,
            "the first pause of stage `other` is longer than the longest",
        ),
        (
            |g| sink(g, with(|o| o.arbiter = Some("A B".into()))),
            K::BadName,
            "\"A B\" is no name for an arbiter",
        ),
        (
            |g| sink(g, with(|o| o.cores = vec![1, 1])),
            K::OutOfRange,
            "`stages.other.cores` names 1 twice",
        ),
        (
            |g| sink(g, with(|o| (o.workers, o.cores) = (2, vec![1]))),
            K::SharedCore,
            "2 workers of stage `other` need 2 cores",
        ),
        (
            |g| {
                let pinned = with(|o| o.cores = vec![1]);
                let (own, other) = (with(|o| o.arbiter = Some("own".into())), pinned.clone());
                let own = own.cores(vec![1]);
                let g = sink(g, own).stage::<Collect>("third", CollectConfig::default(), other);
                g.edge("double", "third", edge())
            },
            K::SharedCore,
            "core 1 of node `local` is pinned to two threads, `own` and `pipeline`",
        ),
        (
            |g| behind(g, edge().capacity(0)),
            K::OutOfRange,
            "`edges.\"double->other\".capacity` must lie between 1 and 16777216, not 0",
        ),
        (
            |g| behind(g, edge().max_age(Duration::ZERO)),
            K::OutOfRange,
            "`max_age` of the edge `double->other`",
        ),
        (
            |g| behind(g, edge().partition_by_key(true)),
            K::SinglePartition,
            "the edge `double->other` alone",
        ),
        (
            |g| far(g, edge(), bridge().credit(0)),
            K::OutOfRange,
            "transport.credit` must lie between 1 and 65536, not 0",
        ),
        (
            |g| far(g, edge(), bridge().max_frame(0)),
            K::OutOfRange,
            "transport.max_frame` must lie between 1024",
        ),
        (
            |g| far(g, edge(), bridge().max_frame(1024)),
            K::FrameTooSmall,
            "whose max_frame is 1024",
        ),
        (
            |g| far(g, edge().policy(Policy::DropOldest), bridge()),
            K::DeliveryPolicyConflict,
            "`drop-oldest`",
        ),
        (
            |g| far(g, edge(), bridge()).peer(8, LinkPeer::default()),
            K::UnknownEdge,
            "a peer names the route 8",
        ),
        (
            |g| g.remote("far").edge("double", "far", edge()),
            K::MissingTransport,
            "`double->far`",
        ),
        (
            |g| {
                let g = behind(g, edge()).remote("far").stream("count", "numbers");
                g.edge_out(
                    7,
                    ("far", "other"),
                    PayloadType::of::<Number>(),
                    edge(),
                    bridge(),
                )
            },
            K::UnknownStage,
            "does not run the stage at its end of the edge `far->other`",
        ),
        (
            |g| g.edge("double", "colect", edge()),
            K::UnknownStage,
            "names the unknown stage `colect`",
        ),
        (
            |g| g.budget(&["count", "colect"], DRAIN),
            K::UnknownStage,
            "a budget names the unknown stage",
        ),
        (
            |g| g.budget(&["collect", "count"], DRAIN),
            K::BrokenBudgetPath,
            "from `collect` to `count`",
        ),
        (
            |g| g.budget(&["count"], DRAIN),
            K::OutOfRange,
            "must have at least 2 items",
        ),
        (
            |g| g.budget(&["count", "collect"], Duration::ZERO),
            K::OutOfRange,
            "longer than nothing",
        ),
        (
            |g| g.tap("colect", Tap::new(|_| {})),
            K::UnknownStage,
            "a tap names the unknown stage `colect`",
        ),
        (
            |g| g.tap("count", Tap::new(|_| {})),
            K::NotForASource,
            "a tap names the stage `count`",
        ),
        (
            |g| g.stream("conut", 1),
            K::UnknownStage,
            "an identity names the unknown stage `conut`",
        ),
        (|g| g.stream("double", 1), K::NoInput, "which is no source"),
        (
            |g| g.record("conut", recording()),
            K::UnknownStage,
            "a recording names the unknown stage `conut`",
        ),
        (
            |g| g.record("count", recording()),
            K::NotRecordable,
            "it gives the same items again",
        ),
        (
            |g| {
                let g = g
                    .source::<Live>("live", model(0), plain())
                    .record("live", recording());
                g.edge("live", "collect", edge())
            },
            K::RecordWithoutState,
            "node `local` saves no state",
        ),
        (
            |g| {
                g.stream("count", 1)
                    .state(StateOptions::new("state").every(Duration::ZERO))
            },
            K::OutOfRange,
            "`state.every` of node `local` must be longer than nothing",
        ),
        (
            |g| g.source::<Count>("count-2", counting(1_000), plain()),
            K::UnconsumedStage,
            "no edge leaves it",
        ),
        (
            |g| g.stage::<Collect>("other", CollectConfig::default(), plain()),
            K::UnfedStage,
            "stage `other` (collect) takes `number`, but no edge leads to it",
        ),
        (
            |g| {
                let g = g.stage::<Twice>("twice", TwiceConfig::default(), plain());
                g.edge("count", "twice", edge())
                    .edge("twice", "collect", edge())
            },
            K::TwoWays,
            "stage `collect` gets each item of `count` by two ways",
        ),
        (
            |g| {
                let g = g.source::<Count>("more", counting(1), with(|o| o.workers = 2));
                g.edge("more", "collect", edge())
            },
            K::NotForASource,
            "`workers` on the source `more`",
        ),
        (
            |g| {
                let batch = BatchOptions::new().max(2);
                let ring = RingBufferConfig::new(1);
                g.ring_buffer("ring", ring, plain().batch(batch))
                    .stage::<Collect>("other", CollectConfig::default(), plain())
                    .edge("double", "ring", edge())
                    .edge("ring", "other", edge())
            },
            K::NotForABuffer,
            "`batch` on the buffer `ring`",
        ),
        (
            |g| g.node("Node 1"),
            K::BadName,
            "\"Node 1\" is no name for a node",
        ),
        (
            |g| {
                let g = g
                    .stream("count", 1)
                    .stage::<Direction<true>>("log", model(0), plain());
                let g = g.stage::<Direction<true>>("log-2", model(0), plain());
                g.edge("double", "log", edge())
                    .edge("double", "log-2", edge())
            },
            K::SecondCommitLog,
            "stage `log-2` is a commit log, and so is `log` on the same node",
        ),
    ]
}

fn recording() -> RecordingOptions {
    RecordingOptions::new("recording")
}
