//! The rules of every graph, which `heqis_actors` checks: the topology as its check sees it, and its faults with their places
//! in the file.

use heqis_actors::{
    BatchOptions, BridgeDescription, BridgeOptions, BudgetDescription, EdgeDescription, FaultKind,
    FaultPlace, FaultSubject, GraphDescription, GraphFault, NodeDescription, Prepared,
    RestartOptions, StageDescription, StageKind, StageOptions, StateOptions,
};

use std::path::Path;

use super::Resolved;
use super::transport::endpoint;
use crate::topology::document::{BatchSpec, EdgeSpec, RestartPolicy, RestartSpec, StageSpec};
use crate::topology::fault::{Code, Fault};
use crate::topology::parsed::Spanned;
use crate::topology::place::Place;

pub(super) fn check(
    resolved: &Resolved<'_>,
    graph: &GraphDescription<'_>,
    faults: &mut Vec<Fault>,
) {
    let is_read = |fault: &GraphFault| {
        // A file without stages lacks a key, which was reported.
        fault.kind != FaultKind::EmptyGraph || resolved.topology.root.get("stages").is_some()
    };
    let payloads = graph.payloads();
    for found in graph.check().into_iter().filter(is_read) {
        let Some(code) = Code::of(found.kind) else {
            continue;
        };
        let mut fault = Fault::new(code, place(resolved, code, &found.place), found.message);
        fault.help = found.help;
        if let Some((at, label)) = &found.related {
            fault = fault.related(place(resolved, code, at), *label);
        }
        if let (Code::PayloadMismatch, FaultSubject::Edge(edge)) = (code, found.place.subject) {
            fault.help = payloads[edge].and_then(|payload| takers(resolved, payload));
        }
        faults.push(fault);
    }
}

/// The kinds that take `payload`.
fn takers(resolved: &Resolved<'_>, payload: &str) -> Option<String> {
    let kinds = resolved.registry.kinds();
    let takers: Vec<String> = kinds
        .filter(|kind| kind.takes(payload))
        .map(|kind| format!("`{}`", kind.name))
        .collect();
    (!takers.is_empty()).then(|| format!("kinds that take `{payload}`: {}", takers.join(", ")))
}

/// Where the file states what is faulty.
fn place(resolved: &Resolved<'_>, code: Code, at: &FaultPlace) -> Place {
    // What should not be there is shown by its key, and anything else by its value.
    let by_key = matches!(
        code,
        Code::SinglePartition | Code::NotForASource | Code::NotForABuffer
    );
    let topology = resolved.topology;
    match at.subject {
        FaultSubject::Node(index) => within(&topology.nodes[index], &at.option, by_key),
        FaultSubject::Stage(index) => within(&topology.stages[index], &at.option, by_key),
        FaultSubject::Edge(index) => within(&topology.edges[index], &at.option, by_key),
        FaultSubject::Budget(index) => within(&topology.budgets[index], &at.option, by_key),
        _ => {
            let path: &[&str] = match code {
                Code::EmptyGraph => &["stages"],
                _ => &["topology", "name"],
            };
            topology.root.find(path).unwrap_or(Place::START)
        }
    }
}

fn within<T>(declared: &Spanned<T>, option: &str, by_key: bool) -> Place {
    let path: Vec<&str> = option.split('.').collect();
    match option {
        "" => declared.place,
        key if by_key => declared.key_at(key),
        _ => declared.at(&path),
    }
}

impl<'a> Resolved<'a> {
    /// The topology as the check of graphs sees it.
    pub(crate) fn describe(&self, prepared: &'a [Option<Prepared>]) -> GraphDescription<'a> {
        let topology = self.topology;
        let nodes = topology.nodes.iter().map(|node| {
            let spec = node.spec.as_ref();
            NodeDescription {
                name: &node.name,
                cores: spec.and_then(|spec| spec.cores.or(spec.board.cores())),
                saves_every: match spec {
                    Some(spec) => (spec.state.as_ref()).map(|state| {
                        state
                            .every
                            .map_or(StateOptions::DEFAULT_EVERY, |every| every.0)
                    }),
                    // What could not be read is not missing.
                    None => Some(StateOptions::DEFAULT_EVERY),
                },
            }
        });
        let stages = topology.stages.iter().enumerate().map(|(index, stage)| {
            let is_set = |key: &&str| stage.tree.entry(key).is_some();
            StageDescription {
                name: &stage.name,
                node: self.stage_nodes[index],
                kind: self.kinds[index].map(StageKind::description),
                options: stage.spec.as_ref().map(stage_options),
                set: (["workers", "batch", "restart"].into_iter())
                    .filter(is_set)
                    .collect(),
                contract: prepared[index].as_ref().map(Prepared::contract),
                recorded: stage
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.record.is_some()),
            }
        });
        let edges = topology.edges.iter().enumerate().map(|(index, edge)| {
            let spec = edge.spec.as_ref()?;
            Some(self.describe_edge(index, spec))
        });
        let budgets = topology.budgets.iter().map(|budget| {
            let spec = budget.spec.as_ref()?;
            Some(BudgetDescription {
                path: spec.path.iter().map(String::as_str).collect(),
                max_age: spec.p99.0,
            })
        });
        GraphDescription {
            name: topology.header.as_ref().map(|header| header.name.as_str()),
            nodes: nodes.collect(),
            stages: stages.collect(),
            edges: edges.collect(),
            budgets: budgets.collect(),
            complete: true,
        }
    }

    fn describe_edge(&self, index: usize, spec: &'a EdgeSpec) -> EdgeDescription<'a> {
        let mut options = self.edge_options(spec);
        // A default of nothing is reported once, where it stands.
        options.max_age =
            (options.max_age).filter(|max_age| spec.max_age.is_some() || !max_age.is_zero());
        let mut links = self.edges.iter().filter(|link| link.edge == index);
        let crossing = links.find_map(|link| self.crossing(*link));
        let is_open = |transport, (_, to): (usize, usize)| {
            let receiver = self.topology.nodes[to].spec.as_ref();
            let endpoint = receiver.and_then(|node| endpoint(transport, node, Path::new("")));
            endpoint.is_some_and(|endpoint| endpoint.is_open())
        };
        let header = self.topology.header.as_ref();
        let transport = spec.transport.as_ref().zip(crossing);
        let bridge = transport.map(|(transport, crossing)| BridgeDescription {
            credit: transport.credit.unwrap_or(BridgeOptions::DEFAULT_CREDIT),
            delivery: spec.delivery.unwrap_or(options.policy.default_delivery()),
            max_frame: transport
                .max_frame
                .unwrap_or(BridgeOptions::DEFAULT_MAX_FRAME),
            encoding: transport.encoding,
            open: is_open(transport, crossing),
            insecure: transport.insecure || header.is_some_and(|header| header.insecure),
        });
        EdgeDescription {
            from: &spec.from,
            to: &spec.to,
            options,
            bridge,
            payload: None,
        }
    }
}

pub(crate) fn stage_options(spec: &StageSpec) -> StageOptions {
    let batch = spec.batch.as_ref().map(batch_options);
    let restart = spec.restart.as_ref().map(restart_options);
    let mut options = StageOptions::new()
        .cores(spec.cores.clone())
        .priority(spec.priority)
        .workers(spec.workers.unwrap_or(1))
        .batch(batch.unwrap_or_default())
        .restart(restart.unwrap_or_default());
    options.arbiter.clone_from(&spec.arbiter);
    options
}

fn batch_options(spec: &BatchSpec) -> BatchOptions {
    let options = BatchOptions::new().max(spec.max);
    match spec.max_delay {
        Some(time) => options.max_delay(time.0),
        None => options,
    }
}

fn restart_options(spec: &RestartSpec) -> RestartOptions {
    let mut options = RestartOptions::new();
    options.max = match spec.policy {
        RestartPolicy::OnFailure => spec.max.unwrap_or(options.max),
        RestartPolicy::Never => 0,
    };
    if let Some(window) = spec.window {
        options.window = window.0;
    }
    if let Some([least, most]) = spec.backoff {
        (options.backoff_min, options.backoff_max) = (least.0, most.0);
    }
    options.then = spec.then.unwrap_or(options.then);
    options
}
