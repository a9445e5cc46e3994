//! Sources of graphs built in code: the identity of their items, where they continue after a restart, and when they stop.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Number;
use heqis_actors::sp::Inproc;
use heqis_actors::{
    BridgeOptions, BuildContext, Delivery, EdgeOptions, Emitter, FaultKind, Frame, GraphBuilder,
    Next, NodeReport, Nothing, Origin, Payload, PayloadError, PayloadType, Snapshot, Source, Stage,
    StageError, StageOptions, StateOptions, Tensor,
};
use schemars::JsonSchema;
use serde::Deserialize;

const DRAIN: Duration = Duration::from_secs(20);

/// What a [`Feed`] was asked for.
#[derive(Debug, Default)]
struct Calls {
    made: AtomicU64,
    sought: AtomicU64,
    stopped: AtomicU64,
}

/// Parameters of [`Feed`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct FeedConfig {
    /// The value before the first one.
    before: u64,
    count: u64,
    /// Whether it waits for ever after the last item.
    waits: bool,
    /// Whether it fails after the last item.
    fails: bool,
    seeks: bool,
    #[serde(skip)]
    calls: Arc<Calls>,
}

/// Counts; with `DERIVED` its items have an identity that follows from the parameters.
struct Feed<const DERIVED: bool> {
    config: FeedConfig,
    given: u64,
}

impl<const DERIVED: bool> Source for Feed<DERIVED> {
    type Config = FeedConfig;
    type Out = Number;
    const KIND: &'static str = "feed";
    const ABOUT: &'static str = "counts";
    const REPLAYABLE: bool = true;

    fn identity(config: &FeedConfig, _: &Path) -> Result<Option<u64>, StageError> {
        Ok(DERIVED.then_some(config.before))
    }

    fn build(config: &FeedConfig, _: &BuildContext) -> Result<Self, StageError> {
        let config = config.clone();
        Ok(Self { config, given: 0 })
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        assert_eq!(self.config.calls.stopped.load(Ordering::Relaxed), 0);
        if self.given == self.config.count {
            return match (self.config.fails, self.config.waits) {
                (true, _) => Err(StageError::failed("the line is cut")),
                (_, true) => Ok(Next::Waiting),
                _ => Ok(Next::End),
            };
        }
        self.given += 1;
        self.config.calls.made.fetch_add(1, Ordering::Relaxed);
        let value = self.config.before + self.given;
        Ok(Next::Item(Number { value, group: 0 }))
    }

    fn cursor(&self) -> Option<Vec<u8>> {
        Some(self.given.to_le_bytes().to_vec())
    }

    fn seek(&mut self, position: u64, cursor: Option<&[u8]>) -> Result<bool, StageError> {
        assert_eq!(cursor, Some(&(position - 1).to_le_bytes()[..]));
        self.config.calls.sought.store(position, Ordering::Relaxed);
        if self.config.seeks {
            self.given = position - 1;
        }
        Ok(self.config.seeks)
    }

    fn stop(&mut self) {
        self.config.calls.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

type Entries = Arc<Mutex<Vec<(Origin, Number)>>>;

/// Parameters of [`Log`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct LogConfig {
    #[serde(skip)]
    entries: Entries,
}

/// A commit log that outlives its graph.
struct Log(Entries);

impl Stage for Log {
    type Config = LogConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "log";
    const ABOUT: &'static str = "keeps numbers";
    const COMMIT_LOG: bool = true;
    const RECOVERS: bool = true;

    fn build(config: &LogConfig, cx: &BuildContext) -> Result<Self, StageError> {
        for (origin, number) in config.entries.lock().unwrap().iter() {
            cx.committed().record(*origin, number.clone());
        }
        Ok(Self(config.entries.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let entry = (frame.head().origin, Number::clone(frame));
        self.0.lock().unwrap().push(entry);
        Ok(())
    }
}

fn logged<const DERIVED: bool>(before: u64, entries: &Entries) -> GraphBuilder {
    let feed = FeedConfig {
        before,
        count: 100,
        ..FeedConfig::default()
    };
    let log = LogConfig {
        entries: entries.clone(),
    };
    GraphBuilder::new("logged")
        .source::<Feed<DERIVED>>("feed", feed, StageOptions::default())
        .stage::<Log>("log", log, StageOptions::default())
        .edge("feed", "log", EdgeOptions::default())
}

/// Frames delivered and recognised as duplicates.
fn outcome(graph: GraphBuilder) -> (u64, u64) {
    let report = graph.run(DRAIN).unwrap();
    assert!(report.is_clean(), "{report:?}");
    (report.edges[0].delivered, report.edges[0].duplicate)
}

#[test]
fn other_data_against_the_same_log_are_delivered_whole() {
    let entries = Entries::default();
    let graph = || logged::<false>(0, &entries);
    assert_eq!(outcome(graph()), (100, 0));
    assert_eq!(outcome(logged::<false>(1_000, &entries)), (100, 0));
    // Without an identity the same data are new ones as well, and the check says so.
    assert_eq!(outcome(graph()), (100, 0));
    let warnings = graph().check();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].kind, FaultKind::StreamWithoutIdentity);
    assert!(warnings[0].is_warning() && warnings[0].place.name == "feed");
}

#[test]
fn a_stated_identity_makes_a_source_replayable() {
    let entries = Entries::default();
    let day = |day: &str| logged::<false>(0, &entries).stream("feed", day);
    assert_eq!(day("2024-01-02").check(), []);
    assert_eq!(outcome(day("2024-01-02")), (100, 0));
    assert_eq!(outcome(day("2024-01-02")), (0, 100));
    assert_eq!(outcome(day("2024-01-03")), (100, 0));
}

#[test]
fn a_derived_identity_follows_what_is_read_and_a_stated_one_adds_to_it() {
    let entries = Entries::default();
    assert_eq!(logged::<true>(0, &entries).check(), []);
    assert_eq!(outcome(logged::<true>(0, &entries)), (100, 0));
    assert_eq!(outcome(logged::<true>(0, &entries)), (0, 100));
    assert_eq!(outcome(logged::<true>(1_000, &entries)), (100, 0));
    assert_eq!(
        outcome(logged::<true>(0, &entries).stream("feed", 2)),
        (100, 0)
    );
}

/// Parameters of [`Sum`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
struct SumConfig {
    #[serde(skip)]
    sum: Arc<AtomicU64>,
}

/// Adds numbers up, and saves the sum.
struct Sum {
    sum: u64,
    shown: Arc<AtomicU64>,
}

impl Stage for Sum {
    type Config = SumConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "sum";
    const ABOUT: &'static str = "adds numbers up";

    fn build(config: &SumConfig, _: &BuildContext) -> Result<Self, StageError> {
        let shown = config.sum.clone();
        Ok(Self { sum: 0, shown })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.sum)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.sum = Snapshot::read(state)?;
        Ok(())
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        self.sum += frame.value;
        self.shown.store(self.sum, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs a graph that saves its state until the sum is `until`, and stops it.
fn summed(feed: FeedConfig, until: u64, path: &Path) -> NodeReport {
    let feed =
        |graph: GraphBuilder| graph.source::<Feed<false>>("feed", feed, StageOptions::default());
    summed_from(feed, until, path)
}

fn summed_from(
    feed: impl FnOnce(GraphBuilder) -> GraphBuilder,
    until: u64,
    path: &Path,
) -> NodeReport {
    let sum = SumConfig::default();
    let shown = sum.sum.clone();
    let state = StateOptions::new(path.to_owned()).every(Duration::from_secs(3600));
    let graph = feed(GraphBuilder::new("summed"))
        .stream("feed", "numbers")
        .stage::<Sum>("sum", sum, StageOptions::default())
        .edge("feed", "sum", EdgeOptions::default())
        .state(state);
    let handle = graph.stop_handle();
    let stopping = std::thread::spawn(move || {
        while shown.load(Ordering::Relaxed) != until {
            std::thread::yield_now();
        }
        handle.stop();
    });
    let report = graph.run(DRAIN).unwrap();
    stopping.join().unwrap();
    assert!(report.is_clean(), "{report:?}");
    report
}

#[test]
fn a_source_that_seeks_makes_only_the_items_that_the_state_lacks() {
    let total = |count: u64| count * (count + 1) / 2;
    for (seeks, made_again) in [(false, 10_500), (true, 500)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let feed = |count| FeedConfig {
            count,
            waits: true,
            seeks,
            ..FeedConfig::default()
        };
        let first = feed(10_000);
        let calls = first.calls.clone();
        summed(first, total(10_000), &path);
        // Nothing is restored at first, so nothing is sought.
        assert_eq!(calls.sought.load(Ordering::Relaxed), 0);
        let second = feed(10_500);
        let calls = second.calls.clone();
        let report = summed(second, total(10_500), &path);
        assert_eq!(calls.sought.load(Ordering::Relaxed), 10_001);
        assert_eq!(calls.made.load(Ordering::Relaxed), made_again);
        assert_eq!(report.edges[0].delivered, 500);
        // The position after it is that of all items, so the third run begins after them.
        let third = feed(10_501);
        let calls = third.calls.clone();
        summed(third, total(10_501), &path);
        assert_eq!(calls.sought.load(Ordering::Relaxed), 10_501);
    }
}

#[test]
fn an_iterator_begins_at_the_first_item_that_the_state_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let total = |count: u64| count * (count + 1) / 2;
    let feed = FeedConfig {
        count: 100,
        waits: true,
        ..FeedConfig::default()
    };
    summed(feed, total(100), &path);
    let feed = |graph: GraphBuilder| {
        let number = |value| Number { value, group: 0 };
        graph.source_from("feed", move |first| Ok((first..=150).map(number)))
    };
    let report = summed_from(feed, total(150), &path);
    assert_eq!(report.edges[0].delivered, 50);
}

/// Takes its time.
struct Slow(Arc<Calls>);

impl Stage for Slow {
    type Config = FeedConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "slow";
    const ABOUT: &'static str = "takes numbers until the source is stopped";

    fn build(config: &FeedConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.calls.clone()))
    }

    fn process(
        &mut self,
        _: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        self.0.sought.fetch_add(1, Ordering::Relaxed);
        while self.0.stopped.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        Ok(())
    }
}

#[test]
fn a_source_is_stopped_once_when_it_ends_fails_or_the_graph_begins_to_drain() {
    for (waits, fails) in [(false, false), (false, true), (true, false)] {
        let feed = FeedConfig {
            count: 3,
            waits,
            fails,
            ..FeedConfig::default()
        };
        let calls = feed.calls.clone();
        let graph = GraphBuilder::new("stopped")
            .source::<Feed<false>>("feed", feed, StageOptions::default())
            .stage::<Sum>("sum", SumConfig::default(), StageOptions::default())
            .edge("feed", "sum", EdgeOptions::default());
        let handle = graph.stop_handle();
        let seen = calls.clone();
        let stopping = std::thread::spawn(move || {
            while waits && seen.made.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
            if waits {
                assert_eq!(seen.stopped.load(Ordering::Relaxed), 0);
                handle.stop();
            }
        });
        let report = graph.run(DRAIN).unwrap();
        stopping.join().unwrap();
        assert_eq!(report.failure.is_some(), fails);
        assert_eq!(calls.stopped.load(Ordering::Relaxed), 1, "{waits} {fails}");
    }
}

#[test]
fn a_source_is_stopped_before_the_frames_on_their_way_are_finished() {
    // The stage takes no second frame before the source is stopped, and the edge has room for one.
    let feed = FeedConfig {
        count: 10,
        ..FeedConfig::default()
    };
    let calls = feed.calls.clone();
    let own = StageOptions::new().arbiter("slow");
    let one = EdgeOptions::new().capacity(1);
    let graph = GraphBuilder::new("blocked")
        .source::<Feed<false>>("feed", feed.clone(), StageOptions::default())
        .stage::<Slow>("slow", feed, own)
        .edge("feed", "slow", one);
    let handle = graph.stop_handle();
    let seen = calls.clone();
    let stopping = std::thread::spawn(move || {
        while seen.sought.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        handle.stop();
    });
    let report = graph.run(DRAIN).unwrap();
    stopping.join().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(calls.stopped.load(Ordering::Relaxed), 1);
    assert_eq!(report.edges[0].sent, calls.made.load(Ordering::Relaxed));
}

/// Another type under the name of numbers, which a receiver cannot distinguish from them.
struct Impostor;

impl Payload for Impostor {
    const NAME: &'static str = Number::NAME;
    const WIRE: bool = true;

    fn encode(&self, _: &mut Vec<u8>) -> Result<(), PayloadError> {
        Ok(())
    }

    fn decode(_: &[u8], _: Tensor) -> Result<Self, PayloadError> {
        Ok(Self)
    }
}

#[test]
fn the_books_close_even_when_a_frame_of_another_type_arrives() {
    for credit in [1, 8, 64] {
        let hub = Inproc::new();
        let bridge = BridgeOptions::new("inproc://numbers".parse().unwrap())
            .credit(credit)
            .delivery(Delivery::AtMostOnce);
        let feed = FeedConfig {
            count: 5_000,
            ..FeedConfig::default()
        };
        let payload = PayloadType::of::<Impostor>;
        let (edge, options) = (EdgeOptions::default(), StageOptions::default);
        let own = options().arbiter("own");
        let sender = GraphBuilder::new("deceived")
            .inproc(hub.clone())
            .source::<Feed<false>>("feed", feed, options())
            .remote("sum")
            .edge_out(0, ("feed", "sum"), payload(), edge, bridge.clone());
        let receiver = GraphBuilder::new("deceived")
            .inproc(hub)
            .remote("feed")
            .stage::<Sum>("sum", SumConfig::default(), own)
            .edge_in(0, ("feed", "sum"), payload(), edge, bridge);
        let (receiver, sender) = (receiver.spawn().unwrap(), sender.spawn().unwrap());
        let report = receiver.wait_blocking();
        let books = &report.edges[0];
        let failure = report.failure.as_deref().unwrap_or_default();
        assert!(failure.contains("takes 'number'"), "{report:?}");
        assert!(books.closes() && books.in_flight == 0, "{books:?}");
        assert!(books.sent > 0 && books.delivered == 0, "{books:?}");
        sender.stop_handle().abandon();
        let books = &sender.wait_blocking().edges[0];
        assert!(books.closes() && books.in_flight == 0, "{books:?}");
    }
}
