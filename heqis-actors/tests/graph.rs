//! Graphs inside one process: order, books, policies, supervision, batching, workers, shutdown.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Collect, CollectConfig, Count, CountConfig, Double, DoubleConfig, Seen};
use heqis_actors::{
    BatchOptions, Clock, DropCause, EdgeOptions, Exhausted, GraphBuilder, NodeReport, Policy,
    RestartOptions, RingBufferConfig, StageOptions,
};

const DRAIN: Duration = Duration::from_secs(20);

fn own_arbiter() -> StageOptions {
    StageOptions::new().arbiter("other")
}

fn edge(policy: Policy, capacity: usize) -> EdgeOptions {
    EdgeOptions::new().policy(policy).capacity(capacity)
}

fn counting(count: u64) -> CountConfig {
    CountConfig {
        count,
        groups: 5,
        every_ns: 0,
    }
}

fn collecting() -> (CollectConfig, Seen) {
    let config = CollectConfig::default();
    let seen = config.seen.clone();
    (config, seen)
}

fn fast_restarts(max: u32) -> RestartOptions {
    RestartOptions::new()
        .max(max)
        .backoff_min(Duration::from_millis(1))
        .backoff_max(Duration::from_millis(2))
}

fn books<'a>(report: &'a NodeReport, edge: &str) -> &'a heqis_actors::EdgeReport {
    report
        .edges
        .iter()
        .find(|report| report.edge == edge)
        .unwrap()
}

fn assert_books_close(report: &NodeReport) {
    for edge in &report.edges {
        assert!(edge.closes() && edge.in_flight == 0, "{edge:?}");
    }
}

#[test]
fn every_frame_arrives_once_and_in_order_over_shared_and_separate_arbiters() {
    for options in [StageOptions::default(), own_arbiter()] {
        let (collect, seen) = collecting();
        let report = GraphBuilder::new("order")
            .source::<Count>("count", counting(5_000), StageOptions::default())
            .stage::<Double>("double", DoubleConfig::default(), options)
            .stage::<Collect>("collect", collect, StageOptions::default())
            .edge("count", "double", edge(Policy::Block, 7))
            .edge("double", "collect", edge(Policy::Block, 3))
            .run(DRAIN)
            .unwrap();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(
            *seen.lock().unwrap(),
            (1..=5_000).map(|n| n * 2).collect::<Vec<_>>()
        );
        assert_eq!(books(&report, "count->double").delivered, 5_000);
    }
}

#[test]
fn dropping_policies_close_their_books_and_keep_the_promised_frames() {
    for policy in [
        Policy::DropOldest,
        Policy::DropNewest,
        Policy::Latest,
        Policy::Conflate,
    ] {
        let (mut collect, seen) = collecting();
        collect.takes = Duration::from_micros(50);
        let capacity = if policy == Policy::Latest { 1 } else { 8 };
        let report = GraphBuilder::new("drops")
            .source::<Count>("count", counting(3_000), StageOptions::default())
            .stage::<Collect>("collect", collect, own_arbiter())
            .edge("count", "collect", edge(policy, capacity))
            .run(DRAIN)
            .unwrap();
        assert!(report.is_clean(), "{policy:?}: {report:?}");
        let books = books(&report, "count->collect");
        assert_eq!(books.sent, 3_000, "{policy:?}");
        assert!(
            books.dropped_total() > 0,
            "{policy:?}: a slow consumer must lose something"
        );
        let cause = match policy {
            Policy::Latest | Policy::Conflate => DropCause::Superseded,
            _ => DropCause::Capacity,
        };
        assert!(
            books.dropped.keys().all(|&c| c == cause),
            "{policy:?}: {books:?}"
        );
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len() as u64, books.delivered);
        match policy {
            Policy::DropNewest => assert_eq!(seen[0], 1),
            // The newest frame is always kept, and so is the newest of each group under conflation.
            Policy::Conflate => assert!((2_996..=3_000).all(|n| seen.contains(&n)), "{seen:?}"),
            _ => assert_eq!(*seen.last().unwrap(), 3_000, "{policy:?}"),
        }
        if policy != Policy::Conflate {
            assert!(seen.is_sorted(), "{policy:?}");
        }
    }
}

#[test]
fn frames_over_age_are_dropped_at_dequeue_and_no_older_one_is_ever_delivered() {
    // The consumer itself advances the virtual clock, so that ages are exact.
    let (mut collect, seen) = collecting();
    collect.takes = Duration::from_micros(200);
    let ages_ns = collect.ages_ns.clone();
    let max_age = Duration::from_millis(2);
    let options = edge(Policy::Block, 4096).max_age(max_age);
    let report = GraphBuilder::new("age")
        .clock(Clock::virtual_at(1_000))
        .source::<Count>("count", counting(2_000), StageOptions::default())
        .stage::<Collect>("collect", collect, StageOptions::default())
        .edge("count", "collect", options)
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let books = books(&report, "count->collect");
    assert!(
        books.dropped[&DropCause::Age] > 0 && books.delivered > 0,
        "{books:?}"
    );
    assert_eq!(books.delivered, seen.lock().unwrap().len() as u64);
    let oldest = ages_ns.lock().unwrap().iter().copied().max().unwrap();
    assert_eq!(
        oldest,
        max_age.as_nanos() as i64,
        "2 ms is still young enough, more is not"
    );
}

#[test]
fn a_ring_buffer_keeps_the_newest_in_front_of_a_slow_stage_and_accounts_for_the_rest() {
    let (mut collect, seen) = collecting();
    collect.takes = Duration::from_micros(50);
    let ring = RingBufferConfig::new(16).policy(Policy::DropOldest);
    let report = GraphBuilder::new("ring")
        .source::<Count>("count", counting(2_000), StageOptions::default())
        .ring_buffer("ring", ring, StageOptions::default())
        .stage::<Collect>("collect", collect, own_arbiter())
        .edge("count", "ring", edge(Policy::Block, 4))
        .edge("ring", "collect", edge(Policy::Block, 2))
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        books(&report, "count->ring").delivered,
        2_000,
        "a ring never makes its upstream wait"
    );
    let ring = books(&report, "ring");
    assert!(ring.dropped[&DropCause::Capacity] > 0);
    assert_eq!(ring.delivered, books(&report, "ring->collect").delivered);
    assert_eq!(*seen.lock().unwrap().last().unwrap(), 2_000);
}

#[test]
fn a_blocking_ring_buffer_loses_nothing() {
    let (collect, seen) = collecting();
    let ring = RingBufferConfig::new(2);
    let report = GraphBuilder::new("ring")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .ring_buffer("ring", ring, StageOptions::default())
        .stage::<Collect>("collect", collect, own_arbiter())
        .edge("count", "ring", edge(Policy::Block, 4))
        .edge("ring", "collect", edge(Policy::Block, 2))
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(seen.lock().unwrap().len(), 1_000);
}

#[test]
fn frames_in_flight_never_exceed_the_sum_of_the_named_capacities() {
    // Arithmetic of the bound: two edges (7 + 3), one frame in process at each stage, one staged per stage.
    let (collect, seen) = collecting();
    let report = GraphBuilder::new("bound")
        .source::<Count>("count", counting(1_000_000), StageOptions::default())
        .stage::<Double>("double", DoubleConfig::default(), StageOptions::default())
        .stage::<Collect>(
            "collect",
            CollectConfig {
                takes: Duration::from_millis(5),
                ..collect
            },
            own_arbiter(),
        )
        .edge("count", "double", edge(Policy::Block, 7))
        .edge("double", "collect", edge(Policy::Block, 3));
    let report = actix::System::new().block_on(async move {
        let running = report.start().await.unwrap();
        while seen.lock().unwrap().len() < 3 {
            actix_rt::task::yield_now().await;
        }
        let now = running.report();
        let flying: u64 = now.edges.iter().map(|edge| edge.in_flight).sum();
        assert!(flying <= 7 + 3 + 2, "{now:?}");
        running.stop(DRAIN).await
    });
    assert!(report.is_clean(), "{report:?}");
    assert!(
        books(&report, "count->double").sent < 100,
        "the source really waits"
    );
}

#[test]
fn a_batch_is_what_is_waiting_up_to_the_maximum_and_order_is_kept() {
    let (collect, seen) = collecting();
    let double = DoubleConfig::default();
    let batches = double.batches.clone();
    let options = own_arbiter().batch(
        BatchOptions::new()
            .max(8)
            .max_delay(Duration::from_micros(300)),
    );
    let report = GraphBuilder::new("batch")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .stage::<Double>("double", double, options)
        .stage::<Collect>("collect", collect, StageOptions::default())
        .edge("count", "double", edge(Policy::Block, 64))
        .edge("double", "collect", edge(Policy::Block, 64))
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        *seen.lock().unwrap(),
        (1..=1_000).map(|n| n * 2).collect::<Vec<_>>()
    );
    let batches = batches.lock().unwrap();
    assert!(batches.iter().all(|&n| n <= 8));
    assert!(
        batches.iter().any(|&n| n > 1),
        "a fast source fills batches: {batches:?}"
    );
}

#[test]
fn workers_share_the_frames_by_key_and_keep_each_keys_order() {
    let (collect, seen) = collecting();
    let report = GraphBuilder::new("workers")
        .source::<Count>("count", counting(3_000), StageOptions::default())
        .stage::<Double>(
            "double",
            DoubleConfig::default(),
            StageOptions::new().workers(3),
        )
        .stage::<Collect>("collect", collect, StageOptions::default())
        .edge("count", "double", edge(Policy::Block, 30))
        .edge("double", "collect", edge(Policy::Block, 30))
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3_000);
    for group in 0..5 {
        let of_group: Vec<_> = seen
            .iter()
            .filter(|value| (*value / 2) % 5 == group)
            .collect();
        assert!(of_group.is_sorted() && of_group.len() == 600);
    }
}

#[test]
fn edges_that_partition_share_one_producers_frames_and_others_get_all() {
    let (left, seen_left) = collecting();
    let (right, seen_right) = collecting();
    let (all, seen_all) = collecting();
    let shared = EdgeOptions::new().partition_by_key(true);
    let report = GraphBuilder::new("partition")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .stage::<Collect>("left", left, StageOptions::default())
        .stage::<Collect>("right", right, own_arbiter())
        .stage::<Collect>("all", all, StageOptions::default())
        .edge("count", "left", shared)
        .edge("count", "right", shared)
        .edge("count", "all", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let (left, right) = (seen_left.lock().unwrap(), seen_right.lock().unwrap());
    assert_eq!(left.len() + right.len(), 1_000);
    assert!(!left.is_empty() && !right.is_empty());
    assert!(
        left.iter()
            .all(|value| !right.iter().any(|other| other % 5 == value % 5))
    );
    assert_eq!(seen_all.lock().unwrap().len(), 1_000);
}

#[test]
fn a_stage_that_panics_once_is_rebuilt_and_loses_nothing() {
    let (collect, seen) = collecting();
    collect.panics.lock().unwrap().extend([10, 500]);
    let report = GraphBuilder::new("panic")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .stage::<Collect>(
            "collect",
            collect,
            StageOptions::new().restart(fast_restarts(5)),
        )
        .edge("count", "collect", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(*seen.lock().unwrap(), (1..=1_000).collect::<Vec<_>>());
    assert_eq!(
        report
            .stages
            .iter()
            .find(|s| s.stage == "collect")
            .unwrap()
            .restarts,
        2
    );
}

#[test]
fn a_frame_on_which_the_stage_fails_twice_is_dropped_and_the_rest_continues() {
    let (mut collect, seen) = collecting();
    collect.poison = vec![100];
    let report = GraphBuilder::new("poison")
        .source::<Count>("count", counting(200), StageOptions::default())
        .stage::<Collect>(
            "collect",
            collect,
            StageOptions::new()
                .restart(fast_restarts(5))
                .batch(BatchOptions::new().max(16)),
        )
        .edge("count", "collect", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    assert_books_close(&report);
    assert_eq!(report.failure, None);
    assert_eq!(
        books(&report, "count->collect").dropped[&DropCause::StageFailed],
        1
    );
    let seen: std::collections::BTreeSet<u64> = seen.lock().unwrap().iter().copied().collect();
    assert_eq!(seen, (1..=200).filter(|n| *n != 100).collect());
}

#[test]
fn an_outage_costs_restarts_and_no_frames() {
    let (collect, seen) = collecting();
    collect
        .outages
        .store(4, std::sync::atomic::Ordering::Relaxed);
    let report = GraphBuilder::new("outage")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .stage::<Collect>(
            "collect",
            collect,
            StageOptions::new()
                .restart(fast_restarts(5))
                .batch(BatchOptions::new().max(16)),
        )
        .edge("count", "collect", EdgeOptions::default())
        .run(DRAIN)
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    let seen: std::collections::BTreeSet<u64> = seen.lock().unwrap().iter().copied().collect();
    assert_eq!(seen, (1..=1_000).collect());
    assert_eq!(books(&report, "count->collect").dropped_total(), 0);
}

#[test]
fn a_used_up_restart_budget_ends_the_graph_with_its_reason_or_only_the_stage() {
    for then in [Exhausted::StopGraph, Exhausted::StopStage] {
        let (mut collect, _) = collecting();
        collect.poison = (50..10_000).collect();
        let report = GraphBuilder::new("budget")
            .source::<Count>("count", counting(1_000), StageOptions::default())
            .stage::<Collect>(
                "collect",
                collect,
                StageOptions::new().restart(fast_restarts(2).then(then)),
            )
            .edge("count", "collect", edge(Policy::Block, 4))
            .run(DRAIN)
            .unwrap();
        assert_books_close(&report);
        let books = books(&report, "count->collect");
        assert!(books.dropped[&DropCause::StageFailed] > 0);
        match then {
            Exhausted::StopGraph => assert!(report.failure.unwrap().contains("restart budget")),
            _ => {
                assert_eq!(report.failure, None);
                assert_eq!(books.sent, 1_000);
            }
        }
    }
}

#[test]
fn a_drain_that_takes_too_long_books_the_rest_as_dropped_for_shutdown() {
    let (mut collect, seen) = collecting();
    collect.takes = Duration::from_millis(20);
    let graph = GraphBuilder::new("abandon")
        .source::<Count>("count", counting(1_000), StageOptions::default())
        .stage::<Collect>("collect", collect, own_arbiter())
        .edge("count", "collect", edge(Policy::Block, 500));
    let report = actix::System::new().block_on(async move {
        let running = graph.start().await.unwrap();
        while seen.lock().unwrap().is_empty() {
            actix_rt::task::yield_now().await;
        }
        running.stop(Duration::from_millis(1)).await
    });
    assert_books_close(&report);
    assert!(books(&report, "count->collect").dropped[&DropCause::Shutdown] > 300);
}

#[test]
fn an_invalid_graph_is_refused_with_the_names() {
    let graph = GraphBuilder::new("wrong")
        .source::<Count>("count", counting(1), StageOptions::default())
        .edge("count", "nowhere", EdgeOptions::default());
    let error = graph.run(DRAIN).unwrap_err().to_string();
    assert!(
        error.contains("`count->nowhere` names the unknown stage `nowhere`"),
        "{error}"
    );
}
