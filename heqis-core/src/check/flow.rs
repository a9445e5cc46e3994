//! Flow: names, and what the edges make of the stages.

use std::collections::{HashMap, HashSet, VecDeque};

use super::fault::{FaultKind, FaultPlace, FaultSubject, GraphFault};
use super::{GraphDescription, Link, place};
use crate::contract::ANY;

pub(super) fn check(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    names(graph, faults);
    duplicate_edges(graph, links, faults);
    ports(graph, links, faults);
    loose_ends(graph, faults);
    cycles(graph, links, faults);
    partitions(graph, links, faults);
    budgets(graph, links, faults);
}

fn names(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    if let Some(name) = graph.name {
        let place = place(FaultSubject::Graph, name, "name");
        well_formed("a topology", name, place, faults);
    }
    let nodes = graph.nodes.iter().enumerate();
    for (index, node) in nodes.filter(|(_, node)| !node.name.is_empty()) {
        well_formed("a node", node.name, graph.at_node(index, ""), faults);
    }
    if graph.stages.is_empty() {
        let place = place(FaultSubject::Graph, "", "");
        let message = "the graph has no stage";
        faults.push(GraphFault::new(FaultKind::EmptyGraph, place, message));
    }
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (index, stage) in graph.stages.iter().enumerate() {
        well_formed("a stage", stage.name, graph.at_stage(index, ""), faults);
        let arbiter = (stage.options.as_ref()).and_then(|options| options.arbiter.as_deref());
        if let Some(arbiter) = arbiter {
            well_formed(
                "an arbiter",
                arbiter,
                graph.at_stage(index, "arbiter"),
                faults,
            );
        }
        match first.get(stage.name) {
            Some(&first) => {
                let message = format!("two stages are called `{}`", stage.name);
                let place = graph.at_stage(index, "");
                let fault = GraphFault::new(FaultKind::DuplicateName, place, message);
                faults.push(fault.related(graph.at_stage(first, ""), "first declared here"));
            }
            None => {
                first.insert(stage.name, index);
            }
        }
    }
    for (index, edge) in graph.edges.iter().enumerate() {
        let Some(edge) = edge else { continue };
        let what = format!("the edge `{}`", graph.edge_name(index));
        for (name, end) in [(edge.from, "from"), (edge.to, "to")] {
            faults.extend(graph.unknown_stage(&what, name, graph.at_edge(index, end)));
        }
    }
    for (index, budget) in graph.budgets.iter().enumerate() {
        for (at, name) in budget.iter().flat_map(|budget| &budget.path).enumerate() {
            let place = at_budget(index, &format!("path.{at}"));
            faults.extend(graph.unknown_stage("a budget", name, place));
        }
    }
}

fn well_formed(what: &str, name: &str, place: FaultPlace, faults: &mut Vec<GraphFault>) {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !(first && rest && name.len() <= 64) {
        let message = format!("\"{}\" is no name for {what}", name.escape_debug());
        let rule = "a lower-case letter, then lower-case letters, digits and hyphens, 64 at most";
        faults.push(GraphFault::new(FaultKind::BadName, place, message).help(rule));
    }
}

fn at_budget(index: usize, option: &str) -> FaultPlace {
    place(FaultSubject::Budget(index), "", option)
}

fn duplicate_edges(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let mut seen: HashMap<(usize, usize), usize> = HashMap::new();
    for link in links {
        match seen.get(&(link.from, link.to)) {
            Some(&first) => {
                let message = format!(
                    "the edge `{}` is declared twice",
                    graph.edge_name(link.edge)
                );
                let place = graph.at_edge(link.edge, "");
                let fault = GraphFault::new(FaultKind::DuplicateEdge, place, message);
                faults.push(fault.related(graph.at_edge(first, ""), "first declared here"));
            }
            None => {
                seen.insert((link.from, link.to), link.edge);
            }
        }
    }
}

fn ports(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let outputs = graph.outputs();
    let mut fed: HashMap<usize, &'static str> = HashMap::new();
    for link in links {
        let (from, to) = (graph.stages[link.from].name, graph.stages[link.to].name);
        if let Some(kind) = graph.kind(link.from).filter(|kind| kind.output.is_none()) {
            let message = format!(
                "stage `{from}` is a sink ({}): no edge leaves it",
                kind.name
            );
            let place = graph.at_edge(link.edge, "from");
            faults.push(GraphFault::new(FaultKind::NoOutput, place, message));
        }
        let carried = graph.edge(link.edge).and_then(|edge| edge.payload);
        if let (Some(carried), Some(output)) = (carried, outputs[link.from])
            && carried != output
        {
            let message = format!(
                "stage `{from}` makes `{output}`, but the edge `{from}->{to}` carries `{carried}`"
            );
            let place = graph.at_edge(link.edge, "payload");
            faults.push(GraphFault::new(FaultKind::PayloadMismatch, place, message));
            continue;
        }
        let Some(kind) = graph.kind(link.to) else {
            continue;
        };
        let Some(input) = kind.input else {
            let message = format!(
                "stage `{to}` is a source ({}): no edge leads to it",
                kind.name
            );
            let place = graph.at_edge(link.edge, "to");
            faults.push(GraphFault::new(FaultKind::NoInput, place, message));
            continue;
        };
        let Some(output) = outputs[link.from] else {
            continue;
        };
        // What first feeds a ring buffer decides what it carries.
        let wanted = if input == ANY {
            *fed.entry(link.to).or_insert(output)
        } else {
            input
        };
        if wanted != output {
            let verb = if input == ANY {
                "already carries"
            } else {
                "takes"
            };
            let message = format!(
                "stage `{from}` makes `{output}`, but `{to}` ({}) {verb} `{wanted}`",
                kind.name
            );
            let place = graph.at_edge(link.edge, "to");
            faults.push(GraphFault::new(FaultKind::PayloadMismatch, place, message));
        }
    }
}

fn loose_ends(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    // An edge with a misspelt end still shows that the other end was meant to be connected.
    let edges = || graph.edges.iter().flatten();
    let leaving: HashSet<&str> = edges().map(|edge| edge.from).collect();
    let arriving: HashSet<&str> = edges().map(|edge| edge.to).collect();
    for (index, stage) in graph.stages.iter().enumerate() {
        let Some(kind) = stage.kind else { continue };
        let name = stage.name;
        if let Some(input) = kind.input.filter(|_| !arriving.contains(name)) {
            let message = format!(
                "stage `{name}` ({}) takes `{input}`, but no edge leads to it",
                kind.name
            );
            let place = graph.at_stage(index, "");
            faults.push(GraphFault::new(FaultKind::UnfedStage, place, message));
        }
        if let Some(output) = kind
            .output
            .filter(|_| !kind.output_optional && !leaving.contains(name))
        {
            let message = format!(
                "stage `{name}` ({}) makes `{output}`, but no edge leaves it",
                kind.name
            );
            let place = graph.at_stage(index, "");
            faults.push(GraphFault::new(FaultKind::UnconsumedStage, place, message));
        }
    }
}

/// Removes stages that nothing open leads to until none is left; what stays lies on or behind a cycle. The cycle is
/// found by walking backwards, and its last added edge is blamed and cut before the search continues.
fn cycles(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let mut edges: Vec<Link> = links.to_vec();
    edges.retain(|link| graph.carries(link));
    loop {
        let mut open = vec![0_usize; graph.stages.len()];
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); graph.stages.len()];
        for link in &edges {
            open[link.to] += 1;
            next[link.from].push(link.to);
        }
        let mut free: VecDeque<usize> = (0..open.len()).filter(|&stage| open[stage] == 0).collect();
        let mut left: HashSet<usize> = (0..open.len()).collect();
        while let Some(stage) = free.pop_front() {
            left.remove(&stage);
            for &to in &next[stage] {
                open[to] -= 1;
                if open[to] == 0 {
                    free.push_back(to);
                }
            }
        }
        let Some(&start) = left.iter().min() else {
            return;
        };
        let mut way: Vec<usize> = vec![start];
        let cycle = loop {
            let here = way[way.len() - 1];
            // Every stage that is left is fed by one that is left.
            let Some(before) = edges
                .iter()
                .find(|link| link.to == here && left.contains(&link.from))
            else {
                return;
            };
            if let Some(at) = way.iter().position(|&stage| stage == before.from) {
                break way.split_off(at);
            }
            way.push(before.from);
        };
        let on_cycle = |link: &&Link| {
            cycle
                .iter()
                .enumerate()
                .any(|(index, &to)| link.to == to && link.from == cycle[(index + 1) % cycle.len()])
        };
        let Some(blamed) = edges
            .iter()
            .filter(on_cycle)
            .max_by_key(|link| link.edge)
            .copied()
        else {
            return;
        };
        // Listed from the end of the blamed edge, around to its start.
        let turn = cycle
            .iter()
            .position(|&stage| stage == blamed.from)
            .unwrap_or(0);
        let mut names: Vec<&str> = Vec::new();
        for step in 0..cycle.len() {
            names.push(graph.stages[cycle[(turn + step) % cycle.len()]].name);
        }
        names.reverse();
        let path = format!("{} -> {}", names.join(" -> "), names[0]);
        let message = format!(
            "the edge `{}` closes a cycle: {path}",
            graph.edge_name(blamed.edge)
        );
        let fault = GraphFault::new(FaultKind::Cycle, graph.at_edge(blamed.edge, ""), message);
        faults.push(fault.help(
            "an edge back to an earlier node must end in a sink, such as a `feedback` stage",
        ));
        edges.retain(|link| link.edge != blamed.edge);
    }
}

fn partitions(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let shares = |link: &&Link| {
        graph
            .edge(link.edge)
            .is_some_and(|edge| edge.options.partition_by_key)
    };
    // The other edges of a stage on another node are not known here.
    let known = |link: &&Link| graph.complete || graph.kind(link.from).is_some();
    for link in links.iter().filter(shares).filter(known) {
        let others = links.iter().filter(|other| other.from == link.from);
        if others.filter(shares).count() < 2 {
            let from = graph.stages[link.from].name;
            let message = format!(
                "the edge `{}` alone of those leaving `{from}` is partitioned",
                graph.edge_name(link.edge)
            );
            let place = graph.at_edge(link.edge, "partition_by");
            let help = "partition at least two edges, or leave `partition_by` out: the edge then gets every frame";
            faults.push(GraphFault::new(FaultKind::SinglePartition, place, message).help(help));
        }
    }
}

fn budgets(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let stage = |name: &str| graph.stages.iter().position(|stage| stage.name == name);
    for (index, budget) in graph.budgets.iter().enumerate() {
        let Some(budget) = budget else { continue };
        if budget.path.len() < 2 {
            let message = format!(
                "`budgets.{index}.path` must have at least 2 items, not {:?}",
                budget.path
            );
            let place = at_budget(index, "path");
            faults.push(GraphFault::new(FaultKind::OutOfRange, place, message));
        }
        if budget.max_age.is_zero() {
            let message = format!("`p99` of the budget {index} must be longer than nothing");
            let place = at_budget(index, "p99");
            faults.push(GraphFault::new(FaultKind::OutOfRange, place, message));
        }
        for (at, pair) in budget.path.windows(2).enumerate() {
            let (Some(from), Some(to)) = (stage(pair[0]), stage(pair[1])) else {
                continue;
            };
            if graph.complete && !reaches(links, from, to) {
                let message = format!(
                    "no way along edges leads from `{}` to `{}`",
                    pair[0], pair[1]
                );
                let place = at_budget(index, &format!("path.{}", at + 1));
                faults.push(GraphFault::new(FaultKind::BrokenBudgetPath, place, message));
            }
        }
    }
}

fn reaches(links: &[Link], from: usize, to: usize) -> bool {
    let mut seen = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(stage) = open.pop() {
        for link in links.iter().filter(|link| link.from == stage) {
            if link.to == to {
                return true;
            }
            if seen.insert(link.to) {
                open.push(link.to);
            }
        }
    }
    false
}
