//! Port contracts: rules that two stages must agree on beyond the payload, such as the features of a model, and whether the
//! largest frame of an edge fits through its bridge.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::fault::{FaultKind, GraphFault};
use super::{GraphDescription, Link};
use crate::contract::ANY;
use crate::contract::{Explain, PortSchema, Property, mismatch};
use crate::encoding::Encoding;
use crate::options::limits;
use crate::wire::HEADER_BYTES;

/// Bytes of every frame apart from features: the header, the head with its stamps, and the payload's fixed part.
const ENVELOPE_BYTES: usize = HEADER_BYTES + 4096;

/// Bytes of a feature in the meta part of a frame without a tensor, where it lies as f64.
const META_VALUE_BYTES: usize = 8;

pub(super) fn check(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    contracts(graph, links, faults);
    types(graph, links, faults);
    codecs(graph, links, faults);
    frames(graph, links, faults);
}

/// Compares every stage with those that feed it, ring buffers between them or not, and with those farther up whose property
/// passes through to it. Stages without a contract, as those whose files are on another machine, are not compared.
fn contracts(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for link in links {
        let (Some(contract), Some(kind)) = (graph.stages[link.to].contract, graph.kind(link.to))
        else {
            continue;
        };
        for (from, provides) in stated(graph, links, link.from) {
            if let Some(found) = mismatch(&provides, &contract.requires) {
                let explained = || {
                    let Explain(explain) = contract.explain?;
                    let made_of = graph.stages[from].contract?.read_from.as_deref()?;
                    explain(made_of, contract.read_from.as_deref()?)
                };
                let (to, from) = (graph.stages[link.to].name, graph.stages[from].name);
                let message = match explained() {
                    Some(reason) => {
                        format!("stage `{to}` ({}) after `{from}`: {reason}", kind.name)
                    }
                    None => format!(
                        "stage `{to}` ({}) requires {subject} = {}, but `{from}` provides {subject} = {}",
                        kind.name,
                        found.required,
                        found.provided,
                        subject = found.subject,
                    ),
                };
                let place = graph.at_edge(link.edge, "to");
                faults.push(GraphFault::new(FaultKind::ContractMismatch, place, message));
            }
        }
    }
}

/// What holds of the frames that leave `stage`, by the stage that states it.
fn stated(graph: &GraphDescription<'_>, links: &[Link], stage: usize) -> Vec<(usize, PortSchema)> {
    let mut stated: Vec<(usize, PortSchema)> = Vec::new();
    let mut seen = HashSet::new();
    // The subjects that are still asked for; all of them next to the stage that takes the frames.
    let mut open: Vec<(usize, Option<BTreeSet<&str>>)> = vec![(stage, None)];
    while let Some((stage, asked)) = open.pop() {
        for from in makers(graph, links, stage) {
            if !seen.insert((from, asked.clone())) {
                continue;
            }
            let Some(contract) = graph.stages[from].contract else {
                continue;
            };
            let is_asked = |subject: &str| asked.as_ref().is_none_or(|a| a.contains(subject));
            let mut provides = contract.provides.clone();
            provides.retain(|subject, _| is_asked(subject));
            stated.push((from, provides));
            let passed = contract.passthrough.iter().copied();
            let passed: BTreeSet<&str> = passed.filter(|subject| is_asked(subject)).collect();
            if !passed.is_empty() {
                let feeding = links.iter().filter(|link| link.to == from);
                open.extend(feeding.map(|link| (link.from, Some(passed.clone()))));
            }
        }
    }
    stated.sort_by_key(|(from, _)| *from);
    stated
}

pub(super) fn provided(
    graph: &GraphDescription<'_>,
    links: &[Link],
    stage: usize,
) -> BTreeMap<String, String> {
    let mut provided = BTreeMap::new();
    for (_, properties) in stated(graph, links, stage).into_iter().rev() {
        for (subject, property) in &properties {
            provided
                .entry((*subject).to_owned())
                .or_insert_with(|| property.to_string());
        }
    }
    provided
}

pub(super) fn required(
    graph: &GraphDescription<'_>,
    links: &[Link],
    stage: usize,
) -> BTreeMap<String, String> {
    let mut required = BTreeMap::new();
    let mut seen = HashSet::new();
    // Stages, and the subjects that reach them; all of them next to the edge.
    let mut open: Vec<(usize, Option<BTreeSet<&str>>)> = vec![(stage, None)];
    while let Some((stage, reaches)) = open.pop() {
        if !seen.insert((stage, reaches.clone())) {
            continue;
        }
        let following = || links.iter().filter(move |link| link.from == stage);
        if graph
            .kind(stage)
            .is_some_and(|kind| kind.output == Some(ANY))
        {
            open.extend(following().map(|link| (link.to, reaches.clone())));
            continue;
        }
        let Some(contract) = graph.stages[stage].contract else {
            continue;
        };
        let is_reached = |subject: &str| reaches.as_ref().is_none_or(|r| r.contains(subject));
        for (subject, property) in &contract.requires {
            if is_reached(subject) {
                required
                    .entry((*subject).to_owned())
                    .or_insert_with(|| property.to_string());
            }
        }
        let passed: BTreeSet<&str> = (contract.passthrough.iter().copied())
            .filter(|subject| is_reached(subject))
            .collect();
        if !passed.is_empty() {
            open.extend(following().map(|link| (link.to, Some(passed.clone()))));
        }
    }
    required
}

/// The stages whose frames leave `stage`: itself, or whatever feeds a ring buffer.
fn makers(graph: &GraphDescription<'_>, links: &[Link], stage: usize) -> Vec<usize> {
    let (mut open, mut seen, mut makers) = (vec![stage], HashSet::from([stage]), Vec::new());
    while let Some(stage) = open.pop() {
        if graph
            .kind(stage)
            .is_some_and(|kind| kind.output == Some(ANY))
        {
            let feeding = links.iter().filter(|link| link.to == stage);
            open.extend(
                feeding
                    .map(|link| link.from)
                    .filter(|&from| seen.insert(from)),
            );
        } else {
            makers.push(stage);
        }
    }
    makers.sort_unstable();
    makers
}

/// Two payload types may have one name, as where two versions of a crate meet; only one of them is what a stage takes.
fn types(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let of = |stage: usize| graph.kind(stage).and_then(|kind| Some((kind, kind.types?)));
    for link in links.iter().filter(|link| graph.crossing(link).is_none()) {
        let Some((taker, [taken, _])) = of(link.to) else {
            continue;
        };
        for maker in makers(graph, links, link.from) {
            if let Some((kind, [_, made])) = of(maker)
                && kind.output == taker.input
                && made != taken
                && let Some(payload) = kind.output
            {
                let message = format!(
                    "stage `{}` makes `{payload}`, but `{}` ({}) takes another type of that name",
                    graph.stages[maker].name, graph.stages[link.to].name, taker.name
                );
                let place = graph.at_edge(link.edge, "to");
                faults.push(GraphFault::new(FaultKind::PayloadMismatch, place, message));
            }
        }
    }
}

/// A payload without a codec has no bytes to send or to record.
fn codecs(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    let local = |stage: usize| graph.kind(stage).filter(|kind| !kind.on_wire);
    for link in links.iter().filter(|link| graph.crossing(link).is_some()) {
        for maker in makers(graph, links, link.from) {
            let Some(payload) = local(maker).and_then(|kind| kind.output) else {
                continue;
            };
            let message = format!(
                "stage `{}` makes `{payload}`, which has no codec, but the edge `{}` leads to another node",
                graph.stages[maker].name,
                graph.edge_name(link.edge)
            );
            let place = graph.at_edge(link.edge, "from");
            let fault = GraphFault::new(FaultKind::PayloadWithoutCodec, place, message);
            faults.push(fault);
        }
    }
    for (index, stage) in graph.stages.iter().enumerate() {
        if let Some(payload) = local(index).and_then(|kind| kind.output)
            && stage.recorded
        {
            let message = format!(
                "stage `{}` makes `{payload}`, which has no codec and cannot be recorded",
                stage.name
            );
            let place = graph.at_stage(index, "record");
            let fault = GraphFault::new(FaultKind::PayloadWithoutCodec, place, message);
            faults.push(fault);
        }
    }
}

/// A frame above the limit ends the connection, and is sent again for ever on an edge that promised not to lose one.
fn frames(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for link in links {
        let bridge = graph.edge(link.edge).and_then(|edge| edge.bridge);
        let Some(bridge) = bridge.filter(|_| graph.crossing(link).is_some()) else {
            continue;
        };
        let largest = makers(graph, links, link.from)
            .into_iter()
            .map(|maker| (needed(graph, maker, bridge.encoding), maker))
            .max();
        let in_range = limits::MAX_FRAME.contains(&bridge.max_frame);
        let is_larger = |&(needed, _): &(usize, usize)| in_range && needed > bridge.max_frame;
        let Some((needed, maker)) = largest.filter(is_larger) else {
            continue;
        };
        let message = format!(
            "frames of `{}` need up to {needed} bytes on the edge `{}`, whose max_frame is {}",
            graph.stages[maker].name,
            graph.edge_name(link.edge),
            bridge.max_frame
        );
        let place = graph.at_edge(link.edge, "transport.max_frame");
        let help = format!("set max_frame = {needed} or more");
        faults.push(GraphFault::new(FaultKind::FrameTooSmall, place, message).help(help));
    }
}

/// Bytes of the largest frame of a stage, as far as it says how many rows of how many features it makes.
fn needed(graph: &GraphDescription<'_>, maker: usize, encoding: Encoding) -> usize {
    let provides = graph.stages[maker]
        .contract
        .map(|contract| &contract.provides);
    let property = |subject: &str| provides.and_then(|provides| provides.get(subject));
    let width = match property("feature") {
        Some(Property::Names(names)) => names.len(),
        _ => 0,
    };
    let rows = match property("rows") {
        Some(Property::Number(rows)) => usize::try_from(*rows).ok(),
        _ => None,
    };
    let values = match rows {
        Some(rows) => tensor_bytes(encoding, rows.saturating_mul(width)),
        None => width.saturating_mul(META_VALUE_BYTES),
    };
    ENVELOPE_BYTES.saturating_add(values)
}

/// Bytes of a tensor; `int8` has its scale and zero point in front.
fn tensor_bytes(encoding: Encoding, elements: usize) -> usize {
    match encoding {
        Encoding::F32 => elements.saturating_mul(4),
        Encoding::F16 => elements.saturating_mul(2),
        Encoding::Int8 => elements.saturating_add(8),
    }
}
