//! A stage that is rebuilt in a running node gets the frames again that it has held: no window is lost, shifted or doubled.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod merging;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::Number;
use heqis_actors::sp::Inproc;
use heqis_actors::testing::GraphTest;
use heqis_actors::{
    BridgeOptions, Clock, Delivery, DropCause, EdgeOptions, Emitter, Ending, Frame, GraphBuilder,
    Next, NodeReport, PayloadType, RestartOptions, Sender, Stage, StageError, StageOptions,
    StateOptions, Window, WindowSpan, channel, channel_out,
};
use merging::{Book, Log, LogConfig};

/// The values whose windows fail, once for each time that they are listed: a frame that fails twice is dropped.
#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Vec<u64>>>);

impl Failures {
    /// Sums a window, or panics.
    fn sum(&self, span: &WindowSpan, frames: &[Frame<Number>]) -> Number {
        let mut values = self.0.lock().unwrap();
        let at = values
            .iter()
            .position(|value| frames.iter().any(|frame| frame.value == *value));
        let failing = at.map(|at| values.remove(at)).is_some();
        drop(values);
        assert!(!failing, "as the test wants");
        Number {
            value: frames.iter().map(|frame| frame.value).sum(),
            group: u64::try_from(span.key).unwrap(),
        }
    }
}

fn stage_options() -> StageOptions {
    StageOptions::new().restart(RestartOptions::new().max(10).backoff_min(Duration::ZERO))
}

/// Windows of ten of each of three keys, in front of a commit log.
fn windows(graph: GraphBuilder, window: Window, failures: &Failures, book: &Book) -> GraphBuilder {
    let failures = failures.clone();
    let log = LogConfig {
        book: book.clone(),
        ..LogConfig::default()
    };
    graph
        .window(
            "window",
            window,
            move |span: &WindowSpan, frames: &[Frame<Number>]| failures.sum(span, frames),
        )
        .options("window", stage_options())
        .stage::<Log>("log", log, StageOptions::default())
        .chain(&["window", "log"])
}

fn send(sender: &Sender<Number>, values: std::ops::RangeInclusive<u64>) {
    for value in values {
        let group = value % 3;
        sender.send(Number { value, group }).unwrap();
    }
}

/// The sums of 1 to 300, by key.
fn expected() -> Vec<(u64, u64)> {
    let mut sums = Vec::new();
    for group in 0..3 {
        let own: Vec<u64> = (1..=300).filter(|value| value % 3 == group).collect();
        sums.extend(own.chunks(10).map(|window| (group, window.iter().sum())));
    }
    sums.sort_unstable();
    sums
}

fn recorded(book: &Book) -> Vec<(u64, u64)> {
    let book = book.lock().unwrap();
    let mut sums: Vec<_> = book.iter().map(|(_, sum)| (sum.group, sum.value)).collect();
    sums.sort_unstable();
    sums
}

fn restarts(report: &NodeReport) -> u64 {
    let mut stages = report.stages.iter();
    stages
        .find(|stage| stage.stage == "window")
        .unwrap()
        .restarts
}

fn failing(values: &[u64]) -> Failures {
    Failures(Arc::new(Mutex::new(values.to_vec())))
}

fn ten() -> Window {
    Window::tumbling(10).per_key()
}

#[test]
fn windows_of_a_nodes_own_source_survive_a_panic() {
    let (sender, source) = channel(16);
    let (failures, book) = (failing(&[50, 51, 200]), Book::default());
    let graph = GraphBuilder::new("own").input::<Number>("numbers", source);
    let graph = windows(graph, ten(), &failures, &book).chain(&["numbers", "window"]);
    let graph = GraphTest::at(&Clock::real(), graph).unwrap();
    send(&sender, 1..=300);
    drop(sender);
    let report = graph.wait_blocking();
    assert!(report.books_close());
    assert_eq!(recorded(&book), expected());
    assert_eq!(restarts(&report), 3);
}

/// The two nodes of a bridged edge, in one process.
struct Pair {
    inproc: Inproc,
    name: &'static str,
    folder: tempfile::TempDir,
    book: Book,
}

impl Pair {
    fn new(name: &'static str) -> Self {
        Self {
            inproc: Inproc::new(),
            name,
            folder: tempfile::tempdir().unwrap(),
            book: Book::default(),
        }
    }

    fn bridge(&self) -> BridgeOptions {
        BridgeOptions::new(format!("inproc://{}", self.name).parse().unwrap())
            .credit(16usize)
            .delivery(Delivery::AtLeastOnce)
    }

    fn front(&self) -> (Sender<Number>, GraphTest) {
        let (sender, source) = channel(16);
        let graph = GraphBuilder::new("pair")
            .node("front")
            .inproc(self.inproc.clone())
            .input::<Number>("numbers", source)
            .remote("window")
            .remote("log")
            .edge_out(
                0,
                ("numbers", "window"),
                PayloadType::of::<Number>(),
                EdgeOptions::new().capacity(64usize),
                self.bridge(),
            );
        (sender, GraphTest::at(&Clock::real(), graph).unwrap())
    }

    fn back(&self, window: Window, failures: &Failures, saves: bool) -> GraphTest {
        let graph = GraphBuilder::new("pair")
            .node("back")
            .inproc(self.inproc.clone())
            .remote("numbers");
        let mut graph = windows(graph, window, failures, &self.book).edge_in(
            0,
            ("numbers", "window"),
            PayloadType::of::<Number>(),
            EdgeOptions::new().capacity(64usize),
            self.bridge(),
        );
        if saves {
            let state = StateOptions::new(self.folder.path().join("back.state"));
            graph = graph.state(state.every(Duration::from_millis(20)));
        }
        GraphTest::at(&Clock::real(), graph).unwrap()
    }
}

#[test]
fn windows_of_bridged_frames_survive_a_panic() {
    let pair = Pair::new("held-panic");
    let (sender, front) = pair.front();
    let back = pair.back(ten(), &failing(&[10, 50, 51, 200]), false);
    send(&sender, 1..=300);
    drop(sender);
    let report = back.wait_blocking();
    assert!(
        report.is_clean() && front.wait_blocking().is_clean(),
        "{report:?}"
    );
    assert_eq!(recorded(&pair.book), expected());
    assert_eq!(restarts(&report), 4);
}

#[test]
fn windows_in_a_saved_state_survive_kills_and_panics() {
    let pair = Pair::new("held-saved");
    let (sender, front) = pair.front();
    let mut next = 1;
    for kill in 0..6_u64 {
        let back = pair.back(ten(), &failing(&[kill * 50 + 10, kill * 50 + 30]), true);
        send(&sender, next..=next + 49);
        next += 50;
        if kill < 5 {
            back.kill();
        } else {
            drop(sender);
            assert!(back.wait_blocking().is_clean() && front.wait_blocking().is_clean());
            break;
        }
    }
    assert_eq!(recorded(&pair.book), expected());
}

#[test]
fn either_node_of_a_bridged_edge_may_be_killed() {
    let pair = Pair::new("held-killed");
    let (sender, front) = pair.front();
    for kill in 0..6 {
        let back = pair.back(ten(), &failing(&[kill * 50 + 10]), false);
        send(&sender, kill * 50 + 1..=kill * 50 + 50);
        if kill < 5 {
            back.kill();
        } else {
            drop(sender);
            assert!(back.wait_blocking().is_clean() && front.wait_blocking().is_clean());
            break;
        }
    }
    assert_eq!(recorded(&pair.book), expected());
}

#[test]
fn a_frame_on_which_the_stage_fails_twice_is_dropped_and_the_others_are_not() {
    let pair = Pair::new("held-poison");
    let (sender, front) = pair.front();
    // The tenth frame of its key, 28, completes the window that fails.
    let back = pair.back(ten(), &failing(&[10, 10]), false);
    send(&sender, 1..=300);
    drop(sender);
    let report = back.wait_blocking();
    assert!(report.books_close() && front.wait_blocking().books_close());
    let edge = report
        .edges
        .iter()
        .find(|edge| edge.edge == "numbers->window");
    assert_eq!(edge.unwrap().dropped[&DropCause::StageFailed], 1);
    let sum: u64 = recorded(&pair.book).iter().map(|(_, sum)| sum).sum();
    assert_eq!(sum, 300 * 301 / 2 - 28);
}

/// Sums tens by holding frames, without saying so.
struct Tens {
    held: Vec<Frame<Number>>,
    failures: Failures,
}

impl Tens {
    fn emit(&mut self, out: &mut Emitter<'_, Number>) {
        let value = self.held.iter().map(|frame| frame.value).sum();
        out.emit_from(
            self.held.iter().map(Frame::head),
            Number { value, group: 0 },
        );
        self.held.clear();
    }
}

impl Stage for Tens {
    type Config = ();
    type In = Number;
    type Out = Number;

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        if self
            .failures
            .0
            .lock()
            .unwrap()
            .pop_if(|value| *value == frame.value)
            .is_some()
        {
            return Err(StageError::failed("as the test wants"));
        }
        self.held.push(frame.clone());
        if self.held.len() == 10 {
            self.emit(out);
        }
        Ok(())
    }

    fn drain(&mut self, ending: Ending, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        if ending == Ending::Complete && !self.held.is_empty() {
            self.emit(out);
        }
        Ok(())
    }
}

/// The sum that a stage gives which fails once and holds frames without saying so, and whose sender may restart.
fn sum_of_tens(name: &'static str, restarts: bool) -> u64 {
    let pair = Pair::new(name);
    let front = |last: u64| {
        let mut next = 1;
        let numbers = move || {
            next += 1;
            Ok(match next - 1 {
                value if value <= last => Next::Item(Number { value, group: 0 }),
                _ if last == 100 => Next::End,
                _ => Next::Waiting,
            })
        };
        let graph = GraphBuilder::new("pair")
            .node("front")
            .inproc(pair.inproc.clone())
            .source_fn("numbers", numbers)
            .stream("numbers", "to a hundred")
            .remote("tens")
            .remote("log");
        let ends = ("numbers", "tens");
        let number = PayloadType::of::<Number>();
        let graph = graph.edge_out(
            0,
            ends,
            number,
            EdgeOptions::new().capacity(64usize),
            pair.bridge(),
        );
        GraphTest::at(&Clock::real(), graph).unwrap()
    };
    let failures = failing(&[45]);
    let log = LogConfig {
        book: pair.book.clone(),
        ..LogConfig::default()
    };
    let tens = failures.clone();
    let graph = GraphBuilder::new("pair")
        .node("back")
        .inproc(pair.inproc.clone())
        .remote("numbers")
        .stage_with("tens", move |_| {
            Ok(Tens {
                held: Vec::new(),
                failures: tens.clone(),
            })
        })
        .options("tens", stage_options())
        .stage::<Log>("log", log, StageOptions::default())
        .chain(&["tens", "log"])
        .edge_in(
            0,
            ("numbers", "tens"),
            PayloadType::of::<Number>(),
            EdgeOptions::new().capacity(64usize),
            pair.bridge(),
        );
    let back = GraphTest::at(&Clock::real(), graph).unwrap();
    let first = front(if restarts { 60 } else { 100 });
    let taken = |report: NodeReport| {
        let mut edges = report.edges.into_iter();
        edges
            .find(|edge| edge.edge == "numbers->tens")
            .unwrap()
            .delivered
    };
    while taken(back.report()) < 60 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let front = match restarts {
        false => first,
        true => {
            first.kill();
            front(100)
        }
    };
    assert!(back.wait_blocking().books_close() && front.wait_blocking().books_close());
    recorded(&pair.book).iter().map(|(_, sum)| sum).sum()
}

#[test]
fn what_any_failed_stage_has_held_is_sent_again() {
    assert_eq!(sum_of_tens("held-again", false), 100 * 101 / 2);
}

#[test]
fn what_any_failed_stage_has_held_is_sent_again_by_a_restarted_sender() {
    assert_eq!(sum_of_tens("held-sender", true), 100 * 101 / 2);
}

/// The sums of windows of time of one key, of which those of the values `failing` fail once.
fn timed(window: Window, values: &[u64]) -> Vec<u64> {
    let (sender, source) = channel(4);
    let (sink, sums) = channel_out::<Number>();
    let failures = failing(values);
    let sum = move |span: &WindowSpan, frames: &[Frame<Number>]| failures.sum(span, frames);
    let graph = GraphBuilder::new("timed")
        .input::<Number>("numbers", source)
        .window("window", window.lateness(Duration::ZERO), sum)
        .options("window", stage_options())
        .output("sums", sink)
        .chain(&["numbers", "window", "sums"]);
    let graph = GraphTest::spawn(graph).unwrap();
    for value in 1..=60 {
        sender.send(Number { value, group: 0 }).unwrap();
        graph.advance(Duration::from_millis(if value % 10 == 0 { 6 } else { 1 }));
    }
    drop(sender);
    let sums = sums.into_iter().map(|sum| sum.value).collect();
    graph.wait_blocking();
    sums
}

#[test]
fn windows_of_time_are_closed_once_whatever_fails() {
    let ms = Duration::from_millis;
    for window in [
        Window::tumbling(ms(10)),
        Window::sliding(ms(20), ms(5)),
        Window::session(ms(3)),
    ] {
        let undisturbed = timed(window.clone(), &[]);
        assert_eq!(
            timed(window.clone(), &[7, 12, 13, 31, 60]),
            undisturbed,
            "{window:?}"
        );
    }
}
