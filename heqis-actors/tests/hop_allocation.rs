//! A frame's way from a channel through a stage to a receiver costs a fixed number of allocations.
//!
//! The allocator is process-wide, so this promise has a test binary to itself.
#![allow(clippy::unwrap_used, missing_docs)]

mod allocations;
mod common;

use std::sync::atomic::Ordering;

use allocations::COUNT;
use common::Number;
use heqis_actors::{EdgeOptions, Emitter, Frame, GraphBuilder, channel, channel_out};

const FRAMES: u64 = 20_000;

/// Allocations per frame, times 100, of frames that each of `hops` stages passes on with a new payload.
fn per_frame(hops: usize) -> usize {
    let (sender, source) = channel(256);
    let (sink, mut receiver) = channel_out::<Number>();
    let names: Vec<String> = (0..hops).map(|hop| format!("hop{hop}")).collect();
    let mut graph = GraphBuilder::new("hops")
        .input::<Number>("in", source)
        .output("out", sink);
    let mut from = "in".to_owned();
    for name in names {
        let pass = |frame: &Frame<Number>, out: &mut Emitter<'_, Number>| {
            out.emit(frame.head(), (**frame).clone());
            Ok(())
        };
        graph = graph
            .stage_fn(&name, pass)
            .edge(&from, &name, EdgeOptions::default());
        from = name;
    }
    let graph = graph
        .edge(&from, "out", EdgeOptions::default())
        .spawn()
        .unwrap();
    let mut pass = |frames: u64| {
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for value in 0..frames {
                    sender
                        .send(Number {
                            value,
                            group: value % 8,
                        })
                        .unwrap();
                }
            });
            for value in 0..frames {
                assert_eq!(receiver.recv().unwrap().value, value);
            }
        });
    };
    // Queues and histograms have their size afterwards.
    pass(FRAMES);
    let before = COUNT.load(Ordering::Relaxed);
    pass(FRAMES);
    let allocated = COUNT.load(Ordering::Relaxed) - before;
    drop(sender);
    assert!(graph.wait_blocking().is_clean());
    allocated * 100 / usize::try_from(FRAMES).unwrap()
}

// One test, because a second one would run at the same time and use the same counter.
#[test]
fn a_frame_costs_two_allocations_and_each_stage_two_more() {
    let counts = [0, 1, 3].map(per_frame);
    for (hops, count) in [0, 1, 3].into_iter().zip(counts) {
        // A head and a payload each time, and at most one message that wakes the next actor.
        let expected = 200 * (hops + 1);
        assert!(
            (expected..expected + 100 * (hops + 1)).contains(&count),
            "{hops} hops: {counts:?}"
        );
    }
}
