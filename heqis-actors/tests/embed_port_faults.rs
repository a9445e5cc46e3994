//! Faults of ports: in code as in a topology, all at once, with the ports that exist.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Count, CountConfig, Number};
use heqis_actors::{
    BuildContext, Emitter, Frame, GraphBuilder, Inputs, Nothing, Outputs, Payload, PortContract,
    Property, Stage, StageError, StageOptions,
};

/// A word that belongs to a number.
#[derive(Clone, Debug, PartialEq, Payload)]
struct Label(String);

fn counting(count: u64) -> CountConfig {
    CountConfig {
        count,
        groups: 1,
        every_ns: 0,
    }
}

#[derive(Outputs)]
#[expect(dead_code, reason = "nothing is emitted")]
enum Parity {
    Even(Frame<Number>),
    Odd(Label),
    #[port(optional)]
    Big(Number),
}

struct Sort;

impl Stage for Sort {
    type Config = ();
    type In = Number;
    type Out = Parity;
    const KIND: &'static str = "sort";

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Number>,
        _: &mut Emitter<'_, Parity>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Inputs)]
enum PairIn {
    Numbers(Frame<Number>),
    #[port(name = "labels")]
    Words(Frame<Label>),
}

#[derive(Default)]
struct Totals;

impl Stage for Totals {
    type Config = ();
    type In = PairIn;
    type Out = Label;
    const KIND: &'static str = "totals";

    fn process(&mut self, _: &PairIn, _: &mut Emitter<'_, Label>) -> Result<(), StageError> {
        Ok(())
    }
}

#[test]
fn every_fault_of_ports_is_found_at_once_with_the_ports_that_there_are() {
    let graph = GraphBuilder::new("faulty")
        .source::<Count>("count", counting(1), StageOptions::default())
        .stage::<Sort>("sort", (), StageOptions::default())
        .stage_with("totals", |_| Ok(Totals))
        .stage_with("a.b", |_| Ok(Sort))
        .sink_fn("end", |_: &Frame<Label>| {})
        .chain(&["count", "sort.numbers"])
        .chain(&["sort.evn", "totals.numbers"])
        .chain(&["sort.odd", "totals"])
        .chain(&["totals", "end"]);
    let found: Vec<String> = graph.check().iter().map(ToString::to_string).collect();
    let expected = [
        "E0106 bad-name: \"a.b\" is no name for a stage (a dot stands between a stage and its port; a name is a lower-case letter, then lower-case letters, digits and hyphens, 64 at most)",
        "E0317 unknown-port: the edge `count->sort.numbers` names the port `numbers` of stage `sort` (sort), which has one input under its own name (`sort` takes `number`)",
        "E0317 unknown-port: the edge `sort.evn->totals.numbers` names the unknown output port `evn` of stage `sort` (sort) (did you mean `even`? `sort.even` makes `number`, `sort.odd` makes `label`, `sort.big` makes `number`)",
        "E0317 unknown-port: the edge `sort.odd->totals` names none of the input ports of stage `totals` (totals) (`totals.numbers` takes `number`, `totals.labels` takes `label`)",
    ];
    for text in expected {
        assert!(
            found.iter().any(|fault| fault == text),
            "{text}\n{found:#?}"
        );
    }
    // Only the stage that nothing feeds, and none for ports that a misspelt name may have meant.
    assert!(
        !found.iter().any(|fault| fault.contains("`sort.even` (")),
        "{found:#?}"
    );
    assert_eq!(found.len(), 4 + 3, "{found:#?}");
}

#[test]
fn unconnected_ports_and_edges_of_another_payload_are_faults_unless_the_port_is_optional() {
    let graph = GraphBuilder::new("loose")
        .source::<Count>("count", counting(1), StageOptions::default())
        .stage::<Sort>("sort", (), StageOptions::default())
        .stage_with("totals", |_| Ok(Totals))
        .sink_fn("end", |_: &Frame<Label>| {})
        .chain(&["count", "sort"])
        .chain(&["sort.even", "totals.labels"])
        .chain(&["totals", "end"]);
    let found: Vec<String> = graph
        .check()
        .iter()
        .map(|fault| fault.message.clone())
        .collect();
    assert_eq!(
        found,
        [
            "port `sort.even` makes `number`, but `totals.labels` (totals) takes `label`",
            "port `sort.odd` (sort) makes `label`, but no edge leaves it",
            "port `totals.numbers` (totals) takes `number`, but no edge leads to it",
        ]
    );
}

/// A stage whose ports have contracts of their own.
struct Shapes;

#[derive(Outputs)]
#[expect(dead_code, reason = "nothing is emitted")]
enum RowsOut {
    Wide(Number),
    Narrow(Number),
}

impl Stage for Shapes {
    type Config = ();
    type In = Number;
    type Out = RowsOut;
    const KIND: &'static str = "shapes";
    const ROUTES: bool = true;

    fn contract((): &(), _: &std::path::Path) -> PortContract {
        let rows = |rows| PortContract::default().provide("rows", Property::Number(rows));
        PortContract::default()
            .at("wide", rows(16))
            .at("narrow", rows(1))
    }

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Number>,
        _: &mut Emitter<'_, RowsOut>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

struct Needs16;

impl Stage for Needs16 {
    type Config = ();
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "needs-16";

    fn contract((): &(), _: &std::path::Path) -> PortContract {
        PortContract::default().require("rows", Property::Number(16))
    }

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
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

#[test]
fn each_port_has_a_contract_of_its_own() {
    let graph = GraphBuilder::new("shapes")
        .source::<Count>("count", counting(1), StageOptions::default())
        .stage::<Shapes>("shapes", (), StageOptions::default())
        .stage::<Needs16>("one", (), StageOptions::default())
        .stage::<Needs16>("other", (), StageOptions::default())
        .chain(&["count", "shapes"])
        .chain(&["shapes.wide", "one"])
        .chain(&["shapes.narrow", "other"]);
    let found: Vec<String> = graph
        .check()
        .iter()
        .map(|fault| fault.message.clone())
        .collect();
    assert_eq!(
        found,
        ["stage `other` (needs-16) requires rows = 16, but `shapes.narrow` provides rows = 1"]
    );
}

#[test]
fn the_ways_behind_a_stage_that_routes_may_meet_and_others_may_not() {
    let meeting = |graph: GraphBuilder| {
        graph
            .source::<Count>("count", counting(10), StageOptions::default())
            .sink_fn("end", |_: &Frame<Number>| {})
            .chain(&["count", "split"])
            .chain(&["split.low", "end"])
            .chain(&["split.high", "end"])
    };
    #[derive(Outputs)]
    enum By {
        Low(Number),
        High(Number),
    }
    struct Both;
    impl Stage for Both {
        type Config = ();
        type In = Number;
        type Out = By;
        fn process(
            &mut self,
            number: &Frame<Number>,
            out: &mut Emitter<'_, By>,
        ) -> Result<(), StageError> {
            out.emit(number.head(), By::Low((**number).clone()));
            out.emit(number.head(), By::High((**number).clone()));
            Ok(())
        }
    }
    let routed = meeting(
        GraphBuilder::new("routed").split("split", |number: &Frame<Number>| {
            let port = if number.value < 5 { By::Low } else { By::High };
            port((**number).clone())
        }),
    );
    let report = routed.run(std::time::Duration::from_secs(20)).unwrap();
    let mut delivered: Vec<_> = report.edges.iter().map(|edge| edge.delivered).collect();
    delivered.sort_unstable();
    assert_eq!(delivered, [4, 6, 10]);
    let both = meeting(GraphBuilder::new("both").stage_with("split", |_| Ok(Both)));
    let faults = both.check();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].message,
        "stage `end` gets each item of `split` by two ways: split.low -> end and split.high -> end"
    );
}
