//! Timers of stages and delays of batches, under virtual and real time, on any arbiter.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Double, DoubleConfig, Number};
use heqis_actors::testing::GraphTest;
use heqis_actors::{
    BatchOptions, Clock, EdgeOptions, Emitter, Ending, Frame, GraphBuilder, Next, Receiver,
    RestartOptions, Sender, Stage, StageError, StageOptions, channel, channel_out,
};

const DRAIN: Duration = Duration::from_secs(20);
const SECOND: i64 = 1_000_000_000;

fn number(value: u64) -> Number {
    Number { value, group: 0 }
}

/// Sums what arrives, and emits the sum one second after the first frame of it.
#[derive(Default)]
struct SecondSum {
    held: Vec<Frame<Number>>,
    called_ns: Arc<Mutex<Vec<i64>>>,
    /// Fails so often when it is called.
    failures: Arc<Mutex<u32>>,
}

impl SecondSum {
    fn emit(&mut self, out: &mut Emitter<'_, Number>) {
        let sum = self.held.iter().map(|frame| frame.value).sum();
        out.emit_from(self.held.iter().map(Frame::head), number(sum));
        self.held.clear();
    }
}

impl Stage for SecondSum {
    type Config = ();
    type In = Number;
    type Out = Number;

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        if self.held.is_empty() {
            out.wake_at(frame.head().enter_ns() + SECOND);
        }
        self.held.push(frame.clone());
        Ok(())
    }

    fn on_timer(&mut self, now_ns: i64, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        self.called_ns.lock().unwrap().push(now_ns);
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(StageError::failed("as configured"));
        }
        drop(failures);
        self.emit(out);
        Ok(())
    }

    fn drain(&mut self, _: Ending, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        if !self.held.is_empty() {
            self.emit(out);
        }
        Ok(())
    }
}

/// `numbers` ▸ `stage` ▸ `out`.
fn running(
    clock: &Clock,
    stage: impl Fn(GraphBuilder) -> GraphBuilder,
) -> (Sender<Number>, Receiver<Number>, GraphTest) {
    let (sender, source) = channel(64);
    let (sink, receiver) = channel_out();
    let graph = GraphBuilder::new("timers")
        .input::<Number>("numbers", source)
        .output::<Number>("out", sink)
        .chain(&["numbers", "stage", "out"]);
    (
        sender,
        receiver,
        GraphTest::at(clock, stage(graph)).unwrap(),
    )
}

#[test]
fn a_window_of_a_second_closes_by_itself_when_virtual_time_reaches_its_end_and_not_before() {
    let clock = Clock::virtual_at(5);
    let called = Arc::<Mutex<Vec<i64>>>::default();
    let called_ns = called.clone();
    let (sender, mut receiver, graph) = running(&clock, |graph| {
        let called_ns = called_ns.clone();
        graph.stage_with("stage", move |_| {
            Ok(SecondSum {
                called_ns: called_ns.clone(),
                ..SecondSum::default()
            })
        })
    });
    for value in 1..=4 {
        sender.send(number(value)).unwrap();
    }
    graph.settle();
    clock.advance_to(4 + SECOND);
    graph.settle();
    assert!(receiver.try_recv().is_err(), "the second is not over");
    clock.advance_to(5 + SECOND);
    assert_eq!(receiver.recv_timeout(DRAIN).unwrap().value, 10);
    // The next one, after a pause without any frame.
    clock.advance_to(7 * SECOND);
    graph.settle();
    sender.send(number(7)).unwrap();
    graph.settle();
    clock.advance_to(8 * SECOND);
    assert_eq!(receiver.recv_timeout(DRAIN).unwrap().value, 7);
    assert_eq!(*called.lock().unwrap(), [5 + SECOND, 8 * SECOND]);
    drop(sender);
    let report = graph.wait_blocking();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_timer_works_in_real_time_on_a_shared_arbiter_too() {
    let clock = Clock::real();
    let (sender, mut receiver, graph) = running(&clock, |graph| {
        graph.stage_with("stage", |_| Ok(SecondSum::default()))
    });
    let begun_ns = clock.now_ns();
    sender.send(number(3)).unwrap();
    let sum = receiver.recv_timeout(DRAIN).unwrap();
    let waited_ns = clock.now_ns() - begun_ns;
    assert_eq!(sum.value, 3);
    assert!(waited_ns >= SECOND, "{waited_ns}");
    drop(sender);
    assert!(graph.wait_blocking().is_clean());
}

#[test]
fn frames_that_waited_when_the_timer_came_due_go_before_it() {
    let clock = Clock::virtual_at(0);
    let (sender, mut receiver, graph) = running(&clock, |graph| {
        graph.stage_with("stage", |_| Ok(SecondSum::default()))
    });
    sender.send(number(1)).unwrap();
    graph.settle();
    // Sent while the time stands before the end of the second; some of them still wait when it comes.
    for value in 2..=50 {
        sender.send(number(value)).unwrap();
    }
    clock.advance_to(SECOND);
    let sum = receiver.recv_timeout(DRAIN).unwrap().value;
    let first: Vec<u64> = (1..=50)
        .scan(0, |sum, value| {
            *sum += value;
            Some(*sum)
        })
        .collect();
    assert!(
        first.contains(&sum),
        "a run of the first frames, in order: {sum}"
    );
    drop(sender);
    let rest: u64 = receiver.into_iter().map(|frame| frame.value).sum();
    assert_eq!(sum + rest, (1..=50).sum::<u64>());
    assert!(graph.wait_blocking().is_clean());
}

#[test]
fn a_timer_that_fails_rebuilds_the_stage_and_the_end_needs_no_timer() {
    let clock = Clock::virtual_at(0);
    let failures = Arc::new(Mutex::new(1));
    let (sender, mut receiver, graph) = running(&clock, |graph| {
        let failures = failures.clone();
        graph
            .stage_with("stage", move |_| {
                Ok(SecondSum {
                    failures: failures.clone(),
                    ..SecondSum::default()
                })
            })
            .options(
                "stage",
                StageOptions::new().restart(RestartOptions::new().backoff_min(Duration::ZERO)),
            )
    });
    sender.send(number(1)).unwrap();
    graph.settle();
    clock.advance_to(SECOND);
    graph.settle();
    // What the stage held is gone with it, as with every failure of a stage without a snapshot.
    sender.send(number(2)).unwrap();
    graph.settle();
    drop(sender);
    assert_eq!(receiver.recv_timeout(DRAIN).unwrap().value, 2);
    assert!(receiver.recv().is_none());
    let report = graph.wait_blocking();
    let stage = report.stages.iter().find(|stage| stage.stage == "stage");
    assert_eq!(stage.unwrap().restarts, 1);
}

#[test]
fn a_batch_waits_for_more_on_a_shared_arbiter_and_from_two_inputs() {
    let clock = Clock::virtual_at(0);
    let config = DoubleConfig::default();
    let batches = config.batches.clone();
    let batch = BatchOptions::new()
        .max(4)
        .max_delay(Duration::from_millis(10));
    let (first, source) = channel::<Number>(64);
    let (second, other_source) = channel::<Number>(64);
    let (sink, mut receiver) = channel_out::<Number>();
    let graph = GraphBuilder::new("batches")
        .input("first", source)
        .input("second", other_source)
        .stage::<Double>("double", config, StageOptions::new().batch(batch))
        .output("out", sink)
        .chain(&["first", "double", "out"])
        .edge("second", "double", EdgeOptions::default());
    let graph = GraphTest::at(&clock, graph).unwrap();
    first.send(number(1)).unwrap();
    graph.settle();
    second.send(number(2)).unwrap();
    graph.settle();
    assert!(
        receiver.try_recv().is_err(),
        "the batch is not full and not late"
    );
    clock.advance_to(10_000_000);
    let values = [(); 2].map(|()| receiver.recv_timeout(DRAIN).unwrap().value);
    assert_eq!(values, [2, 4]);
    for value in 3..=6 {
        let sender = if value % 2 == 0 { &first } else { &second };
        sender.send(number(value)).unwrap();
    }
    // A full batch waits for nothing.
    let mut values = [(); 4].map(|()| receiver.recv_timeout(DRAIN).unwrap().value);
    values.sort_unstable();
    assert_eq!(values, [6, 8, 10, 12]);
    // The end of the inputs does not wait either.
    first.send(number(7)).unwrap();
    drop((first, second));
    assert_eq!(receiver.recv_timeout(DRAIN).unwrap().value, 14);
    assert!(graph.wait_blocking().is_clean());
    assert_eq!(*batches.lock().unwrap(), [2, 4, 1]);
}

/// Asks for a time that has passed, again and again.
struct Restless;

impl Stage for Restless {
    type Config = ();
    type In = Number;
    type Out = Number;

    fn process(
        &mut self,
        _: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        out.wake_at(i64::MIN);
        Ok(())
    }

    fn on_timer(&mut self, _: i64, out: &mut Emitter<'_, Number>) -> Result<(), StageError> {
        std::thread::sleep(Duration::from_micros(50));
        out.wake_at(0);
        Ok(())
    }
}

#[test]
fn a_time_that_has_passed_starves_no_neighbour() {
    let mut next = 0;
    let graph = GraphBuilder::new("restless")
        .source_fn("numbers", move || {
            next += 1;
            Ok(if next > 20_000 {
                Next::End
            } else {
                Next::Item(number(next))
            })
        })
        .stage_with("stage", |_| Ok(Restless))
        .sink_fn("out", |_: &Frame<Number>| ())
        .chain(&["numbers", "stage", "out"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let delivered = graph.report().edges[0].delivered;
    assert!(graph.wait_blocking().is_clean());
    assert!(delivered > 2_000, "{delivered} of 20,000 in 500 ms");
}

#[test]
fn a_timer_waits_for_no_batch() {
    for arbiter in ["pipeline", "own"] {
        let (sender, source) = channel(8);
        let (sink, mut receiver) = channel_out();
        let batch = BatchOptions::new()
            .max(8)
            .max_delay(Duration::from_secs(30));
        let graph = GraphBuilder::new("batches")
            .input::<Number>("numbers", source)
            .stage_with("stage", |_| Ok(SecondSum::default()))
            .options("stage", StageOptions::new().arbiter(arbiter).batch(batch))
            .output::<Number>("out", sink)
            .chain(&["numbers", "stage", "out"])
            .spawn()
            .unwrap();
        sender.send(number(1)).unwrap();
        let sum = receiver.recv_timeout(Duration::from_secs(10));
        assert_eq!(sum.map(|sum| sum.value), Ok(1), "{arbiter}");
        drop(sender);
        assert!(graph.wait_blocking().is_clean());
    }
}
