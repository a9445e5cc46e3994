//! Ways: by which edges the items of a source come to a stage, and in which order.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Resolved, ResolvedEdge};
use crate::topology::fault::{Code, Fault};

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    // On a cycle everything comes by many ways, and an edge of another payload carries nothing: these are the faults.
    let other = |fault: &Fault| matches!(fault.code, Code::Cycle | Code::PayloadMismatch);
    if !faults.iter().any(other) {
        two_ways(resolved, faults);
    }
    order(resolved, faults);
}

/// Frames are known by the source item that they derive from. Where two of them derive from one item by different ways,
/// one is taken for a repetition of the other, or both are decided on.
fn two_ways(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    // An edge into a source or out of a sink was reported for that, and carries nothing.
    let mut edges = resolved.edges.clone();
    edges.retain(|link| {
        let carries = resolved.kinds[link.from].is_none_or(|kind| kind.output.is_some());
        carries && resolved.kinds[link.to].is_none_or(|kind| kind.input.is_some())
    });
    let shares = |link: &ResolvedEdge| {
        let spec = resolved.edge(*link).spec.as_ref();
        spec.is_some_and(|spec| spec.partition_by.is_some())
    };
    let mut seen = BTreeSet::new();
    for (index, one) in edges.iter().enumerate() {
        for other in &edges[index + 1..] {
            // Of two partitions each item takes one.
            let both_partitioned = shares(one) && shares(other);
            if one.from != other.from || one.to == other.to || both_partitioned {
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
                let ways = [&first, &second].map(|reached| way(resolved, reached, one.from, joint));
                let message = format!(
                    "stage `{}` gets each item of `{}` by two ways: {} and {}",
                    resolved.stage_name(joint),
                    resolved.stage_name(one.from),
                    ways[0],
                    ways[1]
                );
                let place = resolved.edge(*other).place;
                let fault = Fault::new(Code::TwoWays, place, message);
                let help = "partition the edges, or let each way end in a stage of its own";
                let first = resolved.edge(*one).place;
                faults.push(fault.related(first, "the other way").help(help));
            }
        }
    }
}

/// The stages that are reached from `start`, itself among them, each with the one before it on a shortest way.
fn reached(edges: &[ResolvedEdge], start: usize) -> HashMap<usize, Option<usize>> {
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
    resolved: &Resolved<'_>,
    reached: &HashMap<usize, Option<usize>>,
    from: usize,
    to: usize,
) -> String {
    let mut names = vec![resolved.stage_name(to)];
    let mut stage = to;
    while let Some(&Some(before)) = reached.get(&stage) {
        names.push(resolved.stage_name(before));
        stage = before;
    }
    names.push(resolved.stage_name(from));
    names.reverse();
    names.join(" -> ")
}

/// Several workers finish in another order from run to run, and a commit log writes in the order in which it is given.
fn order(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        let workers = stage.spec.as_ref().and_then(|spec| spec.workers);
        let Some(workers) = workers.filter(|&workers| workers > 1) else {
            continue;
        };
        let behind = reached(&resolved.edges, index);
        let log = (0..resolved.kinds.len())
            .filter(|stage| behind.contains_key(stage))
            .find(|&stage| resolved.kinds[stage].is_some_and(|kind| kind.commit_log));
        let Some(log) = log else { continue };
        let message = format!(
            "stage `{}` has {workers} workers: the records of `{}` stand in another order from run to run",
            stage.name,
            resolved.stage_name(log)
        );
        let fault = Fault::new(Code::OrderNotRepeatable, stage.at(&["workers"]), message);
        let help = "each symbol's records keep their order; with one worker the bytes are the same in every run";
        faults.push(fault.help(help));
    }
}
