//! A graph built in code is checked as a topology is, streams have an identity, and sources are told where to start and when
//! to stop.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{
    Collect, CollectConfig, Count, CountConfig, Double, DoubleConfig, Number, Twice, TwiceConfig,
};
use heqis_actors::sp::Endpoint;
use heqis_actors::{
    BatchOptions, BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, Encoding, FaultKind,
    FaultSubject, Frame, GraphBuilder, GraphError, GraphFault, LinkPeer, Next, Nothing, Payload,
    PayloadError, PayloadType, Policy, PortContract, PortSchema, Property, RecordingOptions,
    RestartOptions, RingBufferConfig, Source, Stage, StageError, StageOptions, StateOptions, Tap,
    Tensor,
};
use schemars::JsonSchema;
use serde::Deserialize;

const DRAIN: Duration = Duration::from_secs(20);

fn counting(count: u64) -> CountConfig {
    CountConfig {
        count,
        groups: 5,
        every_ns: 0,
    }
}

fn plain() -> StageOptions {
    StageOptions::default()
}

fn edge() -> EdgeOptions {
    EdgeOptions::default()
}

/// A sound graph, into which each case puts one fault.
fn sound() -> GraphBuilder {
    GraphBuilder::new("sound")
        .source::<Count>("count", counting(1_000), plain())
        .stage::<Double>("double", DoubleConfig::default(), plain())
        .stage::<Collect>("collect", CollectConfig::default(), plain())
        .edge("count", "double", edge())
        .edge("double", "collect", edge())
}

fn kinds(graph: &GraphBuilder) -> Vec<FaultKind> {
    graph.check().iter().map(|fault| fault.kind).collect()
}

/// Starts a graph that must be refused, and returns the faults.
fn refused(graph: GraphBuilder) -> Vec<GraphFault> {
    match graph.run(DRAIN) {
        Err(GraphError::Invalid(faults)) => faults,
        other => panic!("the graph was not refused: {other:?}"),
    }
}

fn bridge() -> BridgeOptions {
    BridgeOptions {
        endpoint: Endpoint::Inproc {
            name: "embed-check".into(),
        },
        credit: 64,
        delivery: Delivery::AtLeastOnce,
        max_frame: 1 << 20,
        encoding: Encoding::F32,
    }
}

/// A letter, which is no number.
#[derive(Clone, Debug)]
struct Letter;

impl Payload for Letter {
    const NAME: &'static str = "letter";

    fn encode(&self, _: &mut Vec<u8>) -> Result<(), PayloadError> {
        Ok(())
    }

    fn decode(_: &[u8], _: Tensor) -> Result<Self, PayloadError> {
        Ok(Self)
    }
}

/// Parameters of the stages below.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct ModelConfig {
    /// The version that the model provides.
    version: u64,
    /// What is wrong with the parameters.
    #[serde(default)]
    faults: Vec<String>,
}

/// Provides a version of factors.
struct Factors;

impl Stage for Factors {
    type Config = ModelConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "factors";
    const ABOUT: &'static str = "makes factors";

    fn check(config: &ModelConfig, _: &Path) -> Vec<String> {
        config.faults.clone()
    }

    fn contract(config: &ModelConfig, _: &Path) -> PortContract {
        PortContract {
            provides: PortSchema::from([("model", Property::Number(config.version))]),
            ..PortContract::default()
        }
    }

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        out.emit(frame.head(), Number::clone(frame));
        Ok(())
    }
}

/// Requires a version of factors, and is a sink; a commit log when `LOG` is set.
struct Direction<const LOG: bool>;

impl<const LOG: bool> Stage for Direction<LOG> {
    type Config = ModelConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "direction";
    const ABOUT: &'static str = "takes factors of one version";
    const COMMIT_LOG: bool = LOG;

    fn contract(config: &ModelConfig, _: &Path) -> PortContract {
        PortContract {
            requires: PortSchema::from([("model", Property::Number(config.version))]),
            ..PortContract::default()
        }
    }

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

/// Takes letters.
struct Reader;

impl Stage for Reader {
    type Config = ModelConfig;
    type In = Letter;
    type Out = Nothing;
    const KIND: &'static str = "reader";
    const ABOUT: &'static str = "takes letters";

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Letter>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

/// A source that makes its items once.
struct Live;

impl Source for Live {
    type Config = ModelConfig;
    type Out = Number;
    const KIND: &'static str = "live";
    const ABOUT: &'static str = "makes nothing";
    const REPLAYABLE: bool = false;

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        Ok(Next::End)
    }
}

fn model(version: u64) -> ModelConfig {
    ModelConfig {
        version,
        faults: Vec::new(),
    }
}

#[test]
fn a_sound_graph_has_no_fault() {
    assert_eq!(sound().check(), []);
}

#[test]
fn a_model_of_another_models_factors_is_refused() {
    let graph = GraphBuilder::new("terms")
        .source::<Count>("count", counting(2_517), plain())
        .stage::<Factors>("factors", model(1), plain())
        .ring_buffer(
            "ring",
            RingBufferConfig {
                capacity: 8,
                policy: Policy::Block,
            },
            plain(),
        )
        .stage::<Direction<false>>("direction", model(2), plain())
        .edge("count", "factors", edge())
        .edge("factors", "ring", edge())
        .edge("ring", "direction", edge());
    let faults = refused(graph);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].kind, FaultKind::TermsMismatch);
    assert_eq!(faults[0].place.name, "ring->direction");
    assert_eq!(
        faults[0].message,
        "stage `direction` (direction) takes model = 2, but `factors` makes model = 1"
    );
}

#[test]
fn a_stage_that_refuses_its_parameters_is_refused_with_every_reason_before_anything_is_built() {
    let faulty = ModelConfig {
        version: 1,
        faults: vec!["the file is gone".into(), "the hash differs".into()],
    };
    let graph = sound()
        .stage::<Factors>("factors", faulty, plain())
        .edge("double", "factors", edge())
        .stage::<Direction<false>>("direction", model(2), plain())
        .edge("factors", "direction", edge());
    let faults = refused(graph);
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "stage `factors` (factors): the file is gone",
            "stage `factors` (factors): the hash differs"
        ]
    );
}

#[test]
fn payloads_that_differ_are_refused_with_both_names() {
    let local = GraphBuilder::new("local")
        .source::<Count>("count", counting(1), plain())
        .stage::<Reader>("reader", model(0), plain())
        .edge("count", "reader", edge());
    let faults = refused(local);
    assert_eq!(
        faults[0].message,
        "stage `count` makes `number`, but `reader` (reader) takes `letter`"
    );
    let sending = GraphBuilder::new("sending")
        .source::<Count>("count", counting(1), plain())
        .remote("reader")
        .edge_out(
            0,
            ("count", "reader"),
            PayloadType::of::<Letter>(),
            edge(),
            bridge(),
        );
    let faults = refused(sending);
    assert_eq!(faults[0].kind, FaultKind::PayloadMismatch);
    assert_eq!(
        faults[0].message,
        "stage `count` makes `number`, but the edge `count->reader` carries `letter`"
    );
    let receiving = GraphBuilder::new("receiving")
        .remote("count")
        .stage::<Reader>("reader", model(0), plain())
        .edge_in(
            0,
            ("count", "reader"),
            PayloadType::of::<Number>(),
            edge(),
            bridge(),
        );
    let faults = refused(receiving);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].message,
        "stage `count` makes `number`, but `reader` (reader) takes `letter`"
    );
}

/// One change to the sound graph, the kind of its only fault, and a part of its message.
type Case = (fn(GraphBuilder) -> GraphBuilder, FaultKind, &'static str);

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

#[test]
fn every_value_that_a_topology_refuses_is_refused_in_code() {
    use FaultKind as K;
    let cases: Vec<Case> = vec![
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
                let own = StageOptions {
                    cores: vec![1],
                    ..own
                };
                let g = sink(g, own).stage::<Collect>("third", CollectConfig::default(), other);
                g.edge("double", "third", edge())
            },
            K::SharedCore,
            "core 1 of node `local` is pinned to two threads, `own` and `pipeline`",
        ),
        (
            |g| {
                behind(
                    g,
                    EdgeOptions {
                        capacity: 0,
                        ..edge()
                    },
                )
            },
            K::OutOfRange,
            "`edges.\"double->other\".capacity` must lie between 1 and 16777216, not 0",
        ),
        (
            |g| {
                behind(
                    g,
                    EdgeOptions {
                        max_age: Some(Duration::ZERO),
                        ..edge()
                    },
                )
            },
            K::OutOfRange,
            "`max_age` of the edge `double->other`",
        ),
        (
            |g| {
                behind(
                    g,
                    EdgeOptions {
                        partition_by_key: true,
                        ..edge()
                    },
                )
            },
            K::SinglePartition,
            "the edge `double->other` alone",
        ),
        (
            |g| {
                far(
                    g,
                    edge(),
                    BridgeOptions {
                        credit: 0,
                        ..bridge()
                    },
                )
            },
            K::OutOfRange,
            "transport.credit` must lie between 1 and 65536, not 0",
        ),
        (
            |g| {
                far(
                    g,
                    edge(),
                    BridgeOptions {
                        max_frame: 0,
                        ..bridge()
                    },
                )
            },
            K::OutOfRange,
            "transport.max_frame` must lie between 1024",
        ),
        (
            |g| {
                far(
                    g,
                    edge(),
                    BridgeOptions {
                        max_frame: 1024,
                        ..bridge()
                    },
                )
            },
            K::FrameTooSmall,
            "whose max_frame is 1024",
        ),
        (
            |g| {
                far(
                    g,
                    EdgeOptions {
                        policy: Policy::DropOldest,
                        ..edge()
                    },
                    bridge(),
                )
            },
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
                g.stream("count", 1).state(StateOptions {
                    path: "state".into(),
                    every: Duration::ZERO,
                })
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
                let batch = BatchOptions {
                    max: 2,
                    ..BatchOptions::default()
                };
                let ring = RingBufferConfig {
                    capacity: 1,
                    policy: Policy::Block,
                };
                g.ring_buffer("ring", ring, StageOptions { batch, ..plain() })
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
    ];
    for (number, (change, kind, words)) in cases.into_iter().enumerate() {
        let graph = change(sound());
        let faults = graph.check();
        assert_eq!(faults.len(), 1, "case {number}: {faults:?}");
        assert_eq!(faults[0].kind, kind, "case {number}: {faults:?}");
        assert!(
            faults[0].message.contains(words),
            "case {number}: {faults:?}"
        );
        assert_eq!(refused(graph), faults, "case {number}");
    }
}

fn recording() -> RecordingOptions {
    RecordingOptions {
        path: "recording".into(),
        keep_bytes: 1 << 20,
        sync: false,
    }
}

#[test]
fn a_graph_that_circulates_is_refused_with_the_way() {
    let graph = GraphBuilder::new("circle")
        .source::<Count>("count", counting(1), plain())
        .stage::<Double>("p", DoubleConfig::default(), plain())
        .stage::<Double>("q", DoubleConfig::default(), plain())
        .edge("count", "p", edge())
        .edge("p", "q", edge())
        .edge("q", "p", edge());
    let faults = refused(graph);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].message,
        "the edge `q->p` closes a cycle: p -> q -> p"
    );
    assert_eq!(faults[0].place.subject, FaultSubject::Edge(2));
}

#[test]
fn an_empty_graph_and_a_name_given_twice_are_refused() {
    assert_eq!(kinds(&GraphBuilder::new("empty")), [FaultKind::EmptyGraph]);
    let twice = sound().stage::<Collect>("collect", CollectConfig::default(), plain());
    assert_eq!(kinds(&twice), [FaultKind::DuplicateName]);
}

#[test]
fn every_fault_of_a_graph_is_reported_together_with_its_place_and_a_hint() {
    let restart = RestartOptions {
        window: Duration::ZERO,
        ..RestartOptions::default()
    };
    let graph = sound()
        .stage::<Collect>(
            "other",
            CollectConfig::default(),
            StageOptions { restart, ..plain() },
        )
        .edge(
            "double",
            "oter",
            EdgeOptions {
                capacity: 0,
                ..edge()
            },
        )
        .edge("collect", "double", edge())
        .edge("double", "count", edge());
    let faults = refused(graph);
    let found: Vec<(FaultKind, String, &str)> = faults
        .iter()
        .map(|fault| {
            let option = fault.place.option.clone();
            (fault.kind, option, fault.place.name.as_str())
        })
        .collect();
    assert_eq!(
        found,
        [
            (FaultKind::UnknownStage, "to".to_owned(), "double->oter"),
            (FaultKind::NoOutput, "from".to_owned(), "collect->double"),
            (FaultKind::NoInput, "to".to_owned(), "double->count"),
            (FaultKind::UnfedStage, String::new(), "other"),
            (FaultKind::OutOfRange, "capacity".to_owned(), "double->oter"),
            (FaultKind::OutOfRange, "restart.window".to_owned(), "other"),
        ]
    );
    assert_eq!(faults[0].help.as_deref(), Some("did you mean `other`?"));
    let text = GraphError::Invalid(faults).to_string();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        text.starts_with(
            "E0103 unknown-stage: the edge `double->oter` names the unknown stage `oter`"
        ),
        "{text}"
    );
}
