//! A topology resolved: every name an index, every default filled in, every stage ready to be built.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heqis_actors::renamed::former_names;
use heqis_actors::{
    BridgeOptions, ContentHash, EdgeOptions, PayloadType, Prepared, RecordingOptions, RunIdentity,
    Scheduling, StageKind, StageOptions, StateOptions,
};
use heqis_tls::Identity;

use super::board::Board;
use super::check::{Resolved, address, endpoint, is_open, stage_options};
use super::document::{DashboardSpec, EdgeSpec, WatchSpec};
use super::fault::Faults;
use crate::watch::{RecoverySpec, StallSpec, Watch};

/// Time for frames under way to finish when the graph stops, when the file does not say.
const DEFAULT_DRAIN: Duration = Duration::from_secs(5);

/// What a watched node is allowed when the file does not say.
const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_RECOVERY: (Duration, u32, Duration) =
    (Duration::from_secs(30), 3, Duration::from_secs(3600));

/// What every node of the graph runs. The same file gives the same indices and routes on each of them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the graph.
    pub name: String,
    /// The file that it was read from.
    pub file: PathBuf,
    /// Directory where relative paths of stages start.
    pub base: PathBuf,
    /// How long frames under way may take to finish when the graph stops.
    pub drain_timeout: Duration,
    /// Machines in the order of the file.
    pub nodes: Vec<Node>,
    /// Actors in the order of the file; a stage's index in it is the one in its stamps.
    pub stages: Vec<Stage>,
    /// Edges in the order of the file; an edge's index in it is its route.
    pub edges: Vec<Edge>,
    /// Latency promises in the order of the file.
    pub budgets: Vec<Budget>,
    /// Warnings, with the texts that they point into; empty for most files.
    pub warnings: Faults,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its type.
    pub board: Board,
    /// Host name or IP address at which the other nodes reach it.
    pub address: String,
    /// `host:port` where it serves metrics.
    pub metrics: Option<String>,
    /// Its page.
    pub dashboard: Option<DashboardSpec>,
    /// Reaction to a thread that does not get its cores or its priority.
    pub scheduling: Scheduling,
    /// Where and how often the state of its stages is saved.
    pub state: Option<StateOptions>,
    /// Its certificate, which is read when something needs it.
    pub tls: Identity,
    /// Whether metrics and page may leave the machine as plain HTTP.
    pub insecure: bool,
    /// Names of the nodes that may set the trading state of its stages.
    pub trading_state_from: Vec<String>,
    /// The nodes that it watches.
    pub watch: Vec<Watch>,
}

impl Node {
    /// Returns whether a server of this node at `address`, `host:port`, uses TLS: where other machines reach it, unless that is
    /// accepted as plain HTTP.
    #[must_use]
    pub fn uses_https(&self, address: &str) -> bool {
        !self.insecure && is_open(address)
    }

    /// Returns the addresses of its servers, `host:port`, which use TLS.
    pub fn https_servers(&self) -> impl Iterator<Item = &str> {
        let page = self
            .dashboard
            .as_ref()
            .filter(|page| page.certificate.is_none());
        let page = page.map(|page| page.address.as_str());
        let servers = self.metrics.as_deref().into_iter().chain(page);
        servers.filter(|address| self.uses_https(address))
    }
}

/// An actor.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its position in [`Plan::stages`], the same on every node.
    pub index: u16,
    /// Index of its node in [`Plan::nodes`].
    pub node: usize,
    /// Its kind.
    pub kind: StageKind,
    /// Payload that leaves it; `None` for a sink, and where several ports differ. For a ring buffer, what feeds it.
    pub output: Option<&'static str>,
    /// How it runs.
    pub options: StageOptions,
    /// Ready to be built; absent when the stage's node was left out of the check with [`super::Request::node`].
    pub prepared: Option<Prepared>,
    /// How its items are recorded.
    pub record: Option<RecordingOptions>,
    /// Its parameters as written.
    pub params: serde_json::Value,
}

impl Stage {
    /// Returns whether it makes frames from outside data.
    #[must_use]
    pub fn is_source(&self) -> bool {
        self.kind.is_source()
    }
}

/// What carries frames between two stages.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Its position in [`Plan::edges`], the same on every node.
    pub route: u32,
    /// Its name, `from->to`, each the name of a stage or of its port.
    pub name: String,
    /// Index of the stage that makes the frames.
    pub from: usize,
    /// Index of the stage that takes them.
    pub to: usize,
    /// Queue settings.
    pub options: EdgeOptions,
    /// How it crosses to another node; `None` within a node.
    pub bridge: Option<Bridge>,
}

impl Edge {
    /// What it joins, as in `split.up` and `filter`.
    #[must_use]
    pub fn ends(&self) -> (&str, &str) {
        self.name.split_once("->").unwrap_or_default()
    }
}

/// How an edge crosses from one node to another.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// Index of the sending node, which dials.
    pub from_node: usize,
    /// Index of the receiving node, which listens.
    pub to_node: usize,
    /// What crosses.
    pub payload: PayloadType,
    /// Socket settings.
    pub options: BridgeOptions,
    /// What the stages before the edge provide, by subject.
    pub makes: BTreeMap<String, String>,
    /// What the stages after the edge require, by subject.
    pub takes: BTreeMap<String, String>,
}

/// A latency promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Indices of the stages that it spans, at least two.
    pub path: Vec<usize>,
    /// Of 100 frames, 99 take no longer.
    pub p99: Duration,
}

impl Plan {
    /// Returns the index of the node called `name`.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Returns what identifies the decisions of the graph on `node`: the rule of every `signal`, `rank` and `portfolio` stage, and the bundles of the
    /// node's own stages.
    #[must_use]
    pub fn identity(&self, node: usize) -> RunIdentity {
        let mut rule = ContentHash::default();
        let mut has_rule = false;
        for stage in self
            .stages
            .iter()
            .filter(|stage| matches!(stage.kind.name, "signal" | "rank" | "portfolio"))
        {
            has_rule = true;
            // A renamed parameter changes no rule.
            let mut params = former_names(stage.params.clone(), &stage.kind.schema);
            if let Some(params) = params.as_object_mut() {
                // The trading state is not part of the rule.
                params.remove("kill");
                params.remove("kill_file");
                if stage.kind.name == "portfolio" {
                    params.remove("trading_state");
                    params.remove("trading_state_file");
                }
            }
            let _ = write!(rule, "{} {params} ", stage.name);
        }
        let bundles = self.stages.iter().filter(|stage| stage.node == node);
        let bundles = bundles.filter_map(|stage| {
            let manifest = self
                .base
                .join(stage.params.get("bundle")?.as_str()?)
                .join("manifest.json");
            let mut hash = ContentHash::default();
            hash.write_all(&std::fs::read(manifest).ok()?).ok()?;
            Some(format!("{:016x}", hash.value()))
        });
        let mut identity = RunIdentity::default();
        identity.topology.clone_from(&self.name);
        if has_rule {
            identity.rule = format!("{:016x}", rule.value());
        }
        identity.bundles = bundles.collect();
        identity
    }

    /// Returns the edges that cross between nodes.
    pub fn bridged(&self) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(|edge| edge.bridge.is_some())
    }

    /// Resolves a resolved in which `check` found no fault; `None` when it holds one after all.
    pub(super) fn resolve(
        resolved: &Resolved<'_>,
        prepared: Vec<Option<Prepared>>,
        file: PathBuf,
        base: PathBuf,
        home: &Path,
    ) -> Option<Self> {
        let topology = resolved.topology;
        let header = topology.header.as_ref()?;
        let nodes = topology.nodes.iter().map(|declared| {
            let spec = declared.spec.as_ref()?;
            Some(Node {
                name: declared.name.clone(),
                board: spec.board,
                address: address(spec).to_owned(),
                metrics: spec.metrics.clone(),
                dashboard: spec.dashboard.clone(),
                scheduling: spec.scheduling,
                state: spec.state.as_ref().map(|state| {
                    let options = StateOptions::new(base.join(&state.path));
                    let every = state.every.map_or(options.every, |time| time.0);
                    options.every(every)
                }),
                tls: Identity::new(
                    topology.tls.files(spec.tls.as_ref(), home, &declared.name),
                    Some(&declared.name),
                ),
                insecure: header.insecure || spec.insecure,
                trading_state_from: spec.trading_state_from.clone(),
                watch: spec
                    .watch
                    .iter()
                    .map(|(peer, watch)| watch_of(resolved, &declared.name, peer, watch))
                    .collect(),
            })
        });
        let graph = resolved.describe(&prepared);
        let payloads = graph.payloads();
        let output = |stage: usize| {
            let kind = resolved.kinds[stage]?;
            let mut leaving = resolved.edges.iter().filter(|link| link.from == stage);
            match kind.is_buffer() {
                true => leaving.find_map(|link| payloads[link.edge]),
                false => kind.output(),
            }
        };
        let stages = topology.stages.iter().zip(&prepared).enumerate().map(
            |(index, (declared, prepared))| {
                let spec = declared.spec.as_ref()?;
                Some(Stage {
                    name: declared.name.clone(),
                    index: u16::try_from(index).ok()?,
                    node: resolved.stage_nodes[index]?,
                    kind: resolved.kinds[index]?.clone(),
                    output: output(index),
                    options: stage_options(spec),
                    prepared: prepared.clone(),
                    record: spec.record.as_ref().map(|record| {
                        let options = RecordingOptions::new(base.join(&record.path));
                        let keep_bytes = record.keep_mib.map(|mib| mib << 20);
                        let keep_bytes = keep_bytes.unwrap_or(options.keep_bytes);
                        options.keep_bytes(keep_bytes).sync(record.sync)
                    }),
                    params: serde_json::Value::Object(spec.params.clone()),
                })
            },
        );
        let edges = resolved.edges.iter().map(|&link| {
            let declared = resolved.edge(link);
            let spec = declared.spec.as_ref()?;
            let options = resolved.edge_options(spec);
            let bridge = match resolved.crossing(link) {
                Some((from_node, to_node)) => Some(Bridge {
                    from_node,
                    to_node,
                    payload: resolved.registry.payload(payloads[link.edge]?)?,
                    options: bridge_options(resolved, spec, &options, to_node, &base)?,
                    makes: graph.provided(link.edge),
                    takes: graph.required(link.edge),
                }),
                None => None,
            };
            let route = u32::try_from(link.edge).ok()?;
            Some(Edge {
                route,
                name: declared.name.clone(),
                from: link.from,
                to: link.to,
                options,
                bridge,
            })
        });
        let budgets = topology.budgets.iter().map(|declared| {
            let spec = declared.spec.as_ref()?;
            let stage =
                |name: &String| topology.stages.iter().position(|stage| stage.name == *name);
            Some(Budget {
                path: spec.path.iter().map(stage).collect::<Option<_>>()?,
                p99: spec.p99.0,
            })
        });
        Some(Self {
            name: header.name.clone(),
            file,
            drain_timeout: header.drain_timeout.map_or(DEFAULT_DRAIN, |time| time.0),
            nodes: nodes.collect::<Option<_>>()?,
            stages: stages.collect::<Option<_>>()?,
            edges: edges.collect::<Option<_>>()?,
            budgets: budgets.collect::<Option<_>>()?,
            base,
            warnings: Faults::default(),
        })
    }
}

/// How `node` watches `peer`: the edges between the two are what it observes.
fn watch_of(resolved: &Resolved<'_>, node: &str, peer: &str, spec: &WatchSpec) -> Watch {
    let edges = |from: &str, to: &str| -> Vec<String> {
        let name = |index: usize| resolved.topology.nodes[index].name.as_str();
        resolved
            .edges
            .iter()
            .filter(|&&link| {
                let ends = resolved.crossing(link);
                ends.is_some_and(|(one, other)| name(one) == from && name(other) == to)
            })
            .map(|&link| resolved.edge(link).name.clone())
            .collect()
    };
    let (timeout, max, window) = DEFAULT_RECOVERY;
    Watch {
        peer: peer.to_owned(),
        to: edges(node, peer),
        from: edges(peer, node),
        stall: StallSpec {
            stall_timeout: spec
                .stall_timeout
                .map_or(DEFAULT_STALL_TIMEOUT, |time| time.0),
            response_timeout: spec.response_timeout.map(|time| time.0),
        },
        recovery: (!spec.command.is_empty()).then(|| RecoverySpec {
            command: spec.command.clone(),
            timeout: spec.timeout.map_or(timeout, |time| time.0),
            max: spec.max.unwrap_or(max),
            window: spec.window.map_or(window, |time| time.0),
        }),
    }
}

fn bridge_options(
    resolved: &Resolved<'_>,
    spec: &EdgeSpec,
    options: &EdgeOptions,
    to_node: usize,
    base: &Path,
) -> Option<BridgeOptions> {
    let transport = spec.transport.as_ref()?;
    Some(
        BridgeOptions::new(endpoint(
            transport,
            resolved.topology.nodes[to_node].spec.as_ref()?,
            base,
        )?)
        .credit(transport.credit.unwrap_or(BridgeOptions::DEFAULT_CREDIT))
        .delivery(spec.delivery.unwrap_or(options.policy.default_delivery()))
        .max_frame(
            transport
                .max_frame
                .unwrap_or(BridgeOptions::DEFAULT_MAX_FRAME),
        )
        .encoding(transport.encoding)
        .insecure(transport.insecure || resolved.topology.header.as_ref()?.insecure),
    )
}
