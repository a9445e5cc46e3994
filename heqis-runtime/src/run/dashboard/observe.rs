//! The background tasks that observe the graph: for the page while it is open, and for alarms always.

use std::sync::{Arc, Weak};
use std::time::Duration;

use heqis_dashboard::Decisions;
use heqis_tls::Identity;
use tokio::time::sleep;

use super::alarms::{Detector, Limits, certificates, clocks_apart};
use super::graph::Graph;

/// Time between two observations for alarms.
const ALARM_PERIOD: Duration = Duration::from_secs(1);
/// Time between two observations for an open page.
const PAGE_PERIOD: Duration = Duration::from_millis(250);

/// Observes the graph while the page is open, until the graph is dropped.
pub(super) fn for_page(graph: &Arc<Graph>) {
    let graph = Arc::downgrade(graph);
    actix_rt::spawn(async move {
        loop {
            sleep(PAGE_PERIOD).await;
            let Some(graph) = graph.upgrade() else { return };
            if graph.is_watched() {
                graph.observe();
            }
        }
    });
}

/// Observes the graph for alarms, until the graph is dropped.
pub(super) fn for_alarms(
    graph: &Arc<Graph>,
    decisions: &Arc<Decisions>,
    limits: Limits,
    identity: Option<Identity>,
) {
    let graph = Arc::downgrade(graph);
    actix_rt::spawn(detect(graph, decisions.clone(), limits, identity));
}

async fn detect(
    graph: Weak<Graph>,
    decisions: Arc<Decisions>,
    limits: Limits,
    identity: Option<Identity>,
) {
    let mut detector = Detector::default();
    loop {
        sleep(ALARM_PERIOD).await;
        let Some(graph) = graph.upgrade() else { return };
        if graph.alarms.is_sent() {
            // Otherwise the other nodes are asked only while the page is open.
            graph.mark_asked();
        }
        let state = graph.observe();
        let mut found = detector.observe(graph.topology(), &state);
        found.extend(detector.decision_gap(&state, decisions.last(), limits.decision_gap));
        found.extend(clocks_apart(graph.topology(), &state, limits.clock_offset));
        let own = graph.own_name();
        found.extend(
            identity
                .iter()
                .flat_map(|identity| certificates(own, identity)),
        );
        graph
            .alarms
            .update(&graph.topology().name, own, found, state.at_ms);
    }
}
