//! Settings: ranges, times that make sense, and options that a stage of its sort cannot have.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::fault::{FaultKind, FaultPlace, GraphFault};
use super::{GraphDescription, Link};
use crate::options::{Delivery, Policy, limits};

pub(super) fn check(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    edges(graph, faults);
    stages(graph, faults);
    unused_settings(graph, faults);
    commit_logs(graph, faults);
    recordings(graph, faults);
    states(graph, links, faults);
}

/// Reports a number outside its range, in the words of a topology's schema.
fn within<T: PartialOrd + Display>(
    value: T,
    range: &RangeInclusive<T>,
    path: &str,
    place: FaultPlace,
    faults: &mut Vec<GraphFault>,
) {
    if !range.contains(&value) {
        let (low, high) = (range.start(), range.end());
        let message = format!("`{path}` must lie between {low} and {high}, not {value}");
        faults.push(GraphFault::new(FaultKind::OutOfRange, place, message));
    }
}

fn not_positive(what: &str, place: FaultPlace) -> GraphFault {
    let message = format!("{what} must be longer than nothing");
    GraphFault::new(FaultKind::OutOfRange, place, message)
}

fn edges(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    for (index, edge) in graph.edges.iter().enumerate() {
        let Some(edge) = edge else { continue };
        let name = graph.edge_name(index);
        let (options, at) = (&edge.options, |option: &str| graph.at_edge(index, option));
        let path = |option: &str| format!("edges.\"{name}\".{option}");
        // The capacity of `latest` is 1, whatever is set.
        if options.policy != Policy::Latest {
            let (path, place) = (path("capacity"), at("capacity"));
            within(options.capacity, &limits::CAPACITY, &path, place, faults);
        }
        if options.max_age.is_some_and(|max_age| max_age.is_zero()) {
            let what = format!("`max_age` of the edge `{name}`");
            faults.push(not_positive(&what, at("max_age")));
        }
        let Some(bridge) = edge.bridge else { continue };
        for (value, range, option) in [
            (bridge.credit, &limits::CREDIT, "transport.credit"),
            (bridge.max_frame, &limits::MAX_FRAME, "transport.max_frame"),
        ] {
            within(value, range, &path(option), at(option), faults);
        }
        if bridge.open {
            let message = format!(
                "the edge `{name}` leaves the machine without TLS: anyone on its network can read frames and send others"
            );
            let kind = match bridge.insecure {
                false => FaultKind::OpenEdge,
                true => FaultKind::InsecureEdge,
            };
            let help = "use the scheme `tls+tcp` with certificates of `heqis-runtime certs`";
            faults.push(
                GraphFault::new(kind, at("transport.scheme"), message).help(match kind {
                    FaultKind::OpenEdge => format!("{help}, or accept it with `insecure = true`"),
                    _ => help.to_owned(),
                }),
            );
        }
        if bridge.delivery == Delivery::AtLeastOnce && options.policy != Policy::Block {
            let message = format!(
                "`at-least-once` cannot be kept with the policy `{}`, which drops frames",
                options.policy.name()
            );
            let place = at("delivery");
            let fault = GraphFault::new(FaultKind::DeliveryPolicyConflict, place, message);
            faults.push(fault.help("use `block`, or `at-most-once`"));
        }
    }
}

fn stages(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    for (index, stage) in graph.stages.iter().enumerate() {
        let Some(options) = &stage.options else {
            continue;
        };
        let at = |option: &str| graph.at_stage(index, option);
        let path = |option: &str| format!("stages.{}.{option}", stage.name);
        let one_worker = stage.kind.and_then(|kind| kind.one_worker);
        let (workers, most) = (options.workers, *limits::WORKERS.end());
        if let (Some(why), 2..) = (one_worker, workers)
            && workers <= most
        {
            let message = format!("`{}` must be 1, not {workers}", path("workers"));
            let fault = GraphFault::new(FaultKind::OutOfRange, at("workers"), message);
            faults.push(fault.help(why));
        }
        let range = &limits::WORKERS;
        within(workers, range, &path("workers"), at("workers"), faults);
        let range = &limits::BATCH;
        within(
            options.batch.max,
            range,
            &path("batch.max"),
            at("batch.max"),
            faults,
        );
        if let Some(priority) = options.priority {
            let range = &limits::PRIORITY;
            within(priority, range, &path("priority"), at("priority"), faults);
        }
        if options.restart.window.is_zero() {
            let what = format!("`restart.window` of stage `{}`", stage.name);
            faults.push(not_positive(&what, at("restart.window")));
        }
        if options.restart.backoff_min > options.restart.backoff_max {
            let message = format!(
                "the first pause of stage `{}` is longer than the longest",
                stage.name
            );
            let place = at("restart.backoff");
            let fault = GraphFault::new(FaultKind::OutOfRange, place, message);
            faults.push(fault.help("write the shortest pause first, as in [\"200ms\", \"5s\"]"));
        }
    }
}

/// Settings that a stage of its sort would ignore, or that would repeat its frames.
fn unused_settings(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    for (index, stage) in graph.stages.iter().enumerate() {
        let (kind, what, help) = match stage.kind {
            Some(kind) if kind.is_source() => (
                FaultKind::NotForASource,
                "source",
                "a second copy or a rebuilt source would repeat frames",
            ),
            Some(kind) if kind.is_buffer() => (
                FaultKind::NotForABuffer,
                "buffer",
                "a buffer only moves frames: it neither works nor fails",
            ),
            _ => continue,
        };
        for &option in &stage.set {
            let message = format!("`{option}` on the {what} `{}`", stage.name);
            let place = graph.at_stage(index, option);
            faults.push(GraphFault::new(kind, place, message).help(help));
        }
    }
}

fn commit_logs(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    let mut first: HashMap<usize, &str> = HashMap::new();
    for (index, stage) in graph.stages.iter().enumerate() {
        let (Some(kind), Some(node)) = (stage.kind, stage.node) else {
            continue;
        };
        if !kind.commit_log {
            continue;
        }
        if let Some(other) = first.get(&node) {
            let message = format!(
                "stage `{}` is a commit log, and so is `{other}` on the same node",
                stage.name
            );
            let place = graph.at_stage(index, "kind");
            let fault = GraphFault::new(FaultKind::SecondCommitLog, place, message);
            faults.push(fault.help("write both streams of decisions to one log, or use two nodes"));
        } else {
            first.insert(node, stage.name);
        }
    }
}

fn recordings(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    let recorded = graph.stages.iter().enumerate();
    for (index, stage) in recorded.filter(|(_, stage)| stage.recorded) {
        let Some(kind) = stage.kind else { continue };
        let (place, name) = (graph.at_stage(index, "record"), stage.name);
        if !kind.is_source() || kind.replayable {
            let why = match kind.is_source() {
                false => "it is no source",
                true => "it gives the same items again by itself",
            };
            let message = format!("stage `{name}` ({}) is not recorded: {why}", kind.name);
            faults.push(GraphFault::new(FaultKind::NotRecordable, place, message));
            continue;
        }
        let node = stage.node.and_then(|node| graph.nodes.get(node));
        if let Some(node) = node.filter(|node| node.saves_every.is_none()) {
            let message = format!(
                "stage `{name}` is recorded, but node `{}` saves no state",
                node.name
            );
            let help = format!(
                "add `state = {{ path = \"…\" }}` to `[nodes.{}]`",
                node.name
            );
            let fault = GraphFault::new(FaultKind::RecordWithoutState, place, message);
            faults.push(fault.help(help));
        }
    }
}

/// The state of a stage that is fed from another node follows from frames that are not sent again, so it is not saved. Sinks,
/// commit logs and ring buffers hold no state that could be.
fn states(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for (index, node) in graph.nodes.iter().enumerate() {
        let Some(every) = node.saves_every else {
            continue;
        };
        if every.is_zero() {
            let what = format!("`state.every` of node `{}`", node.name);
            faults.push(not_positive(&what, graph.at_node(index, "state.every")));
        }
        let unsaved = graph.stages.iter().enumerate();
        for (stage, described) in unsaved.filter(|(_, stage)| stage.node == Some(index)) {
            if let Some(why) = described.kind.and_then(|kind| kind.unsaved) {
                let message = format!(
                    "node `{}` saves no state, because of stage `{}`: {why}",
                    node.name, described.name
                );
                let place = graph.at_stage(stage, "");
                faults.push(GraphFault::new(FaultKind::StateNotSaved, place, message));
            }
        }
        let crossing = links.iter().filter(|link| {
            let ends = graph.crossing(link);
            ends.is_some_and(|(_, to)| to == index)
        });
        let mut open: Vec<usize> = crossing.map(|link| link.to).collect();
        let mut fed = BTreeSet::new();
        while let Some(stage) = open.pop() {
            if fed.insert(stage) {
                let leaving = links
                    .iter()
                    .filter(|link| link.from == stage && graph.stages[link.to].node == Some(index));
                open.extend(leaving.map(|link| link.to));
            }
        }
        fed.retain(|&stage| {
            graph
                .kind(stage)
                .is_some_and(|kind| !kind.is_sink() && !kind.is_buffer() && !kind.commit_log)
        });
        if fed.is_empty() {
            continue;
        }
        let names: Vec<String> = fed
            .iter()
            .map(|&stage| format!("`{}`", graph.stages[stage].name))
            .collect();
        let message = format!(
            "node `{}` saves its state, but not that of stages fed from another node: {}",
            node.name,
            names.join(", ")
        );
        let place = graph.at_node(index, "state");
        let fault = GraphFault::new(FaultKind::StateNotSaved, place, message);
        faults.push(fault.help("they are filled again by the frames that the other node replays"));
    }
}
