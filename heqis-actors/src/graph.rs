//! Building and running the part of a graph that one node owns.
//!
//! [`GraphBuilder`] collects stages and edges; [`GraphBuilder::start`] turns them into actors on arbiters, builds
//! every stage, and only then lets frames flow; [`Running`] stops, waits and reports. The only place where actors,
//! edges and doorbells are wired together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_rt::{Arbiter, ArbiterHandle};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::actor::{
    Begin, Build, Doorbell, Inlet, Outlet, RawEmitter, RingActor, RingBufferConfig, RingSetup,
    SourceActor, SourceSetup, StageActor, StageSetup, Waker,
};
use crate::bridge::{BridgeReceiver, BridgeSender, PayloadType, ReceiverSetup, SenderSetup};
use crate::clock::{Clock, duration_ns};
use crate::commit::Committed;
use crate::control::{Budget, Control, StageReport, StageStats};
use crate::edge::{Edge, EdgeReport, Side};
use crate::events::Event;
use crate::metrics::Metrics;
use crate::options::{BridgeOptions, EdgeOptions, Policy, StageOptions};
use crate::registry::{Factory, Prepared, fnv1a, source_factory, stage_factory};
use crate::sp::Inproc;
use crate::stage::{BuildContext, Source, Stage, StageError};

/// Name of the arbiter that stages share unless told otherwise.
pub const PIPELINE: &str = "pipeline";

/// How long abandoned actors get to say that they have ended before their threads are left behind.
const GRACE: Duration = Duration::from_secs(1);

/// Why a graph could not be started.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The graph itself makes no sense.
    #[error("graph: {0}")]
    Wiring(String),
    /// Stages or listeners could not be built; every failure is listed.
    #[error("{}", .0.iter().map(|(stage, error)| format!("stage '{stage}': {error}")).collect::<Vec<_>>().join("; "))]
    Build(Vec<(String, StageError)>),
    /// The actix system could not run.
    #[error("actor system: {0}")]
    System(#[from] io::Error),
}

/// Collects the stages and edges of one node.
#[derive(Debug)]
pub struct GraphBuilder {
    name: String,
    node: String,
    base: PathBuf,
    clock: Clock,
    metrics: Option<Metrics>,
    inproc: Inproc,
    stages: Vec<StageEntry>,
    edges: Vec<EdgeEntry>,
    budgets: Vec<(Vec<String>, Duration)>,
}

#[derive(Debug)]
struct StageEntry {
    name: String,
    /// Absent for a stage that another node runs.
    local: Option<(Prepared, StageOptions)>,
}

#[derive(Debug)]
struct EdgeEntry {
    from: String,
    to: String,
    options: EdgeOptions,
    span: Span,
}

#[derive(Debug)]
enum Span {
    Local,
    Out(u32, PayloadType, BridgeOptions),
    In(u32, PayloadType, BridgeOptions),
}

impl GraphBuilder {
    /// An empty graph called `name`, on a node called `local`, with the machine's clock.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: "local".to_owned(),
            base: PathBuf::from("."),
            clock: Clock::real(),
            metrics: None,
            inproc: Inproc::new(),
            stages: Vec::new(),
            edges: Vec::new(),
            budgets: Vec::new(),
        }
    }

    /// Names the node.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        self.node = node.to_owned();
        self
    }

    /// Where relative paths of stages start.
    #[must_use]
    pub fn base(mut self, base: impl Into<PathBuf>) -> Self {
        self.base = base.into();
        self
    }

    /// Replaces the clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the metrics, for instance with ones that a server already exports.
    #[must_use]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The hub in which `inproc://` endpoints of several graphs of one process meet.
    #[must_use]
    pub fn inproc(mut self, hub: Inproc) -> Self {
        self.inproc = hub;
        self
    }

    /// Adds a source.
    #[must_use]
    pub fn source<S: Source>(self, name: &str, config: S::Config, options: StageOptions) -> Self {
        self.prepared(
            name,
            Prepared {
                factory: source_factory::<S>(config),
                fingerprint: 0,
            },
            options,
        )
    }

    /// Adds a stage.
    #[must_use]
    pub fn stage<S: Stage>(self, name: &str, config: S::Config, options: StageOptions) -> Self {
        self.prepared(
            name,
            Prepared {
                factory: stage_factory::<S>(config),
                fingerprint: 0,
            },
            options,
        )
    }

    /// Adds a ring buffer.
    #[must_use]
    pub fn ring_buffer(self, name: &str, config: RingBufferConfig, options: StageOptions) -> Self {
        self.prepared(
            name,
            Prepared {
                factory: Factory::Ring(config),
                fingerprint: 0,
            },
            options,
        )
    }

    /// Adds a stage whose parameters a [`crate::Kind`] has read.
    #[must_use]
    pub fn prepared(mut self, name: &str, prepared: Prepared, options: StageOptions) -> Self {
        self.stages.push(StageEntry {
            name: name.to_owned(),
            local: Some((prepared, options)),
        });
        self
    }

    /// Declares a stage that another node runs. Nodes of one graph declare all stages in the same order, so that
    /// [`crate::Stamp::stage`] means the same everywhere.
    #[must_use]
    pub fn remote(mut self, name: &str) -> Self {
        self.stages.push(StageEntry {
            name: name.to_owned(),
            local: None,
        });
        self
    }

    /// Connects two stages of this node.
    #[must_use]
    pub fn edge(mut self, from: &str, to: &str, options: EdgeOptions) -> Self {
        self.edges.push(EdgeEntry {
            from: from.to_owned(),
            to: to.to_owned(),
            options,
            span: Span::Local,
        });
        self
    }

    /// The sending half of an edge to another node. Both halves name the same `route`, the edge's index in the graph.
    #[must_use]
    pub fn edge_out(
        mut self,
        route: u32,
        (from, to): (&str, &str),
        payload: PayloadType,
        options: EdgeOptions,
        bridge: BridgeOptions,
    ) -> Self {
        let span = Span::Out(route, payload, credited(bridge, options));
        self.edges.push(EdgeEntry {
            from: from.to_owned(),
            to: to.to_owned(),
            options,
            span,
        });
        self
    }

    /// The receiving half of an edge from another node.
    #[must_use]
    pub fn edge_in(
        mut self,
        route: u32,
        (from, to): (&str, &str),
        payload: PayloadType,
        options: EdgeOptions,
        bridge: BridgeOptions,
    ) -> Self {
        let span = Span::In(route, payload, credited(bridge, options));
        self.edges.push(EdgeEntry {
            from: from.to_owned(),
            to: to.to_owned(),
            options,
            span,
        });
        self
    }

    /// Watches the age of frames when the last stage of `path` is done with them.
    #[must_use]
    pub fn budget(mut self, path: &[&str], max_age: Duration) -> Self {
        self.budgets.push((
            path.iter().map(|&stage| stage.to_owned()).collect(),
            max_age,
        ));
        self
    }

    /// Runs the graph on an actix system of its own until it has ended by itself, or until SIGTERM or ctrl-c and
    /// then at most `drain_timeout`.
    ///
    /// # Errors
    /// As [`GraphBuilder::start`].
    pub fn run(self, drain_timeout: Duration) -> Result<NodeReport, GraphError> {
        System::new().block_on(async move {
            // Watched from before the first frame: until then SIGTERM would kill the process undrained.
            let signal = actix_rt::spawn(terminated());
            let running = self.start().await?;
            let handle = running.handle();
            let signals = actix_rt::spawn(async move {
                if signal.await.is_ok() {
                    handle.stop();
                }
            });
            let report = running.wait(drain_timeout).await;
            signals.abort();
            Ok(report)
        })
    }

    /// Builds every stage and starts the flow. Must be called inside an actix system.
    ///
    /// # Errors
    /// [`GraphError::Wiring`] when names or edges make no sense, [`GraphError::Build`] with everything that could not
    /// be built; nothing runs then.
    pub async fn start(self) -> Result<Running, GraphError> {
        self.validate()?;
        Wiring::new(self).start().await
    }

    fn validate(&self) -> Result<(), GraphError> {
        let wiring = |fault: String| Err(GraphError::Wiring(fault));
        let mut kinds = HashMap::new();
        for entry in &self.stages {
            if kinds.insert(entry.name.as_str(), entry).is_some() {
                return wiring(format!("two stages are called '{}'", entry.name));
            }
        }
        if self.stages.len() > usize::from(u16::MAX) {
            return wiring(format!(
                "{} stages are more than {}",
                self.stages.len(),
                u16::MAX
            ));
        }
        for edge in &self.edges {
            let local = |name: &str| kinds.get(name).is_some_and(|entry| entry.local.is_some());
            let (from_here, to_here) = match edge.span {
                Span::Local => (true, true),
                Span::Out(..) => (true, false),
                Span::In(..) => (false, true),
            };
            for (name, here) in [(&edge.from, from_here), (&edge.to, to_here)] {
                if here && !local(name) {
                    return wiring(format!(
                        "edge {}->{}: this node runs no stage '{name}'",
                        edge.from, edge.to
                    ));
                }
            }
            let is_source = kinds
                .get(edge.to.as_str())
                .and_then(|entry| entry.local.as_ref());
            if to_here
                && matches!(
                    is_source,
                    Some((
                        Prepared {
                            factory: Factory::Source { .. },
                            ..
                        },
                        _
                    ))
                )
            {
                return wiring(format!(
                    "edge {}->{}: a source takes no input",
                    edge.from, edge.to
                ));
            }
            if edge.options.capacity == 0 {
                return wiring(format!(
                    "edge {}->{}: capacity is 0, it must be at least 1",
                    edge.from, edge.to
                ));
            }
        }
        Ok(())
    }
}

/// A policy that keeps only the newest must not let older frames wait at the receiver.
fn credited(bridge: BridgeOptions, options: EdgeOptions) -> BridgeOptions {
    let most = match options.policy {
        Policy::Latest => 1,
        Policy::Conflate => options.capacity,
        Policy::Block | Policy::DropOldest | Policy::DropNewest => bridge.credit,
    };
    BridgeOptions {
        credit: bridge.credit.clamp(1, most.max(1)),
        ..bridge
    }
}

/// Completes at SIGTERM or ctrl-c.
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be watched, ctrl-c can");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// A started actor, as far as starting and stopping go.
struct Started {
    name: String,
    build: Recipient<Build>,
    begin: Recipient<Begin>,
    is_source: bool,
}

/// The graph while it is wired.
struct Wiring {
    graph: GraphBuilder,
    metrics: Metrics,
    control: Control,
    committed: Committed,
    names: Arc<[String]>,
    arbiters: BTreeMap<String, Arbiter>,
    /// Doorbells of each local stage, one per worker.
    bells: HashMap<String, Vec<Arc<Doorbell>>>,
    edges: Vec<Arc<Edge>>,
    inlets: HashMap<String, Vec<Arc<Edge>>>,
    broadcast: HashMap<String, Vec<Arc<Edge>>>,
    partitioned: HashMap<String, Vec<Arc<Edge>>>,
    stats: Vec<StageStats>,
    started: Vec<Started>,
    has_sources: bool,
}

impl Wiring {
    fn new(graph: GraphBuilder) -> Self {
        let metrics = graph
            .metrics
            .clone()
            .unwrap_or_else(|| Metrics::new(&graph.node));
        let bells = graph
            .stages
            .iter()
            .filter_map(|entry| {
                let (_, options) = entry.local.as_ref()?;
                let bells = (0..options.workers.max(1))
                    .map(|_| Arc::<Doorbell>::default())
                    .collect();
                Some((entry.name.clone(), bells))
            })
            .collect();
        Self {
            names: graph
                .stages
                .iter()
                .map(|entry| entry.name.clone())
                .collect(),
            metrics,
            control: Control::new(),
            committed: Committed::default(),
            arbiters: BTreeMap::new(),
            bells,
            edges: Vec::new(),
            inlets: HashMap::new(),
            broadcast: HashMap::new(),
            partitioned: HashMap::new(),
            stats: Vec::new(),
            started: Vec::new(),
            has_sources: graph.stages.iter().any(|entry| {
                matches!(
                    entry.local,
                    Some((
                        Prepared {
                            factory: Factory::Source { .. },
                            ..
                        },
                        _
                    ))
                )
            }),
            graph,
        }
    }

    async fn start(mut self) -> Result<Running, GraphError> {
        self.wire_edges()?;
        self.start_stages()?;
        let failures = self.build_all().await;
        if !failures.is_empty() {
            self.control.abandon();
            stop_arbiters(self.arbiters);
            return Err(GraphError::Build(failures));
        }
        Event::Ready.publish();
        // Consumers first and sources last, so that the first frame finds everybody begun.
        let (sources, others): (Vec<_>, Vec<_>) =
            self.started.iter().partition(|actor| actor.is_source);
        for actor in others.into_iter().rev().chain(sources) {
            actor.begin.do_send(Begin);
        }
        Ok(Running {
            topology: self.graph.name,
            node: self.graph.node,
            control: self.control,
            metrics: self.metrics,
            edges: self.edges,
            stats: self.stats,
            arbiters: self.arbiters,
        })
    }

    fn wire_edges(&mut self) -> io::Result<()> {
        for entry in std::mem::take(&mut self.graph.edges) {
            let name = format!("{}->{}", entry.from, entry.to);
            let bells = |stage: &str| self.bells.get(stage).cloned().unwrap_or_default();
            let (from, to) = (bells(&entry.from), bells(&entry.to));
            let new_edge = |side, options, producers: &[_], consumers: &[_]| {
                let edge = Edge::new(
                    &name,
                    side,
                    options,
                    consumers.len(),
                    producers.len(),
                    &self.metrics,
                );
                edge.connect(producers.to_vec(), consumers);
                edge
            };
            let edge = match entry.span {
                Span::Local => {
                    let edge = new_edge(Side::Local, entry.options, &from, &to);
                    self.add_inlet(&entry.to, &edge);
                    self.add_outlet(&entry.from, entry.options, &edge);
                    edge
                }
                Span::Out(route, payload, options) => {
                    let bell = Arc::<Doorbell>::default();
                    let edge = new_edge(
                        Side::Sender,
                        entry.options,
                        &from,
                        std::slice::from_ref(&bell),
                    );
                    self.add_outlet(&entry.from, entry.options, &edge);
                    let setup = SenderSetup {
                        edge: edge.clone(),
                        route,
                        payload,
                        retain: entry.options.capacity.max(options.credit),
                        options,
                        inproc: self.graph.inproc.clone(),
                        clock: self.graph.clock.clone(),
                        control: self.control.clone(),
                        bell: bell.clone(),
                        link: self.metrics.link(&name),
                        instance: self.instance(route),
                    };
                    self.control.enlist(bell);
                    let addr =
                        BridgeSender::start_in_arbiter(&self.arbiter(PIPELINE, &[])?, |_| {
                            BridgeSender::new(setup)
                        });
                    self.add_started(name, addr, false);
                    edge
                }
                Span::In(route, payload, options) => {
                    let bell = Arc::<Doorbell>::default();
                    // The credit is the window: the receiving queue never holds more, and never drops for room.
                    let window = EdgeOptions {
                        policy: Policy::Block,
                        capacity: options.credit,
                        ..entry.options
                    };
                    let edge = new_edge(Side::Receiver, window, std::slice::from_ref(&bell), &to);
                    self.add_inlet(&entry.to, &edge);
                    let setup = ReceiverSetup {
                        edge: edge.clone(),
                        route,
                        payload,
                        options,
                        inproc: self.graph.inproc.clone(),
                        clock: self.graph.clock.clone(),
                        control: self.control.clone(),
                        bell: bell.clone(),
                        link: self.metrics.link(&name),
                        committed: self.committed.clone(),
                        await_end: self.has_sources,
                        instance: self.instance(route),
                    };
                    self.control.enlist(bell);
                    let addr =
                        BridgeReceiver::start_in_arbiter(&self.arbiter(PIPELINE, &[])?, |_| {
                            BridgeReceiver::new(setup)
                        });
                    self.add_started(name, addr, false);
                    edge
                }
            };
            self.edges.push(edge);
        }
        Ok(())
    }

    fn add_inlet(&mut self, stage: &str, edge: &Arc<Edge>) {
        self.inlets
            .entry(stage.to_owned())
            .or_default()
            .push(edge.clone());
    }

    fn add_outlet(&mut self, stage: &str, options: EdgeOptions, edge: &Arc<Edge>) {
        let outlets = if options.partition_by_key {
            &mut self.partitioned
        } else {
            &mut self.broadcast
        };
        outlets
            .entry(stage.to_owned())
            .or_default()
            .push(edge.clone());
    }

    /// Tells this process's half of a bridged edge from any other process's.
    fn instance(&self, route: u32) -> u64 {
        let mut seed = self.graph.node.as_bytes().to_vec();
        seed.extend(self.graph.clock.now_ns().to_le_bytes());
        seed.extend(Clock::real().now_ns().to_le_bytes());
        seed.extend(std::process::id().to_le_bytes());
        seed.extend(route.to_le_bytes());
        fnv1a(&seed)
    }

    /// The arbiter called `name`, started on first use.
    fn arbiter(&mut self, name: &str, cores: &[usize]) -> io::Result<ArbiterHandle> {
        let arbiter = match self.arbiters.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(new_arbiter()?),
        };
        let (name, cores) = (name.to_owned(), cores.to_vec());
        arbiter.spawn_fn(move || shape_thread(&name, &cores));
        Ok(arbiter.handle())
    }

    fn add_started<A>(&mut self, name: String, addr: Addr<A>, is_source: bool)
    where
        A: Actor<Context = Context<A>> + Handler<Build> + Handler<Begin>,
    {
        let (build, begin) = (addr.clone().recipient(), addr.recipient());
        self.started.push(Started {
            name,
            build,
            begin,
            is_source,
        });
    }

    fn start_stages(&mut self) -> io::Result<()> {
        // How many stages sit on each arbiter decides who may wait on its thread.
        let mut crowd: HashMap<String, usize> = HashMap::new();
        let bridged = !self.arbiters.is_empty();
        *crowd.entry(PIPELINE.to_owned()).or_default() += usize::from(bridged);
        for entry in &self.graph.stages {
            if let Some((prepared, options)) = &entry.local {
                for worker in 0..options.workers.max(1) {
                    *crowd
                        .entry(arbiter_name(&entry.name, prepared, options, worker))
                        .or_default() += 1;
                }
            }
        }
        let stages = std::mem::take(&mut self.graph.stages);
        for (index, entry) in stages.into_iter().enumerate() {
            let Some((prepared, options)) = entry.local else {
                continue;
            };
            // `validate` keeps the count of stages below 65,536.
            let index = u16::try_from(index).unwrap_or(u16::MAX);
            let stats = StageStats::new(&entry.name, &self.metrics, self.budget_at(&entry.name));
            self.stats.push(stats.clone());
            for worker in 0..options.workers.max(1) {
                let arbiter = arbiter_name(&entry.name, &prepared, &options, worker);
                let may_wait = crowd.get(&arbiter) == Some(&1);
                let handle = self.arbiter(&arbiter, &options.cores)?;
                self.start_stage(
                    &entry.name,
                    index,
                    worker,
                    &prepared,
                    &options,
                    may_wait,
                    &handle,
                    &stats,
                );
            }
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site; a struct would only rename the same eight things"
    )]
    fn start_stage(
        &mut self,
        name: &str,
        index: u16,
        worker: usize,
        prepared: &Prepared,
        options: &StageOptions,
        may_wait: bool,
        arbiter: &ArbiterHandle,
        stats: &StageStats,
    ) {
        let Some(bell) = self
            .bells
            .get(name)
            .and_then(|bells| bells.get(worker))
            .cloned()
        else {
            return;
        };
        self.control.enlist(bell.clone());
        let clock = self.graph.clock.clone();
        let cx = BuildContext {
            node: self.graph.node.as_str().into(),
            stage: name.into(),
            base: self.graph.base.clone(),
            clock: clock.clone(),
            stages: self.names.clone(),
            committed: self.committed.clone(),
            counters: self.metrics.stage_counters(name),
            waker: Waker(bell.clone()),
        };
        let outlets =
            |map: &HashMap<String, Vec<Arc<Edge>>>| map.get(name).cloned().unwrap_or_default();
        let outlet = Outlet::new(outlets(&self.broadcast), outlets(&self.partitioned));
        let inlets: Vec<Inlet> = outlets(&self.inlets)
            .into_iter()
            .map(|edge| Inlet {
                edge,
                lane: worker,
                ended: false,
            })
            .collect();
        let emitter = RawEmitter::new(index, clock);
        let control = self.control.clone();
        let stats = stats.clone();
        match &prepared.factory {
            Factory::Source { build, replayable } => {
                // Not the graph's name: the same source in another topology replays the same stream.
                let mut seed = format!("{name}\0").into_bytes();
                seed.extend(prepared.fingerprint.to_le_bytes());
                if !replayable {
                    seed.extend(self.instance(u32::from(index)).to_le_bytes());
                }
                let factory = build.clone();
                let setup = SourceSetup {
                    cx,
                    index,
                    factory,
                    outlet,
                    control,
                    stream: fnv1a(&seed),
                };
                let addr = SourceActor::start_in_arbiter(arbiter, |_| SourceActor::new(setup));
                self.add_started(name.to_owned(), addr, true);
            }
            Factory::Stage { build, .. } => {
                let (factory, options) = (build.clone(), options.clone());
                let may_wait = may_wait && inlets.len() == 1 && cx.clock.is_real();
                let setup = StageSetup {
                    cx,
                    factory,
                    inlets,
                    outlet,
                    emitter,
                    options,
                    may_wait,
                    control,
                    stats,
                };
                let addr = StageActor::start_in_arbiter(arbiter, |_| StageActor::new(setup));
                self.add_started(name.to_owned(), addr, false);
            }
            Factory::Ring(config) => {
                let options = EdgeOptions {
                    policy: config.policy,
                    capacity: config.capacity,
                    ..Default::default()
                };
                let ring = Edge::new(name, Side::Ring, options, 1, 1, &self.metrics);
                ring.connect(vec![bell.clone()], &[bell]);
                self.edges.push(ring.clone());
                let setup = RingSetup {
                    cx,
                    inlets,
                    ring,
                    outlet,
                    emitter,
                    control,
                    stats,
                };
                let addr = RingActor::start_in_arbiter(arbiter, |_| RingActor::new(setup));
                self.add_started(name.to_owned(), addr, false);
            }
        }
    }

    fn budget_at(&self, stage: &str) -> Option<Budget> {
        let (path, max_age) = self
            .graph
            .budgets
            .iter()
            .find(|(path, _)| path.last().is_some_and(|s| s == stage))?;
        Some(Budget::new(
            duration_ns(*max_age),
            self.metrics.budget_overruns(&path.join("->")),
        ))
    }

    async fn build_all(&self) -> Vec<(String, StageError)> {
        let mut failures = Vec::new();
        let builds: Vec<_> = self
            .started
            .iter()
            .map(|actor| (&actor.name, actor.build.send(Build)))
            .collect();
        for (name, build) in builds {
            match build.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failures.push((name.clone(), error)),
                Err(error) => failures.push((name.clone(), StageError::failed(error))),
            }
        }
        failures
    }
}

fn arbiter_name(stage: &str, prepared: &Prepared, options: &StageOptions, worker: usize) -> String {
    if options.workers > 1 {
        return format!("{stage}-{worker}");
    }
    match (&options.arbiter, &prepared.factory) {
        (Some(name), _) => name.clone(),
        (None, Factory::Stage { blocking: true, .. }) => stage.to_owned(),
        (None, _) => PIPELINE.to_owned(),
    }
}

/// An arbiter whose runtime looks at its sockets and timers after every round of actors. With tokio's default of 61
/// rounds, a node that is busy with frames would keep a peer waiting for its acknowledgements.
fn new_arbiter() -> io::Result<Arbiter> {
    Arbiter::try_with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(1)
            .build()
    })
}

/// Names the calling thread after its arbiter and pins it.
fn shape_thread(name: &str, cores: &[usize]) {
    // The kernel keeps 15 bytes of a thread's name.
    let short: String = name.chars().filter(char::is_ascii).take(15).collect();
    if let Ok(short) = std::ffi::CString::new(short) {
        let _ = rustix::thread::set_name(&short);
    }
    if cores.is_empty() {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    for &core in cores
        .iter()
        .filter(|&&core| core < rustix::thread::CpuSet::MAX_CPU)
    {
        set.set(core);
    }
    match rustix::thread::sched_setaffinity(None, &set) {
        Ok(()) => tracing::info!(arbiter = name, ?cores, "pinned"),
        Err(error) => tracing::warn!(arbiter = name, ?cores, %error, "not pinned"),
    }
}

fn stop_arbiters(arbiters: BTreeMap<String, Arbiter>) {
    for (name, arbiter) in arbiters {
        arbiter.stop();
        if arbiter.join().is_err() {
            tracing::error!(arbiter = name, "the arbiter's thread panicked");
        }
    }
}

/// Stops a running graph from anywhere. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GraphHandle(Control);

impl GraphHandle {
    /// Begins to drain: sources end, bridges take no further frames, what is under way is finished.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A started graph.
pub struct Running {
    topology: String,
    node: String,
    control: Control,
    metrics: Metrics,
    edges: Vec<Arc<Edge>>,
    stats: Vec<StageStats>,
    arbiters: BTreeMap<String, Arbiter>,
}

impl Running {
    /// A handle to stop the graph with.
    #[must_use]
    pub fn handle(&self) -> GraphHandle {
        GraphHandle(self.control.clone())
    }

    /// Reads the books and figures without disturbing the flow. Shared with [`Running::reporter`].
    #[must_use]
    pub fn report(&self) -> NodeReport {
        self.reporter().report()
    }

    /// Something that reports from other threads while the graph runs.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter {
            topology: self.topology.clone(),
            node: self.node.clone(),
            control: self.control.clone(),
            metrics: self.metrics.clone(),
            edges: self.edges.clone(),
            stats: self.stats.clone(),
        }
    }

    /// Waits until every stage has ended: because the sources ended, or after [`GraphHandle::stop`] and then at most
    /// `drain_timeout`, after which what is under way is dropped, cause `shutdown`.
    pub async fn wait(self, drain_timeout: Duration) -> NodeReport {
        let ended = async {
            self.control.stopped().await;
            actix_rt::time::sleep(drain_timeout).await;
        };
        let mut hung = false;
        tokio::select! {
            () = self.control.all_ended() => {}
            () = ended => {
                tracing::warn!(?drain_timeout, "drain timeout: what is under way is dropped");
                self.control.abandon();
                hung = actix_rt::time::timeout(GRACE, self.control.all_ended()).await.is_err();
            }
        }
        let report = self.report();
        if hung {
            // A stage that never returns keeps its thread; joining it would hang this one too.
            tracing::error!("a stage does not return from its work; its thread is left behind");
            for arbiter in self.arbiters.values() {
                arbiter.stop();
            }
        } else {
            stop_arbiters(self.arbiters);
        }
        report
    }
}

/// Reports on a running graph. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    topology: String,
    node: String,
    control: Control,
    metrics: Metrics,
    edges: Vec<Arc<Edge>>,
    stats: Vec<StageStats>,
}

impl Reporter {
    /// The books and figures of this moment.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        NodeReport {
            topology: self.topology.clone(),
            node: self.node.clone(),
            failure: self.control.failure(),
            edges: self.edges.iter().map(|edge| edge.report()).collect(),
            stages: self
                .stats
                .iter()
                .map(|stats| stats.report(self.metrics.stage_counters(stats.stage()).snapshot()))
                .collect(),
        }
    }

    /// The metrics in Prometheus text format, queue depths of this moment included.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        for edge in &self.edges {
            edge.report();
        }
        self.metrics.render()
    }

    /// Whether the graph has begun to drain.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.control.stopping()
    }
}

/// The books and figures of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Name of the topology.
    pub topology: String,
    /// Name of the node.
    pub node: String,
    /// Why the graph ended itself, when it did.
    pub failure: Option<String>,
    /// Books of each edge and each half of a bridged edge.
    pub edges: Vec<EdgeReport>,
    /// Figures of each stage.
    pub stages: Vec<StageReport>,
}

impl NodeReport {
    /// Whether the graph ended well and every book closes with nothing left in flight.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failure.is_none()
            && self
                .edges
                .iter()
                .all(|edge| edge.closes() && edge.in_flight == 0)
    }
}
