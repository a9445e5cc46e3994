//! Over which edge a node asks another one for a trading state.

use super::check::pick;
use super::plan::Plan;

/// A node that asks, a node that is asked, and the edge that carries the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TradingStateEdge {
    /// Index of the node that asks.
    pub(crate) asks: usize,
    /// Index of the node that decides.
    pub(crate) answers: usize,
    /// The edge.
    pub(crate) route: u32,
}

impl Plan {
    /// Returns who asks whom for a trading state, and over which edge; the same on every node.
    pub(crate) fn trading_state_edges(&self) -> Vec<TradingStateEdge> {
        let crossings: Vec<_> = self
            .edges
            .iter()
            .filter_map(|edge| {
                let bridge = edge.bridge.as_ref()?;
                Some((edge.route, bridge.from_node, bridge.to_node))
            })
            .collect();
        let nodes = self.nodes.iter().enumerate();
        let pairs: Vec<_> = nodes
            .flat_map(|(answers, node)| {
                let asks = node.trading_state_from.iter();
                asks.filter_map(move |asks| Some((self.node(asks)?, answers)))
            })
            .collect();
        let routes = pick(&crossings, &pairs);
        let edges = pairs.iter().zip(routes).filter_map(|(pair, route)| {
            Some(TradingStateEdge {
                asks: pair.0,
                answers: pair.1,
                route: route?,
            })
        });
        edges.collect()
    }
}
