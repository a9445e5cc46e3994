//! Windows by time, by count and by session, under virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Number;
use heqis_actors::testing::GraphTest;
use heqis_actors::{
    Clock, DropCause, Emitter, Frame, GraphBuilder, NodeReport, OriginRun, Window, WindowSpan,
    channel, channel_out,
};

const DRAIN: Duration = Duration::from_secs(20);
const MS: i64 = 1_000_000;

/// The sum of a window, and its key.
fn sum(span: &WindowSpan, frames: &[Frame<Number>]) -> Number {
    Number {
        value: frames.iter().map(|frame| frame.value).sum(),
        group: u64::try_from(span.key).unwrap(),
    }
}

/// What came out: sums, the items that each is made from and is done with, and the report.
struct Outcome {
    sums: Vec<(u64, u64)>,
    done: Vec<Vec<OriginRun>>,
    report: NodeReport,
}

/// Sends `value` of `group` at each time, and ends the stream.
fn windows(window: Window, items: &[(i64, u64, u64)]) -> Outcome {
    let (sender, source) = channel(1);
    let (sink, receiver) = channel_out();
    let graph = GraphBuilder::new("windows")
        .input::<Number>("numbers", source)
        .window("window", window, sum)
        .output("sums", sink)
        .chain(&["numbers", "window", "sums"]);
    let graph = GraphTest::spawn(graph).unwrap();
    for &(at_ns, value, group) in items {
        graph.clock().advance_to(at_ns);
        sender.send(Number { value, group }).unwrap();
        // Processed before the time moves on.
        graph.settle();
    }
    drop(sender);
    let frames: Vec<Frame<Number>> = receiver.into_iter().collect();
    let report = graph.wait_blocking();
    for edge in &report.edges {
        assert!(edge.closes() && edge.in_flight == 0, "{edge:?}");
    }
    Outcome {
        sums: frames
            .iter()
            .map(|frame| (frame.group, frame.value))
            .collect(),
        done: frames
            .iter()
            .map(|frame| frame.head().origins().done())
            .collect(),
        report,
    }
}

fn length(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn tumbling_windows_of_time_hold_each_frame_once() {
    let items = [(0, 1, 0), (9 * MS, 2, 0), (10 * MS, 4, 0), (35 * MS, 8, 0)];
    let all = windows(
        Window::tumbling(length(10)).lateness(Duration::ZERO),
        &items,
    );
    assert_eq!(all.sums, [(0, 3), (0, 4), (0, 8)]);
    let counts: Vec<u64> = all.done.iter().map(|runs| runs[0].last).collect();
    assert_eq!(counts, [2, 3, 4]);
    assert!(all.report.is_clean());
}

#[test]
fn each_key_has_its_own_windows() {
    let items = [(0, 1, 1), (1, 2, 2), (2, 4, 1), (11 * MS, 8, 2)];
    let window = Window::tumbling(length(10)).lateness(Duration::ZERO);
    let all = windows(window.clone().per_key(), &items);
    assert_eq!(all.sums, [(1, 5), (2, 2), (2, 8)]);
    assert_eq!(windows(window, &items).sums, [(0, 7), (0, 8)]);
}

#[test]
fn sliding_windows_hold_a_frame_several_times_and_let_it_go_with_the_last() {
    let items = [(0, 1, 0), (5 * MS, 2, 0), (12 * MS, 4, 0), (30 * MS, 8, 0)];
    let window = Window::sliding(length(10), length(5)).lateness(Duration::ZERO);
    let all = windows(window, &items);
    // [-5, 5) [0, 10) [5, 15) [10, 20) [25, 35) [30, 40)
    assert_eq!(all.sums, [1, 3, 6, 4, 8, 8].map(|sum| (0, sum)));
    let first: Vec<_> = all
        .done
        .iter()
        .map(|runs| runs.first().map(|run| run.first))
        .collect();
    assert_eq!(first, [None, Some(1), Some(2), Some(3), None, Some(4)]);
}

#[test]
fn a_session_ends_after_a_gap() {
    let items = [
        (0, 1, 0),
        (4 * MS, 2, 0),
        (8 * MS, 4, 0),
        (13 * MS, 8, 0),
        (14 * MS, 16, 0),
    ];
    let all = windows(Window::session(length(5)).lateness(Duration::ZERO), &items);
    assert_eq!(all.sums, [(0, 7), (0, 24)]);
}

#[test]
fn windows_by_count_tumble_or_slide_and_the_last_one_need_not_be_full() {
    let items: Vec<_> = (1..=5).map(|value| (0, value, value % 2)).collect();
    let sums = |window| windows(window, &items).sums;
    assert_eq!(sums(Window::tumbling(2)), [(0, 3), (0, 7), (0, 5)]);
    assert_eq!(sums(Window::sliding(3, 1)), [(0, 6), (0, 9), (0, 12)]);
    assert_eq!(sums(Window::sliding(3, 2)), [(0, 6), (0, 12)]);
    assert_eq!(
        sums(Window::tumbling(2).per_key()),
        [(1, 4), (0, 6), (1, 5)]
    );
}

#[test]
fn a_window_of_a_second_closes_without_a_further_frame() {
    let (sender, source) = channel(8);
    let (sink, mut receiver) = channel_out();
    let graph = GraphBuilder::new("second")
        .input::<Number>("numbers", source)
        .window("window", Window::tumbling(length(1_000)), sum)
        .output::<Number>("sums", sink)
        .chain(&["numbers", "window", "sums"]);
    let graph = GraphTest::spawn(graph).unwrap();
    for value in 1..=3 {
        sender.send(Number { value, group: 0 }).unwrap();
    }
    graph.advance(length(1_099));
    assert!(receiver.try_recv().is_err(), "frames may be late by 100 ms");
    graph.advance(length(1));
    assert_eq!(receiver.try_recv().unwrap().value, 6);
    drop(sender);
    assert!(graph.wait_blocking().is_clean());
}

#[test]
fn a_window_that_holds_too_much_refuses_and_an_empty_one_is_not_built() {
    let items: Vec<_> = (1..=5).map(|value| (value, value as u64, 0)).collect();
    let all = windows(Window::tumbling(length(10)).capacity(3), &items);
    assert_eq!(all.sums, [(0, 6)]);
    let edge = all
        .report
        .edges
        .iter()
        .find(|edge| edge.edge == "numbers->window");
    assert_eq!(edge.unwrap().dropped[&DropCause::Refused], 2);
    for window in [
        Window::tumbling(0),
        Window::session(Duration::ZERO),
        Window::sliding(2, 3),
    ] {
        let error = GraphBuilder::new("empty")
            .source_iter("numbers", std::iter::empty::<Number>())
            .window("window", window, sum)
            .sink_fn("sink", |_: &Frame<Number>| ())
            .chain(&["numbers", "window", "sink"])
            .run(DRAIN)
            .unwrap_err();
        assert!(
            error.to_string().contains("a window is not empty"),
            "{error}"
        );
    }
}

#[test]
fn a_frame_later_than_the_lateness_is_refused_and_counted() {
    let (sender, source) = channel(8);
    let (sink, mut receiver) = channel_out();
    let mut held: Option<Frame<Number>> = None;
    let swap = move |frame: &Frame<Number>, out: &mut Emitter<'_, Number>| {
        match held.take() {
            None => held = Some(frame.clone()),
            Some(first) => {
                out.forward(frame);
                out.forward(&first);
            }
        }
        Ok(())
    };
    let graph = GraphBuilder::new("late")
        .input::<Number>("numbers", source)
        .stage_fn("swap", swap)
        .window(
            "window",
            Window::tumbling(length(10)).lateness(length(5)),
            sum,
        )
        .output::<Number>("sums", sink)
        .chain(&["numbers", "swap", "window", "sums"]);
    let graph = GraphTest::spawn(graph).unwrap();
    // The first pair is late within the limit, the second beyond it.
    for (at_ns, value) in [(8 * MS, 1), (14 * MS, 2), (17 * MS, 4), (40 * MS, 8)] {
        graph.clock().advance_to(at_ns);
        sender.send(Number { value, group: 0 }).unwrap();
        graph.settle();
    }
    drop(sender);
    let sums: Vec<u64> = std::iter::from_fn(|| receiver.recv())
        .map(|sum| sum.value)
        .collect();
    assert_eq!(sums, [1, 2, 8]);
    let report = graph.wait_blocking();
    let edge = report.edges.iter().find(|edge| edge.edge == "swap->window");
    assert_eq!(edge.unwrap().dropped[&DropCause::Refused], 1);
    let stage = report.stages.iter().find(|stage| stage.stage == "window");
    assert_eq!(stage.unwrap().events, [("late".to_owned(), 1)]);
}

/// Sends five values into windows, and stops the graph or ends the stream.
fn five(window: Window, born_ns: i64, stops: bool, close: fn() -> bool) -> (Vec<u64>, NodeReport) {
    let (sender, source) = channel(5);
    let sums = Arc::<Mutex<Vec<u64>>>::default();
    let collected = sums.clone();
    let counted = move |span: &WindowSpan, frames: &[Frame<Number>]| {
        assert!(close(), "the window does not close");
        sum(span, frames)
    };
    let graph = GraphBuilder::new("five")
        .clock(Clock::virtual_at(born_ns))
        .input::<Number>("numbers", source)
        .window("window", window, counted)
        .sink_fn("sums", move |sum: &Frame<Number>| {
            collected.lock().unwrap().push(sum.value)
        })
        .chain(&["numbers", "window", "sums"])
        .spawn()
        .unwrap();
    for value in 1..=5 {
        sender.send(Number { value, group: 0 }).unwrap();
    }
    let report = match stops {
        true => graph.stop_blocking(DRAIN),
        false => {
            drop(sender);
            graph.wait_blocking()
        }
    };
    let sums = std::mem::take(&mut *sums.lock().unwrap());
    (sums, report)
}

#[test]
fn windows_of_a_live_source_close_at_a_stop() {
    let minute = Duration::from_secs(60);
    for window in [
        Window::tumbling(10),
        Window::tumbling(minute),
        Window::session(minute),
    ] {
        let (sums, report) = five(window, 0, true, || true);
        assert_eq!(sums, [15]);
        assert!(report.left && report.is_clean(), "{report:?}");
    }
}

#[test]
fn a_last_window_that_fails_is_not_silent() {
    let (sums, report) = five(Window::tumbling(10), 0, false, || false);
    let failure = report.failure.unwrap();
    assert!(
        sums.is_empty() && failure.contains("'window' failed with its last frames"),
        "{failure}"
    );
    assert_eq!(
        report.edges[0].dropped.get(&DropCause::StageFailed),
        Some(&5)
    );
}

#[test]
fn windows_reach_the_ends_of_time() {
    for born_ns in [i64::MIN, i64::MIN + 5, -1, i64::MAX - 5, i64::MAX] {
        for window in [
            Window::tumbling(length(1_000)),
            Window::session(length(1_000)),
            Window::tumbling(Duration::MAX),
            Window::session(Duration::MAX).lateness(Duration::MAX),
        ] {
            let (sums, report) = five(window.clone(), born_ns, false, || true);
            assert!(
                sums == [15] && report.is_clean(),
                "{born_ns} {window:?}: {sums:?} {report:?}"
            );
        }
    }
}
