//! Flow: names, ports, and what the edges make of the stages.

use std::collections::{HashMap, HashSet, VecDeque};

use super::fault::{FaultKind, FaultPlace, FaultSubject, GraphFault, nearest_name};
use super::{GraphDescription, KindDescription, Link, place};
use crate::contract::ANY;
use crate::port::{Port, port_of};

pub(super) fn check(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    names(graph, faults);
    duplicate_edges(graph, links, faults);
    unknown_ports(graph, links, faults);
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
            let stage = graph.stage_in(name);
            faults.extend(graph.unknown_stage(&what, stage, graph.at_edge(index, end)));
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
        let help = match name.contains('.') {
            true => format!("a dot stands between a stage and its port; a name is {rule}"),
            false => rule.to_owned(),
        };
        faults.push(GraphFault::new(FaultKind::BadName, place, message).help(help));
    }
}

fn at_budget(index: usize, option: &str) -> FaultPlace {
    place(FaultSubject::Budget(index), "", option)
}

fn duplicate_edges(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let mut seen: HashMap<_, usize> = HashMap::new();
    for link in links {
        let ends = (link.from, link.to, graph.port_names(link));
        match seen.get(&ends) {
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
                seen.insert(ends, link.edge);
            }
        }
    }
}

/// Edges that name a port that the stage has not, or none of several.
fn unknown_ports(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for link in links {
        let (from, to) = graph.ends(link);
        for (option, stage, end, found) in [
            ("from", link.from, from, link.out),
            ("to", link.to, to, link.into),
        ] {
            let Some(kind) = graph.kind(stage) else {
                continue;
            };
            let (ports, side, verb) = match option {
                "from" => (kind.outputs, "output", "makes"),
                _ => (kind.inputs, "input", "takes"),
            };
            if found.is_some() || ports.is_empty() {
                continue;
            }
            let (edge, name, port) = (
                graph.edge_name(link.edge),
                graph.stages[stage].name,
                port_of(end),
            );
            let kind = kind.name;
            let message = match (port, ports) {
                ("", _) => format!(
                    "the edge `{edge}` names none of the {side} ports of stage `{name}` ({kind})"
                ),
                (_, [Port { name: "", .. }]) => format!(
                    "the edge `{edge}` names the port `{port}` of stage `{name}` ({kind}), which has one {side} under its own name"
                ),
                _ => format!(
                    "the edge `{edge}` names the unknown {side} port `{port}` of stage `{name}` ({kind})"
                ),
            };
            let known = ports.iter().map(|port| match port.name {
                "" => format!("`{name}` {verb} `{}`", port.payload),
                own => format!("`{name}.{own}` {verb} `{}`", port.payload),
            });
            let known = known.collect::<Vec<_>>().join(", ");
            let near = nearest_name(port, ports.iter().map(|port| port.name));
            let help = match near.filter(|near| near.starts_with("did")) {
                Some(near) => format!("{near} {known}"),
                None => known,
            };
            let place = graph.at_edge(link.edge, option);
            faults.push(GraphFault::new(FaultKind::UnknownPort, place, message).help(help));
        }
    }
}

/// What stands at the end of an edge, in words.
fn subject(end: &str) -> String {
    let what = if port_of(end).is_empty() {
        "stage"
    } else {
        "port"
    };
    format!("{what} `{end}`")
}

fn ports(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let carried = graph.carried(links);
    let mut fed: HashMap<usize, &'static str> = HashMap::new();
    for link in links {
        let (from, to) = graph.ends(link);
        if let Some(kind) = graph.kind(link.from).filter(KindDescription::is_sink) {
            let message = format!(
                "stage `{from}` is a sink ({}): no edge leaves it",
                kind.name
            );
            let place = graph.at_edge(link.edge, "from");
            faults.push(GraphFault::new(FaultKind::NoOutput, place, message));
        }
        let declared = graph.edge(link.edge).and_then(|edge| edge.payload);
        if let (Some(declared), Some(output)) = (declared, carried[link.edge])
            && declared != output
        {
            let message = format!(
                "{} makes `{output}`, but the edge `{from}->{to}` carries `{declared}`",
                subject(from)
            );
            let place = graph.at_edge(link.edge, "payload");
            faults.push(GraphFault::new(FaultKind::PayloadMismatch, place, message));
            continue;
        }
        let Some(kind) = graph.kind(link.to) else {
            continue;
        };
        if kind.is_source() {
            let message = format!(
                "stage `{to}` is a source ({}): no edge leads to it",
                kind.name
            );
            let place = graph.at_edge(link.edge, "to");
            faults.push(GraphFault::new(FaultKind::NoInput, place, message));
            continue;
        }
        let (Some(output), Some(input)) = (carried[link.edge], graph.taken(link)) else {
            continue;
        };
        // What first feeds a ring buffer decides what it carries.
        let (wanted, verb) = match input.payload {
            ANY => (*fed.entry(link.to).or_insert(output), "already carries"),
            payload => (payload, "takes"),
        };
        if wanted != output {
            let message = format!(
                "{} makes `{output}`, but `{to}` ({}) {verb} `{wanted}`",
                subject(from),
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
    for (index, stage) in graph.stages.iter().enumerate() {
        let Some(kind) = stage.kind else { continue };
        let at_stage = |end: &&str| graph.stage_in(end) == stage.name;
        let arriving: Vec<&str> = edges().map(|edge| edge.to).filter(at_stage).collect();
        let leaving: Vec<&str> = edges().map(|edge| edge.from).filter(at_stage).collect();
        let fault = |kind_of_fault, port: &Port, verb, rest| {
            let subject = match port.name {
                "" => format!("stage `{}`", stage.name),
                name => format!("port `{}.{name}`", stage.name),
            };
            let message = format!(
                "{subject} ({}) {verb} `{}`, {rest}",
                kind.name, port.payload
            );
            GraphFault::new(kind_of_fault, graph.at_stage(index, ""), message)
        };
        for port in loose(kind.inputs, &arriving) {
            let rest = "but no edge leads to it";
            faults.push(fault(FaultKind::UnfedStage, port, "takes", rest));
        }
        for port in loose(kind.outputs, &leaving).filter(|_| !kind.output_optional) {
            let rest = "but no edge leaves it";
            faults.push(fault(FaultKind::UnconsumedStage, port, "makes", rest));
        }
    }
}

/// The ports that none of `ends` names. Where one names a port that is not there, no other is missed.
fn loose<'p>(ports: &'p [Port], ends: &[&str]) -> impl Iterator<Item = &'p Port> {
    let named: Vec<_> = (ends.iter())
        .map(|end| Port::find(ports, port_of(end)))
        .collect();
    (ports.iter().enumerate()).filter_map(move |(index, port)| {
        let met = named.contains(&Some(index)) || named.contains(&None);
        (!met && !port.optional).then_some(port)
    })
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
        let others = links.iter().filter(|other| graph.leaves_as(other, link));
        if others.filter(shares).count() < 2 {
            let (from, _) = graph.ends(link);
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
