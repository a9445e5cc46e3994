//! Names of nodes and kinds: naming something that exists and is used.

use super::{Resolved, ResolvedEdge};
use crate::topology::fault::{Code, Fault};

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    unused_nodes(resolved, faults);
    let topology = resolved.topology;
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
