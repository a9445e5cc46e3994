//! Which nodes set the trading state of others.

use super::Resolved;
use crate::topology::fault::{Code, Fault};

/// Who sets the trading state of whose stages: over which edge, in which files.
pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    let nodes = &resolved.topology.nodes;
    let find = |name: &str| nodes.iter().position(|node| node.name == name);
    let mut pairs = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for asks in node.spec.iter().flat_map(|spec| &spec.trading_state_from) {
            let Some(asks) = find(asks) else {
                let message = format!(
                    "node `{}` takes its trading state from the unknown node `{asks}`",
                    node.name
                );
                let place = node.at(&["trading_state_from"]);
                let fault = Fault::new(Code::UnknownNode, place, message);
                faults.push(fault.nearest(asks, nodes.iter().map(|node| node.name.as_str())));
                continue;
            };
            pairs.push((asks, index));
        }
    }
    let crossings = resolved.edges.iter().filter_map(|&link| {
        let (from, to) = resolved.crossing(link)?;
        Some((u32::try_from(link.edge).ok()?, from, to))
    });
    let edges = pick(&crossings.collect::<Vec<_>>(), &pairs);
    for (&(asks, answers), edge) in pairs.iter().zip(edges) {
        let (asks, node) = (&nodes[asks], &nodes[answers]);
        let place = node.at(&["trading_state_from"]);
        if edge.is_none() {
            let message = format!(
                "no edge joins node `{}` to the node `{}`, from which it takes its trading state",
                node.name, asks.name
            );
            let fault = Fault::new(Code::NothingToWatch, place, message);
            faults.push(fault.help("an edge carries the requests of one node"));
        }
        let mut stages = resolved.topology.stages.iter();
        let has_file = stages.any(|stage| {
            let spec = stage.spec.as_ref();
            spec.is_none_or(|spec| {
                spec.node == node.name && spec.params.contains_key("trading_state_file")
            })
        });
        if !has_file {
            let message = format!(
                "node `{}` takes its trading state from `{}`, and no stage of it has a `trading_state_file`",
                node.name, asks.name
            );
            faults.push(Fault::new(Code::MissingKey, place, message));
        }
        let page = asks.spec.as_ref().and_then(|spec| spec.dashboard.as_ref());
        if page.is_some_and(|page| page.control && page.requests.is_none()) {
            let message = format!(
                "the page of node `{}` may set the trading state of `{}`, and has no file for its `requests`",
                asks.name, node.name
            );
            let place = asks.at(&["dashboard"]);
            faults.push(Fault::new(Code::MissingKey, place, message));
        }
    }
}

/// For each pair of a node that asks and one that decides, in their order, the edge that carries its requests: the first that
/// leads from the one that decides to the other, else the first the other way round. An edge carries those of one pair.
/// `crossings` has the route, the sender and the receiver of every bridged edge.
pub(crate) fn pick(
    crossings: &[(u32, usize, usize)],
    pairs: &[(usize, usize)],
) -> Vec<Option<u32>> {
    let mut taken = Vec::new();
    let edges = pairs.iter().map(|&(asks, answers)| {
        let first = |from: usize, to: usize, taken: &[u32]| {
            let mut edges = crossings.iter();
            edges
                .find(|&&(route, one, other)| (one, other) == (from, to) && !taken.contains(&route))
                .map(|(route, ..)| *route)
        };
        let edge = first(answers, asks, &taken).or_else(|| first(asks, answers, &taken));
        taken.extend(edge);
        edge
    });
    edges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_that_carries_the_decisions_back_is_preferred_and_each_carries_one_pair() {
        let (gateway, compute, third) = (0, 1, 2);
        let edges = [
            (4, gateway, compute),
            (7, compute, gateway),
            (8, third, compute),
        ];
        let only = |pair| pick(&edges, &[pair]);
        assert_eq!(only((gateway, compute)), [Some(7)]);
        assert_eq!(only((third, compute)), [Some(8)]);
        assert_eq!(only((third, gateway)), [None]);
        assert_eq!(
            pick(&edges, &[(gateway, compute), (compute, gateway)]),
            [Some(7), Some(4)]
        );
        assert_eq!(
            pick(&edges[1..], &[(gateway, compute), (compute, gateway)]),
            [Some(7), None]
        );
    }
}
