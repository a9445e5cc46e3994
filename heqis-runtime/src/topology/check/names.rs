//! Names: well formed, and naming something that exists.

use super::{Resolved, ResolvedEdge};
use crate::topology::fault::{Code, Fault};
use crate::topology::place::Place;

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let topology = resolved.topology;
    if let Some(header) = &topology.header {
        let place = topology
            .root
            .find(&["topology", "name"])
            .unwrap_or(Place::START);
        well_formed("topology", &header.name, place, faults);
    }
    for node in &topology.nodes {
        well_formed("node", &node.name, node.place, faults);
    }
    for stage in &topology.stages {
        well_formed("stage", &stage.name, stage.place, faults);
    }

    let nodes: Vec<&str> = topology
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    for (index, node) in topology.nodes.iter().enumerate() {
        for peer in node.spec.iter().flat_map(|spec| spec.watch.keys()) {
            let place = node.at(&["watch", peer]);
            if !nodes.contains(&peer.as_str()) {
                let message = format!("node `{}` watches the unknown node `{peer}`", node.name);
                let fault = Fault::new(Code::UnknownNode, place, message);
                faults.push(fault.nearest(peer, nodes.iter().copied()));
            } else if !resolved
                .edges
                .iter()
                .any(|&link| joins(resolved, link, index, peer))
            {
                let message = format!("no edge joins node `{}` to the node `{peer}`", node.name);
                let fault = Fault::new(Code::NothingToWatch, place, message);
                faults.push(fault.help("what crosses between the two is all that it sees of it"));
            }
        }
    }
    let kinds: Vec<&str> = resolved.registry.kinds().map(|kind| kind.name).collect();
    for (index, stage) in topology.stages.iter().enumerate() {
        let Some(spec) = &stage.spec else { continue };
        if let Some(arbiter) = &spec.arbiter {
            well_formed("arbiter", arbiter, stage.at(&["arbiter"]), faults);
        }
        if resolved.stage_nodes[index].is_none() {
            let message = format!(
                "stage `{}` is placed on the unknown node `{}`",
                stage.name, spec.node
            );
            let fault = Fault::new(Code::UnknownNode, stage.at(&["node"]), message);
            faults.push(fault.nearest(&spec.node, nodes.iter().copied()));
        }
        if resolved.kinds[index].is_none() {
            let message = format!(
                "stage `{}` is of the unknown kind `{}`",
                stage.name, spec.kind
            );
            let fault = Fault::new(Code::UnknownKind, stage.at(&["kind"]), message);
            faults.push(fault.nearest(&spec.kind, kinds.iter().copied()));
        }
    }

    let stages: Vec<&str> = topology
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    let mut known = |name: &str, place: Place, what: &str| {
        if !stages.contains(&name) {
            let message = format!("{what} names the unknown stage `{name}`");
            faults.push(
                Fault::new(Code::UnknownStage, place, message)
                    .nearest(name, stages.iter().copied()),
            );
        }
    };
    for edge in &topology.edges {
        let Some(spec) = &edge.spec else { continue };
        known(&spec.from, edge.at(&["from"]), "an edge");
        known(&spec.to, edge.at(&["to"]), "an edge");
    }
    for budget in &topology.budgets {
        for (index, name) in budget.spec.iter().flat_map(|spec| &spec.path).enumerate() {
            known(name, budget.at(&["path", &index.to_string()]), "a budget");
        }
    }
}

/// Whether an edge leads from one node to the other, either way.
fn joins(resolved: &Resolved<'_>, link: ResolvedEdge, node: usize, peer: &str) -> bool {
    resolved.crossing(link).is_some_and(|(from, to)| {
        let other = if from == node {
            to
        } else if to == node {
            from
        } else {
            return false;
        };
        resolved.topology.nodes[other].name == peer
    })
}

fn well_formed(what: &str, name: &str, place: Place, faults: &mut Vec<Fault>) {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !(first && rest && name.len() <= 64) {
        let message = format!("\"{}\" is no name for a {what}", name.escape_debug());
        let rule = "a lower-case letter, then lower-case letters, digits and hyphens, 64 at most";
        faults.push(Fault::new(Code::BadName, place, message).help(rule));
    }
}
