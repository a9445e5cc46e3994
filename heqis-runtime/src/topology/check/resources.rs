//! Resources: cores, threads, memory, and times that make sense.

use std::collections::HashMap;

use heqis_actors::{ANY, Policy};

use super::{PIPELINE, Resolved};
use crate::topology::fault::{Code, Fault};
use crate::topology::place::Place;
use heqis_actors::units::Time;

/// Memory that one waiting frame is counted as: half a KiB of head and stamps, a payload of some hundred `f32`, and
/// what the allocator adds. An estimate on the safe side, not a limit.
pub(crate) const FRAME_BYTES: u64 = 4096;

/// Frames on the way to a node that it may hold before its stage takes them, when the transport does not say.
pub(crate) const DEFAULT_CREDIT: usize = 64;

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    times(resolved, faults);
    latest(resolved, faults);
    memory(resolved, faults);
    idle_settings(resolved, faults);
    cores(resolved, faults);
    delays(resolved, faults);
    commit_logs(resolved, faults);
}

fn commit_logs(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let mut first: HashMap<usize, &str> = HashMap::new();
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        let (Some(kind), Some(node)) = (resolved.kinds[index], resolved.stage_nodes[index]) else {
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
            let fault = Fault::new(Code::SecondCommitLog, stage.at(&["kind"]), message);
            faults.push(fault.help("write both streams of decisions to one log, or use two nodes"));
        } else {
            first.insert(node, &stage.name);
        }
    }
}

fn times(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let mut positive = |time: Option<Time>, place: Place, what: &str| {
        if time.is_some_and(|time| time.0.is_zero()) {
            faults.push(Fault::new(
                Code::OutOfRange,
                place,
                format!("`{what}` must be longer than nothing"),
            ));
        }
    };
    let topology = resolved.topology;
    let default_age = topology
        .root
        .find(&["defaults", "edge", "max_age"])
        .unwrap_or(Place::START);
    positive(
        topology.defaults.edge.max_age,
        default_age,
        "defaults.edge.max_age",
    );
    for edge in &topology.edges {
        positive(
            edge.spec.as_ref().and_then(|spec| spec.max_age),
            edge.at(&["max_age"]),
            "max_age",
        );
    }
    for budget in &topology.budgets {
        positive(
            budget.spec.as_ref().map(|spec| spec.p99),
            budget.at(&["p99"]),
            "p99",
        );
    }
    for node in &topology.nodes {
        for (peer, watch) in node.spec.iter().flat_map(|spec| &spec.watch) {
            for (key, time) in [
                ("stall_timeout", watch.stall_timeout),
                ("response_timeout", watch.response_timeout),
                ("timeout", watch.timeout),
                ("window", watch.window),
            ] {
                positive(time, node.at(&["watch", peer, key]), key);
            }
        }
    }
    for stage in &topology.stages {
        let Some(restart) = stage.spec.as_ref().and_then(|spec| spec.restart.as_ref()) else {
            continue;
        };
        positive(
            restart.window,
            stage.at(&["restart", "window"]),
            "restart.window",
        );
    }
    for stage in &topology.stages {
        let backoff = stage
            .spec
            .as_ref()
            .and_then(|spec| spec.restart.as_ref())
            .and_then(|restart| restart.backoff);
        if let Some([least, most]) = backoff
            && least > most
        {
            let message = format!(
                "the first pause of stage `{}` is longer than the longest",
                stage.name
            );
            let fault = Fault::new(Code::OutOfRange, stage.at(&["restart", "backoff"]), message);
            faults.push(fault.help("write the shortest pause first, as in [\"200ms\", \"5s\"]"));
        }
    }
}

fn latest(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for edge in &resolved.topology.edges {
        let Some(spec) = &edge.spec else { continue };
        if let Some(capacity) = spec.capacity.filter(|&capacity| capacity != 1)
            && resolved.edge_options(spec).policy == Policy::Latest
        {
            let message = format!("the policy `latest` keeps one frame, not {capacity}");
            let fault = Fault::new(Code::LatestHoldsOne, edge.at(&["capacity"]), message);
            faults.push(fault.help("leave `capacity` out, or use `drop-oldest`"));
        }
    }
}

fn memory(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let nodes = &resolved.topology.nodes;
    // Per node: frames that may wait, and the largest single share with its place.
    let mut waiting = vec![(0_u64, 0_u64, Place::START); nodes.len()];
    let mut add = |node: usize, frames: usize, place: Place| {
        let (sum, largest, at) = &mut waiting[node];
        let frames = frames as u64;
        *sum = sum.saturating_add(frames);
        if frames > *largest {
            (*largest, *at) = (frames, place);
        }
    };
    for &link in &resolved.edges {
        let edge = resolved.edge(link);
        let (Some(spec), Some(from), Some(to)) = (
            &edge.spec,
            resolved.stage_nodes[link.from],
            resolved.stage_nodes[link.to],
        ) else {
            continue;
        };
        // The sender of a bridged edge holds the queue, the receiver at most its credit.
        add(
            from,
            resolved.edge_options(spec).capacity,
            edge.at(&["capacity"]),
        );
        if from != to {
            let credit = spec
                .transport
                .as_ref()
                .and_then(|transport| transport.credit)
                .unwrap_or(DEFAULT_CREDIT);
            add(to, credit, edge.at(&["transport", "credit"]));
        }
    }
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        // A stage that carries anything is a queue by itself, with a capacity among its parameters.
        let queue = resolved.kinds[index].is_some_and(|kind| kind.input == Some(ANY));
        let capacity = stage
            .spec
            .as_ref()
            .and_then(|spec| spec.params.get("capacity")?.as_u64());
        if let (true, Some(capacity), Some(home)) = (queue, capacity, resolved.stage_nodes[index]) {
            add(
                home,
                usize::try_from(capacity).unwrap_or(usize::MAX),
                stage.at(&["params", "capacity"]),
            );
        }
    }
    for (node, (frames, _, place)) in nodes.iter().zip(waiting) {
        let Some(spec) = &node.spec else { continue };
        let Some(memory_mib) = spec.memory_mib.or(spec.board.memory_mib()) else {
            continue;
        };
        let needed_mib = frames.saturating_mul(FRAME_BYTES) / (1024 * 1024);
        if needed_mib > memory_mib / 2 {
            let message = format!(
                "{frames} frames may wait on node `{}`, about {needed_mib} MiB; half of its memory is {} MiB",
                node.name,
                memory_mib / 2
            );
            let help =
                format!("the largest share is shown; a frame is counted as {FRAME_BYTES} bytes");
            faults.push(Fault::new(Code::MemoryExceeded, place, message).help(help));
        }
    }
}

/// Settings that a stage of its sort would ignore.
fn idle_settings(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for (stage, kind) in resolved.topology.stages.iter().zip(&resolved.kinds) {
        let (code, what, help) = match kind.map(|kind| kind.input) {
            Some(None) => (
                Code::NotForASource,
                "source",
                "a second copy or a rebuilt source would repeat frames",
            ),
            Some(Some(ANY)) => (
                Code::NotForABuffer,
                "buffer",
                "a buffer only moves frames: it neither works nor fails",
            ),
            _ => continue,
        };
        for key in ["workers", "batch", "restart"] {
            if let Some(entry) = stage.tree.entry(key) {
                let message = format!("`{key}` on the {what} `{}`", stage.name);
                faults.push(Fault::new(code, entry.place, message).help(help));
            }
        }
    }
}

/// Name of the arbiter that a stage runs on. With several workers each has one of its own, told apart by number.
fn arbiter<'a>(resolved: &'a Resolved<'_>, stage: usize) -> Option<&'a str> {
    let declared = &resolved.topology.stages[stage];
    let spec = declared.spec.as_ref()?;
    match &spec.arbiter {
        _ if spec.workers.unwrap_or(1) > 1 => Some(&declared.name),
        Some(arbiter) => Some(arbiter),
        None if resolved.kinds[stage]?.blocking => Some(&declared.name),
        None => Some(PIPELINE),
    }
}

fn cores(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    // Who pinned a core first, and which cores an arbiter was pinned to first.
    let mut owners: HashMap<(usize, usize), (&str, Place)> = HashMap::new();
    let mut pinned: HashMap<(usize, &str), (usize, Place)> = HashMap::new();
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        let (Some(spec), Some(home), Some(arbiter)) = (
            &stage.spec,
            resolved.stage_nodes[index],
            arbiter(resolved, index),
        ) else {
            continue;
        };
        if spec.cores.is_empty() {
            continue;
        }
        let node = &resolved.topology.nodes[home];
        let count = node
            .spec
            .as_ref()
            .and_then(|node| node.cores.or(node.board.cores()));
        for (position, &core) in spec.cores.iter().enumerate() {
            let place = stage.at(&["cores", &position.to_string()]);
            if let Some(count) = count.filter(|&count| core >= count) {
                let message = format!("node `{}` has no core {core}", node.name);
                let help = format!("it has {count} cores, 0 to {}", count - 1);
                faults.push(Fault::new(Code::UnknownCore, place, message).help(help));
                continue;
            }
            match owners.get(&(home, core)) {
                Some((owner, first)) if *owner != arbiter => {
                    let message = format!(
                        "core {core} of node `{}` is pinned to two threads, `{owner}` and `{arbiter}`",
                        node.name
                    );
                    let fault = Fault::new(Code::SharedCore, place, message);
                    faults.push(fault.related(*first, "first pinned here"));
                }
                Some(_) => {}
                None => {
                    owners.insert((home, core), (arbiter, place));
                }
            }
        }
        let workers = spec.workers.unwrap_or(1);
        if workers > spec.cores.len() {
            let message = format!(
                "{workers} workers of stage `{}` need {workers} cores, but they are pinned to {}",
                stage.name,
                spec.cores.len()
            );
            faults.push(Fault::new(Code::SharedCore, stage.at(&["cores"]), message));
        }
        match pinned.get(&(home, arbiter)) {
            Some(&(first, place)) if !same_cores(resolved, first, index) => {
                let message = format!(
                    "stages `{}` and `{}` share the arbiter `{arbiter}` but not its cores",
                    resolved.stage_name(first),
                    stage.name
                );
                let fault = Fault::new(Code::ConflictingAffinity, stage.at(&["cores"]), message);
                faults.push(
                    fault
                        .related(place, "pinned here")
                        .help("give one of them an `arbiter` of its own"),
                );
            }
            Some(_) => {}
            None => {
                pinned.insert((home, arbiter), (index, stage.at(&["cores"])));
            }
        }
    }
}

fn same_cores(resolved: &Resolved<'_>, one: usize, other: usize) -> bool {
    let cores = |stage: usize| {
        let mut cores = resolved.topology.stages[stage]
            .spec
            .as_ref()
            .map(|spec| spec.cores.clone())
            .unwrap_or_default();
        cores.sort_unstable();
        cores
    };
    cores(one) == cores(other)
}

fn delays(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        let delay = stage
            .spec
            .as_ref()
            .and_then(|spec| spec.batch.as_ref())
            .and_then(|batch| batch.max_delay);
        if delay.is_none_or(|delay| delay.0.is_zero()) {
            continue;
        }
        let Some(own) = arbiter(resolved, index) else {
            continue;
        };
        let home = resolved.stage_nodes[index];
        let neighbour = (0..resolved.kinds.len()).find(|&other| {
            other != index
                && resolved.stage_nodes[other] == home
                && arbiter(resolved, other) == Some(own)
        });
        let message = match neighbour {
            Some(neighbour) => format!(
                "stage `{}` would wait on the arbiter `{own}`, which it shares with `{}`",
                stage.name,
                resolved.stage_name(neighbour)
            ),
            None if own == PIPELINE => format!(
                "stage `{}` would wait on the node's arbiter `{own}`",
                stage.name
            ),
            None => continue,
        };
        let help = "give the stage an `arbiter` of its own, or leave `max_delay` out: it then takes what is waiting";
        faults.push(
            Fault::new(
                Code::DelayOnSharedArbiter,
                stage.at(&["batch", "max_delay"]),
                message,
            )
            .help(help),
        );
    }
}
