//! What one hop from stage to stage costs, beside the channels that it might have been.
//!
//! ```text
//! cargo bench --bench hop [-- --rounds N]
//! ```
//!
//! Flood: a source makes frames as fast as they are taken, a sink drops them; nanoseconds per frame, everything
//! included (origin, key, stamps, books, histograms). Idle: a frame a millisecond; how long it waits between the two
//! stages, median. Rounds visit every arm in turn, so that a busy machine disturbs all alike: read the ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heqis_actors::{
    BuildContext, Clock, EdgeOptions, Emitter, Frame, GraphBuilder, Next, Nothing, Payload,
    PayloadError, Source, Stage, StageError, StageOptions, Tensor,
};
use schemars::JsonSchema;
use serde::Deserialize;

const CAPACITY: usize = 1024;
const FLOOD: u64 = 200_000;
const IDLE: u64 = 500;

struct Number(u64);

impl Payload for Number {
    const NAME: &'static str = "number";

    fn encode(&self, meta: &mut Vec<u8>) -> Result<Option<&Tensor>, PayloadError> {
        heqis_actors::meta(Self::NAME, &self.0, meta)?;
        Ok(None)
    }

    fn decode(meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        heqis_actors::read_meta(Self::NAME, meta).map(Self)
    }
}

#[derive(Deserialize, JsonSchema)]
struct CountConfig {
    count: u64,
    every_ns: i64,
}

struct Count {
    left: u64,
    every_ns: i64,
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
        Ok(Self {
            left: config.count,
            every_ns: config.every_ns,
            due_ns: cx.clock().now_ns(),
            clock: cx.clock().clone(),
        })
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        if self.every_ns > 0 && self.clock.now_ns() < self.due_ns {
            return Ok(Next::At(self.due_ns));
        }
        self.due_ns += self.every_ns;
        self.left -= 1;
        Ok(Next::Item(Number(self.left)))
    }
}

/// When the first and the last frame came, and how long frames waited.
#[derive(Default)]
struct Seen {
    first: Option<Instant>,
    last: Option<Instant>,
    waits_ns: Vec<i64>,
}

#[derive(Deserialize, JsonSchema)]
struct SinkConfig {
    #[serde(skip)]
    seen: Arc<Mutex<Seen>>,
}

struct Sink(Arc<Mutex<Seen>>);

impl Stage for Sink {
    type Config = SinkConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "Takes frames.";

    fn build(config: &SinkConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.seen.clone()))
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        let mut seen = self.0.lock().unwrap();
        if seen.first.is_none() {
            seen.first = Some(Instant::now());
        }
        if seen.waits_ns.len() < IDLE as usize {
            let head = frame.head();
            seen.waits_ns.push(head.enter_ns() - head.last_leave_ns());
        }
        if frame.0 == 0 {
            seen.last = Some(Instant::now());
        }
        Ok(())
    }
}

fn graph(across: bool, count: u64, every_ns: i64) -> Arc<Mutex<Seen>> {
    let seen = Arc::<Mutex<Seen>>::default();
    let arbiter = across.then(|| "sink".to_owned());
    let report = GraphBuilder::new("hop")
        .source::<Count>(
            "count",
            CountConfig { count, every_ns },
            StageOptions::default(),
        )
        .stage::<Sink>(
            "sink",
            SinkConfig { seen: seen.clone() },
            StageOptions {
                arbiter,
                ..StageOptions::default()
            },
        )
        .edge(
            "count",
            "sink",
            EdgeOptions {
                capacity: CAPACITY,
                ..EdgeOptions::default()
            },
        )
        .run(Duration::from_secs(60))
        .unwrap();
    assert!(report.is_clean());
    seen
}

fn flood(across: bool) -> f64 {
    let seen = graph(across, FLOOD, 0);
    let seen = seen.lock().unwrap();
    per_frame(seen.last.unwrap() - seen.first.unwrap())
}

fn idle(across: bool) -> f64 {
    let seen = graph(across, IDLE, 1_000_000);
    let mut waits = seen.lock().unwrap().waits_ns.clone();
    waits.sort_unstable();
    waits[waits.len() / 2] as f64
}

fn per_frame(elapsed: Duration) -> f64 {
    elapsed.as_nanos() as f64 / FLOOD as f64
}

/// A way to hand a frame on, by name; gives nanoseconds per frame.
type Arm = (&'static str, fn() -> f64);

/// The cheapest thing that could be called a message: a boxed value through a virtual call.
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.map_or(11, |at| arguments[at + 1].parse().unwrap());
    let arms: [Arm; 5] = [
        ("boxed value, virtual call", function_call),
        ("tokio mpsc, one thread", tokio_channel),
        ("std sync_channel, two threads", sync_channel),
        ("edge, same arbiter", || flood(false)),
        ("edge, across arbiters", || flood(true)),
    ];
    let mut times = vec![Vec::new(); arms.len()];
    let mut waits = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (arm, times) in arms.iter().zip(&mut times) {
            times.push(arm.1());
        }
        for (across, waits) in [false, true].into_iter().zip(&mut waits) {
            waits.push(idle(across));
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    println!("| flood, capacity {CAPACITY} | ns per frame | to tokio mpsc | to sync_channel |");
    println!("|---|---|---|---|");
    for ((name, _), ns) in arms.iter().zip(&medians) {
        println!(
            "| {name} | {ns:.0} | {:.2} | {:.2} |",
            ns / medians[1],
            ns / medians[2]
        );
    }
    println!("\n| idle, a frame a millisecond | wait between the stages, p50 µs |\n|---|---|");
    for (name, waits) in ["same arbiter", "across arbiters"].into_iter().zip(waits) {
        println!("| {name} | {:.1} |", median(waits) / 1e3);
    }
}
