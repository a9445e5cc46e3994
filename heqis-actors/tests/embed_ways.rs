//! Ways into a graph and out of it: channels, stages of closures, timers, windows, ports.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::Number;
use heqis_actors::{
    DropCause, EdgeOptions, EdgeReport, Emitter, Ending, Exhausted, Frame, GraphBuilder,
    NodeReport, Nothing, Policy, RestartOptions, Stage, StageError, StageOptions, TryRecvError,
    TrySendError, channel, channel_out, channel_with,
};

const DRAIN: Duration = Duration::from_secs(20);

fn number(value: u64) -> Number {
    Number {
        value,
        group: value % 5,
    }
}

fn doubled(frame: &Frame<Number>) -> Number {
    number(frame.value * 2)
}

fn books<'a>(report: &'a NodeReport, edge: &str) -> &'a EdgeReport {
    let found = report.edges.iter().find(|report| report.edge == edge);
    found.unwrap_or_else(|| panic!("no edge {edge} in {report:?}"))
}

fn assert_books_close(report: &NodeReport) {
    for edge in &report.edges {
        assert!(edge.closes() && edge.in_flight == 0, "{edge:?}");
    }
}

fn room(capacity: usize) -> EdgeOptions {
    EdgeOptions::new().capacity(capacity)
}

/// Runs the graph on a thread of its own.
fn spawned(graph: GraphBuilder) -> thread::JoinHandle<NodeReport> {
    thread::spawn(move || graph.run(DRAIN).unwrap())
}

#[test]
fn prices_of_a_thread_become_decisions_as_values_in_order_and_once() {
    let (sender, source) = channel::<Number>(7);
    let (sink, receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("values")
        .input("numbers", source)
        .map("double", doubled)
        .output("doubled", sink)
        .chain(&["numbers", "double", "doubled"]);
    let running = spawned(graph);
    let program = thread::spawn(move || {
        for value in 1..=2_000 {
            sender.send(number(value)).unwrap();
        }
    });
    let values: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    assert_eq!(
        values,
        (1..=2_000).map(|value| value * 2).collect::<Vec<_>>()
    );
    program.join().unwrap();
    let report = running.join().unwrap();
    assert!(report.is_clean(), "{report:?}");
    for edge in ["numbers", "numbers->double", "double->doubled"] {
        assert_eq!(books(&report, edge).delivered, 2_000);
    }
    let doubled = report.stages.iter().find(|stage| stage.stage == "doubled");
    assert_eq!(doubled.unwrap().frames, 2_000);
}

#[test]
fn a_full_channel_gives_the_payload_back_and_a_sent_one_waits_before_the_graph_has_started() {
    let (sender, source) = channel::<Number>(2);
    sender.try_send(number(1)).unwrap();
    sender.try_send(number(2)).unwrap();
    let Err(TrySendError::Full(third)) = sender.try_send(number(3)) else {
        panic!("the channel has room for two");
    };
    let (sink, receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("before")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    let blocked = thread::spawn(move || sender.send(third));
    let running = spawned(graph);
    let values: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    assert_eq!(values, [1, 2, 3]);
    assert!(blocked.join().unwrap().is_ok());
    assert!(running.join().unwrap().is_clean());
}

#[test]
fn a_receiver_that_takes_nothing_slows_the_senders_down_and_loses_nothing() {
    let (sender, source) = channel::<Number>(4);
    let (sink, mut receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("pressure")
        .input("numbers", source)
        .output("out", sink)
        .edge("numbers", "out", room(3));
    let running = spawned(graph);
    let first = {
        sender.send(number(0)).unwrap();
        receiver.recv().unwrap()
    };
    assert_eq!(first.value, 0);
    // Room: three on the edge, one in the hand of the source, four in the channel.
    let mut accepted = 0;
    let mut refusals = 0;
    while refusals < 20 {
        match sender.try_send(number(accepted + 1)) {
            Ok(()) => accepted += 1,
            Err(_) => {
                refusals += 1;
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
    assert_eq!(accepted, 8);
    assert_eq!(receiver.try_recv().unwrap().value, 1);
    drop(sender);
    let rest: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    assert_eq!(rest, (2..=8).collect::<Vec<_>>());
    assert!(running.join().unwrap().is_clean());
}

#[test]
fn many_threads_and_tasks_send_and_every_payload_arrives_once() {
    let (sender, source) = channel::<Number>(5);
    let (sink, receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("many")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    let running = spawned(graph);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in 0..500 {
                    sender.send(number(thread * 1_000 + value)).unwrap();
                }
            })
        })
        .collect();
    let tasks = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let tasks: Vec<_> = (4..8)
                .map(|task| {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        for value in 0..500 {
                            sender
                                .send_async(number(task * 1_000 + value))
                                .await
                                .unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    let mut values: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    for group in 0..8 {
        // The payloads of one sender keep their order.
        let mut of_one = values.iter().filter(|value| **value / 1_000 == group);
        assert!((0..500).all(|value| of_one.next() == Some(&(group * 1_000 + value))));
    }
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 4_000);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    tasks.join().unwrap();
    assert!(running.join().unwrap().is_clean());
}

#[tokio::test]
async fn a_dropped_future_has_sent_nothing_and_taken_nothing() {
    let (sender, source) = channel::<Number>(1);
    let (sink, mut receiver) = channel_out::<Number>();
    sender.send_async(number(1)).await.unwrap();
    for _ in 0..3 {
        let timeout = tokio::time::timeout(Duration::from_millis(5), sender.send_async(number(9)));
        assert!(timeout.await.is_err(), "the channel is full");
    }
    let taken = tokio::time::timeout(Duration::from_millis(5), receiver.recv_async());
    assert!(taken.await.is_err(), "the graph has not started");
    let graph = GraphBuilder::new("cancelled")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    let running = spawned(graph);
    sender.ready().await;
    sender.send_async(number(2)).await.unwrap();
    drop(sender);
    let mut values = Vec::new();
    while let Some(frame) = receiver.recv_async().await {
        values.push(frame.value);
    }
    assert_eq!(values, [1, 2]);
    assert!(running.join().unwrap().is_clean());
}

#[test]
fn a_stopped_graph_serves_what_it_has_accepted_and_gives_later_payloads_back() {
    let (sender, source) = channel::<Number>(100);
    let (sink, mut receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("stopped")
        .input("numbers", source)
        .output("out", sink)
        .edge("numbers", "out", room(1));
    let handle = graph.stop_handle();
    for value in 1..=50 {
        sender.send(number(value)).unwrap();
    }
    let running = spawned(graph);
    assert_eq!(receiver.recv().unwrap().value, 1);
    handle.stop();
    let values: Vec<u64> = std::iter::from_fn(|| receiver.recv())
        .map(|frame| frame.value)
        .collect();
    assert_eq!(values, (2..=50).collect::<Vec<_>>());
    assert_eq!(receiver.ending(), Some(Ending::Left));
    let refused = sender.send(number(51)).unwrap_err();
    assert_eq!(refused.0.value, 51);
    assert!(sender.is_closed());
    let report = running.join().unwrap();
    assert!(report.is_clean() && report.left, "{report:?}");
}

#[test]
fn what_the_drain_limit_cuts_off_is_named_in_the_report_and_a_waiting_sender_gets_its_payload_back()
{
    let (sender, source) = channel::<Number>(10);
    let (sink, mut receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("cut")
        .input("numbers", source)
        .output("out", sink)
        .edge("numbers", "out", room(4));
    let handle = graph.stop_handle();
    let running = spawned(graph);
    let waiting = thread::spawn(move || {
        let mut sent = 0;
        loop {
            match sender.send(number(sent)) {
                Ok(()) => sent += 1,
                Err(refused) => return (sent, refused.0.value),
            }
        }
    });
    assert_eq!(receiver.recv().unwrap().value, 0);
    thread::sleep(Duration::from_millis(50));
    handle.stop_within(Duration::from_millis(200));
    let report = running.join().unwrap();
    let (sent, refused) = waiting.join().unwrap();
    assert_eq!(refused, sent);
    assert_books_close(&report);
    let dropped: u64 = report
        .edges
        .iter()
        .map(|edge| edge.dropped[&DropCause::Shutdown])
        .sum();
    // One was received; the rest was in the channel, in the hand of the source and on the edge.
    assert_eq!((dropped, books(&report, "numbers").sent), (sent - 1, sent));
    assert!(!report.is_clean());
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Ended);
}

#[test]
fn dropping_the_receiver_stops_the_graph_and_serves_the_other_outputs() {
    let (sender, source) = channel::<Number>(8);
    let (sink, mut first) = channel_out::<Number>();
    let (other_sink, other) = channel_out::<Number>();
    let graph = GraphBuilder::new("dropped")
        .input("numbers", source)
        .output("first", sink)
        .output("other", other_sink)
        .chain(&["numbers", "first"])
        .chain(&["numbers", "other"]);
    let running = spawned(graph);
    let program = thread::spawn(move || {
        let sent = (0..).take_while(|value| sender.send(number(*value)).is_ok());
        sent.count()
    });
    let taken: Vec<u64> = (0..10).map(|_| first.recv().unwrap().value).collect();
    assert_eq!(taken, (0..10).collect::<Vec<_>>());
    drop(first);
    let served = other.into_iter().count();
    let sent = program.join().unwrap();
    assert_eq!(served, sent);
    let report = running.join().unwrap();
    assert_books_close(&report);
    let first = books(&report, "numbers->first");
    assert!(first.delivered >= 10);
    assert_eq!(
        first.delivered + first.dropped.get(&DropCause::Shutdown).unwrap_or(&0),
        sent as u64
    );
}

#[test]
fn ends_of_a_graph_that_never_runs_are_closed() {
    let (sender, source) = channel::<Number>(8);
    let (sink, mut receiver) = channel_out::<Number>();
    sender.send(number(1)).unwrap();
    let graph = GraphBuilder::new("never")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    drop(graph);
    assert!(sender.send(number(2)).is_err());
    assert!(receiver.recv().is_none());
}

#[test]
fn a_program_that_took_the_last_frame_need_not_ask_again_for_the_graph_to_end() {
    let (sender, source) = channel::<Number>(8);
    let (sink, mut receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("last")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    let running = spawned(graph);
    sender.send(number(1)).unwrap();
    drop(sender);
    assert_eq!(receiver.recv_timeout(DRAIN).unwrap().value, 1);
    assert!(running.join().unwrap().is_clean());
    assert_eq!(receiver.ending(), Some(Ending::Complete));
}

#[test]
fn a_conflating_channel_never_waits_and_keeps_the_newest_of_each_key() {
    let options = room(5).policy(Policy::Conflate);
    let (sender, source) = channel_with::<Number>(options);
    let (sink, receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("conflating")
        .input("numbers", source)
        .output("out", sink)
        .chain(&["numbers", "out"]);
    for value in 0..5_000 {
        sender.try_send(number(value)).unwrap();
    }
    let running = spawned(graph);
    for value in 5_000..10_000 {
        sender.try_send(number(value)).unwrap();
    }
    drop(sender);
    let values: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    for group in 0..5 {
        let last = values.iter().rev().find(|value| **value % 5 == group);
        assert_eq!(last, Some(&(9_995 + group)));
    }
    let report = running.join().unwrap();
    assert_books_close(&report);
    let channel = books(&report, "numbers");
    assert_eq!(channel.sent, 10_000);
    assert_eq!(
        channel.dropped[&DropCause::Superseded],
        10_000 - values.len() as u64
    );
}

#[test]
fn a_frame_is_not_copied_on_its_way_and_its_payload_can_be_taken_out() {
    let (sender, source) = channel::<Number>(8);
    let (sink, mut receiver) = channel_out::<Number>();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let addresses = seen.clone();
    let graph = GraphBuilder::new("shared")
        .input("numbers", source)
        .filter("odd", |frame: &Frame<Number>| frame.value % 2 == 1)
        .inspect("look", move |frame: &Frame<Number>| {
            addresses
                .lock()
                .unwrap()
                .push(std::ptr::from_ref::<Number>(frame) as usize);
        })
        .output("out", sink)
        .chain(&["numbers", "odd", "look", "out"]);
    let running = spawned(graph);
    for value in 1..=3 {
        sender.send(number(value)).unwrap();
    }
    let first = receiver.recv().unwrap();
    assert_eq!(
        std::ptr::from_ref::<Number>(&first) as usize,
        seen.lock().unwrap()[0]
    );
    assert_eq!(first.head().origin.position, 1);
    let second = receiver.recv().unwrap();
    assert_eq!(second.head().origin.position, 3);
    let shared = second.clone();
    assert!(shared.into_payload().is_err());
    drop(sender);
    running.join().unwrap();
    assert_eq!(second.into_payload().unwrap(), number(3));
}

/// Fails on the first frame, and counts how often it is built.
fn failing(builds: &Arc<AtomicUsize>) -> impl Fn() -> Flaky + Send + Sync + use<> {
    let builds = builds.clone();
    move || Flaky(builds.fetch_add(1, Ordering::Relaxed))
}

struct Flaky(usize);

impl Stage for Flaky {
    type Config = ();
    type In = Number;
    type Out = Number;

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        if self.0 == 0 {
            return Err(StageError::failed("not yet"));
        }
        out.forward(frame);
        Ok(())
    }
}

fn quick_restarts() -> RestartOptions {
    RestartOptions::new().backoff_min(Duration::from_millis(1))
}

#[test]
fn a_stage_of_a_function_that_builds_it_is_built_again_after_a_failure() {
    let builds = Arc::default();
    let flaky = failing(&builds);
    let report = GraphBuilder::new("again")
        .source_iter("numbers", (1..=3).map(number))
        .stage_with("flaky", move |_| Ok(flaky()))
        .options("flaky", StageOptions::new().restart(quick_restarts()))
        .sink_fn("sink", |_: &Frame<Number>| ())
        .chain(&["numbers", "flaky", "sink"])
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(builds.load(Ordering::Relaxed), 2);
    assert_eq!(books(&report, "flaky->sink").delivered, 3);
}

#[test]
fn a_closure_with_state_is_never_rebuilt_and_a_refused_frame_does_not_end_it() {
    for (then, fails_graph) in [(Exhausted::StopGraph, true), (Exhausted::StopStage, false)] {
        let mut sum = 0;
        let (result, results) = mpsc::channel();
        let options = StageOptions::new().restart(quick_restarts().then(then));
        let report = GraphBuilder::new("once")
            .source_iter("numbers", (1..=6).map(number))
            .sink_fn("sum", move |frame: &Frame<Number>| {
                if frame.value == 2 {
                    return Err(StageError::refused("two"));
                }
                if frame.value == 5 {
                    return Err(StageError::failed("five"));
                }
                sum += frame.value;
                result.send(sum).map_err(StageError::failed)
            })
            .options("sum", options)
            .chain(&["numbers", "sum"])
            .run(DRAIN)
            .unwrap();
        assert_books_close(&report);
        assert_eq!(report.failure.is_some(), fails_graph, "{report:?}");
        assert!(
            report
                .failure
                .iter()
                .all(|failure| failure.contains("five"))
        );
        assert_eq!(results.into_iter().collect::<Vec<_>>(), [1, 4, 8]);
        let sum = report.stages.iter().find(|stage| stage.stage == "sum");
        assert_eq!(sum.unwrap().restarts, 0);
        assert_eq!(
            books(&report, "numbers->sum").dropped[&DropCause::Refused],
            1
        );
    }
}

#[test]
fn a_closure_with_state_has_one_worker_and_a_shared_one_any_number() {
    let workers = |workers| StageOptions::new().workers(workers);
    let error = GraphBuilder::new("copies")
        .source_iter("numbers", (1..=6).map(number))
        .sink_fn("sum", |_: &Frame<Number>| ())
        .options("sum", workers(2))
        .chain(&["numbers", "sum"])
        .run(DRAIN)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it is one closure with its state"),
        "{error}"
    );
    let report = GraphBuilder::new("copies")
        .source_iter("numbers", (1..=60).map(number))
        .map("double", doubled)
        .options("double", workers(2))
        .sink_fn("sink", |_: &Frame<Number>| ())
        .chain(&["numbers", "double", "sink"])
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean());
    assert_eq!(books(&report, "double->sink").delivered, 60);
}

#[test]
fn closures_return_values_options_or_results() {
    let (sink, receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("results")
        .source_iter("numbers", (1..=4).map(number))
        .map("option", |frame: &Frame<Number>| {
            (frame.value != 1).then(|| number(frame.value))
        })
        .map("result", |frame: &Frame<Number>| {
            if frame.value == 2 {
                Err(StageError::refused("two"))
            } else {
                Ok(Some(number(frame.value)))
            }
        })
        .output("out", sink)
        .chain(&["numbers", "option", "result", "out"]);
    let running = spawned(graph);
    let values: Vec<u64> = receiver.into_iter().map(|frame| frame.value).collect();
    assert_eq!(values, [3, 4]);
    assert_books_close(&running.join().unwrap());
}

#[test]
fn a_stage_without_a_build_function_is_not_built_from_parameters() {
    let error = GraphBuilder::new("unbuilt")
        .source_iter("numbers", (1..=4).map(number))
        .stage::<Flaky>("flaky", (), StageOptions::default())
        .sink_fn("sink", |_: &Frame<Number>| ())
        .chain(&["numbers", "flaky", "sink"])
        .run(DRAIN)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("stage 'flaky': it is not built from parameters"),
        "{error}"
    );
}

#[test]
fn a_payload_of_no_type_is_never_sent() {
    let (sender, source) = channel::<Nothing>(1);
    drop(source);
    assert!(sender.is_closed());
}
