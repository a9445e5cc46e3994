//! Flow: what the edges make of the stages.

use std::collections::{HashMap, HashSet, VecDeque};

use heqis_actors::ANY;

use super::{Resolved, ResolvedEdge};
use crate::topology::document::EdgeSpec;
use crate::topology::fault::{Code, Fault};
use crate::topology::parsed::Spanned;

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    duplicate_edges(resolved, faults);
    ports(resolved, faults);
    loose_ends(resolved, faults);
    cycles(resolved, faults);
    partitions(resolved, faults);
    unused_nodes(resolved, faults);
    budgets(resolved, faults);
}

fn duplicate_edges(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let mut seen: HashMap<(usize, usize), ResolvedEdge> = HashMap::new();
    for &link in &resolved.edges {
        match seen.get(&(link.from, link.to)) {
            Some(&first) => {
                let edge = resolved.edge(link);
                let message = format!("the edge `{}` is declared twice", edge.name);
                let fault = Fault::new(Code::DuplicateEdge, edge.place, message);
                faults.push(fault.related(resolved.edge(first).place, "first declared here"));
            }
            None => {
                seen.insert((link.from, link.to), link);
            }
        }
    }
}

fn ports(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let outputs = resolved.outputs();
    let mut fed: HashMap<usize, &'static str> = HashMap::new();
    for &link in &resolved.edges {
        let edge = resolved.edge(link);
        let (from, to) = (resolved.stage_name(link.from), resolved.stage_name(link.to));
        if let Some(kind) = resolved.kinds[link.from].filter(|kind| kind.output.is_none()) {
            let message = format!(
                "stage `{from}` is a sink ({}): no edge leaves it",
                kind.name
            );
            faults.push(Fault::new(Code::NoOutput, edge.at(&["from"]), message));
        }
        let Some(kind) = resolved.kinds[link.to] else {
            continue;
        };
        let Some(input) = kind.input else {
            let message = format!(
                "stage `{to}` is a source ({}): no edge leads to it",
                kind.name
            );
            faults.push(Fault::new(Code::NoInput, edge.at(&["to"]), message));
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
            let mut fault = Fault::new(Code::PayloadMismatch, edge.at(&["to"]), message);
            let fitting: Vec<String> = resolved
                .registry
                .kinds()
                .filter(|kind| kind.input == Some(output))
                .map(|kind| format!("`{}`", kind.name))
                .collect();
            if !fitting.is_empty() {
                fault = fault.help(format!(
                    "kinds that take `{output}`: {}",
                    fitting.join(", ")
                ));
            }
            faults.push(fault);
        }
    }
}

fn loose_ends(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    // An edge with a misspelt end still shows that the other end was meant to be connected.
    let named = |end: fn(&EdgeSpec) -> &String| -> HashSet<&str> {
        resolved
            .topology
            .edges
            .iter()
            .filter_map(|edge| edge.spec.as_ref())
            .map(|spec| end(spec).as_str())
            .collect()
    };
    let (leaving, arriving) = (named(|spec| &spec.from), named(|spec| &spec.to));
    for (stage, kind) in resolved.topology.stages.iter().zip(&resolved.kinds) {
        let Some(kind) = kind else { continue };
        if let Some(input) = kind
            .input
            .filter(|_| !arriving.contains(stage.name.as_str()))
        {
            let message = format!(
                "stage `{}` ({}) takes `{input}`, but no edge leads to it",
                stage.name, kind.name
            );
            faults.push(Fault::new(Code::UnfedStage, stage.place, message));
        }
        if let Some(output) = kind
            .output
            .filter(|_| !kind.output_optional && !leaving.contains(stage.name.as_str()))
        {
            let message = format!(
                "stage `{}` ({}) makes `{output}`, but no edge leaves it",
                stage.name, kind.name
            );
            faults.push(Fault::new(Code::UnconsumedStage, stage.place, message));
        }
    }
}

/// Removes stages that nothing open leads to until none is left; what stays lies on or behind a cycle. The cycle is
/// found by walking backwards, and its last written edge is blamed and cut before the search continues.
fn cycles(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    // An edge into a source or out of a sink was reported for that, and carries nothing around.
    let mut edges = resolved.edges.clone();
    edges.retain(|link| {
        let carries = resolved.kinds[link.from].is_none_or(|kind| kind.output.is_some());
        carries && resolved.kinds[link.to].is_none_or(|kind| kind.input.is_some())
    });
    loop {
        let mut open = vec![0_usize; resolved.kinds.len()];
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); resolved.kinds.len()];
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
        let on_cycle = |link: &&ResolvedEdge| {
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
            names.push(resolved.stage_name(cycle[(turn + step) % cycle.len()]));
        }
        names.reverse();
        let path = format!("{} -> {}", names.join(" -> "), names[0]);
        let fault = Fault::new(
            Code::Cycle,
            resolved.edge(blamed).place,
            format!("this edge closes a cycle: {path}"),
        );
        faults.push(fault.help(
            "an edge back to an earlier node must end in a sink, such as a `feedback` stage",
        ));
        edges.retain(|link| link.edge != blamed.edge);
    }
}

fn partitions(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let shares = |edge: &Spanned<EdgeSpec>| {
        edge.spec
            .as_ref()
            .is_some_and(|spec| spec.partition_by.is_some())
    };
    for &link in resolved
        .edges
        .iter()
        .filter(|link| shares(resolved.edge(**link)))
    {
        let others = resolved
            .edges
            .iter()
            .filter(|other| other.from == link.from && shares(resolved.edge(**other)));
        if others.count() < 2 {
            let from = resolved.stage_name(link.from);
            let message = format!("this edge alone of those leaving `{from}` is partitioned");
            let place = resolved.edge(link).key_at("partition_by");
            let help = "partition at least two edges, or leave `partition_by` out: the edge then gets every frame";
            faults.push(Fault::new(Code::SinglePartition, place, message).help(help));
        }
    }
}

fn unused_nodes(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for node in &resolved.topology.nodes {
        let used = resolved
            .topology
            .stages
            .iter()
            .any(|stage| match &stage.spec {
                Some(spec) => spec.node == node.name,
                // A stage that could not be read may be meant for any node.
                None => true,
            });
        if !used {
            let message = format!("no stage is placed on node `{}`", node.name);
            faults.push(Fault::new(Code::UnusedNode, node.place, message));
        }
    }
}

fn budgets(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let stage = |name: &str| {
        resolved
            .topology
            .stages
            .iter()
            .position(|stage| stage.name == name)
    };
    for budget in &resolved.topology.budgets {
        let Some(spec) = &budget.spec else { continue };
        for (index, pair) in spec.path.windows(2).enumerate() {
            let (Some(from), Some(to)) = (stage(&pair[0]), stage(&pair[1])) else {
                continue;
            };
            if !reaches(&resolved.edges, from, to) {
                let message = format!(
                    "no way along edges leads from `{}` to `{}`",
                    pair[0], pair[1]
                );
                let place = budget.at(&["path", &(index + 1).to_string()]);
                faults.push(Fault::new(Code::BrokenBudgetPath, place, message));
            }
        }
    }
}

fn reaches(edges: &[ResolvedEdge], from: usize, to: usize) -> bool {
    let mut seen = HashSet::from([from]);
    let mut open = vec![from];
    while let Some(stage) = open.pop() {
        for link in edges.iter().filter(|link| link.from == stage) {
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
