//! The cost of one hop from stage to stage, compared with plain channels.
//!
//! ```text
//! cargo bench --bench hop [-- --rounds N]
//! ```
//!
//! Flood: a source emits frames as fast as they are taken, a sink drops them; nanoseconds per frame, all included
//! (origin, key, stamps, books, histograms). Ping-pong: the next frame is emitted when the sink has taken the one before;
//! median time from frame to frame at the sink, that is one hop and the way back. Idle: one frame per millisecond; median
//! wait between the two stages. Rounds alternate over all arms, so that a busy machine disturbs all alike: read the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use heqis_actors::{
    BuildContext, Clock, EdgeOptions, Emitter, Frame, GraphBuilder, Next, Nothing, Payload, Source,
    Stage, StageError, StageOptions, Waker,
};
use schemars::JsonSchema;
use serde::Deserialize;

const CAPACITY: usize = 1024;
const FLOOD: u64 = 200_000;
const PING_PONG: u64 = 5_000;
const IDLE: u64 = 500;

#[derive(Payload)]
#[payload(local)]
struct Number(u64);

/// When a frame is emitted.
#[derive(Clone, Default)]
enum Pace {
    #[default]
    Flood,
    /// This number of nanoseconds after the one before.
    Every(i64),
    /// Once the sink has taken the one before.
    Answered(Arc<Answers>),
}

/// Lets the sink request the next frame.
#[derive(Default)]
struct Answers {
    taken: AtomicU64,
    source: OnceLock<Waker>,
}

#[derive(Deserialize, JsonSchema)]
struct CountConfig {
    count: u64,
    #[serde(skip)]
    pace: Pace,
}

struct Count {
    count: u64,
    made: u64,
    pace: Pace,
    due_ns: i64,
    clock: Clock,
}

impl Source for Count {
    type Config = CountConfig;
    type Out = Number;
    const KIND: &'static str = "count";
    const ABOUT: &'static str = "Counts down.";
    const REPLAYABLE: bool = true;

    fn build(config: &CountConfig, cx: &BuildContext) -> Result<Self, StageError> {
        if let Pace::Answered(answers) = &config.pace {
            let _ = answers.source.set(cx.waker());
        }
        Ok(Self {
            count: config.count,
            made: 0,
            pace: config.pace.clone(),
            due_ns: cx.clock().now_ns(),
            clock: cx.clock().clone(),
        })
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        if self.made == self.count {
            return Ok(Next::End);
        }
        match &self.pace {
            Pace::Every(_) if self.clock.now_ns() < self.due_ns => {
                return Ok(Next::At(self.due_ns));
            }
            Pace::Every(ns) => self.due_ns += ns,
            Pace::Answered(answers) if answers.taken.load(Ordering::Acquire) < self.made => {
                return Ok(Next::Waiting);
            }
            Pace::Answered(_) | Pace::Flood => {}
        }
        self.made += 1;
        Ok(Next::Item(Number(self.count - self.made)))
    }
}

/// Measurements of the sink.
#[derive(Default)]
struct Seen {
    first: Option<Instant>,
    last: Option<Instant>,
    /// From leaving the source to reaching the sink.
    waits_ns: Vec<f64>,
    /// From frame to frame.
    laps_ns: Vec<f64>,
}

#[derive(Deserialize, JsonSchema)]
struct SinkConfig {
    #[serde(skip)]
    seen: Arc<Mutex<Seen>>,
    #[serde(skip)]
    pace: Pace,
}

struct Sink {
    seen: Arc<Mutex<Seen>>,
    pace: Pace,
}

impl Stage for Sink {
    type Config = SinkConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "Takes frames.";

    fn build(config: &SinkConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self {
            seen: config.seen.clone(),
            pace: config.pace.clone(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let mut seen = self.seen.lock().unwrap();
        match &self.pace {
            Pace::Flood if seen.first.is_none() => seen.first = Some(Instant::now()),
            Pace::Flood if frame.0 == 0 => seen.last = Some(Instant::now()),
            Pace::Flood => {}
            Pace::Every(_) => {
                let head = frame.head();
                let wait_ns = head.enter_ns() - head.last_leave_ns();
                seen.waits_ns.push(wait_ns as f64);
            }
            Pace::Answered(answers) => {
                let now = Instant::now();
                if let Some(last) = seen.last.replace(now) {
                    seen.laps_ns.push((now - last).as_nanos() as f64);
                }
                answers.taken.fetch_add(1, Ordering::Release);
                if let Some(source) = answers.source.get() {
                    source.wake();
                }
            }
        }
        Ok(())
    }
}

fn graph(across: bool, count: u64, pace: Pace) -> Seen {
    let seen = Arc::<Mutex<Seen>>::default();
    let sink = SinkConfig {
        seen: seen.clone(),
        pace: pace.clone(),
    };
    let mut options = StageOptions::new();
    options.arbiter = across.then(|| "sink".to_owned());
    let edge = EdgeOptions::new().capacity(CAPACITY);
    let report = GraphBuilder::new("hop")
        .source::<Count>(
            "count",
            CountConfig { count, pace },
            StageOptions::default(),
        )
        .stage::<Sink>("sink", sink, options)
        .edge("count", "sink", edge)
        .run(Duration::from_secs(60))
        .unwrap();
    assert!(report.is_clean());
    std::mem::take(&mut *seen.lock().unwrap())
}

fn flood(across: bool) -> f64 {
    let seen = graph(across, FLOOD, Pace::Flood);
    per_frame(seen.last.unwrap() - seen.first.unwrap())
}

fn ping_pong(across: bool) -> f64 {
    median(graph(across, PING_PONG, Pace::Answered(Arc::default())).laps_ns)
}

fn idle(across: bool) -> f64 {
    median(graph(across, IDLE, Pace::Every(1_000_000)).waits_ns)
}

fn per_frame(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / FLOOD as f64
}

/// Name of a transport, and a function that returns its nanoseconds per frame.
type Arm = (&'static str, fn() -> f64);

/// The lower bound of a message: a boxed value through a virtual call.
fn function_call() -> f64 {
    let sink: Box<dyn Fn(Box<Number>)> = Box::new(|number| drop(std::hint::black_box(number)));
    let start = Instant::now();
    for number in 0..FLOOD {
        std::hint::black_box(&sink)(Box::new(Number(number)));
    }
    per_frame(start.elapsed())
}

fn sync_channel() -> f64 {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Box<Number>>(CAPACITY);
    let sink = std::thread::spawn(move || {
        let mut first = None;
        while let Ok(number) = receiver.recv() {
            first.get_or_insert_with(Instant::now);
            std::hint::black_box(number);
        }
        first.unwrap().elapsed()
    });
    for number in 0..FLOOD {
        sender.send(Box::new(Number(number))).unwrap();
    }
    drop(sender);
    per_frame(sink.join().unwrap())
}

fn tokio_channel() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<Box<Number>>(CAPACITY);
        let source = tokio::spawn(async move {
            for number in 0..FLOOD {
                sender.send(Box::new(Number(number))).await.unwrap();
            }
        });
        let start = Instant::now();
        while let Some(number) = receiver.recv().await {
            std::hint::black_box(number);
        }
        source.await.unwrap();
        per_frame(start.elapsed())
    })
}

/// Returns the median time from response to response.
fn laps(mut lap: impl FnMut()) -> f64 {
    let mut laps_ns = Vec::with_capacity(PING_PONG as usize);
    for _ in 0..PING_PONG {
        let start = Instant::now();
        lap();
        laps_ns.push(start.elapsed().as_nanos() as f64);
    }
    median(laps_ns)
}

fn sync_ping_pong() -> f64 {
    let (ping, pings) = std::sync::mpsc::sync_channel::<Box<Number>>(1);
    let (pong, pongs) = std::sync::mpsc::sync_channel::<()>(1);
    let sink = std::thread::spawn(move || {
        while let Ok(number) = pings.recv() {
            std::hint::black_box(number);
            pong.send(()).unwrap();
        }
    });
    let lap_ns = laps(|| {
        ping.send(Box::new(Number(0))).unwrap();
        pongs.recv().unwrap();
    });
    drop(ping);
    sink.join().unwrap();
    lap_ns
}

fn tokio_ping_pong() -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (ping, mut pings) = tokio::sync::mpsc::channel::<Box<Number>>(1);
        let (pong, mut pongs) = tokio::sync::mpsc::channel::<()>(1);
        // Both sink and source are tasks: waking `block_on` itself costs more.
        tokio::spawn(async move {
            while let Some(number) = pings.recv().await {
                std::hint::black_box(number);
                pong.send(()).await.unwrap();
            }
        });
        let source = tokio::spawn(async move {
            let mut laps_ns = Vec::with_capacity(PING_PONG as usize);
            for _ in 0..PING_PONG {
                let start = Instant::now();
                ping.send(Box::new(Number(0))).await.unwrap();
                pongs.recv().await.unwrap();
                laps_ns.push(start.elapsed().as_nanos() as f64);
            }
            median(laps_ns)
        });
        source.await.unwrap()
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints nanoseconds for each arm, and their ratios to the two channels.
fn print(what: &str, arms: &[Arm], times: Vec<Vec<f64>>, tokio: usize, std: usize) {
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    println!("\n| {what} | ns | to tokio mpsc | to sync_channel |\n|---|---|---|---|");
    for ((name, _), ns) in arms.iter().zip(&medians) {
        let (to_tokio, to_std) = (ns / medians[tokio], ns / medians[std]);
        println!("| {name} | {ns:.0} | {to_tokio:.2} | {to_std:.2} |");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.map_or(11, |at| arguments[at + 1].parse().unwrap());
    let floods: [Arm; 5] = [
        ("boxed value, virtual call", function_call),
        ("tokio mpsc, one thread", tokio_channel),
        ("std sync_channel, two threads", sync_channel),
        ("edge, same arbiter", || flood(false)),
        ("edge, across arbiters", || flood(true)),
    ];
    let ping_pongs: [Arm; 4] = [
        ("tokio mpsc there and back, one thread", tokio_ping_pong),
        (
            "std sync_channel there and back, two threads",
            sync_ping_pong,
        ),
        ("edge and waker, same arbiter", || ping_pong(false)),
        ("edge and waker, across arbiters", || ping_pong(true)),
    ];
    let idles: [Arm; 2] = [
        ("same arbiter", || idle(false)),
        ("across arbiters", || idle(true)),
    ];
    let arms: Vec<Arm> = [&floods[..], &ping_pongs, &idles].concat();
    let mut times = vec![Vec::new(); arms.len()];
    for _ in 0..rounds {
        for ((_, measure), times) in arms.iter().zip(&mut times) {
            times.push(measure());
        }
    }
    let waits = times.split_off(floods.len() + ping_pongs.len());
    let laps = times.split_off(floods.len());
    let flood = format!("flood, capacity {CAPACITY}, per frame");
    print(&flood, &floods, times, 1, 2);
    print("ping-pong, p50 per frame", &ping_pongs, laps, 0, 1);
    println!("\n| idle, one frame per millisecond | wait between the stages, p50 µs |\n|---|---|");
    for ((name, _), waits) in idles.iter().zip(waits) {
        println!("| {name} | {:.1} |", median(waits) / 1e3);
    }
}
