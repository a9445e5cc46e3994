//! From a plan to the graph of one node.

use std::collections::BTreeMap;

use heqis_actors::requests::RequestPort;
use heqis_actors::sp::Endpoint;
use heqis_actors::{BridgeOptions, GraphBuilder, LinkPeer};

use super::plan::{Bridge, Plan};

impl Plan {
    /// Returns the graph of the node called `node`, ready to be started or extended; `None` when the topology has no such node.
    ///
    /// ```no_run
    /// use heqis_runtime::topology::{Request, load};
    ///
    /// let request = Request::new("topologies/baseline.toml", ".");
    /// let plan = load(&request, &heqis_runtime::registry()).expect("the file has no fault");
    /// let graph = plan.graph("host").expect("the file has this node");
    /// let report = graph.run(plan.drain_timeout)?;
    /// # Ok::<(), heqis_actors::GraphError>(())
    /// ```
    #[must_use]
    pub fn graph(&self, node: &str) -> Option<GraphBuilder> {
        Some(self.graph_of(self.node(node)?, &BTreeMap::new()))
    }

    /// The graph of the node with this index, with the ports for requests by the route of their edge.
    pub(crate) fn graph_of(&self, node: usize, ports: &BTreeMap<u32, RequestPort>) -> GraphBuilder {
        let peer = |route: u32, other: usize, properties: &BTreeMap<String, String>| {
            LinkPeer::new(self.nodes[other].name.clone())
                .properties(properties.clone())
                .requests(ports.get(&route).cloned())
        };
        let mut graph = GraphBuilder::new(&self.name)
            .node(&self.nodes[node].name)
            .base(&self.base)
            .scheduling(self.nodes[node].scheduling)
            .drain_timeout(self.drain_timeout)
            .identity(self.identity(node));
        if let Some(state) = &self.nodes[node].state {
            graph = graph.state(state.clone());
        }
        for stage in self.stages.iter().filter(|stage| stage.node == node) {
            if let Some(record) = &stage.record {
                graph = graph.record(&stage.name, record.clone());
            }
        }
        for stage in &self.stages {
            graph = match &stage.prepared {
                Some(prepared) if stage.node == node => {
                    graph.prepared(&stage.name, prepared.clone(), stage.options.clone())
                }
                _ => graph.remote(&stage.name),
            };
        }
        for edge in &self.edges {
            let from = &self.stages[edge.from];
            let names = edge.ends();
            graph = match &edge.bridge {
                None if from.node == node => graph.edge(names.0, names.1, edge.options),
                Some(bridge) if bridge.from_node == node => graph
                    .peer(edge.route, peer(edge.route, bridge.to_node, &bridge.makes))
                    .edge_out(
                        edge.route,
                        names,
                        bridge.payload,
                        edge.options,
                        self.secured(bridge, node, bridge.to_node),
                    ),
                Some(bridge) if bridge.to_node == node => graph
                    .peer(
                        edge.route,
                        peer(edge.route, bridge.from_node, &bridge.takes),
                    )
                    .edge_in(
                        edge.route,
                        names,
                        bridge.payload,
                        edge.options,
                        self.secured(bridge, node, bridge.from_node),
                    ),
                _ => graph,
            };
        }
        for budget in &self.budgets {
            let path: Vec<&str> = budget
                .path
                .iter()
                .map(|&stage| self.stages[stage].name.as_str())
                .collect();
            graph = graph.budget(&path, budget.p99);
        }
        graph
    }
    /// The settings of a bridged edge at its end on `node`, which talks to the node `other` and no other one.
    fn secured(&self, bridge: &Bridge, node: usize, other: usize) -> BridgeOptions {
        let options = bridge.options.clone();
        match options.endpoint {
            Endpoint::Tls { .. } => {
                options.security(self.nodes[node].tls.link_with(&self.nodes[other].name))
            }
            _ => options,
        }
    }
}
