//! Connects actors, edges and doorbells, builds every stage, and starts the flow.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use actix_rt::{Arbiter, ArbiterHandle};

use super::GraphError;
use super::builder::{GraphBuilder, Span, StageEntry};
use super::keys::{local_edges, relays, ways};
use super::moves::requests;
use super::moving::{MovableStage, Moving};
use super::reporter::Reporter;
use super::running::{Running, stop_arbiters};
use super::saving::{BridgeState, Rest, Saving, own_and_fed_stages};
use crate::actor::{Begin, Build, MoveKey, Restore, TakeSnapshot};
use crate::bridge::{BridgeReceiver, BridgeSender, BridgeSetup};
use crate::control::Control;
use crate::doorbell::Doorbell;
use crate::edge::Edge;
use crate::registry::fnv1a;
use heqis_core::Committed;
use heqis_core::PayloadType;
use heqis_core::{
    BridgeOptions, Clock, Delivery, EdgeOptions, EdgeSide, Event, KindDescription, Metrics,
    PIPELINE, Policy, Port, Scheduling, StageError, StageStats, ThreadConfig, TwoWays, port_of,
    stage_of, use_runtime_timers,
};

/// A started actor, for what starting and saving need of it.
pub(super) struct Started {
    pub(super) name: String,
    pub(super) build: Recipient<Build>,
    pub(super) begin: Recipient<Begin>,
    pub(super) is_source: bool,
    /// How its state is taken and restored.
    pub(super) state: Option<(Recipient<TakeSnapshot>, Recipient<Restore>)>,
    pub(super) is_ring: bool,
    /// Of a stage: how the state of a key is moved.
    pub(super) move_key: Option<Recipient<MoveKey>>,
    /// Which half of a bridged edge it is.
    pub(super) bridge: Option<BridgeState>,
}

/// The edges at each port, by stage and index of the port.
#[derive(Default)]
pub(super) struct PortEdges(HashMap<(String, usize), Vec<Arc<Edge>>>);

impl PortEdges {
    pub(super) fn get(&self, stage: &str, port: usize) -> Vec<Arc<Edge>> {
        let edges = self.0.get(&(stage.to_owned(), port));
        edges.cloned().unwrap_or_default()
    }
}

/// A graph while it is wired.
pub(super) struct Wiring {
    pub(super) graph: GraphBuilder,
    pub(super) metrics: Metrics,
    pub(super) control: Control,
    pub(super) committed: Committed,
    pub(super) names: Arc<[String]>,
    pub(super) arbiters: BTreeMap<String, Arbiter>,
    /// Cores and priority of each arbiter's thread.
    pub(super) threads: BTreeMap<String, ThreadConfig>,
    /// Doorbells of each local stage, one per worker.
    pub(super) bells: HashMap<String, Vec<Arc<Doorbell>>>,
    pub(super) edges: Vec<Arc<Edge>>,
    pub(super) inlets: PortEdges,
    pub(super) broadcast: PortEdges,
    pub(super) partitioned: PortEdges,
    pub(super) stats: Vec<StageStats>,
    pub(super) started: Vec<Started>,
    /// The commit log that records the frames of a stage, by the stage or its port.
    pub(super) relays: HashMap<String, String>,
    /// Stages whose state follows from this node's sources alone.
    pub(super) own: BTreeSet<String>,
    /// Stages that other nodes feed.
    pub(super) fed: BTreeSet<String>,
    /// The ends of the edges between stages of this node.
    local: Vec<(String, String)>,
    /// Sources of this node: name, stream, and whether it is the same in each run.
    pub(super) sources: Vec<(String, u64, bool)>,
    pub(super) has_sources: bool,
    /// As in [`Saving`].
    pub(super) unidentified: Option<String>,
    /// Whether a stage of this node is a commit log.
    has_log: bool,
    /// Compares the items of the bridged edges that lead to a commit log, by the stages in which these end; empty where
    /// only one does.
    ways: HashMap<String, Arc<TwoWays>>,
    /// Whether the node saves the state of the stages that its own sources feed, and of those that other nodes feed.
    pub(super) saves_own: Arc<AtomicBool>,
    pub(super) saves_fed: Arc<AtomicBool>,
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
        let (own, fed) = own_and_fed_stages(&graph);
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
            threads: BTreeMap::new(),
            bells,
            edges: Vec::new(),
            inlets: PortEdges::default(),
            broadcast: PortEdges::default(),
            partitioned: PortEdges::default(),
            stats: Vec::new(),
            started: Vec::new(),
            relays: relays(&graph),
            own,
            fed,
            local: local_edges(&graph),
            sources: Vec::new(),
            unidentified: None,
            saves_own: Arc::default(),
            saves_fed: Arc::default(),
            has_log: graph.stages.iter().any(StageEntry::is_log),
            ways: ways(&graph),
            has_sources: graph.stages.iter().any(StageEntry::is_source),
            graph,
        }
    }

    pub(super) async fn start(mut self) -> Result<Running, GraphError> {
        if !self.metrics.claim() {
            return Err(GraphError::MetricsInUse);
        }
        if let Err(error) = self.build().await {
            self.control.abandon();
            stop_arbiters(self.arbiters);
            return Err(error);
        }
        let saving = match self.saving().await {
            Ok(saving) => saving,
            Err(error) => {
                self.control.abandon();
                stop_arbiters(self.arbiters);
                return Err(error);
            }
        };
        if let Some(saving) = &saving {
            saving.restore(&self.sources).await;
        }
        let moving = self.moving(saving.as_ref());
        if let Err(error) = moving
            .begin(std::mem::take(&mut self.graph.first_moves))
            .await
        {
            self.control.abandon();
            stop_arbiters(self.arbiters);
            return Err(error);
        }
        let (requests, asked) = requests();
        actix_rt::spawn(moving.serve(asked));
        self.committed.begin();
        self.control.publish(Event::Ready);
        // Consumers first and sources last, so that every actor has begun before the first frame.
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
            requests,
            reporter: Reporter::new(
                (self.graph.name, self.graph.node),
                (self.control, self.metrics),
                self.edges,
                self.stats,
                self.graph.clock,
            ),
            arbiters: self.arbiters,
        })
    }

    /// Starts every actor and builds its stage.
    async fn build(&mut self) -> Result<(), GraphError> {
        self.wire_edges()?;
        self.start_stages()?;
        let denied = self.configure_threads().await;
        if !denied.is_empty() && self.graph.scheduling == Scheduling::Strict {
            return Err(GraphError::Scheduling(denied));
        }
        match self.build_all().await {
            failures if failures.is_empty() => Ok(()),
            failures => Err(GraphError::Build(failures)),
        }
    }

    /// How keys are moved from and to this node.
    fn moving(&self, saving: Option<&Arc<Saving>>) -> Moving {
        let of = |sides: &[EdgeSide]| -> Vec<Arc<Edge>> {
            let edges = self
                .edges
                .iter()
                .filter(|edge| sides.contains(&edge.side()));
            edges.cloned().collect()
        };
        let stages = self.started.iter().filter_map(|started| {
            Some(MovableStage {
                name: started.name.clone(),
                recipient: started.move_key.clone()?,
            })
        });
        let inputs = self.started.iter().filter_map(|started| {
            let (take_snapshot, _) = started.state.clone()?;
            let receives = matches!(started.bridge, Some(BridgeState::Receiver(_)));
            (started.is_source || receives).then_some(take_snapshot)
        });
        Moving {
            stages: stages.collect(),
            inputs: inputs.collect(),
            channels: of(&[EdgeSide::Channel]),
            rest: Rest {
                control: self.control.clone(),
                lock: saving.map_or_else(Arc::default, |saving| saving.rest.lock.clone()),
                edges: of(&[EdgeSide::Local, EdgeSide::Ring]),
                inputs: of(&[EdgeSide::Receiver]),
                outputs: Vec::new(),
            },
            local: self.local.clone(),
            unsaved: match self.saves_fed.load(Ordering::Acquire) {
                true => BTreeSet::new(),
                false => self.fed.clone(),
            },
            saving: saving.cloned(),
            moves: saving.map_or_else(Arc::default, |saving| saving.moves.clone()),
        }
    }

    fn wire_edges(&mut self) -> io::Result<()> {
        for entry in std::mem::take(&mut self.graph.edges) {
            let name = format!("{}->{}", entry.from, entry.to);
            let bells = |end: &str| self.bells.get(stage_of(end)).cloned().unwrap_or_default();
            // Where the node's commit log takes the same frames, those that it has recorded leave the node.
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
                    let options = credited(options, entry.options);
                    let bell = Arc::<Doorbell>::default();
                    let edge = new_edge(
                        EdgeSide::Sender,
                        entry.options,
                        &from,
                        std::slice::from_ref(&bell),
                    );
                    self.add_outlet(&producer, entry.options, &edge);
                    let retain = entry.options.capacity.max(options.credit);
                    let setup = self.bridge_setup(&edge, route, payload, options, retain, bell);
                    self.control.enlist_sender();
                    let addr =
                        BridgeSender::start_in_arbiter(&self.arbiter(PIPELINE)?, move |_| {
                            BridgeSender::new(setup)
                        });
                    self.add_stateful(&name, addr).bridge = Some(BridgeState::Sender);
                    edge
                }
                Span::In(route, payload, options) => {
                    let options = credited(options, entry.options);
                    let bell = Arc::<Doorbell>::default();
                    // The credit is the window: the receiving queue never holds more, and never drops for room.
                    let window = entry.options.policy(Policy::Block).capacity(options.credit);
                    let edge =
                        new_edge(EdgeSide::Receiver, window, std::slice::from_ref(&bell), &to);
                    self.add_inlet(&entry.to, &edge);
                    let most = entry.options.capacity.max(options.credit);
                    let mut setup = self.bridge_setup(&edge, route, payload, options, most, bell);
                    setup.ways = self.ways.get(&entry.to).cloned();
                    let senders_first = self.has_sources;
                    let addr =
                        BridgeReceiver::start_in_arbiter(&self.arbiter(PIPELINE)?, move |_| {
                            BridgeReceiver::new(setup, senders_first)
                        });
                    let saved = addr.clone().recipient();
                    self.add_stateful(&name, addr).bridge = Some(BridgeState::Receiver(saved));
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
        window: usize,
        bell: Arc<Doorbell>,
    ) -> BridgeSetup {
        let life = self.control.enlist(&edge.name, bell.clone());
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
            life,
            progress: self.control.progress(PIPELINE),
            bell,
            link: self.metrics.link(&edge.name),
            instance: self.instance(route),
            node: self.graph.node.clone(),
            peer: self.graph.peers.get(&route).cloned().unwrap_or_default(),
            committed: self.committed.clone(),
            window,
            whole: !self.has_log,
            ways: None,
            stages: self.names.clone(),
        }
    }

    fn add_inlet(&mut self, end: &str, edge: &Arc<Edge>) {
        let port = self.port(end, |kind| kind.inputs);
        let edges = self.inlets.0.entry(port).or_default();
        edges.push(edge.clone());
    }

    fn add_outlet(&mut self, end: &str, options: EdgeOptions, edge: &Arc<Edge>) {
        let port = self.port(end, |kind| kind.outputs);
        let outlets = match options.partition_by_key {
            true => &mut self.partitioned,
            false => &mut self.broadcast,
        };
        outlets.0.entry(port).or_default().push(edge.clone());
    }

    /// The stage and the index of the port that the end of an edge names; the graph is checked, so that it has it.
    fn port(&self, end: &str, ports: fn(&KindDescription) -> &'static [Port]) -> (String, usize) {
        let stage = stage_of(end);
        let mut entries = self.graph.stages.iter();
        let local = entries
            .find(|entry| entry.name == stage)
            .and_then(|entry| entry.local.as_ref());
        let index = local.and_then(|(prepared, _)| Port::find(ports(&prepared.kind), port_of(end)));
        (stage.to_owned(), index.unwrap_or(0))
    }

    /// Identity of this process's half of a bridged edge, different in every process.
    pub(super) fn instance(&self, route: u32) -> u64 {
        let mut seed = self.graph.node.as_bytes().to_vec();
        seed.extend(self.graph.clock.now_ns().to_le_bytes());
        seed.extend(Clock::real().now_ns().to_le_bytes());
        seed.extend(std::process::id().to_le_bytes());
        seed.extend(route.to_le_bytes());
        fnv1a(&seed)
    }

    /// The arbiter called `name`, started on first use.
    pub(super) fn arbiter(&mut self, name: &str) -> io::Result<ArbiterHandle> {
        let arbiter = match self.arbiters.entry(name.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(new_arbiter()?),
        };
        self.threads.entry(name.to_owned()).or_default();
        Ok(arbiter.handle())
    }

    /// Sets name, cores and priority of each arbiter's thread, before anything is built on it. Returns what was denied.
    async fn configure_threads(&self) -> Vec<String> {
        let mut denied = Vec::new();
        for (name, config) in &self.threads {
            let Some(arbiter) = self.arbiters.get(name) else {
                continue;
            };
            let (report, reported) = tokio::sync::oneshot::channel();
            let (name, config) = (name.clone(), config.clone());
            // An arbiter that has ended reports nothing; building on it fails with a reason.
            arbiter.spawn_fn(move || {
                let _ = report.send(config.apply(&name));
            });
            denied.extend(reported.await.into_iter().flatten());
        }
        denied
    }

    pub(super) fn add_started<A>(&mut self, name: String, addr: Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Build> + Handler<Begin>,
    {
        let (build, begin) = (addr.clone().recipient(), addr.recipient());
        self.started.push(Started {
            name,
            build,
            begin,
            is_source: false,
            state: None,
            is_ring: false,
            move_key: None,
            bridge: None,
        });
    }

    /// As [`Wiring::add_started`], for an actor whose state can be saved.
    pub(super) fn add_stateful<A>(&mut self, name: &str, addr: Addr<A>) -> &mut Started
    where
        A: Actor<Context = Context<A>>
            + Handler<Build>
            + Handler<Begin>
            + Handler<TakeSnapshot>
            + Handler<Restore>,
    {
        let state = (addr.clone().recipient(), addr.clone().recipient());
        self.add_started(name.to_owned(), addr);
        let last = self.started.len() - 1;
        let started = &mut self.started[last];
        started.state = Some(state);
        started
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

/// An arbiter whose runtime polls its sockets and timers after every round of actors. With tokio's default of 61 rounds,
/// the acknowledgements of a busy node would be late.
fn new_arbiter() -> io::Result<Arbiter> {
    Arbiter::try_with_tokio_rt(|| {
        use_runtime_timers();
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(1)
            .build()
    })
}

/// Limits the credit, so that a policy that keeps only the newest frames keeps no older ones at the receiver.
fn credited(bridge: BridgeOptions, options: EdgeOptions) -> BridgeOptions {
    let credit = options.policy.credit(bridge.credit, options.capacity);
    bridge.credit(credit)
}
