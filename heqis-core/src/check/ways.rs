//! Ways: by which edges the items of a source come to a stage, and in which order.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::fault::{FaultKind, GraphFault};
use super::{GraphDescription, Link, WINDOW};

pub(super) fn check(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    // On a cycle everything comes by many ways, an edge of another payload carries nothing, and one of an unknown port is not
    // known to carry anything: these are the faults.
    let other = |fault: &GraphFault| {
        let kind = fault.kind;
        matches!(
            kind,
            FaultKind::Cycle | FaultKind::PayloadMismatch | FaultKind::UnknownPort
        )
    };
    if !faults.iter().any(other) {
        two_ways(graph, links, faults);
    }
    order(graph, links, faults);
    windows(graph, links, faults);
}

/// Frames are known by the source item that they derive from. Where two of them derive from one item by different ways,
/// one is taken for a repetition of the other, or both are decided on.
fn two_ways(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let mut edges: Vec<Link> = links.to_vec();
    edges.retain(|link| graph.carries(link));
    let shares = |link: &Link| {
        graph
            .edge(link.edge)
            .is_some_and(|edge| edge.options.partition_by_key)
    };
    let mut seen = BTreeSet::new();
    for (index, one) in edges.iter().enumerate() {
        for other in &edges[index + 1..] {
            // Of two partitions each item takes one, and of the ports of a stage that routes.
            let one_port = graph.leaves_as(one, other);
            // Of a stage of another node, that node knows it.
            let routed = graph.kind(one.from).is_none_or(|kind| kind.routes);
            let takes_one = if one_port {
                shares(one) && shares(other)
            } else {
                routed
            };
            let repeated = one_port && one.to == other.to && one.into == other.into;
            if one.from != other.from || repeated || takes_one {
                continue;
            }
            let (first, second) = (reached(&edges, one.to), reached(&edges, other.to));
            for (&joint, _) in first.iter().filter(|(stage, _)| second.contains_key(stage)) {
                // Stages behind the first joint get nothing twice that the joint did not.
                let before = edges.iter().filter(|link| link.to == joint);
                let is_first = before
                    .map(|link| link.from)
                    .all(|from| !(first.contains_key(&from) && second.contains_key(&from)));
                if !is_first || !seen.insert((one.from, joint)) {
                    continue;
                }
                let ways = [(one, &first), (other, &second)]
                    .map(|(link, reached)| way(graph, reached, &edges, link, joint));
                let message = format!(
                    "stage `{}` gets each item of `{}` by two ways: {} and {}",
                    graph.stages[joint].name, graph.stages[one.from].name, ways[0], ways[1]
                );
                let place = graph.at_edge(other.edge, "");
                let fault = GraphFault::new(FaultKind::TwoWays, place, message);
                let help = "partition the edges, or let each way end in a stage of its own";
                let first = graph.at_edge(one.edge, "");
                faults.push(fault.related(first, "the other way").help(help));
            }
        }
    }
}

/// The stages that are reached from `start`, itself among them, each with the one before it on a shortest way.
fn reached(edges: &[Link], start: usize) -> HashMap<usize, Option<usize>> {
    let mut reached = HashMap::from([(start, None)]);
    let mut open = VecDeque::from([start]);
    while let Some(stage) = open.pop_front() {
        for link in edges.iter().filter(|link| link.from == stage) {
            reached.entry(link.to).or_insert_with(|| {
                open.push_back(link.to);
                Some(stage)
            });
        }
    }
    reached
}

fn way(
    graph: &GraphDescription<'_>,
    reached: &HashMap<usize, Option<usize>>,
    edges: &[Link],
    start: &Link,
    to: usize,
) -> String {
    let (from, into) = graph.ends(start);
    let (mut names, mut stage) = (Vec::new(), to);
    while let Some(&Some(before)) = reached.get(&stage) {
        let last = edges
            .iter()
            .find(|link| (link.from, link.to) == (before, stage));
        names.push(match last {
            // Only where the ways meet, the port matters.
            Some(link) if stage == to => graph.ends(link).1,
            _ => graph.stages[stage].name,
        });
        stage = before;
    }
    names.push(if stage == to {
        into
    } else {
        graph.stages[stage].name
    });
    names.push(from);
    names.reverse();
    names.join(" -> ")
}

/// Several workers finish in another order from run to run, and a commit log writes in the order in which it is given.
fn order(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for (index, stage) in graph.stages.iter().enumerate() {
        let workers = stage.options.as_ref().map(|options| options.workers);
        let Some(workers) = workers.filter(|&workers| workers > 1) else {
            continue;
        };
        let behind = reached(links, index);
        let log = (0..graph.stages.len())
            .filter(|stage| behind.contains_key(stage))
            .find(|&stage| graph.kind(stage).is_some_and(|kind| kind.commit_log));
        let Some(log) = log else { continue };
        let message = format!(
            "stage `{}` has {workers} workers: the records of `{}` stand in another order from run to run",
            stage.name, graph.stages[log].name
        );
        let place = graph.at_stage(index, "workers");
        let fault = GraphFault::new(FaultKind::OrderNotRepeatable, place, message);
        let help = "each symbol's records keep their order; with one worker the bytes are the same in every run";
        faults.push(fault.help(help));
    }
}

/// Windows of frames in the order of their arrival from several places, on a node in the middle that keeps nothing: after a
/// restart they are made of other frames, of which a later node may have recorded some.
fn windows(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for (index, stage) in graph.stages.iter().enumerate() {
        let is_window = graph.kind(index).is_some_and(|kind| kind.name == WINDOW);
        let (true, Some(node)) = (is_window, stage.node) else {
            continue;
        };
        let is_here = |stage: usize| graph.stages[stage].node == Some(node);
        let is_log = |stage: usize| graph.kind(stage).is_some_and(|kind| kind.commit_log);
        let keeps = graph
            .nodes
            .get(node)
            .is_some_and(|node| node.saves_every.is_some())
            || (0..graph.stages.len()).any(|stage| is_here(stage) && is_log(stage));
        let leaves = |link: &Link| is_here(link.from) && !is_here(link.to);
        if keeps || !links.iter().any(leaves) {
            continue;
        }
        let (mut feeds, mut seen, mut open) =
            (BTreeSet::new(), BTreeSet::from([index]), vec![index]);
        while let Some(stage) = open.pop() {
            if graph.kind(stage).is_some_and(|kind| kind.is_source()) {
                feeds.insert(format!("`{}`", graph.stages[stage].name));
            }
            for link in links.iter().filter(|link| link.to == stage) {
                if !is_here(link.from) {
                    feeds.insert(format!("`{}`", graph.edge_name(link.edge)));
                } else if seen.insert(link.from) {
                    open.push(link.from);
                }
            }
        }
        if feeds.len() > 1 {
            let feeds = feeds.into_iter().collect::<Vec<_>>().join(" and ");
            let message = format!(
                "the windows of `{}` follow the order in which frames of {feeds} arrive: after a restart they are made of other frames",
                stage.name
            );
            let place = graph.at_stage(index, "");
            let fault = GraphFault::new(FaultKind::OrderNotRepeatable, place, message);
            let help = "save the state of the node, or give it the commit log; else items may count twice, which the report says";
            faults.push(fault.help(help));
        }
    }
}
