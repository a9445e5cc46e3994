//! The cost of an item that a program sends into a graph and receives from it, compared with plain channels.
//!
//! ```text
//! cargo bench --bench channel [--features bench-peers] [-- --rounds N]
//! ```
//!
//! Flood: one thread sends as fast as items are accepted, another receives; nanoseconds and allocations per item, all
//! included. The graph has one stage between its two ends, or none; it runs on a thread of its own, as does the relay between
//! the two plain channels that it is compared with. Echo: the next item is sent when the one before has come
//! back; median time there and back. Rounds alternate over all arms, so that a busy machine disturbs all alike: read the
//! ratios.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)] // A program for people at a terminal.
#![allow(unsafe_code)] // A counting allocator cannot be written without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heqis_actors::{
    EdgeOptions, Frame, GraphBuilder, GraphHandle, Payload, Receiver, Sender, channel, channel_out,
};

const CAPACITY: usize = 1024;
const FLOOD: u64 = 200_000;
const ECHO: u64 = 5_000;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, and it is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Payload)]
struct Number(u64);

/// The two ends of a transport: a function that sends an item, and one that receives it.
struct Ends<S, R> {
    send: S,
    receive: R,
}

/// Nanoseconds and allocations per item; median nanoseconds there and back.
struct Cost {
    flood_ns: f64,
    allocations: f64,
    echo_ns: f64,
}

fn measure<S, R>(mut ends: Ends<S, R>) -> Cost
where
    S: FnMut(u64) + Send,
    R: FnMut() -> u64,
{
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let start = Instant::now();
    let send = &mut ends.send;
    thread::scope(|scope| {
        scope.spawn(move || (0..FLOOD).for_each(send));
        for number in 0..FLOOD {
            assert_eq!((ends.receive)(), number);
        }
    });
    let flood_ns = start.elapsed().as_nanos() as f64 / FLOOD as f64;
    let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / FLOOD as f64;
    let laps = (0..ECHO).map(|number| {
        let start = Instant::now();
        (ends.send)(number);
        assert_eq!((ends.receive)(), number);
        start.elapsed().as_nanos() as f64
    });
    Cost {
        flood_ns,
        allocations,
        echo_ns: median(laps.collect()),
    }
}

/// A graph whose source is a channel and whose sink is another, with or without a stage between them.
fn graph(stage: bool) -> (Sender<Number>, Receiver<Number>, GraphHandle) {
    let (sender, source) = channel::<Number>(CAPACITY);
    let (sink, receiver) = channel_out::<Number>();
    let edge = EdgeOptions::new().capacity(CAPACITY);
    let graph = GraphBuilder::new("channel")
        .input("in", source)
        .output("out", sink);
    let graph = match stage {
        true => graph
            .inspect("stage", |number: &Frame<Number>| {
                std::hint::black_box(number.0);
            })
            .edge("in", "stage", edge)
            .edge("stage", "out", edge),
        false => graph.edge("in", "out", edge),
    };
    (sender, receiver, graph.spawn().unwrap())
}

fn through_graph(stage: bool) -> Cost {
    let (sender, mut receiver, graph) = graph(stage);
    let cost = measure(Ends {
        send: |number| sender.send(Number(number)).unwrap(),
        receive: || receiver.recv().unwrap().0,
    });
    drop(sender);
    let report = graph.stop_blocking(Duration::from_secs(10));
    assert!(report.is_clean());
    cost
}

fn through_tokio() -> Cost {
    let (sender, mut input) = tokio::sync::mpsc::channel::<Box<Number>>(CAPACITY);
    let (output, mut receiver) = tokio::sync::mpsc::channel(CAPACITY);
    let relay = thread::spawn(move || {
        while let Some(number) = input.blocking_recv() {
            output.blocking_send(number).unwrap();
        }
    });
    let cost = measure(Ends {
        send: |number| sender.blocking_send(Box::new(Number(number))).unwrap(),
        receive: || receiver.blocking_recv().unwrap().0,
    });
    drop(sender);
    relay.join().unwrap();
    cost
}

fn through_crossbeam() -> Cost {
    let (sender, input) = crossbeam_channel::bounded::<Box<Number>>(CAPACITY);
    let (output, receiver) = crossbeam_channel::bounded(CAPACITY);
    let relay = thread::spawn(move || {
        for number in input {
            output.send(number).unwrap();
        }
    });
    let cost = measure(Ends {
        send: |number| sender.send(Box::new(Number(number))).unwrap(),
        receive: || receiver.recv().unwrap().0,
    });
    drop(sender);
    relay.join().unwrap();
    cost
}

/// Other actor frameworks: one actor that passes items from its mailbox into a plain channel, on a runtime of one thread.
#[cfg(feature = "bench-peers")]
mod peers {
    use std::thread;

    use kameo::actor::Spawn as _;
    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::mpsc;

    use super::{CAPACITY, Cost, Ends, measure};

    struct Item(u64);

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    /// Calls `start` on a thread with a runtime, which runs until the bench is over, and returns what it made.
    fn on_runtime<T: Send + 'static>(
        start: impl FnOnce() -> std::pin::Pin<Box<dyn Future<Output = T>>> + Send + 'static,
    ) -> (T, mpsc::Sender<()>) {
        let (made, out) = std::sync::mpsc::channel();
        let (stop, mut stopped) = mpsc::channel::<()>(1);
        thread::spawn(move || {
            runtime().block_on(async move {
                made.send(start().await).unwrap();
                stopped.recv().await;
            });
        });
        (out.recv().unwrap(), stop)
    }

    #[derive(kameo::Actor)]
    struct KameoRelay(mpsc::Sender<Item>);

    impl kameo::message::Message<Item> for KameoRelay {
        type Reply = ();

        async fn handle(&mut self, item: Item, _: &mut kameo::message::Context<Self, ()>) {
            self.0.send(item).await.unwrap();
        }
    }

    pub(super) fn through_kameo() -> Cost {
        let (output, mut receiver) = mpsc::channel(CAPACITY);
        let (relay, _stop) = on_runtime(move || {
            let mailbox = kameo::mailbox::bounded(CAPACITY);
            Box::pin(async move { KameoRelay::spawn_with_mailbox(KameoRelay(output), mailbox) })
        });
        measure(Ends {
            send: |number| relay.tell(Item(number)).blocking_send().unwrap(),
            receive: || receiver.blocking_recv().unwrap().0,
        })
    }

    struct RactorRelay(mpsc::Sender<Item>);

    impl ractor::Actor for RactorRelay {
        type Msg = Item;
        type State = ();
        type Arguments = ();

        async fn pre_start(
            &self,
            _: ractor::ActorRef<Item>,
            (): (),
        ) -> Result<(), ractor::ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            _: ractor::ActorRef<Item>,
            item: Item,
            (): &mut (),
        ) -> Result<(), ractor::ActorProcessingErr> {
            self.0.send(item).await?;
            Ok(())
        }
    }

    /// Its mailbox has no bound.
    pub(super) fn through_ractor() -> Cost {
        let (output, mut receiver) = mpsc::channel(CAPACITY);
        let (relay, _stop) = on_runtime(move || {
            let relay = ractor::Actor::spawn(None, RactorRelay(output), ());
            Box::pin(async move { relay.await.unwrap().0 })
        });
        measure(Ends {
            send: |number| relay.send_message(Item(number)).unwrap(),
            receive: || receiver.blocking_recv().unwrap().0,
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Name of a transport, and a function that measures it.
type Arm = (&'static str, fn() -> Cost);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let at = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = at.map_or(11, |at| arguments[at + 1].parse().unwrap());
    #[cfg_attr(
        not(feature = "bench-peers"),
        expect(unused_mut, reason = "the feature adds arms")
    )]
    let mut arms: Vec<Arm> = vec![
        ("tokio mpsc, thread, tokio mpsc; boxed value", through_tokio),
        (
            "crossbeam, thread, crossbeam; boxed value",
            through_crossbeam,
        ),
        ("channel, source, edge, receiver", || through_graph(false)),
        ("channel, source, edge, stage, edge, receiver", || {
            through_graph(true)
        }),
    ];
    #[cfg(feature = "bench-peers")]
    arms.extend([
        (
            "kameo actor, tokio mpsc",
            peers::through_kameo as fn() -> Cost,
        ),
        (
            "ractor actor without a bound, tokio mpsc",
            peers::through_ractor,
        ),
    ]);
    let mut costs: Vec<Vec<Cost>> = arms.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, measure), costs) in arms.iter().zip(&mut costs) {
            costs.push(measure());
        }
    }
    let medians = |of: fn(&Cost) -> f64| -> Vec<f64> {
        let one = |costs: &Vec<Cost>| median(costs.iter().map(of).collect());
        costs.iter().map(one).collect()
    };
    let flood = medians(|cost| cost.flood_ns);
    let allocations = medians(|cost| cost.allocations);
    let echo = medians(|cost| cost.echo_ns);
    println!(
        "\n| capacity {CAPACITY} | flood, ns per item | to tokio mpsc | allocations per item | echo, p50 ns | to tokio mpsc |"
    );
    println!("|---|---|---|---|---|---|");
    for (at, (name, _)) in arms.iter().enumerate() {
        println!(
            "| {name} | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} |",
            flood[at],
            flood[at] / flood[0],
            allocations[at],
            echo[at],
            echo[at] / echo[0]
        );
    }
}
