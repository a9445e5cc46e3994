//! Checks a collected graph, as a topology is checked.

use std::collections::{BTreeMap, HashMap};

use super::GraphError;
use super::builder::{EdgeEntry, GraphBuilder, Span, StageEntry};
use crate::registry::{Factory, Prepared, fnv1a};
use heqis_core::{
    BatchOptions, BridgeOptions, BudgetDescription, EdgeDescription, EdgeOptions, FaultKind,
    FaultPlace, FaultSubject, GraphDescription, GraphFault, NodeDescription, Policy, PortContract,
    RestartOptions, StageDescription, StageError, StageOptions, place,
};

/// What stages state about the frames of a bridged edge, by subject.
type Properties = BTreeMap<String, String>;

/// Indices of the nodes in the description.
const HERE: usize = 0;
const ELSEWHERE: usize = 1;

impl GraphBuilder {
    /// Checks the graph completely, as a topology is checked, and returns every fault and warning. Nothing is started; the
    /// stages' own [`check`](crate::Stage::check) is called. [`GraphBuilder::start`] refuses a graph with a fault.
    ///
    /// ```
    /// use heqis_actors::{FaultKind, GraphBuilder, RingBufferConfig};
    ///
    /// let ring = RingBufferConfig::new(0);
    /// let faults = GraphBuilder::new("rings").ring_buffer("ring", ring, Default::default()).check();
    /// let kinds: Vec<FaultKind> = faults.iter().map(|fault| fault.kind).collect();
    /// assert_eq!(kinds, [FaultKind::UnusableParameters, FaultKind::UnfedStage, FaultKind::UnconsumedStage]);
    /// ```
    #[must_use]
    pub fn check(&self) -> Vec<GraphFault> {
        let mut faults = self.faults();
        for entry in &self.stages {
            let Some((prepared, _)) = &entry.local else {
                continue;
            };
            // A file that cannot be read is reported when the source is built.
            let identity = self.identity_of(&entry.name, prepared).unwrap_or(Some(0));
            faults.extend(self.without_identity(&entry.name, prepared, identity));
        }
        faults
    }

    /// As [`GraphBuilder::check`], without the identities of sources, which may be hashes of their files.
    fn faults(&self) -> Vec<GraphFault> {
        self.assess().0
    }

    /// Refuses a graph with a fault, and logs warnings that the caller has not. What the stages say about the frames of each bridged edge is what its
    /// two ends compare, where the program does not say it.
    pub(super) fn validate(&mut self) -> Result<(), GraphError> {
        let (found, properties) = self.assess();
        let (warnings, faults): (Vec<_>, Vec<_>) =
            found.into_iter().partition(GraphFault::is_warning);
        for warning in warnings.iter().filter(|_| !self.warned) {
            tracing::warn!("{warning}");
        }
        if !faults.is_empty() {
            return Err(GraphError::Invalid(faults));
        }
        for (route, properties) in properties {
            let peer = self.peers.entry(route).or_default();
            if peer.properties.is_empty() {
                peer.properties = properties;
            }
        }
        Ok(())
    }

    fn assess(&self) -> (Vec<GraphFault>, Vec<(u32, Properties)>) {
        let mut faults = Vec::new();
        let contracts: Vec<Option<PortContract>> = (self.stages.iter().enumerate())
            .map(|(index, entry)| self.contract(index, entry, &mut faults))
            .collect();
        let graph = self.description(&contracts);
        faults.extend(graph.check());
        self.halves(&graph, &mut faults);
        self.names(&graph, &mut faults);
        let bridged = self.edges.iter().enumerate();
        let properties = bridged.filter_map(|(index, entry)| match entry.span {
            Span::Local => None,
            Span::Out(route, ..) => Some((route, graph.provided(index))),
            Span::In(route, ..) => Some((route, graph.required(index))),
        });
        let properties = properties.collect();
        (faults, properties)
    }

    /// The identity of a source's items: derived from what it reads or from its parameters, and stated by the program.
    pub(super) fn identity_of(
        &self,
        name: &str,
        prepared: &Prepared,
    ) -> Result<Option<u64>, StageError> {
        let Factory::Source { identity, .. } = &prepared.factory else {
            return Ok(None);
        };
        let derived = identity(&self.base)?.or(prepared.fingerprint);
        let stated = self.streams.get(name).copied();
        Ok(match (derived, stated) {
            (Some(derived), Some(stated)) => Some(fnv1a(
                &[derived.to_le_bytes(), stated.to_le_bytes()].concat(),
            )),
            (derived, stated) => derived.or(stated),
        })
    }

    /// The warning of a source that could be resumed if its items had an identity, where something outlives the process: a
    /// commit log, saved states, or another node.
    pub(super) fn without_identity(
        &self,
        name: &str,
        prepared: &Prepared,
        identity: Option<u64>,
    ) -> Option<GraphFault> {
        let kind = &prepared.kind;
        let source = kind.is_source() && kind.replayable;
        // A saved state would include items that are made again.
        let source = source && (self.state.is_some() || !kind.identity_optional);
        let outlives = self.state.is_some()
            || self.stages.iter().any(StageEntry::is_log)
            || (self.edges.iter()).any(|edge| matches!(edge.span, Span::Out(..)));
        if !source || identity.is_some() || !outlives {
            return None;
        }
        let index = self.stages.iter().position(|entry| entry.name == name)?;
        let message = format!(
            "the items of source `{name}` ({}) have no identity: after a restart they count as new ones",
            prepared.kind.name
        );
        let place = place(FaultSubject::Stage(index), name, "stream");
        let fault = GraphFault::new(FaultKind::StreamWithoutIdentity, place, message);
        Some(fault.help("state it with `GraphBuilder::stream`, or derive it in `Source::identity`"))
    }

    fn contract(
        &self,
        index: usize,
        entry: &StageEntry,
        faults: &mut Vec<GraphFault>,
    ) -> Option<PortContract> {
        let (prepared, _) = entry.local.as_ref()?;
        match prepared.inspect(&self.base) {
            Ok(contract) => Some(contract),
            Err(reasons) => {
                faults.extend(reasons.into_iter().map(|reason| {
                    let message =
                        format!("stage `{}` ({}): {reason}", entry.name, prepared.kind.name);
                    let place = place(FaultSubject::Stage(index), &entry.name, "params");
                    GraphFault::new(FaultKind::UnusableParameters, place, message)
                }));
                None
            }
        }
    }

    fn description<'a>(&'a self, contracts: &'a [Option<PortContract>]) -> GraphDescription<'a> {
        let here = NodeDescription {
            name: &self.node,
            cores: None,
            saves_every: self.state.as_ref().map(|state| state.every),
        };
        let elsewhere = NodeDescription {
            name: "",
            cores: None,
            saves_every: None,
        };
        let stages = self.stages.iter().zip(contracts).map(|(entry, contract)| {
            let local = entry.local.as_ref();
            StageDescription {
                name: &entry.name,
                node: Some(if local.is_some() { HERE } else { ELSEWHERE }),
                kind: local.map(|(prepared, _)| prepared.kind.description()),
                options: local.map(|(_, options)| options.clone()),
                set: local.map_or_else(Vec::new, |(_, options)| set(options)),
                contract: contract.as_ref(),
                recorded: self.recordings.contains_key(&entry.name),
            }
        });
        let edges = self.edges.iter().map(|entry| {
            let bridge = bridge(entry);
            Some(EdgeDescription {
                from: &entry.from,
                to: &entry.to,
                options: entry.options,
                bridge: bridge.map(|(_, _, options)| options.into()),
                payload: bridge.map(|(_, payload, _)| payload),
            })
        });
        let budgets = self.budgets.iter().map(|(path, max_age)| {
            Some(BudgetDescription {
                path: path.iter().map(String::as_str).collect(),
                max_age: *max_age,
            })
        });
        GraphDescription {
            name: None,
            nodes: vec![here, elsewhere],
            stages: stages.collect(),
            edges: edges.collect(),
            budgets: budgets.collect(),
            complete: self.stages.iter().all(|entry| entry.local.is_some()),
        }
    }

    /// Checks that each edge is declared as the part of it that this node has.
    fn halves(&self, graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
        let is_here = |name: &str| {
            let entry = self.stages.iter().find(|entry| entry.name == name)?;
            Some(entry.local.is_some())
        };
        let mut routes: HashMap<u32, usize> = HashMap::new();
        let mut listening = HashMap::new();
        for (index, entry) in self.edges.iter().enumerate() {
            let (from, to) = entry.stages();
            let (Some(from), Some(to)) = (is_here(from), is_here(to)) else {
                continue;
            };
            let name = format!("{}->{}", entry.from, entry.to);
            let (kind, message) = match (&entry.span, from, to) {
                (Span::Local, true, true)
                | (Span::Out(..), true, false)
                | (Span::In(..), false, true) => (FaultKind::UnknownEdge, None),
                (Span::Local, ..) => (
                    FaultKind::MissingTransport,
                    Some(format!(
                        "the edge `{name}` joins node `{}` to a stage of another one without a transport",
                        self.node
                    )),
                ),
                (_, true, true) => (
                    FaultKind::NeedlessTransport,
                    Some(format!(
                        "`transport` on the edge `{name}`, which stays on node `{}`",
                        self.node
                    )),
                ),
                (_, _, _) => (
                    FaultKind::UnknownStage,
                    Some(format!(
                        "node `{}` does not run the stage at its end of the edge `{name}`",
                        self.node
                    )),
                ),
            };
            if let Some(message) = message {
                faults.push(GraphFault::new(kind, graph.at_edge(index, ""), message));
            }
            let EdgeOptions {
                policy, capacity, ..
            } = entry.options;
            if policy == Policy::Latest && ![1, EdgeOptions::default().capacity].contains(&capacity)
            {
                let message = format!("the policy `latest` keeps one frame, not {capacity}");
                let place = graph.at_edge(index, "capacity");
                let fault = GraphFault::new(FaultKind::LatestHoldsOne, place, message);
                faults.push(fault.help("leave `capacity` out, or use `drop-oldest`"));
            }
            let Some((route, _, options)) = bridge(entry) else {
                continue;
            };
            let endpoint = &options.endpoint;
            // Port 0 lets the system choose a free one.
            let is_chosen = endpoint.host_port().is_some_and(|(_, port)| port == 0);
            if !is_chosen && matches!(entry.span, Span::In(..)) {
                if let Some((first, other)) = listening.get(endpoint) {
                    let message = format!(
                        "edge `{name}` listens at {endpoint}, where edge `{other}` already does"
                    );
                    let place = graph.at_edge(index, "transport");
                    let fault = GraphFault::new(FaultKind::AddressInUse, place, message);
                    let first = graph.at_edge(*first, "transport");
                    faults.push(fault.related(first, "first used here"));
                } else {
                    listening.insert(endpoint, (index, name.clone()));
                }
            }
            match routes.get(&route) {
                Some(&first) => {
                    let message = format!("the route {route} of the edge `{name}` is given twice");
                    let place = graph.at_edge(index, "route");
                    let fault = GraphFault::new(FaultKind::DuplicateName, place, message);
                    faults.push(fault.related(graph.at_edge(first, "route"), "first given here"));
                }
                None => {
                    routes.insert(route, index);
                }
            }
        }
        let mut unknown: Vec<_> = (self.peers.keys())
            .filter(|route| !routes.contains_key(route))
            .collect();
        unknown.sort_unstable();
        for route in unknown {
            let message = format!("a peer names the route {route}, which no bridged edge has");
            faults.push(GraphFault::new(
                FaultKind::UnknownEdge,
                of_graph("peer"),
                message,
            ));
        }
    }

    /// Checks that what names a stage names one that can have it.
    fn names(&self, graph: &GraphDescription<'_>, faults: &mut Vec<GraphFault>) {
        let mut named: Vec<_> = (self.taps.keys().map(|name| ("a tap", "tap", name)))
            .chain(
                self.recordings
                    .keys()
                    .map(|name| ("a recording", "record", name)),
            )
            .chain(
                self.streams
                    .keys()
                    .map(|name| ("an identity", "stream", name)),
            )
            .collect();
        let options = self.unknown_options.iter();
        named.extend(options.map(|name| ("a set of options", "options", name)));
        named.sort_unstable();
        for (what, option, name) in named {
            let unknown = graph.unknown_stage(what, name, of_graph(option));
            let Some(index) = self.stages.iter().position(|entry| entry.name == *name) else {
                faults.extend(unknown);
                continue;
            };
            let place = place(FaultSubject::Stage(index), name, option);
            let kind = self.stages[index]
                .local
                .as_ref()
                .map(|(prepared, _)| &prepared.kind);
            let (fault, why) = match (option, kind) {
                (_, None) if option != "options" => {
                    (FaultKind::UnknownStage, "which another node runs")
                }
                ("tap", Some(kind)) if kind.is_source() => {
                    (FaultKind::NotForASource, "which is a source")
                }
                ("tap", Some(kind)) if kind.is_buffer() => {
                    (FaultKind::NotForABuffer, "which is a ring buffer")
                }
                ("options", _) => (
                    FaultKind::UnknownStage,
                    "which is added after them: they apply to the stages before",
                ),
                ("stream", Some(kind)) if !kind.is_source() => {
                    (FaultKind::NoInput, "which is no source")
                }
                ("stream", Some(kind)) if !kind.replayable => (
                    FaultKind::NotForASource,
                    "which gives its items once, so that they are new ones in each run",
                ),
                _ => continue,
            };
            let message = format!("{what} names the stage `{name}`, {why}");
            faults.push(GraphFault::new(fault, place, message));
        }
        let (stages, most) = (self.stages.len(), usize::from(u16::MAX));
        if stages > most {
            let message = format!("{stages} stages are more than {most}");
            faults.push(GraphFault::new(
                FaultKind::OutOfRange,
                of_graph("stages"),
                message,
            ));
        }
    }
}

fn of_graph(option: &str) -> FaultPlace {
    place(FaultSubject::Graph, "", option)
}

/// Route, payload and settings of a bridged edge.
fn bridge(entry: &EdgeEntry) -> Option<(u32, &'static str, &BridgeOptions)> {
    match &entry.span {
        Span::Local => None,
        Span::Out(route, payload, options) | Span::In(route, payload, options) => {
            Some((*route, payload.name(), options))
        }
    }
}

/// The options among `workers`, `batch` and `restart` that differ from the default.
fn set(options: &StageOptions) -> Vec<&'static str> {
    [
        ("workers", options.workers != 1),
        ("batch", options.batch != BatchOptions::default()),
        ("restart", options.restart != RestartOptions::default()),
    ]
    .into_iter()
    .filter_map(|(option, is_set)| is_set.then_some(option))
    .collect()
}
