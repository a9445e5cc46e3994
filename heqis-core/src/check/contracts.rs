//! Port contracts: rules that two stages must agree on beyond the payload, such as the features of a model, and whether the
//! largest frame of an edge fits through its bridge.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::fault::{FaultKind, GraphFault};
use super::{GraphDescription, Link};
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
        let requires = contract.required_at(graph.port_names(link).1);
        for (maker, provides) in stated(graph, links, link) {
            if let Some(found) = mismatch(&provides, &requires) {
                let explained = || {
                    let Explain(explain) = contract.explain?;
                    let made_of = graph.stages[maker.from].contract?.read_from.as_deref()?;
                    explain(made_of, contract.read_from.as_deref()?)
                };
                let ((_, to), (from, _)) = (graph.ends(link), graph.ends(&maker));
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

/// What holds of the frames of a link, with the link by which each stage that states it makes them.
fn stated(graph: &GraphDescription<'_>, links: &[Link], link: &Link) -> Vec<(Link, PortSchema)> {
    let mut stated: Vec<(Link, PortSchema)> = Vec::new();
    let mut seen = HashSet::new();
    // The subjects that are still asked for; all of them next to the stage that takes the frames.
    let mut open: Vec<(Link, Option<BTreeSet<&str>>)> = vec![(*link, None)];
    while let Some((link, asked)) = open.pop() {
        for maker in makers(graph, links, &link) {
            let (output, _) = graph.port_names(&maker);
            if !seen.insert((maker.from, output, asked.clone())) {
                continue;
            }
            let Some(contract) = graph.stages[maker.from].contract else {
                continue;
            };
            let is_asked = |subject: &str| asked.as_ref().is_none_or(|a| a.contains(subject));
            let mut provides = contract.provided_at(output);
            provides.retain(|subject, _| is_asked(subject));
            stated.push((maker, provides));
            for feeding in links.iter().filter(|link| link.to == maker.from) {
                let passed = contract
                    .passed(graph.port_names(feeding).1, output)
                    .into_iter();
                let passed: BTreeSet<&str> = passed.filter(|subject| is_asked(subject)).collect();
                if !passed.is_empty() {
                    open.push((*feeding, Some(passed)));
                }
            }
        }
    }
    stated.sort_by_key(|(maker, _)| (maker.from, maker.out));
    stated
}

pub(super) fn provided(
    graph: &GraphDescription<'_>,
    links: &[Link],
    edge: usize,
) -> BTreeMap<String, String> {
    let mut provided = BTreeMap::new();
    let link = links.iter().find(|link| link.edge == edge);
    let stated = link.map_or_else(Vec::new, |link| stated(graph, links, link));
    for (_, properties) in stated.into_iter().rev() {
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
    edge: usize,
) -> BTreeMap<String, String> {
    let mut required = BTreeMap::new();
    let mut seen = HashSet::new();
    // Links, and the subjects that reach their ends; all of them next to the edge.
    let link = links.iter().find(|link| link.edge == edge);
    let mut open: Vec<(Link, Option<BTreeSet<&str>>)> =
        link.map(|&link| (link, None)).into_iter().collect();
    while let Some((link, reaches)) = open.pop() {
        let (stage, (_, input)) = (link.to, graph.port_names(&link));
        if !seen.insert((stage, input, reaches.clone())) {
            continue;
        }
        let following = || links.iter().filter(move |link| link.from == stage);
        if graph.is_buffer(stage) {
            open.extend(following().map(|link| (*link, reaches.clone())));
            continue;
        }
        let Some(contract) = graph.stages[stage].contract else {
            continue;
        };
        let is_reached = |subject: &str| reaches.as_ref().is_none_or(|r| r.contains(subject));
        for (subject, property) in contract.required_at(input) {
            if is_reached(subject) {
                required
                    .entry(subject.to_owned())
                    .or_insert_with(|| property.to_string());
            }
        }
        for next in following() {
            let passed = contract.passed(input, graph.port_names(next).0).into_iter();
            let passed: BTreeSet<&str> = passed.filter(|subject| is_reached(subject)).collect();
            if !passed.is_empty() {
                open.push((*next, Some(passed)));
            }
        }
    }
    required
}

/// The links by which the frames of `link` leave the stages that make them: itself, or those that feed the ring buffer which
/// it comes from.
fn makers(graph: &GraphDescription<'_>, links: &[Link], link: &Link) -> Vec<Link> {
    let (mut open, mut seen, mut makers) = (vec![*link], HashSet::from([link.from]), Vec::new());
    while let Some(link) = open.pop() {
        if graph.is_buffer(link.from) {
            let feeding = links.iter().filter(|feeding| feeding.to == link.from);
            open.extend(
                feeding
                    .copied()
                    .filter(|feeding| !graph.is_buffer(feeding.from) || seen.insert(feeding.from)),
            );
        } else {
            makers.push(link);
        }
    }
    makers.sort_unstable_by_key(|maker| (maker.from, maker.edge));
    makers
}

/// Two payload types may have one name, as where two versions of a crate meet; only one of them is what a stage takes.
fn types(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for link in links.iter().filter(|link| graph.crossing(link).is_none()) {
        let (Some(taken), Some(taker)) = (graph.taken(link), graph.kind(link.to)) else {
            continue;
        };
        for maker in makers(graph, links, link) {
            if let Some(made) = graph.made(&maker)
                && let (Some(made_type), Some(taken_type)) = (made.type_id, taken.type_id)
                && made.payload == taken.payload
                && made_type() != taken_type()
            {
                let message = format!(
                    "stage `{}` makes `{}`, but `{}` ({}) takes another type of that name",
                    graph.ends(&maker).0,
                    made.payload,
                    graph.ends(link).1,
                    taker.name
                );
                let place = graph.at_edge(link.edge, "to");
                faults.push(GraphFault::new(FaultKind::PayloadMismatch, place, message));
            }
        }
    }
}

/// A payload without a codec has no bytes to send or to record.
fn codecs(graph: &GraphDescription<'_>, links: &[Link], faults: &mut Vec<GraphFault>) {
    for link in links.iter().filter(|link| graph.crossing(link).is_some()) {
        for maker in makers(graph, links, link) {
            let Some(port) = graph.made(&maker).filter(|port| !port.on_wire) else {
                continue;
            };
            let message = format!(
                "stage `{}` makes `{}`, which has no codec, but the edge `{}` leads to another node",
                graph.ends(&maker).0,
                port.payload,
                graph.edge_name(link.edge)
            );
            let place = graph.at_edge(link.edge, "from");
            let fault = GraphFault::new(FaultKind::PayloadWithoutCodec, place, message);
            faults.push(fault);
        }
    }
    for (index, stage) in graph.stages.iter().enumerate() {
        let ports = stage.kind.map_or(&[][..], |kind| kind.outputs);
        if let Some(port) = ports.iter().find(|port| !port.on_wire)
            && stage.recorded
        {
            let message = format!(
                "stage `{}` makes `{}`, which has no codec and cannot be recorded",
                stage.name, port.payload
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
        let largest = makers(graph, links, link)
            .into_iter()
            .map(|maker| (needed(graph, &maker, bridge.encoding), maker))
            .max_by_key(|(needed, maker)| (*needed, maker.from));
        let in_range = limits::MAX_FRAME.contains(&bridge.max_frame);
        let is_larger = |&(needed, _): &(usize, Link)| in_range && needed > bridge.max_frame;
        let Some((needed, maker)) = largest.filter(is_larger) else {
            continue;
        };
        let message = format!(
            "frames of `{}` need up to {needed} bytes on the edge `{}`, whose max_frame is {}",
            graph.ends(&maker).0,
            graph.edge_name(link.edge),
            bridge.max_frame
        );
        let place = graph.at_edge(link.edge, "transport.max_frame");
        let help = format!("set max_frame = {needed} or more");
        faults.push(GraphFault::new(FaultKind::FrameTooSmall, place, message).help(help));
    }
}

/// Bytes of the largest frame of a stage, as far as it says how many rows of how many features it makes.
fn needed(graph: &GraphDescription<'_>, maker: &Link, encoding: Encoding) -> usize {
    let contract = graph.stages[maker.from].contract;
    let provides = contract.map(|contract| contract.provided_at(graph.port_names(maker).0));
    let property = |subject: &str| provides.as_ref().and_then(|provides| provides.get(subject));
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
