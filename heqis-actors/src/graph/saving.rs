//! Saves the state of the stages of a running node, and restores it when the node starts again.
//!
//! A snapshot is taken while no frame is in flight: the sources pause, their frames are finished, the nodes after this one
//! have acknowledged them, and then every stage is asked for its state. All states then belong to one position of each
//! source, and no earlier item is needed again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::builder::{GraphBuilder, Span};
use crate::actor::{Build, Restore, TakeSnapshot};
use crate::control::Control;
use crate::edge::Edge;
use crate::outcome::DropCause;
use crate::report::EdgeSide;
use crate::snapshot::ActorState;
use crate::snapshot::{SavedState, StateOptions};

/// How long sources pause at most until no frame is in flight.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two checks for frames in flight.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The stages of a node whose state follows from its own sources alone.
pub(super) fn own_stages(graph: &GraphBuilder) -> BTreeSet<String> {
    let reached = |mut from: BTreeSet<String>| {
        loop {
            let further: Vec<String> = graph
                .edges
                .iter()
                .filter(|edge| matches!(edge.span, Span::Local))
                .filter(|edge| from.contains(&edge.from) && !from.contains(&edge.to))
                .map(|edge| edge.to.clone())
                .collect();
            if further.is_empty() {
                return from;
            }
            from.extend(further);
        }
    };
    let sources = graph.stages.iter().filter(|entry| entry.is_source());
    let own = reached(sources.map(|entry| entry.name.clone()).collect());
    let fed_from_elsewhere = graph
        .edges
        .iter()
        .filter(|edge| matches!(edge.span, Span::In(..)))
        .map(|edge| edge.to.clone());
    let foreign = reached(fed_from_elsewhere.collect());
    own.difference(&foreign).cloned().collect()
}

/// An actor whose state is saved.
pub(super) struct StatefulActor {
    pub(super) name: String,
    pub(super) is_source: bool,
    /// A ring buffer has no state but frames, which are in its books.
    pub(super) is_ring: bool,
    pub(super) build: Recipient<Build>,
    pub(super) take_snapshot: Recipient<TakeSnapshot>,
    pub(super) restore: Recipient<Restore>,
}

/// Saves the state of a node.
pub(super) struct Saving {
    pub(super) options: StateOptions,
    pub(super) topology: String,
    pub(super) node: String,
    pub(super) control: Control,
    pub(super) actors: Vec<StatefulActor>,
    /// The edges of frames from this node's own sources.
    pub(super) edges: Vec<Arc<Edge>>,
}

impl Saving {
    /// The edges that `own` stages feed.
    pub(super) fn edges_of(own: &BTreeSet<String>, edges: &[Arc<Edge>]) -> Vec<Arc<Edge>> {
        let is_own = |edge: &&Arc<Edge>| {
            let from = edge.name.split("->").next().unwrap_or_default();
            // What waits in a channel has no position yet: the program sends it while the sources pause, too.
            !matches!(edge.side(), EdgeSide::Receiver | EdgeSide::Channel) && own.contains(from)
        };
        edges.iter().filter(is_own).cloned().collect()
    }

    /// Restores the saved state if there is one of this graph: all of it or none.
    pub(super) async fn restore(&self, sources: &[(String, u64, bool)]) {
        let path = &self.options.path;
        let saved = match SavedState::read(path) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the saved state is not restored");
                return;
            }
        };
        let stages: Vec<String> = self
            .actors
            .iter()
            .filter(|actor| !actor.is_source && !actor.is_ring)
            .map(|actor| actor.name.clone())
            .collect();
        if let Some(reason) = saved.refusal((&self.topology, &self.node), sources, &stages) {
            tracing::warn!(path = %path.display(), reason, "the saved state is not restored");
            return;
        }
        let saved = Arc::new(saved);
        let mut refused = None;
        for actor in &self.actors {
            let answer = actor.restore.send(Restore(saved.clone())).await;
            if let Ok(Err(error)) = answer {
                refused.get_or_insert(format!("stage '{}': {error}", actor.name));
            }
        }
        let Some(reason) = refused else {
            let positions: Vec<_> = sources
                .iter()
                .filter_map(|(source, ..)| Some((source, saved.position(source)?)))
                .collect();
            for (source, position) in &positions {
                self.control.saved(source, *position);
            }
            tracing::info!(path = %path.display(), ?positions, "saved state restored");
            return;
        };
        tracing::warn!(path = %path.display(), reason, "the saved state is not restored");
        let nothing = Arc::new(SavedState::default());
        for actor in &self.actors {
            match actor.is_source {
                true => drop(actor.restore.send(Restore(nothing.clone())).await),
                false => drop(actor.build.send(Build).await),
            }
        }
    }

    /// Saves at intervals until the graph stops.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            actix_rt::time::sleep(self.options.every).await;
            if self.control.stopping() {
                return;
            }
            if self.can_drain() {
                self.control.pause_sources(true);
                let saved = self.snapshot().await;
                self.control.pause_sources(false);
                if let Some(saved) = saved {
                    self.write(saved).await;
                }
            }
        }
    }

    /// Whether the frames in flight can be finished: no half of an edge holds frames for a node that is not connected.
    fn can_drain(&self) -> bool {
        self.edges.iter().all(|edge| {
            let report = edge.report();
            report.waits.is_none() || report.in_flight == 0
        })
    }

    fn frames_moved(&self) -> Option<u64> {
        self.edges.iter().try_fold(0, |moved, edge| {
            let report = edge.report();
            (report.in_flight == 0).then_some(moved + report.sent)
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the pause of a snapshot in real time"
    )]
    async fn snapshot(&self) -> Option<SavedState> {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT && !self.control.stopping() {
            if let Some(before) = self.frames_moved() {
                let mut states = Vec::new();
                for actor in &self.actors {
                    states.extend(actor.take_snapshot.send(TakeSnapshot).await.ok()?);
                }
                if self.frames_moved() == Some(before) {
                    match SavedState::of(&self.topology, &self.node, states) {
                        Ok(saved) => return Some(saved),
                        Err(None) => {}
                        Err(Some(stage)) => {
                            if self.control.admit("unsaved", &stage).is_some() {
                                tracing::warn!(
                                    stage,
                                    "the node's state is not saved: the stage supports no snapshots"
                                );
                            }
                            return None;
                        }
                    }
                }
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        None
    }

    async fn write(&self, saved: SavedState) {
        let path = self.options.path.clone();
        let names: Vec<String> = self
            .actors
            .iter()
            .filter(|actor| actor.is_source)
            .map(|actor| actor.name.clone())
            .collect();
        let positions: Vec<(String, u64)> = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), saved.position(&name)?)))
            .collect();
        let written = actix_rt::task::spawn_blocking(move || saved.write(&path)).await;
        if self.wrote(written.unwrap_or_else(|error| Err(std::io::Error::other(error)))) {
            for (source, position) in positions {
                self.control.saved(&source, position);
            }
        }
    }

    fn wrote(&self, result: std::io::Result<()>) -> bool {
        let path: &Path = &self.options.path;
        if let Err(error) = &result
            && let Some(left_out) = self.control.admit("unsaved", "")
        {
            tracing::warn!(path = %path.display(), %error, left_out, "the node's state is not saved");
        }
        result.is_ok()
    }

    /// Saves the states of the actors that ended because the node leaves, if every frame was delivered.
    pub(super) fn save_on_leave(&self) {
        let states = self.control.take_deposits();
        let is_deposited = |actor: &&StatefulActor| {
            states.iter().any(|state| match state {
                ActorState::Busy => false,
                ActorState::Position { source, .. } => *source == actor.name,
                ActorState::State { stage, .. } => *stage == actor.name,
            })
        };
        let mut actors = self.actors.iter().filter(|actor| !actor.is_ring);
        let delivered = self.edges.iter().all(|edge| {
            let report = edge.report();
            report.in_flight == 0
                && report.in_doubt.is_none()
                && !report.dropped.contains_key(&DropCause::Shutdown)
        });
        if !delivered || !actors.all(|actor| is_deposited(&actor)) {
            return;
        }
        let own = states.into_iter().filter(|state| match state {
            ActorState::Busy => false,
            ActorState::Position { source: name, .. } | ActorState::State { stage: name, .. } => {
                self.actors.iter().any(|actor| actor.name == *name)
            }
        });
        if let Ok(saved) = SavedState::of(&self.topology, &self.node, own)
            && self.wrote(saved.write(&self.options.path))
        {
            tracing::info!(path = %self.options.path.display(), "the node's state is saved");
        }
    }
}
