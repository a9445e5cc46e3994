//! Threads: which arbiter each stage runs on, and on which cores.

use std::collections::HashMap;

use super::GraphDescription;
use super::fault::{FaultKind, FaultPlace, GraphFault};
use crate::options::PIPELINE;

/// Name of the arbiter that a stage runs on; `None` where it is not known. With several workers each has one of its own, distinguished
/// by number.
fn arbiter<'a>(graph: &'a GraphDescription<'_>, stage: usize) -> Option<&'a str> {
    let declared = &graph.stages[stage];
    let options = declared.options.as_ref()?;
    match &options.arbiter {
        _ if options.workers > 1 => Some(declared.name),
        Some(arbiter) => Some(arbiter),
        None if declared.kind?.blocking => Some(declared.name),
        None => Some(PIPELINE),
    }
}

pub(super) fn check(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    cores(graph, faults);
}

fn cores(graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
    // Which thread pinned a core first, and which cores an arbiter was pinned to first.
    let mut owners: HashMap<(usize, usize), (&str, FaultPlace)> = HashMap::new();
    let mut pinned: HashMap<(usize, &str), usize> = HashMap::new();
    for (index, stage) in graph.stages.iter().enumerate() {
        let (Some(options), Some(home), Some(arbiter)) =
            (&stage.options, stage.node, arbiter(graph, index))
        else {
            continue;
        };
        if options.cores.is_empty() {
            continue;
        }
        let node = &graph.nodes[home];
        for (position, &core) in options.cores.iter().enumerate() {
            let place = graph.at_stage(index, &format!("cores.{position}"));
            if let Some(count) = node.cores.filter(|&count| core >= count) {
                let message = format!("node `{}` has no core {core}", node.name);
                let help = format!("it has {count} cores, 0 to {}", count - 1);
                faults.push(GraphFault::new(FaultKind::UnknownCore, place, message).help(help));
                continue;
            }
            if options.cores[..position].contains(&core) {
                let message = format!("`stages.{}.cores` names {core} twice", stage.name);
                faults.push(GraphFault::new(FaultKind::OutOfRange, place, message));
                continue;
            }
            match owners.get(&(home, core)) {
                Some((owner, first)) if *owner != arbiter => {
                    let message = format!(
                        "core {core} of node `{}` is pinned to two threads, `{owner}` and `{arbiter}`",
                        node.name
                    );
                    let fault = GraphFault::new(FaultKind::SharedCore, place, message);
                    faults.push(fault.related(first.clone(), "first pinned here"));
                }
                Some(_) => {}
                None => {
                    owners.insert((home, core), (arbiter, place));
                }
            }
        }
        let place = graph.at_stage(index, "cores");
        let (workers, cores) = (options.workers, options.cores.len());
        if workers > cores {
            let message = format!(
                "{workers} workers of stage `{}` need {workers} cores, but they are pinned to {cores}",
                stage.name
            );
            let fault = GraphFault::new(FaultKind::SharedCore, place.clone(), message);
            faults.push(fault);
        }
        let first = *pinned.entry((home, arbiter)).or_insert(index);
        if first != index && cores_of(graph, first) != cores_of(graph, index) {
            let message = format!(
                "stages `{}` and `{}` share the arbiter `{arbiter}` but not its cores",
                graph.stages[first].name, stage.name
            );
            let fault = GraphFault::new(FaultKind::ConflictingAffinity, place, message);
            faults.push(
                fault
                    .related(graph.at_stage(first, "cores"), "pinned here")
                    .help("give one of them an `arbiter` of its own"),
            );
        }
    }
}

fn cores_of(graph: &GraphDescription<'_>, stage: usize) -> Vec<usize> {
    let options = graph.stages[stage].options.as_ref();
    let mut cores = options.map_or_else(Vec::new, |options| options.cores.clone());
    cores.sort_unstable();
    cores
}
