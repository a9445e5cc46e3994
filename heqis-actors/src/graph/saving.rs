//! Saving what the stages of a running node hold, and taking it up when the node comes back.
//!
//! A snapshot is taken when nothing is under way: the sources pause, what they gave comes to its end, the nodes after this
//! one have said so, and then every stage says what it holds. So all states are of one position of each source, and
//! nothing before it is needed any more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::builder::{GraphBuilder, Span, StageEntry};
use crate::actor::{Build, Hold, TakeUp};
use crate::control::Control;
use crate::edge::Edge;
use crate::outcome::DropCause;
use crate::registry::{Factory, Prepared};
use crate::report::EdgeSide;
use crate::snapshot::Held;
use crate::snapshot::{SavedState, StateOptions};

/// How long sources pause at most for what is under way to come to its end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks at what is under way.
const LOOK: Duration = Duration::from_millis(2);

/// The stages of a node whose state follows from its own sources alone.
pub(super) fn own_stages(graph: &GraphBuilder) -> BTreeSet<String> {
    let is_source = |name: &&StageEntry| {
        matches!(
            &name.local,
            Some((
                Prepared {
                    factory: Factory::Source { .. },
                    ..
                },
                _
            ))
        )
    };
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
    let sources = graph.stages.iter().filter(is_source);
    let own = reached(sources.map(|entry| entry.name.clone()).collect());
    let fed_from_elsewhere = graph
        .edges
        .iter()
        .filter(|edge| matches!(edge.span, Span::In(..)))
        .map(|edge| edge.to.clone());
    let foreign = reached(fed_from_elsewhere.collect());
    own.difference(&foreign).cloned().collect()
}

/// An actor that holds something.
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) is_source: bool,
    /// A ring buffer holds frames only, and they are in its books.
    pub(super) is_ring: bool,
    pub(super) build: Recipient<Build>,
    pub(super) hold: Recipient<Hold>,
    pub(super) take_up: Recipient<TakeUp>,
}

/// Saves the state of a node.
pub(super) struct Saving {
    pub(super) options: StateOptions,
    pub(super) topology: String,
    pub(super) node: String,
    pub(super) control: Control,
    pub(super) holders: Vec<Holder>,
    /// The edges that frames of this node's own sources are on.
    pub(super) edges: Vec<Arc<Edge>>,
}

impl Saving {
    /// The edges that frames of `own` stages are on.
    pub(super) fn edges_of(own: &BTreeSet<String>, edges: &[Arc<Edge>]) -> Vec<Arc<Edge>> {
        let is_own = |edge: &&Arc<Edge>| {
            let from = edge.name.split("->").next().unwrap_or_default();
            edge.side() != EdgeSide::Receiver && own.contains(from)
        };
        edges.iter().filter(is_own).cloned().collect()
    }

    /// Takes up the state that was saved, if there is one of this graph: all of it or none.
    pub(super) async fn take_up(&self, sources: &[(String, u64, bool)]) {
        let path = &self.options.path;
        let saved = match SavedState::read(path) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the saved state is not taken up");
                return;
            }
        };
        let stages: Vec<String> = self
            .holders
            .iter()
            .filter(|holder| !holder.is_source && !holder.is_ring)
            .map(|holder| holder.name.clone())
            .collect();
        if let Some(reason) = saved.refusal((&self.topology, &self.node), sources, &stages) {
            tracing::warn!(path = %path.display(), reason, "the saved state is not taken up");
            return;
        }
        let saved = Arc::new(saved);
        let mut refused = None;
        for holder in &self.holders {
            let answer = holder.take_up.send(TakeUp(saved.clone())).await;
            if let Ok(Err(error)) = answer {
                refused.get_or_insert(format!("stage '{}': {error}", holder.name));
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
            tracing::info!(path = %path.display(), ?positions, "saved state taken up");
            return;
        };
        tracing::warn!(path = %path.display(), reason, "the saved state is not taken up");
        let nothing = Arc::new(SavedState::default());
        for holder in &self.holders {
            match holder.is_source {
                true => drop(holder.take_up.send(TakeUp(nothing.clone())).await),
                false => drop(holder.build.send(Build).await),
            }
        }
    }

    /// Saves again and again until the graph stops.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            actix_rt::time::sleep(self.options.every).await;
            if self.control.stopping() {
                return;
            }
            if self.can_come_to_rest() {
                self.control.pause_sources(true);
                let saved = self.at_rest().await;
                self.control.pause_sources(false);
                if let Some(saved) = saved {
                    self.write(saved).await;
                }
            }
        }
    }

    /// Whether what is under way can come to its end: no half of an edge holds frames for a node that is away.
    fn can_come_to_rest(&self) -> bool {
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

    async fn at_rest(&self) -> Option<SavedState> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && !self.control.stopping() {
            if let Some(before) = self.frames_moved() {
                let mut held = Vec::new();
                for holder in &self.holders {
                    held.extend(holder.hold.send(Hold).await.ok()?);
                }
                if self.frames_moved() == Some(before) {
                    match SavedState::of(&self.topology, &self.node, held) {
                        Ok(saved) => return Some(saved),
                        Err(None) => {}
                        Err(Some(stage)) => {
                            if self.control.admit("unsaved", &stage).is_some() {
                                tracing::warn!(
                                    stage,
                                    "the node's state is not saved: the stage cannot say what it holds"
                                );
                            }
                            return None;
                        }
                    }
                }
            }
            actix_rt::time::sleep(LOOK).await;
        }
        None
    }

    async fn write(&self, saved: SavedState) {
        let path = self.options.path.clone();
        let names: Vec<String> = self
            .holders
            .iter()
            .filter(|holder| holder.is_source)
            .map(|holder| holder.name.clone())
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

    /// Saves what the actors held when they left, if all of it was delivered.
    pub(super) fn save_left(&self) {
        let held = self.control.take_deposits();
        let is_there = |holder: &&Holder| {
            held.iter().any(|held| match held {
                Held::Busy => false,
                Held::Position { source, .. } => *source == holder.name,
                Held::State { stage, .. } => *stage == holder.name,
            })
        };
        let mut holders = self.holders.iter().filter(|holder| !holder.is_ring);
        let delivered = self.edges.iter().all(|edge| {
            let report = edge.report();
            report.in_flight == 0
                && report.in_doubt.is_none()
                && !report.dropped.contains_key(&DropCause::Shutdown)
        });
        if !delivered || !holders.all(|holder| is_there(&holder)) {
            return;
        }
        let own = held.into_iter().filter(|held| match held {
            Held::Busy => false,
            Held::Position { source: name, .. } | Held::State { stage: name, .. } => {
                self.holders.iter().any(|holder| holder.name == *name)
            }
        });
        if let Ok(saved) = SavedState::of(&self.topology, &self.node, own)
            && self.wrote(saved.write(&self.options.path))
        {
            tracing::info!(path = %self.options.path.display(), "the node's state is saved");
        }
    }
}
