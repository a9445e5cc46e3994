//! Saved states: which stages of a node with `state` are not saved.

use std::collections::BTreeSet;

use heqis_actors::ANY;

use super::Resolved;
use crate::topology::fault::{Code, Fault};

/// The state of a stage that is fed from another node follows from frames that are not sent again, so it is not saved. Sinks,
/// commit logs and ring buffers hold no state that could be.
pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for (index, node) in resolved.topology.nodes.iter().enumerate() {
        if node.spec.as_ref().is_none_or(|spec| spec.state.is_none()) {
            continue;
        }
        let crossing = resolved.edges.iter().filter(|&&edge| {
            let ends = resolved.crossing(edge);
            ends.is_some_and(|(_, to)| to == index)
        });
        let mut open: Vec<usize> = crossing.map(|edge| edge.to).collect();
        let mut fed = BTreeSet::new();
        while let Some(stage) = open.pop() {
            if fed.insert(stage) {
                let leaving = resolved.edges.iter().filter(|edge| {
                    edge.from == stage && resolved.stage_nodes[edge.to] == Some(index)
                });
                open.extend(leaving.map(|edge| edge.to));
            }
        }
        fed.retain(|&stage| {
            resolved.kinds[stage].is_some_and(|kind| {
                kind.output.is_some() && kind.output != Some(ANY) && !kind.commit_log
            })
        });
        if fed.is_empty() {
            continue;
        }
        let names: Vec<String> = fed
            .iter()
            .map(|&stage| format!("`{}`", resolved.stage_name(stage)))
            .collect();
        let message = format!(
            "node `{}` saves its state, but not that of stages fed from another node: {}",
            node.name,
            names.join(", ")
        );
        let fault = Fault::new(Code::StateNotSaved, node.at(&["state"]), message);
        let help = "they are filled again by the frames that the other node replays";
        faults.push(fault.help(help));
    }
}
