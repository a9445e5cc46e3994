//! A graph built in code is checked as a topology is.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "embed_check/cases.rs"]
mod cases;
mod common;
#[path = "embed_check/stages.rs"]
mod stages;

use std::time::Duration;

use cases::cases;
use common::{Collect, CollectConfig, Count, CountConfig, Double, DoubleConfig, Number};
use heqis_actors::sp::{Endpoint, Inproc};
use heqis_actors::{
    BridgeOptions, EdgeOptions, FaultKind, FaultSubject, GraphBuilder, GraphError, GraphFault,
    PayloadType, RestartOptions, RingBufferConfig, StageOptions,
};
use stages::{Deceived, Direction, Factors, Letter, ModelConfig, Reader, model};

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
    BridgeOptions::new(Endpoint::Inproc {
        name: "embed-check".into(),
    })
}

#[test]
fn a_sound_graph_has_no_fault() {
    assert_eq!(sound().check(), []);
}

#[test]
fn a_model_of_another_models_factors_is_refused() {
    let graph = GraphBuilder::new("contracts")
        .source::<Count>("count", counting(2_517), plain())
        .stage::<Factors>("factors", model(1), plain())
        .ring_buffer("ring", RingBufferConfig::new(8), plain())
        .stage::<Direction<false>>("direction", model(2), plain())
        .edge("count", "factors", edge())
        .edge("factors", "ring", edge())
        .edge("ring", "direction", edge());
    let faults = refused(graph);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].kind, FaultKind::ContractMismatch);
    assert_eq!(faults[0].place.name, "ring->direction");
    assert_eq!(
        faults[0].message,
        "stage `direction` (direction) requires model = 2, but `factors` provides model = 1"
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
    let restart = RestartOptions::new().window(Duration::ZERO);
    let graph = sound()
        .stage::<Collect>("other", CollectConfig::default(), plain().restart(restart))
        .edge("double", "oter", edge().capacity(0))
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

#[test]
fn every_value_that_a_topology_refuses_is_refused_in_code() {
    for (number, (change, kind, words)) in cases().into_iter().enumerate() {
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

#[test]
fn two_types_of_one_name_are_two_payloads() {
    let graph = GraphBuilder::new("impostor")
        .source::<Count>("count", counting(1), plain())
        .ring_buffer("ring", RingBufferConfig::new(8), plain())
        .stage::<Deceived>("deceived", model(0), plain())
        .edge("count", "ring", edge())
        .edge("ring", "deceived", edge());
    let faults = refused(graph);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].message,
        "stage `count` makes `number`, but `deceived` (deceived) takes another type of that name"
    );
}

#[test]
fn a_check_that_panics_is_a_fault() {
    let graph = sound()
        .stage::<Factors>("factors", model(u64::MAX), plain())
        .edge("double", "factors", edge())
        .stage::<Direction<false>>("direction", model(u64::MAX), plain())
        .edge("factors", "direction", edge());
    let faults = refused(graph);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].message,
        "stage `factors` (factors): panic: no such version"
    );
}

#[test]
fn models_that_differ_do_not_connect_across_nodes() {
    let hub = Inproc::new();
    let payload = PayloadType::of::<Number>;
    let sender = GraphBuilder::new("far")
        .node("gateway")
        .inproc(hub.clone())
        .source::<Count>("count", counting(10), plain())
        .stream("count", "numbers")
        .stage::<Factors>("factors", model(1), plain())
        .remote("direction")
        .edge("count", "factors", edge())
        .edge_out(0, ("factors", "direction"), payload(), edge(), bridge());
    let receiver = GraphBuilder::new("far")
        .node("compute")
        .inproc(hub)
        .remote("count")
        .remote("factors")
        .stage::<Direction<false>>("direction", model(2), plain())
        .edge_in(0, ("factors", "direction"), payload(), edge(), bridge());
    let (receiver, sender) = (receiver.spawn().unwrap(), sender.spawn().unwrap());
    let reason = loop {
        let report = sender.report();
        let edge = report
            .edges
            .iter()
            .find(|edge| edge.edge == "factors->direction");
        let waits = edge.unwrap().waits.clone().unwrap_or_default();
        if waits.contains("model") {
            break waits;
        }
        std::thread::yield_now();
    };
    assert!(
        reason.contains("sends 1") && reason.contains("takes 2"),
        "{reason}"
    );
    for graph in [sender, receiver] {
        graph.stop_handle().abandon();
        assert_eq!(graph.wait_blocking().edges.last().unwrap().delivered, 0);
    }
}
