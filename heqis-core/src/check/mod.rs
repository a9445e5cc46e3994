//! The rules of a graph, checked completely before anything starts: one check for graphs built in code and for topologies.
//!
//! ```text
//! GraphBuilder ─┐
//!               ├▸ GraphDescription ▸ check ▸ GraphFault (kind, place, message)
//! topology file ┘
//! ```
//!
//! - `fault`: what can be wrong. `flow`: what the edges make of the stages. `ways`: by which ways items come to a stage.
//! - `contracts`: what stages agree on beyond the payload. `settings`: ranges and options. `threads`: cores and arbiters.
//!
//! A pass looks only at what is known and skips what another pass reports, so that one slip gives one fault. A topology adds
//! the rules of its file: keys, nodes, transports, memory.

mod contracts;
mod fault;
mod flow;
mod settings;
mod threads;
mod ways;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub use fault::{FaultKind, FaultPlace, FaultSubject, GraphFault, nearest_name};

use crate::contract::{ANY, PortContract};
use crate::encoding::Encoding;
use crate::options::{BridgeOptions, Delivery, EdgeOptions, StageOptions};
use crate::port::{Port, port_of, stage_of};

/// Name of the kind of stage that makes windows of any frames.
pub const WINDOW: &str = "window";

/// A graph as the check sees it.
#[derive(Clone, Debug, Default)]
pub struct GraphDescription<'a> {
    /// Name of the graph, where it must be well formed.
    pub name: Option<&'a str>,
    /// The nodes.
    pub nodes: Vec<NodeDescription<'a>>,
    /// The stages, also those of other nodes.
    pub stages: Vec<StageDescription<'a>>,
    /// The edges; `None` for one that could not be read.
    pub edges: Vec<Option<EdgeDescription<'a>>>,
    /// The budgets; `None` for one that could not be read.
    pub budgets: Vec<Option<BudgetDescription<'a>>>,
    /// Whether the edges of all nodes are known, not only those that touch one node.
    pub complete: bool,
}

/// A node as the check sees it.
#[derive(Clone, Copy, Debug)]
pub struct NodeDescription<'a> {
    /// Its name; empty for nodes of which nothing is known.
    pub name: &'a str,
    /// Number of its cores, where it is known.
    pub cores: Option<usize>,
    /// Time between two snapshots of its state, where it saves it.
    pub saves_every: Option<Duration>,
}

/// A stage as the check sees it.
#[derive(Clone, Debug)]
pub struct StageDescription<'a> {
    /// Its name.
    pub name: &'a str,
    /// Index of its node, where it is known.
    pub node: Option<usize>,
    /// Its kind; `None` where it is unknown, or is a matter of another node.
    pub kind: Option<KindDescription>,
    /// How it runs; `None` where it is unknown.
    pub options: Option<StageOptions>,
    /// Which of `workers`, `batch` and `restart` are set.
    pub set: Vec<&'static str>,
    /// What its parameters say about its ports; `None` where they are faulty or a matter of another node.
    pub contract: Option<&'a PortContract>,
    /// Whether its items are recorded.
    pub recorded: bool,
}

/// A stage kind as the check sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KindDescription {
    /// Its name.
    pub name: &'static str,
    /// Its input ports; none for a source.
    pub inputs: &'static [Port],
    /// Its output ports; none for a sink.
    pub outputs: &'static [Port],
    /// Whether it gets an arbiter of its own by default.
    pub blocking: bool,
    /// Whether it is a commit log, of which a node has one at most.
    pub commit_log: bool,
    /// Whether it may be the last stage of a graph although it has an output.
    pub output_optional: bool,
    /// Why it has one worker only, if so.
    pub one_worker: Option<&'static str>,
    /// Why its state cannot be saved, if so.
    pub unsaved: Option<&'static str>,
    /// For a source: whether two builds from one config give the same items.
    pub replayable: bool,
    /// For a source: whether nothing is expected of its items where they have no identity, since it may be a live feed.
    pub identity_optional: bool,
    /// Whether each frame leaves by one of the output ports at most, so that the ways behind them may meet.
    pub routes: bool,
}

impl KindDescription {
    /// Whether it takes no frames.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Whether it makes no frames.
    #[must_use]
    pub fn is_sink(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Whether it passes on frames of any payload: a ring buffer.
    #[must_use]
    pub fn is_buffer(&self) -> bool {
        self.inputs.iter().any(|port| port.payload == ANY)
    }

    /// Whether one of its inputs takes `payload`.
    #[must_use]
    pub fn takes(&self, payload: &str) -> bool {
        self.inputs.iter().any(|port| port.payload == payload)
    }

    /// The payload of its output ports, where it is the same at all of them.
    #[must_use]
    pub fn output(&self) -> Option<&'static str> {
        let first = self.outputs.first()?.payload;
        (self.outputs.iter().all(|port| port.payload == first)).then_some(first)
    }

    /// A kind without ports.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            inputs: &[],
            outputs: &[],
            blocking: false,
            commit_log: false,
            output_optional: false,
            replayable: false,
            identity_optional: false,
            one_worker: None,
            unsaved: None,
            routes: false,
        }
    }
}

/// An edge as the check sees it.
#[derive(Clone, Debug)]
pub struct EdgeDescription<'a> {
    /// Name of the stage that makes its frames, or of its port, as in `split.up`.
    pub from: &'a str,
    /// Name of the stage that takes them, or of its port.
    pub to: &'a str,
    /// Its settings.
    pub options: EdgeOptions,
    /// How it crosses to another node, where that is known.
    pub bridge: Option<BridgeDescription>,
    /// Name of the payload, where a bridged edge says it.
    pub payload: Option<&'static str>,
}

/// The crossing of a bridged edge as the check sees it.
#[derive(Clone, Copy, Debug)]
pub struct BridgeDescription {
    /// As [`BridgeOptions::credit`].
    pub credit: usize,
    /// As [`BridgeOptions::delivery`].
    pub delivery: Delivery,
    /// As [`BridgeOptions::max_frame`].
    pub max_frame: usize,
    /// As [`BridgeOptions::encoding`].
    pub encoding: Encoding,
    /// Whether it is reached over a network without protection, as [`Endpoint::is_open`](heqis_sp::Endpoint::is_open).
    pub open: bool,
    /// As [`BridgeOptions::insecure`].
    pub insecure: bool,
}

impl From<&BridgeOptions> for BridgeDescription {
    fn from(options: &BridgeOptions) -> Self {
        Self {
            credit: options.credit,
            delivery: options.delivery,
            max_frame: options.max_frame,
            encoding: options.encoding,
            open: options.endpoint.is_open(),
            insecure: options.insecure,
        }
    }
}

/// A budget as the check sees it.
#[derive(Clone, Debug)]
pub struct BudgetDescription<'a> {
    /// Names of the stages on its path.
    pub path: Vec<&'a str>,
    /// The limit.
    pub max_age: Duration,
}

/// An edge whose ends are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    edge: usize,
    from: usize,
    to: usize,
    /// Indices of the ports at both ends, where they are known.
    out: Option<usize>,
    into: Option<usize>,
}

impl GraphDescription<'_> {
    /// Every fault and warning of the graph.
    #[must_use]
    pub fn check(&self) -> Vec<GraphFault> {
        let mut faults = Vec::new();
        let links = self.links();
        flow::check(self, &links, &mut faults);
        ways::check(self, &links, &mut faults);
        settings::check(self, &links, &mut faults);
        threads::check(self, &mut faults);
        contracts::check(self, &links, &mut faults);
        faults
    }

    /// The payload that each edge carries; behind a ring buffer it is whatever feeds the buffer. `None` where it is not known.
    #[must_use]
    pub fn payloads(&self) -> Vec<Option<&'static str>> {
        self.carried(&self.links())
    }

    fn carried(&self, links: &[Link]) -> Vec<Option<&'static str>> {
        let mut carried: Vec<Option<&'static str>> = vec![None; self.edges.len()];
        for link in links {
            carried[link.edge] = match self.kind(link.from) {
                Some(_) => self.made(link).map(|port| port.payload),
                // What another node makes is known by the first of the edges that carry it.
                None => (links.iter())
                    .filter(|other| self.leaves_as(other, link))
                    .find_map(|other| self.edge(other.edge)?.payload),
            };
        }
        // A chain of ring buffers settles in as many rounds as it is long; without progress it never will.
        loop {
            let mut progress = false;
            for link in links.iter() {
                let mut feeding = links.iter().filter(|feeding| feeding.to == link.from);
                if carried[link.edge] == Some(ANY)
                    && let Some(fed) =
                        feeding.find_map(|feeding| carried[feeding.edge].filter(|&fed| fed != ANY))
                {
                    carried[link.edge] = Some(fed);
                    progress = true;
                }
            }
            if !progress {
                break;
            }
        }
        carried
            .into_iter()
            .map(|payload| payload.filter(|&name| name != ANY))
            .collect()
    }

    /// What holds of the frames of the edge with this index where they are made, by subject; what is nearest counts.
    #[must_use]
    pub fn provided(&self, edge: usize) -> BTreeMap<String, String> {
        contracts::provided(self, &self.links(), edge)
    }

    /// What the stage that the edge with this index leads to, and those that it passes frames on to, require, by subject.
    #[must_use]
    pub fn required(&self, edge: usize) -> BTreeMap<String, String> {
        contracts::required(self, &self.links(), edge)
    }

    fn links(&self) -> Vec<Link> {
        let stages: HashMap<&str, usize> = (self.stages.iter().enumerate())
            .map(|(index, stage)| (stage.name, index))
            .collect();
        let stage = |end: &str| stages.get(self.stage_in(end)).copied();
        let link = |(edge, declared): (usize, &Option<EdgeDescription<'_>>)| {
            let declared = declared.as_ref()?;
            let (from, to) = (stage(declared.from)?, stage(declared.to)?);
            Some(Link {
                edge,
                from,
                to,
                out: self.port_in(from, declared.from, |kind| kind.outputs),
                into: self.port_in(to, declared.to, |kind| kind.inputs),
            })
        };
        self.edges.iter().enumerate().filter_map(link).collect()
    }

    /// The stage that the end of an edge names. One whose name has a dot is reported for that, and not for its ports.
    fn stage_in<'e>(&self, end: &'e str) -> &'e str {
        let dotted = end.contains('.') && self.stages.iter().any(|stage| stage.name == end);
        if dotted { end } else { stage_of(end) }
    }

    /// Index of the port that the end of an edge names; `None` where the stage has no such port, or its kind is not known.
    fn port_in(
        &self,
        stage: usize,
        end: &str,
        ports: fn(&KindDescription) -> &'static [Port],
    ) -> Option<usize> {
        let port = if self.stages[stage].name == end {
            ""
        } else {
            port_of(end)
        };
        Port::find(ports(&self.kind(stage)?), port)
    }

    /// The port that a link leaves by.
    fn made(&self, link: &Link) -> Option<Port> {
        self.kind(link.from)?.outputs.get(link.out?).copied()
    }

    /// The port that a link leads to.
    fn taken(&self, link: &Link) -> Option<Port> {
        self.kind(link.to)?.inputs.get(link.into?).copied()
    }

    /// Names of the ports at both ends of a link; empty for the only one of its side.
    fn port_names(&self, link: &Link) -> (&str, &str) {
        let edge = self.edge(link.edge);
        (
            (self.made(link)).map_or_else(
                || edge.map_or("", |edge| port_of(edge.from)),
                |port| port.name,
            ),
            (self.taken(link)).map_or_else(
                || edge.map_or("", |edge| port_of(edge.to)),
                |port| port.name,
            ),
        )
    }

    /// Whether both links leave by one port of one stage.
    fn leaves_as(&self, one: &Link, other: &Link) -> bool {
        one.from == other.from && self.port_names(one).0 == self.port_names(other).0
    }

    fn edge(&self, index: usize) -> Option<&EdgeDescription<'_>> {
        self.edges.get(index)?.as_ref()
    }

    fn kind(&self, stage: usize) -> Option<KindDescription> {
        self.stages[stage].kind
    }

    fn is_buffer(&self, stage: usize) -> bool {
        self.kind(stage).is_some_and(|kind| kind.is_buffer())
    }

    /// Whether the link can carry anything; an edge into a source or out of a sink is reported for that.
    fn carries(&self, link: &Link) -> bool {
        self.kind(link.from).is_none_or(|kind| !kind.is_sink())
            && self.kind(link.to).is_none_or(|kind| !kind.is_source())
    }

    /// The two nodes of a link when they are known and differ.
    fn crossing(&self, link: &Link) -> Option<(usize, usize)> {
        let ends = (self.stages[link.from].node?, self.stages[link.to].node?);
        (ends.0 != ends.1).then_some(ends)
    }

    fn at_node(&self, index: usize, option: &str) -> FaultPlace {
        let name = self.nodes.get(index).map_or("", |node| node.name);
        place(FaultSubject::Node(index), name, option)
    }

    /// The place of a stage, or of an option of it.
    pub fn at_stage(&self, index: usize, option: &str) -> FaultPlace {
        let name = self.stages.get(index).map_or("", |stage| stage.name);
        place(FaultSubject::Stage(index), name, option)
    }

    /// The place of an edge, or of an option of it.
    pub fn at_edge(&self, index: usize, option: &str) -> FaultPlace {
        place(FaultSubject::Edge(index), &self.edge_name(index), option)
    }

    /// The end that a link leaves from, and the one that it leads to, as they are written.
    fn ends(&self, link: &Link) -> (&str, &str) {
        self.edge(link.edge)
            .map_or(("", ""), |edge| (edge.from, edge.to))
    }

    fn edge_name(&self, index: usize) -> String {
        self.edge(index)
            .map_or_else(String::new, |edge| format!("{}->{}", edge.from, edge.to))
    }

    /// The fault of naming a stage that is not there; `None` when it is.
    pub fn unknown_stage(&self, what: &str, name: &str, place: FaultPlace) -> Option<GraphFault> {
        let names = || self.stages.iter().map(|stage| stage.name);
        if names().any(|known| known == name) {
            return None;
        }
        let message = format!("{what} names the unknown stage `{name}`");
        let mut fault = GraphFault::new(FaultKind::UnknownStage, place, message);
        fault.help = nearest_name(name, names());
        Some(fault)
    }
}

/// A place by subject, name and option; an empty option is the subject itself.
pub fn place(subject: FaultSubject, name: &str, option: &str) -> FaultPlace {
    FaultPlace {
        subject,
        name: name.to_owned(),
        option: option.to_owned(),
    }
}
