//! A graph in any program: inside tokio, inside actix, on a plain thread, two at once; its handle, its threads, its end.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Collect, CollectConfig, Count, CountConfig, Number};
use heqis_actors::{
    BuildContext, DropCause, EdgeOptions, Frame, GraphBuilder, GraphError, Metrics, Next,
    NodeReport, RecordingOptions, Source, StageError, StageOptions, StateOptions,
};
use links::{DRAIN, books_of, counting, endless, until};

fn own(arbiter: &str) -> StageOptions {
    StageOptions::new().arbiter(arbiter)
}

fn graph_of(count: CountConfig, collect: CollectConfig) -> GraphBuilder {
    let edge = EdgeOptions::new().capacity(500);
    GraphBuilder::new("embedded")
        .source::<Count>("count", count, StageOptions::default())
        .stage::<Collect>("collect", collect, own("collect"))
        .edge("count", "collect", edge)
}

fn hundred() -> GraphBuilder {
    graph_of(counting(100, 0), CollectConfig::default())
}

/// A graph that only a stop ends.
fn lasting() -> GraphBuilder {
    graph_of(endless(100_000), CollectConfig::default())
}

fn assert_hundred(report: &NodeReport) {
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(books_of(report, "count->collect").delivered, 100);
}

/// A value that only a program with several threads can use: what `spawn` returns is `Send` and `Sync`.
fn shared<T: Send + Sync>(value: T) -> T {
    value
}

#[test]
fn a_graph_runs_on_a_plain_thread() {
    let graph = shared(hundred().spawn().unwrap());
    assert_hundred(&graph.wait_blocking());
    assert_hundred(&graph.report());
    assert_hundred(&hundred().run(DRAIN).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graph_runs_inside_tokio_with_several_threads() {
    let graph = hundred().start().await.unwrap();
    let waiting = tokio::spawn(async move { graph.wait().await });
    assert_hundred(&waiting.await.unwrap());
    assert_hundred(&hundred().spawn().unwrap().wait_blocking());
    assert_hundred(&hundred().run(DRAIN).unwrap());
}

#[tokio::test]
async fn a_graph_runs_inside_tokio_with_one_thread_which_it_may_block() {
    assert_hundred(&hundred().start().await.unwrap().wait().await);
    assert_hundred(&hundred().spawn().unwrap().wait_blocking());
    assert_hundred(&hundred().run(DRAIN).unwrap());
}

#[test]
fn blocking_inside_a_task_of_tokio_does_not_wait_for_the_tasks_budget() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::spawn(async {
            // Uses up what a task may do before it yields.
            while tokio::task::coop::has_budget_remaining() {
                tokio::task::coop::consume_budget().await;
            }
            assert_hundred(&hundred().run(DRAIN).unwrap());
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_graph_runs_inside_actix_and_leaves_its_system_alone() {
    actix::System::new().block_on(async {
        assert_hundred(&hundred().start().await.unwrap().wait().await);
        assert_hundred(&hundred().run(DRAIN).unwrap());
        assert!(actix::System::current().arbiter().alive());
    });
}

#[test]
fn a_graph_is_awaited_on_another_executor() {
    let report = futures_util_block_on(async { hundred().start().await.unwrap().wait().await });
    assert_hundred(&report);
}

/// An executor that is not tokio's: polls until it is done.
fn futures_util_block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        std::thread::yield_now();
    }
}

#[test]
fn two_graphs_at_once_do_not_see_each_other() {
    let (short, long) = (hundred().spawn().unwrap(), lasting().spawn().unwrap());
    assert_hundred(&short.wait_blocking());
    let begun = long.report();
    assert!(!begun.left && begun.edges.len() == 1, "{begun:?}");
    let report = long.stop_blocking(DRAIN);
    assert!(report.left && report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn waiting_is_cancelled_without_a_loss_and_asked_again() {
    let graph = lasting().start().await.unwrap();
    for _ in 0..3 {
        tokio::select! {
            _ = graph.wait() => panic!("only a stop ends it"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    // The drain goes on although its future is dropped.
    drop(graph.stop(DRAIN));
    let report = graph.wait().await;
    assert!(report.left && report.is_clean(), "{report:?}");
    assert_eq!(graph.wait().await, report);
    assert_eq!(graph.stop(Duration::ZERO).await, report);
}

#[test]
fn a_stop_says_what_was_lost_and_such_a_graph_is_not_clean() {
    let slow = CollectConfig {
        takes: Duration::from_millis(20),
        ..CollectConfig::default()
    };
    let seen = slow.seen.clone();
    let graph = graph_of(endless(0), slow).stream("count", "endless");
    let graph = graph.spawn().unwrap();
    until("frames", || !seen.lock().unwrap().is_empty());
    let report = graph.stop_blocking(Duration::from_millis(10));
    let books = books_of(&report, "count->collect");
    assert!(books.dropped[&DropCause::Shutdown] > 300, "{books:?}");
    // Its source is replayable: with a commit log a restart would emit them again. This run has lost them.
    assert!(
        report.resumable && report.books_close() && !report.is_clean(),
        "{report:?}"
    );
    let lost = report.lost();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(
        (lost[0].edge.as_str(), lost[0].cause, lost[0].frames),
        ("count->collect", DropCause::Shutdown, books.dropped_total())
    );
}

#[test]
fn the_last_limit_of_a_drain_counts_and_the_longest_is_no_panic() {
    let slow = CollectConfig {
        takes: Duration::from_millis(20),
        ..CollectConfig::default()
    };
    let seen = slow.seen.clone();
    let graph = graph_of(endless(0), slow)
        .drain_timeout(Duration::MAX)
        .spawn()
        .unwrap();
    until("frames", || !seen.lock().unwrap().is_empty());
    graph.stop_handle().stop();
    graph.stop_handle().stop_within(Duration::MAX);
    std::thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    assert!(!graph.stop_blocking(Duration::from_millis(10)).is_clean());
    // Five hundred frames take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "{begun:?}");
}

#[test]
fn a_dropped_handle_drains_the_graph_and_its_events_end() {
    let graph = lasting();
    let (mut events, collected) = (graph.events(), graph.spawn().unwrap().reporter());
    events.iter().for_each(drop);
    let report = collected.report();
    assert!(report.left && report.is_clean(), "{report:?}");
}

#[test]
fn a_stage_that_never_returns_does_not_hold_up_the_end_and_is_named_as_the_failure() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    let (at_work, works) = std::sync::mpsc::channel();
    let graph = graph_of(counting(10, 0), CollectConfig::default())
        .sink_fn("stuck", move |_: &Frame<Number>| {
            at_work.send(()).unwrap();
            until("its release", || RELEASED.load(Ordering::Acquire));
        })
        .edge("count", "stuck", EdgeOptions::default())
        .spawn()
        .unwrap();
    works.recv().unwrap();
    let report = graph.stop_blocking(Duration::from_millis(10));
    assert!(!report.is_clean());
    let failure = report.failure.unwrap();
    assert!(failure.contains("does not return"), "{failure}");
    RELEASED.store(true, Ordering::Release);
}

#[tokio::test]
async fn a_start_that_is_cancelled_leaves_no_graph() {
    let slow = CollectConfig {
        takes: Duration::from_millis(1),
        ..CollectConfig::default()
    };
    let graph = graph_of(endless(0), slow);
    let (stop, mut events) = (graph.stop_handle(), graph.events());
    let started = tokio::time::timeout(Duration::ZERO, graph.start()).await;
    drop(started);
    while events.recv_async().await.is_some() {}
    // After the end it does nothing.
    stop.stop();
    stop.abandon();
}

#[test]
fn fifty_graphs_leave_neither_threads_nor_descriptors() {
    // Other tests start threads meanwhile, so a process of its own counts.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_counts", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}

#[test]
#[ignore = "another test runs it as a process of its own"]
fn child_that_counts() {
    let (threads, _) = footprint();
    // The first use of signals opens a descriptor that stays, and so does tokio's first runtime.
    assert_hundred(&hundred().stop_on_signals().run(DRAIN).unwrap());
    until("the first graph's thread ends", || footprint().0 == threads);
    let before = footprint();
    let mut ended = Vec::new();
    for round in 0..50 {
        let graph = match round % 2 {
            0 => lasting(),
            _ => lasting().stop_on_signals(),
        };
        let graph = graph.spawn().unwrap();
        match round % 5 {
            0 => drop(graph),
            1 => {
                assert!(graph.stop_blocking(DRAIN).left);
                // A handle that is kept for its report keeps no descriptor.
                ended.push(graph);
            }
            2 => graph.stop_handle().abandon(),
            3 => {
                let refused = || {
                    hundred()
                        .source::<Unbuildable>("broken", (), own("b"))
                        .edge("broken", "collect", EdgeOptions::default())
                };
                let unrecordable = RecordingOptions::new("/dev/null/no-directory")
                    .keep_bytes(0)
                    .sync(false);
                let state = StateOptions::new("/dev/null/no-directory/state");
                let unrecordable = refused().state(state).record("broken", unrecordable);
                for refused in [refused(), unrecordable] {
                    let refused = refused.spawn();
                    assert!(matches!(refused, Err(GraphError::Build(_))), "{refused:?}");
                }
            }
            _ => drop(graph.stop(Duration::ZERO)),
        }
    }
    until("no thread and no descriptor is left", || {
        footprint() == before
    });
}

/// Threads and descriptors of this process.
fn footprint() -> (usize, usize) {
    let entries = |path| std::fs::read_dir(path).unwrap().count();
    (entries("/proc/self/task"), entries("/proc/self/fd"))
}

struct Unbuildable;

impl Source for Unbuildable {
    type Config = ();
    type Out = Number;
    const KIND: &'static str = "unbuildable";
    const ABOUT: &'static str = "Cannot be built.";
    const REPLAYABLE: bool = false;

    fn build((): &(), _: &BuildContext) -> Result<Self, StageError> {
        Err(StageError::Failed("instructed to fail".into()))
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        Ok(Next::End)
    }
}

#[test]
fn metrics_count_for_one_graph_alone() {
    let metrics = Metrics::new("node");
    let first = hundred().metrics(metrics.clone()).run(DRAIN).unwrap();
    assert_hundred(&first);
    let second = hundred().metrics(metrics).run(DRAIN);
    assert!(matches!(second, Err(GraphError::MetricsInUse)));
}
