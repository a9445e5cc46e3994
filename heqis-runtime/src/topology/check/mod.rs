//! The rules that a schema cannot state, one pass per subject. Those of every graph, in a file or in code, are a matter of
//! `heqis_actors`; `graph` gives their faults the places in the file.
//!
//! A pass looks only at what could be read and skips what an earlier pass has already reported, so that one slip
//! gives one fault.

mod certificates;
mod files;
mod graph;
mod names;
mod params;
mod resources;
mod trading_state;
mod transport;

pub(crate) use graph::stage_options;
pub(crate) use trading_state::pick;
pub(crate) use transport::{address, endpoint, is_open};

use std::collections::HashMap;
use std::path::Path;

use heqis_actors::{EdgeOptions, Policy, Prepared, Registry, StageKind, stage_of};

use super::document::{EdgeSpec, StageSpec};
use super::fault::Fault;
use super::parsed::{Spanned, Topology};

/// Capacity of an edge when the file does not say.
const DEFAULT_CAPACITY: usize = 1024;

/// A topology with its names resolved, as far as they can be.
pub(crate) struct Resolved<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) registry: &'a Registry,
    /// Kind of each stage.
    pub(crate) kinds: Vec<Option<&'a StageKind>>,
    /// Node of each stage.
    pub(crate) stage_nodes: Vec<Option<usize>>,
    /// Edges both of whose ends exist.
    pub(crate) edges: Vec<ResolvedEdge>,
}

/// An edge whose ends are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResolvedEdge {
    pub(crate) edge: usize,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl<'a> Resolved<'a> {
    pub(crate) fn new(topology: &'a Topology, registry: &'a Registry) -> Self {
        let nodes = index(&topology.nodes);
        let stages = index(&topology.stages);
        let spec = |stage: &'a Spanned<StageSpec>| stage.spec.as_ref();
        let kinds = topology
            .stages
            .iter()
            .map(|stage| registry.kind(&spec(stage)?.kind))
            .collect();
        let stage_nodes = topology
            .stages
            .iter()
            .map(|stage| nodes.get(spec(stage)?.node.as_str()).copied())
            .collect();
        let link = |(edge, declared): (usize, &Spanned<EdgeSpec>)| {
            let spec = declared.spec.as_ref()?;
            Some(ResolvedEdge {
                edge,
                from: *stages.get(stage_of(&spec.from))?,
                to: *stages.get(stage_of(&spec.to))?,
            })
        };
        let edges = topology.edges.iter().enumerate().filter_map(link).collect();
        Self {
            topology,
            registry,
            kinds,
            stage_nodes,
            edges,
        }
    }

    pub(crate) fn edge(&self, link: ResolvedEdge) -> &'a Spanned<EdgeSpec> {
        &self.topology.edges[link.edge]
    }

    /// The two nodes of a link when they are known and differ.
    pub(crate) fn crossing(&self, link: ResolvedEdge) -> Option<(usize, usize)> {
        let ends = (self.stage_nodes[link.from]?, self.stage_nodes[link.to]?);
        (ends.0 != ends.1).then_some(ends)
    }

    /// The settings of an edge with the defaults filled in.
    pub(crate) fn edge_options(&self, spec: &EdgeSpec) -> EdgeOptions {
        let defaults = &self.topology.defaults.edge;
        let policy = spec.policy.or(defaults.policy).unwrap_or_default();
        let capacity = match policy {
            Policy::Latest => 1,
            _ => spec
                .capacity
                .or(defaults.capacity)
                .unwrap_or(DEFAULT_CAPACITY),
        };
        let max_age = spec.max_age.or(defaults.max_age).map(|time| time.0);
        EdgeOptions::new()
            .policy(policy)
            .capacity(capacity)
            .max_age(max_age)
            .partition_by_key(spec.partition_by.is_some())
    }
}

fn index<T>(declared: &[Spanned<T>]) -> HashMap<&str, usize> {
    declared
        .iter()
        .enumerate()
        .map(|(index, one)| (one.name.as_str(), index))
        .collect()
}

/// Runs every pass. Paths of stages start at `base`, those of certificates at `home`, the directory of the file, which
/// messages show as seen from `directory`. `only` limits the stages' own checks, which need their files, to one node. Returns the stages
/// that are ready to be built, in the order of the file.
pub(crate) fn run(
    resolved: &Resolved<'_>,
    [base, home, directory]: [&Path; 3],
    only: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Vec<Option<Prepared>> {
    names::check(resolved, faults);
    trading_state::check(resolved, faults);
    transport::check(resolved, base, faults);
    let prepared = params::check(resolved, base, only, faults);
    let described = resolved.describe(&prepared);
    graph::check(resolved, &described, faults);
    resources::check(resolved, faults);
    files::check(resolved, base, only, faults);
    certificates::check(resolved, [home, directory], only, faults);
    prepared
}
