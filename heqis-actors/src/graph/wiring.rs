//! Joins actors, edges and doorbells, builds every stage, and lets frames flow.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::{Arbiter, ArbiterHandle};

use super::builder::{GraphBuilder, Span};
use super::reporter::{Reporter, Watched};
use super::running::{Running, stop_arbiters};
use super::saving::{Holder, Saving, own_stages};
use super::thread::Shape;
use super::{GraphError, PIPELINE};
use crate::actor::{
    Begin, Build, Hold, Inlet, Outlet, RingActor, RingSetup, SourceActor, SourceSetup, StageActor,
    StageSetup, TakeUp,
};
use crate::bridge::{BridgeReceiver, BridgeSender, BridgeSetup};
use crate::clock::{Clock, duration_ns};
use crate::commit::{Committed, SourceStream};
use crate::context::BuildContext;
use crate::control::Control;
use crate::doorbell::{Doorbell, Waker};
use crate::edge::Edge;
use crate::emitter::RawEmitter;
use crate::error::StageError;
use crate::events::Event;
use crate::frame::PayloadType;
use crate::metrics::Metrics;
use crate::options::{BridgeOptions, Delivery, EdgeOptions, Policy, Scheduling, StageOptions};
use crate::recording::Recording;
use crate::registry::{Factory, Prepared, fnv1a};
use crate::report::EdgeSide;
use crate::stats::{Budget, StageStats};

/// A started actor, as far as starting and stopping go.
struct Started {
    name: String,
    build: Recipient<Build>,
    begin: Recipient<Begin>,
    is_source: bool,
    /// How it says what it holds and takes it up; a half of a bridged edge holds nothing but frames.
    holds: Option<(Recipient<Hold>, Recipient<TakeUp>)>,
    is_ring: bool,
}

/// The graph while it is wired.
pub(super) struct Wiring {
    graph: GraphBuilder,
    metrics: Metrics,
    control: Control,
    committed: Committed,
    names: Arc<[String]>,
    arbiters: BTreeMap<String, Arbiter>,
    /// What the thread of each arbiter is to be like.
    shapes: BTreeMap<String, Shape>,
    /// Doorbells of each local stage, one per worker.
    bells: HashMap<String, Vec<Arc<Doorbell>>>,
    edges: Vec<Arc<Edge>>,
    inlets: HashMap<String, Vec<Arc<Edge>>>,
    broadcast: HashMap<String, Vec<Arc<Edge>>>,
    partitioned: HashMap<String, Vec<Arc<Edge>>>,
    stats: Vec<StageStats>,
    started: Vec<Started>,
    /// The commit log that takes the frames of a stage, by the stage.
    relays: HashMap<String, String>,
    /// Stages whose state follows from this node's sources alone.
    own: BTreeSet<String>,
    /// Sources of this node: name, stream, and whether it is the same in each run.
    sources: Vec<(String, u64, bool)>,
    has_sources: bool,
}

impl Wiring {
    pub(super) fn new(graph: GraphBuilder) -> Self {
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
            control: graph.control.clone(),
            committed: Committed::default(),
            arbiters: BTreeMap::new(),
            shapes: BTreeMap::new(),
            bells,
            edges: Vec::new(),
            inlets: HashMap::new(),
            broadcast: HashMap::new(),
            partitioned: HashMap::new(),
            stats: Vec::new(),
            started: Vec::new(),
            relays: relays(&graph),
            own: own_stages(&graph),
            sources: Vec::new(),
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

    pub(super) async fn start(mut self) -> Result<Running, GraphError> {
        self.wire_edges()?;
        self.start_stages()?;
        let denied = self.shape_threads().await;
        if !denied.is_empty() && self.graph.scheduling == Scheduling::Strict {
            self.control.abandon();
            stop_arbiters(self.arbiters);
            return Err(GraphError::Scheduling(denied));
        }
        let failures = self.build_all().await;
        if !failures.is_empty() {
            self.control.abandon();
            stop_arbiters(self.arbiters);
            return Err(GraphError::Build(failures));
        }
        let saving = self.saving();
        if let Some(saving) = &saving {
            saving.take_up(&self.sources).await;
        }
        Event::Ready.publish();
        // Consumers first and sources last, so that the first frame finds everybody begun.
        let (sources, others): (Vec<_>, Vec<_>) =
            self.started.iter().partition(|actor| actor.is_source);
        for actor in others.into_iter().rev().chain(sources) {
            actor.begin.do_send(Begin);
        }
        if let Some(saving) = &saving {
            actix_rt::spawn(saving.clone().keep());
        }
        Ok(Running {
            saving,
            reporter: Reporter {
                topology: self.graph.name,
                node: self.graph.node,
                control: self.control,
                metrics: self.metrics,
                edges: self.edges,
                stats: self.stats,
                clock: self.graph.clock,
                watched: Watched::default(),
            },
            arbiters: self.arbiters,
        })
    }

    /// How this node's state is saved, when it is to be.
    fn saving(&self) -> Option<Arc<Saving>> {
        let options = self.graph.state.clone()?;
        let holders = self.started.iter().filter_map(|started| {
            let (hold, take_up) = started.holds.clone()?;
            self.own.contains(&started.name).then(|| Holder {
                name: started.name.clone(),
                is_source: started.is_source,
                is_ring: started.is_ring,
                build: started.build.clone(),
                hold,
                take_up,
            })
        });
        let holders: Vec<_> = holders.collect();
        if holders.is_empty() {
            tracing::warn!(node = %self.graph.node, "no state is saved: the node has no source of its own");
            return None;
        }
        Some(Arc::new(Saving {
            options,
            topology: self.graph.name.clone(),
            node: self.graph.node.clone(),
            control: self.control.clone(),
            holders,
            edges: Saving::edges_of(&self.own, &self.edges),
        }))
    }

    fn wire_edges(&mut self) -> io::Result<()> {
        for entry in std::mem::take(&mut self.graph.edges) {
            let name = format!("{}->{}", entry.from, entry.to);
            let bells = |stage: &str| self.bells.get(stage).cloned().unwrap_or_default();
            // What leaves the node is what its commit log has recorded, where it takes the same frames.
            let producer = match entry.span {
                Span::Out(..) => self.relays.get(&entry.from).unwrap_or(&entry.from).clone(),
                Span::Local | Span::In(..) => entry.from.clone(),
            };
            let (from, to) = (bells(&producer), bells(&entry.to));
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
                    let edge = new_edge(EdgeSide::Local, entry.options, &from, &to);
                    self.add_inlet(&entry.to, &edge);
                    self.add_outlet(&entry.from, entry.options, &edge);
                    edge
                }
                Span::Out(route, payload, options) => {
                    let bell = Arc::<Doorbell>::default();
                    let edge = new_edge(
                        EdgeSide::Sender,
                        entry.options,
                        &from,
                        std::slice::from_ref(&bell),
                    );
                    self.add_outlet(&producer, entry.options, &edge);
                    let retain = entry.options.capacity.max(options.credit);
                    let setup = self.bridge_setup(&edge, route, payload, options, bell);
                    self.control.enlist_sender();
                    let addr =
                        BridgeSender::start_in_arbiter(&self.arbiter(PIPELINE)?, move |_| {
                            BridgeSender::new(setup, retain)
                        });
                    self.add_started(name, addr);
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
                    let edge =
                        new_edge(EdgeSide::Receiver, window, std::slice::from_ref(&bell), &to);
                    self.add_inlet(&entry.to, &edge);
                    let setup = self.bridge_setup(&edge, route, payload, options, bell);
                    let senders_first = self.has_sources;
                    let addr =
                        BridgeReceiver::start_in_arbiter(&self.arbiter(PIPELINE)?, move |_| {
                            BridgeReceiver::new(setup, senders_first)
                        });
                    self.add_started(name, addr);
                    edge
                }
            };
            self.edges.push(edge);
        }
        Ok(())
    }

    fn bridge_setup(
        &self,
        edge: &Arc<Edge>,
        route: u32,
        payload: PayloadType,
        options: BridgeOptions,
        bell: Arc<Doorbell>,
    ) -> BridgeSetup {
        self.control.enlist(bell.clone());
        if options.delivery == Delivery::AtMostOnce {
            edge.allow_loss();
        }
        BridgeSetup {
            edge: edge.clone(),
            route,
            payload,
            options,
            inproc: self.graph.inproc.clone(),
            clock: self.graph.clock.clone(),
            control: self.control.clone(),
            progress: self.control.progress(PIPELINE),
            bell,
            link: self.metrics.link(&edge.name),
            instance: self.instance(route),
            node: self.graph.node.clone(),
            peer: self.graph.peers.get(&route).cloned().unwrap_or_default(),
            committed: self.committed.clone(),
        }
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
    fn arbiter(&mut self, name: &str) -> io::Result<ArbiterHandle> {
        let arbiter = match self.arbiters.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(new_arbiter()?),
        };
        self.shapes.entry(name.to_owned()).or_default();
        Ok(arbiter.handle())
    }

    /// Gives each arbiter's thread its name, cores and priority, before anything is built on it. Returns what was denied.
    async fn shape_threads(&self) -> Vec<String> {
        let mut denied = Vec::new();
        for (name, shape) in &self.shapes {
            let Some(arbiter) = self.arbiters.get(name) else {
                continue;
            };
            let (tell, told) = tokio::sync::oneshot::channel();
            let (name, shape) = (name.clone(), shape.clone());
            // An arbiter that is gone tells nothing; building on it fails with a reason.
            arbiter.spawn_fn(move || {
                let _ = tell.send(shape.take(&name));
            });
            denied.extend(told.await.into_iter().flatten());
        }
        denied
    }

    fn add_started<A>(&mut self, name: String, addr: Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Build> + Handler<Begin>,
    {
        let (build, begin) = (addr.clone().recipient(), addr.recipient());
        self.started.push(Started {
            name,
            build,
            begin,
            is_source: false,
            holds: None,
            is_ring: false,
        });
    }

    /// As [`Wiring::add_started`], for an actor that can say what it holds.
    fn add_holder<A>(&mut self, name: &str, addr: Addr<A>) -> &mut Started
    where
        A: Actor<Context = Context<A>>
            + Handler<Build>
            + Handler<Begin>
            + Handler<Hold>
            + Handler<TakeUp>,
    {
        let holds = (addr.clone().recipient(), addr.clone().recipient());
        self.add_started(name.to_owned(), addr);
        let last = self.started.len() - 1;
        let started = &mut self.started[last];
        started.holds = Some(holds);
        started
    }

    fn start_stages(&mut self) -> Result<(), GraphError> {
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
                let handle = self.arbiter(&arbiter)?;
                self.shapes
                    .entry(arbiter.clone())
                    .or_default()
                    .add(&options);
                self.start_stage(
                    &entry.name,
                    index,
                    worker,
                    &prepared,
                    &options,
                    may_wait,
                    (&arbiter, &handle),
                    &stats,
                )?;
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
        (arbiter_name, arbiter): (&str, &ArbiterHandle),
        stats: &StageStats,
    ) -> Result<(), GraphError> {
        let Some(bell) = self
            .bells
            .get(name)
            .and_then(|bells| bells.get(worker))
            .cloned()
        else {
            return Ok(());
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
            stopping: self.control.stop_flag(),
            replaying: Arc::default(),
            identity: Arc::new(self.graph.identity.clone()),
        };
        let outlets =
            |map: &HashMap<String, Vec<Arc<Edge>>>| map.get(name).cloned().unwrap_or_default();
        let outlet = Outlet::new(outlets(&self.broadcast), outlets(&self.partitioned));
        let inlets: Vec<Inlet> = outlets(&self.inlets)
            .into_iter()
            .map(|edge| Inlet {
                edge,
                lane: worker,
                ended: None,
            })
            .collect();
        let emitter = RawEmitter::new(index, clock);
        let control = self.control.clone();
        let stats = stats.clone();
        match &prepared.factory {
            Factory::Source {
                build,
                replayable,
                identity,
            } => {
                // Not the graph's name: the same source in another topology replays the same stream.
                let mut seed = format!("{name}\0").into_bytes();
                let made_of = identity(&self.graph.base)
                    .map_err(|error| GraphError::Build(vec![(name.to_owned(), error)]))?;
                seed.extend(made_of.unwrap_or(prepared.fingerprint).to_le_bytes());
                if !replayable {
                    seed.extend(self.instance(u32::from(index)).to_le_bytes());
                }
                let factory = build.clone();
                let recording = match self.graph.recordings.get(name) {
                    Some(options) => {
                        let opened = Recording::open(options.clone(), fnv1a(&seed));
                        Some(opened.map_err(|error| {
                            GraphError::Build(vec![(name.to_owned(), StageError::config(error))])
                        })?)
                    }
                    None => None,
                };
                let stream = (recording.as_ref()).map_or_else(|| fnv1a(&seed), Recording::stream);
                let again = *replayable || recording.is_some();
                if !again {
                    self.control.has_live_source();
                }
                self.committed.name_stream(SourceStream {
                    source: name.to_owned(),
                    stream,
                    replayable: *replayable,
                });
                self.sources.push((name.to_owned(), stream, again));
                let setup = SourceSetup {
                    recording,
                    replayable: again,
                    cx,
                    index,
                    factory,
                    outlet,
                    control,
                    stream,
                };
                let addr = SourceActor::start_in_arbiter(arbiter, |_| SourceActor::new(setup));
                self.add_holder(name, addr).is_source = true;
            }
            Factory::Stage { build, .. } => {
                let (factory, options) = (build.clone(), options.clone());
                let may_wait = may_wait && inlets.len() == 1 && cx.clock.is_real();
                let setup = StageSetup {
                    tap: self.graph.taps.get(name).cloned(),
                    cx,
                    factory,
                    inlets,
                    outlet,
                    emitter,
                    options,
                    worker: u32::try_from(worker).unwrap_or(u32::MAX),
                    fingerprint: prepared.fingerprint,
                    may_wait,
                    progress: control.progress(arbiter_name),
                    control,
                    stats,
                };
                let addr = StageActor::start_in_arbiter(arbiter, |_| StageActor::new(setup));
                self.add_holder(name, addr);
            }
            Factory::Ring(config) => {
                let options = EdgeOptions {
                    policy: config.policy,
                    capacity: config.capacity,
                    ..Default::default()
                };
                let ring = Edge::new(name, EdgeSide::Ring, options, 1, 1, &self.metrics);
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
                self.add_holder(name, addr).is_ring = true;
            }
        }
        Ok(())
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

/// The commit log of the node by the stages that feed it, where it emits what it has recorded.
fn relays(graph: &GraphBuilder) -> HashMap<String, String> {
    let is_log = |name: &str| {
        graph.stages.iter().any(|entry| {
            let log = matches!(
                &entry.local,
                Some((
                    Prepared {
                        factory: Factory::Stage { relays: true, .. },
                        ..
                    },
                    _
                ))
            );
            log && entry.name == name
        })
    };
    graph
        .edges
        .iter()
        .filter(|edge| matches!(edge.span, Span::Local) && is_log(&edge.to))
        .map(|edge| (edge.from.clone(), edge.to.clone()))
        .collect()
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
