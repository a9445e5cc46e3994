//! Lifecycle and alarm events of a graph: to its own subscribers, in order, and to no other graph's.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Collect, CollectConfig, Count, CountConfig};
use heqis_actors::{EdgeOptions, Event, Events, GraphBuilder, RestartOptions, StageOptions};

fn graph(name: &str, count: u64, panics_on: Option<u64>) -> GraphBuilder {
    let collect = CollectConfig::default();
    collect.panics.lock().unwrap().extend(panics_on);
    let count = CountConfig {
        count,
        groups: 1,
        every_ns: 0,
    };
    let restarted_at_once =
        StageOptions::new().restart(RestartOptions::new().backoff_min(Duration::from_millis(1)));
    GraphBuilder::new(name)
        .source::<Count>("count", count, StageOptions::default())
        .stage::<Collect>("collect", collect, restarted_at_once)
        .edge("count", "collect", EdgeOptions::default())
}

fn all(mut events: Events) -> Vec<Event> {
    let seen = events.iter().collect();
    assert_eq!(events.missed(), 0);
    seen
}

#[test]
fn a_subscriber_sees_a_graph_become_ready_fail_restart_and_end() {
    let graph = graph("events", 100, Some(50));
    let events = graph.events();
    let report = graph.run(Duration::from_secs(20)).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let received = all(events);
    let position = |wanted: &dyn Fn(&Event) -> bool| received.iter().position(wanted).unwrap();
    let ready = position(&|event| *event == Event::Ready);
    let failed = position(
        &|event| matches!(event, Event::StageFailed { stage, reason } if stage == "collect" && reason.contains("instructed to panic on 50")),
    );
    let restarted =
        position(&|event| matches!(event, Event::StageRestarted { stage } if stage == "collect"));
    let ended =
        position(&|event| matches!(event, Event::StageEnded { stage } if stage == "collect"));
    assert!(
        ready < failed && failed < restarted && restarted < ended,
        "{received:?}"
    );
}

#[test]
fn the_events_of_a_graph_that_never_runs_end_with_its_builder() {
    let graph = graph("unused", 1, None);
    let events = graph.events();
    drop(graph);
    assert_eq!(all(events), []);
}

#[test]
fn each_of_two_graphs_in_one_program_has_its_own_events() {
    let (calm, failing) = (graph("calm", 100, None), graph("failing", 100, Some(3)));
    let (of_calm, of_failing) = (calm.events(), failing.events());
    let running = [calm.spawn().unwrap(), failing.spawn().unwrap()];
    for graph in running {
        graph.wait_blocking();
    }
    let is_failure = |event: &Event| matches!(event, Event::StageFailed { .. });
    assert!(!all(of_calm).iter().any(is_failure));
    assert!(all(of_failing).iter().any(is_failure));
}

#[test]
fn a_subscriber_that_reads_too_slowly_counts_what_it_missed_and_reaches_the_end() {
    let graph = graph("slow", u64::MAX, None).spawn().unwrap();
    let (mut events, reporter) = (graph.events(), graph.reporter());
    const PUBLISHED: u64 = 1_000;
    for number in 0..PUBLISHED {
        reporter.publish(Event::PeerStalled {
            peer: number.to_string(),
            reason: String::new(),
        });
    }
    graph.stop_blocking(Duration::from_secs(20));
    let mut seen = Vec::new();
    for event in events.iter() {
        if let Event::PeerStalled { peer, .. } = event {
            seen.push(peer.parse::<u64>().unwrap());
        }
    }
    assert!(events.missed() > 700, "{}", events.missed());
    assert!(seen.is_sorted() && seen.last() == Some(&(PUBLISHED - 1)));
}

#[test]
fn a_task_reads_events_as_a_stream_on_any_executor() {
    use futures_util::StreamExt as _;

    let graph = graph("stream", 100, None);
    let (mut events, others) = (graph.events(), graph.events());
    let running = graph.spawn().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let streamed: Vec<Event> = runtime.unwrap().block_on(async {
        let first = events.next().await;
        assert!(first.is_some());
        first
            .into_iter()
            .chain(events.collect::<Vec<_>>().await)
            .collect()
    });
    assert!(running.wait_blocking().is_clean());
    assert_eq!(others.into_iter().collect::<Vec<_>>(), streamed);
    assert!(streamed.contains(&Event::Ready));
}
