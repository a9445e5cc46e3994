//! Stages with several inputs and outputs: each frame goes by its port, and every rule of one port holds for each of several.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Count, CountConfig, Number};
use heqis_actors::testing::StageTest;
use heqis_actors::{
    BatchOptions, BridgeOptions, BuildContext, DropCause, EdgeOptions, EdgeReport, Emitter, Ending,
    FaultKind, Frame, GraphBuilder, Inputs, Join, NodeReport, Nothing, Outputs, Payload,
    PayloadType, RestartOptions, Snapshot, Stage, StageError, StageOptions, StateOptions, channel,
    channel_out,
};

const DRAIN: Duration = Duration::from_secs(20);

/// A word that belongs to a number.
#[derive(Clone, Debug, PartialEq, Payload)]
struct Label(#[payload(key)] u64, String);

fn counting(count: u64) -> CountConfig {
    CountConfig {
        count,
        groups: 1,
        every_ns: 0,
    }
}

#[derive(Outputs)]
enum Parity {
    Even(Frame<Number>),
    Odd(Label),
    #[port(optional)]
    Big(Number),
}

/// Passes on even numbers, names odd ones, and repeats those above 90.
struct Sort;

impl Stage for Sort {
    type Config = ();
    type In = Number;
    type Out = Parity;
    const KIND: &'static str = "sort";

    fn build(_: &(), _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        number: &Frame<Number>,
        out: &mut Emitter<'_, Parity>,
    ) -> Result<(), StageError> {
        let value = number.value;
        if value > 90 {
            out.emit(number.head(), Parity::Big((**number).clone()));
        }
        let port = match value % 2 {
            0 => Parity::Even(number.clone()),
            _ => Parity::Odd(Label(value, format!("number {value}"))),
        };
        out.emit(number.head(), port);
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }
}

#[derive(Inputs)]
enum PairIn {
    Numbers(Frame<Number>),
    #[port(name = "labels")]
    Words(Frame<Label>),
}

/// Emits the sum of the numbers since the last word with each word.
#[derive(Default)]
struct Totals {
    numbers: Vec<Frame<Number>>,
    fails_at: Option<u64>,
}

impl Stage for Totals {
    type Config = ();
    type In = PairIn;
    type Out = Label;
    const KIND: &'static str = "totals";

    fn process(&mut self, input: &PairIn, out: &mut Emitter<'_, Label>) -> Result<(), StageError> {
        match input {
            PairIn::Numbers(number) if Some(number.value) == self.fails_at => {
                self.fails_at = None;
                Err(StageError::failed("a failure on purpose"))
            }
            PairIn::Numbers(number) if number.value == 13 => Err(StageError::refused("it is 13")),
            PairIn::Numbers(number) => {
                self.numbers.push(number.clone());
                Ok(())
            }
            PairIn::Words(word) => {
                let sum = self.numbers.iter().map(|number| number.value).sum();
                let parents = self.numbers.iter().map(Frame::head).chain([word.head()]);
                out.emit_from(parents, Label(sum, word.1.clone()));
                self.numbers.clear();
                Ok(())
            }
        }
    }
}

fn edge<'r>(report: &'r NodeReport, name: &str) -> &'r EdgeReport {
    let mut edges = report.edges.iter();
    edges.find(|edge| edge.edge == name).unwrap()
}

fn sorted() -> GraphBuilder {
    GraphBuilder::new("sorted")
        .source::<Count>("count", counting(100), StageOptions::default())
        .stage::<Sort>("sort", (), StageOptions::default())
        .chain(&["count", "sort"])
}

#[test]
fn each_frame_leaves_by_its_port_alone() {
    let (even, evens) = channel_out::<Number>();
    let (odd, odds) = channel_out::<Label>();
    let graph = sorted()
        .output("even", even)
        .output("odd", odd)
        .chain(&["sort.even", "even"])
        .chain(&["sort.odd", "odd"])
        .spawn()
        .unwrap();
    let odds = std::thread::spawn(move || odds.into_iter().map(|word| word.0).collect::<Vec<_>>());
    let evens: Vec<u64> = evens.into_iter().map(|number| number.value).collect();
    let report = graph.wait_blocking();
    assert_eq!(evens, (1..=50).map(|half| half * 2).collect::<Vec<_>>());
    assert_eq!(
        odds.join().unwrap(),
        (0..50).map(|half| half * 2 + 1).collect::<Vec<_>>()
    );
    // What leaves by an optional port without an edge is in no book.
    assert!(report.is_clean() && report.books_close());
    for (name, frames) in [
        ("count->sort", 100),
        ("sort.even->even", 50),
        ("sort.odd->odd", 50),
    ] {
        assert_eq!(
            (edge(&report, name).sent, edge(&report, name).delivered),
            (frames, frames)
        );
    }
}

#[test]
fn edges_of_one_port_share_or_repeat_its_frames() {
    let by_key = EdgeOptions::new().partition_by_key(true);
    let sink = |graph: GraphBuilder, name: &str| graph.sink_fn(name, |_: &Frame<Label>| {});
    let mut graph = sorted()
        .sink_fn("evens", |_: &Frame<Number>| {})
        .chain(&["sort.even", "evens"]);
    for name in ["one", "other", "all"] {
        graph = sink(graph, name);
    }
    let report = graph
        .edge("sort.odd", "one", by_key)
        .edge("sort.odd", "other", by_key)
        .edge("sort.odd", "all", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    let delivered = |name: &str| edge(&report, name).delivered;
    assert_eq!(
        delivered("sort.odd->one") + delivered("sort.odd->other"),
        50
    );
    assert!(delivered("sort.odd->one") > 0 && delivered("sort.odd->other") > 0);
    assert_eq!(delivered("sort.odd->all"), 50);
}

/// Numbers and words by channels into `totals`, and what it emits.
fn totals(
    stage: impl Fn() -> Totals + Send + Sync + 'static,
    options: StageOptions,
) -> (
    GraphBuilder,
    heqis_actors::Sender<Number>,
    heqis_actors::Sender<Label>,
    heqis_actors::Receiver<Label>,
) {
    let (numbers, from_numbers) = channel::<Number>(64);
    let (words, from_words) = channel::<Label>(64);
    let (sink, received) = channel_out::<Label>();
    let graph = GraphBuilder::new("totals")
        .input("numbers", from_numbers)
        .input("words", from_words)
        .stage_with("totals", move |_| Ok(stage()))
        .options("totals", options)
        .output("out", sink)
        .chain(&["numbers", "totals.numbers"])
        .chain(&["words", "totals.labels"])
        .chain(&["totals", "out"]);
    (graph, numbers, words, received)
}

#[test]
fn a_frame_arrives_by_its_port_and_merges_with_those_of_others() {
    let (graph, numbers, words, mut received) = totals(Totals::default, StageOptions::default());
    let graph = graph.spawn().unwrap();
    for value in 1..=10 {
        numbers.send(Number { value, group: 0 }).unwrap();
    }
    // The ports do not wait for each other: a word counts what has arrived.
    std::thread::sleep(Duration::from_millis(100));
    words.send(Label(0, "ten".into())).unwrap();
    let total = received.recv().unwrap();
    assert_eq!((total.0, total.1.as_str()), (55, "ten"));
    let origins = total.head().origins();
    assert_eq!(
        origins
            .done()
            .iter()
            .map(|run| run.last - run.first + 1)
            .sum::<u64>(),
        11
    );
    drop(total);
    // One port has ended and the other continues.
    drop(numbers);
    words.send(Label(0, "none".into())).unwrap();
    assert_eq!(received.recv().unwrap().0, 0);
    drop(words);
    assert!(received.recv().is_none());
    let report = graph.wait_blocking();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(edge(&report, "numbers->totals.numbers").delivered, 10);
    assert_eq!(edge(&report, "words->totals.labels").delivered, 2);
}

#[test]
fn a_refused_frame_and_a_failed_batch_are_booked_on_the_edge_of_their_port() {
    let fails = StageOptions::new()
        .batch(
            BatchOptions::new()
                .max(4)
                .max_delay(Duration::from_millis(20)),
        )
        .restart(RestartOptions::new().backoff_min(Duration::ZERO));
    let stage = || Totals {
        fails_at: Some(5),
        ..Totals::default()
    };
    let (graph, numbers, words, mut received) = totals(stage, fails);
    let graph = graph.spawn().unwrap();
    for value in [4, 5, 13] {
        numbers.send(Number { value, group: 0 }).unwrap();
    }
    words.send(Label(0, "after".into())).unwrap();
    drop((numbers, words));
    while received.recv().is_some() {}
    let report = graph.wait_blocking();
    let (numbers, words) = (
        edge(&report, "numbers->totals.numbers"),
        edge(&report, "words->totals.labels"),
    );
    // 5 fails each build that sees it, and is dropped the second time.
    let dropped = [(DropCause::Refused, 1), (DropCause::StageFailed, 1)];
    assert_eq!(
        numbers.dropped,
        dropped.into_iter().collect::<BTreeMap<_, _>>()
    );
    assert_eq!(
        (numbers.delivered, words.delivered, words.dropped.len()),
        (1, 1, 0)
    );
    assert!(report.books_close());
}

#[derive(Inputs, Outputs)]
enum Halves {
    Even(Frame<Number>),
    Odd(Frame<Number>),
}

/// Sums of both ports, which it gives out at the end of the data.
struct Sums {
    sums: (u64, u64),
    end: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Stage for Sums {
    type Config = ();
    type In = Halves;
    type Out = Nothing;

    fn process(&mut self, input: &Halves, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        match input {
            Halves::Even(number) => self.sums.0 += number.value,
            Halves::Odd(number) => self.sums.1 += number.value,
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.sums)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.sums = Snapshot::read(state)?;
        Ok(())
    }

    fn drain(&mut self, ending: Ending, _: &mut Emitter<'_, Nothing>) -> Result<(), StageError> {
        if ending == Ending::Complete {
            self.end.lock().unwrap().push(self.sums);
        }
        Ok(())
    }
}

#[test]
fn a_node_with_ports_saves_its_state_and_continues() {
    let folder = tempfile::tempdir().unwrap();
    let end = Arc::<Mutex<Vec<_>>>::default();
    let start = || {
        let end = end.clone();
        let paced = CountConfig {
            every_ns: 200_000,
            ..counting(1000)
        };
        GraphBuilder::new("halves")
            .source::<Count>("count", paced, StageOptions::default())
            .stream("count", "numbers")
            .split("split", |number: &Frame<Number>| match number.value % 2 {
                0 => Halves::Even(number.clone()),
                _ => Halves::Odd(number.clone()),
            })
            .stage_with("sums", move |_| {
                let end = end.clone();
                Ok(Sums { sums: (0, 0), end })
            })
            .chain(&["count", "split"])
            .chain(&["split.even", "sums.even"])
            .chain(&["split.odd", "sums.odd"])
            .state(StateOptions::new(folder.path().join("state")).every(DRAIN))
            .spawn()
            .unwrap()
    };
    let graph = start();
    while graph.report().edges[0].delivered < 100 {
        std::thread::sleep(Duration::from_millis(1));
    }
    graph.stop_handle().stop();
    let left = graph.wait_blocking();
    assert!(left.left && end.lock().unwrap().is_empty(), "{left:?}");
    let report = start().wait_blocking();
    assert!(report.books_close());
    let again = edge(&report, "split.even->sums.even").delivered;
    assert!(again < 500, "{again} are processed again");
    let even = (1..=500).map(|half| half * 2).sum();
    let odd = (0..500).map(|half| half * 2 + 1).sum();
    assert_eq!(*end.lock().unwrap(), [(even, odd)]);
}

#[test]
fn a_frame_crosses_to_another_node_by_its_port() {
    let hub = heqis_actors::sp::Inproc::new();
    let bridge =
        |name: &str| BridgeOptions::new(format!("inproc://{name}").parse().unwrap()).credit(8usize);
    let edges = EdgeOptions::default;
    let (number, word) = (PayloadType::of::<Number>(), PayloadType::of::<Label>());
    let (evens, odds) = (
        ("sort.even", "totals.numbers"),
        ("sort.odd", "totals.labels"),
    );
    let sender = GraphBuilder::new("sorted")
        .source::<Count>("count", counting(100), StageOptions::default())
        .split("sort", |number: &Frame<Number>| match number.value % 2 {
            0 => Parity::Even(number.clone()),
            _ => Parity::Odd(Label(number.value, "odd".into())),
        })
        .chain(&["count", "sort"])
        .node("gateway")
        .inproc(hub.clone())
        .remote("totals")
        .edge_out(0, evens, number, edges(), bridge("even"))
        .edge_out(1, odds, word, edges(), bridge("odd"));
    let receiver = |evens, odds| {
        let (sink, received) = channel_out::<Label>();
        let graph = GraphBuilder::new("sorted")
            .node("compute")
            .inproc(hub.clone())
            .remote("count")
            .remote("sort")
            .stage_with("totals", |_| Ok(Totals::default()))
            .output("out", sink)
            .edge_in(0, evens, number, edges(), bridge("even"))
            .edge_in(1, odds, word, edges(), bridge("odd"))
            .chain(&["totals", "out"]);
        (graph, received)
    };
    // Each half knows the port at its end.
    let (graph, _received) = receiver(("sort.even", "totals.words"), odds);
    let faults = graph.check();
    assert!(
        faults
            .iter()
            .any(|fault| fault.kind == FaultKind::UnknownPort),
        "{faults:?}"
    );
    let (graph, received) = receiver(evens, odds);
    let (sender, graph) = (sender.spawn().unwrap(), graph.spawn().unwrap());
    // The receiver is dropped as soon as its stream has ended, which stops neither node.
    let sums: u64 = received.into_iter().map(|total| total.0).sum();
    let (sent, taken) = (sender.wait_blocking(), graph.wait_blocking());
    assert!(sent.is_clean() && taken.is_clean(), "{sent:?} {taken:?}");
    for (name, frames) in [
        ("sort.even->totals.numbers", 50),
        ("sort.odd->totals.labels", 50),
    ] {
        assert_eq!(
            (edge(&sent, name).delivered, edge(&taken, name).delivered),
            (frames, frames)
        );
    }
    assert!(sums <= (1..=50).map(|half| half * 2).sum());
    assert!(!taken.left && !sent.left, "{taken:?}");
}

#[test]
fn pairs_are_of_one_key_and_what_finds_no_partner_is_counted() {
    let (sink, joined) = channel_out::<Label>();
    let numbers = [(1, 7), (2, 8), (3, 7), (4, 9), (5, 9), (6, 9)];
    let graph = GraphBuilder::new("joins")
        .source_iter(
            "numbers",
            numbers.map(|(value, group)| Number { value, group }),
        )
        .source_iter(
            "words",
            [7, 8, 7, 1].map(|key| Label(key, format!("of {key}"))),
        )
        .join(
            "join",
            Join::capacity(2),
            |number: &Frame<Number>, word: &Frame<Label>| Label(number.value, word.1.clone()),
        )
        .output("out", sink)
        .edge("numbers", "join.left", EdgeOptions::default())
        .chain(&["words", "join.right"])
        .chain(&["join", "out"])
        .spawn()
        .unwrap();
    let mut pairs: Vec<_> = joined
        .into_iter()
        .map(|pair| (pair.0, pair.1.clone()))
        .collect();
    pairs.sort();
    let report = graph.wait_blocking();
    let found: Vec<_> = pairs
        .iter()
        .map(|(value, word)| (*value, word.as_str()))
        .collect();
    // Which frames the full hold refuses depends on the order of arrival; every pair is one of the same key.
    let possible = [(1, "of 7"), (2, "of 8"), (3, "of 7")];
    assert!(
        found.iter().all(|pair| possible.contains(pair)),
        "{found:?}"
    );
    let stage = report
        .stages
        .iter()
        .find(|stage| stage.stage == "join")
        .unwrap();
    let events: BTreeMap<_, _> = stage.events.iter().cloned().collect();
    let refused = edge(&report, "numbers->join.left").dropped_total()
        + edge(&report, "words->join.right").dropped_total();
    assert_eq!(events["full"], refused);
    assert_eq!(events["unmatched"] + refused + 2 * found.len() as u64, 10);
    assert!(refused >= 1 && report.books_close());
}

#[test]
fn the_pairs_do_not_depend_on_the_order_of_arrival() {
    for swapped in [false, true] {
        let (sink, joined) = channel_out::<Label>();
        let (numbers, from_numbers) = channel::<Number>(64);
        let (words, from_words) = channel::<Label>(64);
        let graph = GraphBuilder::new("joins")
            .input("numbers", from_numbers)
            .input("words", from_words)
            .join(
                "join",
                Join::default(),
                |number: &Frame<Number>, word: &Frame<Label>| Label(number.value, word.1.clone()),
            )
            .output("out", sink)
            .chain(&["numbers", "join.left"])
            .chain(&["words", "join.right"])
            .chain(&["join", "out"])
            .spawn()
            .unwrap();
        let give_numbers =
            || (1..=3).for_each(|value| numbers.send(Number { value, group: 5 }).unwrap());
        let give_words = || {
            ["a", "b", "c"]
                .iter()
                .for_each(|word| words.send(Label(5, (*word).into())).unwrap())
        };
        match swapped {
            true => (
                give_words(),
                std::thread::sleep(Duration::from_millis(50)),
                give_numbers(),
            ),
            false => (
                give_numbers(),
                std::thread::sleep(Duration::from_millis(50)),
                give_words(),
            ),
        };
        drop((numbers, words));
        let pairs: Vec<_> = joined
            .into_iter()
            .map(|pair| (pair.0, pair.1.clone()))
            .collect();
        assert_eq!(
            pairs,
            [(1, "a".to_owned()), (2, "b".into()), (3, "c".into())]
        );
        assert!(graph.wait_blocking().is_clean());
    }
}

#[test]
fn a_stage_with_ports_is_tested_without_a_graph() {
    let mut sort = StageTest::<Sort>::new(()).unwrap();
    for value in [92, 7] {
        let frame = sort.frame(Number { value, group: 0 });
        sort.process(&frame).unwrap();
    }
    sort.flush().unwrap();
    assert_eq!(sort.emitted::<Label>("odd")[0].0, 7);
    let big: Vec<_> = sort
        .emitted::<Number>("big")
        .iter()
        .map(|number| number.value)
        .collect();
    assert_eq!((big, sort.emitted::<Number>("even").len()), (vec![92], 1));
    assert_eq!(sort.emitted::<Label>("odd").len(), 0);
    sort.end_input(Ending::Complete).unwrap();
}
