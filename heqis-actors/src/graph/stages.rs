//! Starts the actors of a graph's stages.

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;

use super::GraphError;
use super::ways::one_worker;
use super::wiring::Wiring;
use crate::actor::{
    Inlet, Outlet, RingActor, RingSetup, SourceActor, SourceSetup, StageActor, StageSetup, Targets,
};
use crate::context::BuildContext;
use crate::doorbell::Waker;
use crate::edge::Edge;
use crate::emitter::RawEmitter;
use crate::registry::{Factory, Prepared, fnv1a};
use heqis_core::Kept;
use heqis_core::SourceStream;
use heqis_core::{
    Budget, EdgeOptions, EdgeSide, PIPELINE, Recording, StageError, StageOptions, StageStats,
    duration_ns,
};

impl Wiring {
    pub(super) fn start_stages(&mut self) -> Result<(), GraphError> {
        // A stage may block the thread of its arbiter when no other stage runs there.
        let mut stages_on: HashMap<String, usize> = HashMap::new();
        let bridged = !self.arbiters.is_empty();
        *stages_on.entry(PIPELINE.to_owned()).or_default() += usize::from(bridged);
        for entry in &self.graph.stages {
            if let Some((prepared, options)) = &entry.local {
                for worker in 0..options.workers.max(1) {
                    *stages_on
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
                let may_wait = stages_on.get(&arbiter) == Some(&1);
                let handle = self.arbiter(&arbiter)?;
                self.threads
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
        if let Factory::Output(slot) = &prepared.factory {
            return self.start_output(name, slot, bell, arbiter, stats);
        }
        let life = self.control.enlist(name, bell.clone());
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
            saves_state: self.saves_state(name),
            replaying: Arc::default(),
            identity: Arc::new(self.graph.identity.clone()),
            kept: Kept::default(),
        };
        let outlet = Outlet::new((0..prepared.kind.outputs.len()).map(|port| Targets {
            broadcast: self.broadcast.get(name, port),
            partitioned: self.partitioned.get(name, port),
        }));
        let inlet = |port| {
            let edges = self.inlets.get(name, port).into_iter();
            edges.map(move |edge| Inlet {
                edge,
                port,
                lane: worker,
                ended: None,
            })
        };
        let inlets: Vec<Inlet> = (0..prepared.kind.inputs.len()).flat_map(inlet).collect();
        let emitter = RawEmitter::new(index, clock);
        let control = self.control.clone();
        let stats = stats.clone();
        match &prepared.factory {
            Factory::Source { build, input, .. } => {
                let identity = self
                    .graph
                    .identity_of(name, prepared)
                    .map_err(|error| GraphError::Build(vec![(name.to_owned(), error)]))?;
                let replayable = prepared.kind.replayable && identity.is_some();
                if let Some(warning) = self.graph.without_identity(name, prepared, identity) {
                    tracing::warn!("{warning}");
                }
                // Not the graph's name: the same source in another topology replays the same stream.
                let mut seed = format!("{name}\0").into_bytes();
                seed.extend(identity.unwrap_or_default().to_le_bytes());
                if !replayable {
                    seed.extend(self.instance(u32::from(index)).to_le_bytes());
                }
                if let Some(input) = input {
                    let queue = input.attach(name, &self.metrics, &cx.clock, bell.clone());
                    self.edges.push(queue.ok_or_else(|| one_worker(name))?);
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
                let again = replayable || recording.is_some();
                self.control.add_source(again);
                if !again && prepared.kind.replayable {
                    self.unidentified = Some(name.to_owned());
                }
                self.committed
                    .name_stream(SourceStream::new(name, stream, replayable));
                self.sources.push((name.to_owned(), stream, again));
                let setup = SourceSetup {
                    recording,
                    replayable: again,
                    cx,
                    index,
                    factory,
                    outlet,
                    control,
                    life,
                    stream,
                };
                let addr = SourceActor::start_in_arbiter(arbiter, |_| SourceActor::new(setup));
                self.add_stateful(name, addr).is_source = true;
            }
            Factory::Stage(build) => {
                let (factory, mut options) = (build.clone(), options.clone());
                if prepared.once {
                    options.restart.max = 0;
                }
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
                    // Typed parameters have no hash; the state of another kind is not restored all the same.
                    fingerprint: (prepared.fingerprint)
                        .unwrap_or_else(|| fnv1a(prepared.kind.name.as_bytes())),
                    may_wait,
                    is_fed: self.fed.contains(name),
                    progress: control.progress(arbiter_name),
                    control,
                    life,
                    stats,
                };
                let addr = StageActor::start_in_arbiter(arbiter, |_| StageActor::new(setup));
                let move_key = addr.clone().recipient();
                self.add_stateful(name, addr).move_key = Some(move_key);
            }
            Factory::Output(_) => unreachable!("an output was started above"),
            Factory::Ring(config) => {
                let options = EdgeOptions::new()
                    .policy(config.policy)
                    .capacity(config.capacity);
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
                    life,
                    stats,
                };
                let addr = RingActor::start_in_arbiter(arbiter, |_| RingActor::new(setup));
                self.add_stateful(name, addr).is_ring = true;
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
            self.control.event_bus(),
        ))
    }
}

fn arbiter_name(stage: &str, prepared: &Prepared, options: &StageOptions, worker: usize) -> String {
    if options.workers > 1 {
        return format!("{stage}-{worker}");
    }
    match &options.arbiter {
        Some(name) => name.clone(),
        None if prepared.kind.blocking => stage.to_owned(),
        None => PIPELINE.to_owned(),
    }
}
