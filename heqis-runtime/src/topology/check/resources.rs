//! Resources: memory, and times that make sense.

use heqis_actors::Policy;

use super::Resolved;
use crate::topology::fault::{Code, Fault};
use crate::topology::place::Place;
use heqis_actors::BridgeOptions;
use heqis_actors::units::Time;

/// Memory that one waiting frame is counted as: half a KiB of head and stamps, a payload of some hundred `f32`, and
/// what the allocator adds. An estimate on the safe side, not a limit.
pub(crate) const FRAME_BYTES: u64 = 4096;

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    times(resolved, faults);
    latest(resolved, faults);
    memory(resolved, faults);
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
                .unwrap_or(BridgeOptions::DEFAULT_CREDIT);
            add(to, credit, edge.at(&["transport", "credit"]));
        }
    }
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        // A stage that carries anything is a queue by itself, with a capacity among its parameters.
        let queue = resolved.kinds[index].is_some_and(|kind| kind.is_buffer());
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
