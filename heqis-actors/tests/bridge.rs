//! Two graphs connected by a bridged edge: stages see no difference, nothing is lost, back-pressure crosses the wire.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod links;

use std::time::Duration;

use common::{
    Collect, CollectConfig, Count, CountConfig, Double, DoubleConfig, Number, Seen, Twice,
    TwiceConfig,
};
use heqis_actors::sp::{Endpoint, Inproc};
use heqis_actors::{
    BridgeOptions, Delivery, EdgeOptions, EdgeReport, EdgeSide, GraphBuilder, NodeReport,
    PayloadType, Policy, RestartOptions, StageOptions,
};
use links::{free_endpoint, stop_in_turn};

const DRAIN: Duration = Duration::from_secs(20);

fn bridge(endpoint: &str, credit: usize, delivery: Delivery) -> BridgeOptions {
    BridgeOptions::new(endpoint.parse::<Endpoint>().unwrap())
        .credit(credit)
        .delivery(delivery)
}

fn sender(count: u64, options: EdgeOptions, bridge: BridgeOptions, hub: &Inproc) -> GraphBuilder {
    sender_of(
        CountConfig {
            count,
            groups: 5,
            every_ns: 0,
        },
        options,
        bridge,
        hub,
    )
}

fn sender_of(
    count: CountConfig,
    options: EdgeOptions,
    bridge: BridgeOptions,
    hub: &Inproc,
) -> GraphBuilder {
    GraphBuilder::new("pair")
        .node("gateway")
        .inproc(hub.clone())
        .source::<Count>("count", count, StageOptions::default())
        .stream("count", "numbers")
        .stage::<Double>("double", DoubleConfig::default(), StageOptions::default())
        .remote("collect")
        .edge("count", "double", EdgeOptions::new().capacity(8))
        .edge_out(
            1,
            ("double", "collect"),
            PayloadType::of::<Number>(),
            options,
            bridge,
        )
}

fn receiver(
    collect: CollectConfig,
    options: EdgeOptions,
    bridge: BridgeOptions,
    hub: &Inproc,
) -> GraphBuilder {
    GraphBuilder::new("pair")
        .node("compute")
        .inproc(hub.clone())
        .remote("count")
        .remote("double")
        .stage::<Collect>(
            "collect",
            collect,
            StageOptions::new().arbiter("collect").restart(
                RestartOptions::new()
                    .backoff_min(Duration::from_millis(1))
                    .backoff_max(Duration::from_millis(2)),
            ),
        )
        .edge_in(
            1,
            ("double", "collect"),
            PayloadType::of::<Number>(),
            options,
            bridge,
        )
}

fn collecting() -> (CollectConfig, Seen) {
    let config = CollectConfig::default();
    let seen = config.seen.clone();
    (config, seen)
}

fn bridged(report: &NodeReport) -> &EdgeReport {
    report
        .edges
        .iter()
        .find(|edge| edge.side != EdgeSide::Local)
        .unwrap()
}

fn run_pair(
    sender: GraphBuilder,
    receiver: GraphBuilder,
    receiver_first: bool,
) -> (NodeReport, NodeReport) {
    actix::System::new().block_on(async move {
        let (sender, receiver) = if receiver_first {
            let receiver = receiver.start().await.unwrap();
            (sender.start().await.unwrap(), receiver)
        } else {
            let sender = sender.start().await.unwrap();
            (sender, receiver.start().await.unwrap())
        };
        futures_util::future::join(sender.wait(), receiver.wait()).await
    })
}

#[test]
fn a_bridged_edge_carries_every_frame_in_order_over_each_scheme_in_either_start_order() {
    let folder = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://{}", folder.path().join("edge.ipc").display());
    for endpoint in [&free_endpoint(), &ipc, "inproc://edge"] {
        for receiver_first in [true, false] {
            let hub = Inproc::new();
            let (collect, seen) = collecting();
            let options = EdgeOptions::new().capacity(64);
            let bridge = bridge(endpoint, 16, Delivery::AtLeastOnce);
            let (sent, received) = run_pair(
                sender(2_000, options, bridge.clone(), &hub),
                receiver(collect, options, bridge, &hub),
                receiver_first,
            );
            assert_eq!(
                *seen.lock().unwrap(),
                (1..=2_000).map(|n| n * 2).collect::<Vec<_>>(),
                "{endpoint}"
            );
            assert!(
                sent.is_clean() && received.is_clean(),
                "{endpoint}: {sent:?} {received:?}"
            );
            let (sent, received) = (bridged(&sent), bridged(&received));
            assert_eq!((sent.sent, sent.delivered), (2_000, 2_000), "{endpoint}");
            assert_eq!(
                (received.sent, received.delivered),
                (2_000, 2_000),
                "{endpoint}"
            );
        }
    }
}

#[test]
fn back_pressure_crosses_the_wire_by_credit() {
    let hub = Inproc::new();
    let (mut collect, seen) = collecting();
    collect.takes = Duration::from_millis(2);
    let options = EdgeOptions::new().capacity(16);
    let bridge = bridge(&free_endpoint(), 4, Delivery::AtLeastOnce);
    let (sender, receiver) = (
        sender(1_000_000, options, bridge.clone(), &hub),
        receiver(collect, options, bridge, &hub),
    );
    let (sent, received) = actix::System::new().block_on(async move {
        let (sender, receiver) = (
            sender.start().await.unwrap(),
            receiver.start().await.unwrap(),
        );
        while seen.lock().unwrap().len() < 20 {
            actix_rt::task::yield_now().await;
        }
        let now = sender.report();
        // Arithmetic of the bound: 8 and 16 on the two edges, 16 retained, one in process at each stage.
        let flying: u64 = now.edges.iter().map(|edge| edge.in_flight).sum();
        assert!(flying <= 8 + 16 + 16 + 2, "{now:?}");
        let queued = receiver.report().edges[0].in_flight;
        assert!(
            queued <= 4 + 1,
            "the receiver never holds more than its credit and the frame in hand: {queued}"
        );
        stop_in_turn(sender, receiver).await
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    assert!(bridged(&sent).sent < 1_000);
}

#[test]
fn a_receiver_that_leaves_finishes_its_frames_and_the_sender_retains_the_rest_for_the_next_one() {
    let hub = Inproc::new();
    let (first, seen_first) = collecting();
    let (second, seen_second) = collecting();
    let first = CollectConfig {
        takes: Duration::from_micros(100),
        ..first
    };
    let options = EdgeOptions::new().capacity(64);
    let bridge = bridge(&free_endpoint(), 16, Delivery::AtLeastOnce);
    let sender = sender(3_000, options, bridge.clone(), &hub);
    let receivers = [
        receiver(first, options, bridge.clone(), &hub),
        receiver(second, options, bridge, &hub),
    ];
    let (sent, left, received) = actix::System::new().block_on(async move {
        let [first, second] = receivers;
        let sender = sender.start().await.unwrap();
        let first = first.start().await.unwrap();
        while seen_first.lock().unwrap().len() < 100 {
            actix_rt::task::yield_now().await;
        }
        let left = first.stop(DRAIN).await;
        let second = second.start().await.unwrap();
        let (sent, received) = futures_util::future::join(sender.wait(), second.wait()).await;
        let mut all = seen_first.lock().unwrap().clone();
        all.extend(seen_second.lock().unwrap().iter());
        assert_eq!(
            all,
            (1..=3_000).map(|n| n * 2).collect::<Vec<_>>(),
            "each frame once, across both receivers"
        );
        (sent, left, received)
    });
    assert!(
        sent.is_clean() && left.is_clean() && received.is_clean(),
        "{sent:?} {left:?} {received:?}"
    );
    assert_eq!(bridged(&sent).delivered, 3_000);
}

#[test]
fn a_sender_that_restarts_with_the_same_stream_repeats_nothing() {
    // The source replays from its beginning, as after a kill -9; the receiver knows the frames that it has had.
    let hub = Inproc::new();
    let (collect, seen) = collecting();
    let options = EdgeOptions::new().capacity(64);
    let bridge = bridge(&free_endpoint(), 16, Delivery::AtLeastOnce);
    let slow = CollectConfig {
        takes: Duration::from_micros(100),
        ..collect
    };
    let receiver = receiver(slow, options, bridge.clone(), &hub);
    let senders = [
        sender(1_000, options, bridge.clone(), &hub),
        sender(1_000, options, bridge, &hub),
    ];
    let (sent, received) = actix::System::new().block_on(async move {
        let [first, second] = senders;
        let receiver = receiver.start().await.unwrap();
        let first = first.start().await.unwrap();
        while seen.lock().unwrap().len() < 100 {
            actix_rt::task::yield_now().await;
        }
        // The closest to a kill within one process: frames in flight are dropped, no end is announced.
        first.stop(Duration::ZERO).await;
        let second = second.start().await.unwrap();
        let reports = futures_util::future::join(second.wait(), receiver.wait()).await;
        assert_eq!(
            *seen.lock().unwrap(),
            (1..=1_000).map(|n| n * 2).collect::<Vec<_>>()
        );
        reports
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    let sent = bridged(&sent);
    assert!(
        sent.duplicate >= 100,
        "what the receiver had is not delivered again: {sent:?}"
    );
}

#[test]
fn a_stage_may_make_several_frames_of_one_item_and_a_restart_repeats_none_of_them() {
    let hub = Inproc::new();
    let (collect, seen) = collecting();
    let options = EdgeOptions::new().capacity(64);
    let bridge = bridge(&free_endpoint(), 15, Delivery::AtLeastOnce);
    let slow = CollectConfig {
        takes: Duration::from_micros(100),
        ..collect
    };
    let receiver = receiver(slow, options, bridge.clone(), &hub);
    let twice = || {
        let count = CountConfig {
            count: 1_000,
            groups: 5,
            every_ns: 0,
        };
        GraphBuilder::new("pair")
            .node("gateway")
            .inproc(hub.clone())
            .source::<Count>("count", count, StageOptions::default())
            .stream("count", "numbers")
            .stage::<Twice>("double", TwiceConfig::default(), StageOptions::default())
            .remote("collect")
            .edge("count", "double", EdgeOptions::default())
            .edge_out(
                1,
                ("double", "collect"),
                PayloadType::of::<Number>(),
                options,
                bridge.clone(),
            )
    };
    let (first, second) = (twice(), twice());
    let (sent, received) = actix::System::new().block_on(async move {
        let receiver = receiver.start().await.unwrap();
        let first = first.start().await.unwrap();
        while seen.lock().unwrap().len() < 101 {
            actix_rt::task::yield_now().await;
        }
        first.stop(Duration::ZERO).await;
        let second = second.start().await.unwrap();
        let reports = futures_util::future::join(second.wait(), receiver.wait()).await;
        assert_eq!(
            *seen.lock().unwrap(),
            (1..=1_000)
                .flat_map(|n| [n, n + 1_000_000])
                .collect::<Vec<_>>()
        );
        reports
    });
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    assert!(bridged(&sent).duplicate >= 100);
}

#[test]
fn an_outage_that_ends_a_node_leaves_its_frames_with_the_sender() {
    let hub = Inproc::new();
    let (first, seen_first) = collecting();
    let (second, seen_second) = collecting();
    first
        .outages
        .store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    let options = EdgeOptions::new().capacity(64);
    let bridge = bridge(&free_endpoint(), 16, Delivery::AtLeastOnce);
    let sender = sender(1_000, options, bridge.clone(), &hub);
    let receivers = [
        receiver(first, options, bridge.clone(), &hub),
        receiver(second, options, bridge, &hub),
    ];
    let (sent, ended, received) = actix::System::new().block_on(async move {
        let [first, second] = receivers;
        let sender = sender.start().await.unwrap();
        // Ends by itself: the restart budget of its stage is used up.
        let ended = first.start().await.unwrap().wait().await;
        let second = second.start().await.unwrap();
        let (sent, received) = futures_util::future::join(sender.wait(), second.wait()).await;
        (sent, ended, received)
    });
    assert!(
        ended.failure.as_ref().unwrap().contains("the disk is full"),
        "{ended:?}"
    );
    assert!(bridged(&ended).closes());
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    let mut all = seen_first.lock().unwrap().clone();
    all.extend(seen_second.lock().unwrap().iter());
    assert_eq!(all, (1..=1_000).map(|n| n * 2).collect::<Vec<_>>());
}

#[test]
fn dropping_policies_lose_on_the_senders_edge_and_nothing_on_the_wire() {
    for policy in [
        Policy::DropOldest,
        Policy::DropNewest,
        Policy::Latest,
        Policy::Conflate,
    ] {
        let hub = Inproc::new();
        let (mut collect, seen) = collecting();
        collect.takes = Duration::from_micros(200);
        let capacity = if policy == Policy::Latest { 1 } else { 8 };
        let options = EdgeOptions::new().capacity(capacity).policy(policy);
        let bridge = bridge("inproc://drops", 2, Delivery::AtMostOnce);
        let (sent, received) = run_pair(
            sender(1_000, options, bridge.clone(), &hub),
            receiver(collect, options, bridge, &hub),
            true,
        );
        assert!(
            sent.is_clean() && received.is_clean(),
            "{policy:?}: {sent:?} {received:?}"
        );
        let (sent, received) = (bridged(&sent), bridged(&received));
        assert_eq!(sent.sent, 1_000);
        assert!(sent.dropped_total() > 0, "{policy:?}");
        assert_eq!(sent.delivered, received.delivered, "{policy:?}");
        assert_eq!(
            received.delivered,
            seen.lock().unwrap().len() as u64,
            "{policy:?}"
        );
        assert!(received.dropped.is_empty(), "{policy:?}: {received:?}");
    }
}

#[test]
fn frames_that_age_out_on_the_receiving_node_are_booked_on_both_sides() {
    let hub = Inproc::new();
    let (mut collect, _) = collecting();
    collect.takes = Duration::from_millis(1);
    let options = EdgeOptions::new()
        .capacity(512)
        .max_age(Duration::from_millis(3));
    let bridge = bridge("inproc://ages", 64, Delivery::AtLeastOnce);
    // Paced, so that the link is up long before the last frame, which then waits on the receiver's queue.
    let paced = CountConfig {
        count: 500,
        groups: 5,
        every_ns: 300_000,
    };
    let sender = sender_of(paced, options, bridge.clone(), &hub);
    let (sent, received) = run_pair(sender, receiver(collect, options, bridge, &hub), true);
    assert!(
        sent.is_clean() && received.is_clean(),
        "{sent:?} {received:?}"
    );
    let (sent, received) = (bridged(&sent), bridged(&received));
    let age = heqis_actors::DropCause::Age;
    assert!(
        received.dropped.get(&age).copied().unwrap_or(0) > 0,
        "{received:?}"
    );
    assert_eq!(sent.delivered, received.delivered);
    assert!(sent.dropped[&age] >= received.dropped[&age]);
}
