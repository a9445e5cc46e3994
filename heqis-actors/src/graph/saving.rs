//! Saves the state of the stages of a running node, and restores it when the node starts again.
//!
//! A snapshot is taken while no frame is in flight: the sources pause, their frames are finished, the nodes after this one
//! have acknowledged them, and then every stage is asked for its state. All states then belong to one position of each
//! source, and no earlier item is needed again.
//!
//! On a node that other nodes feed, the state also includes which of their frames it follows from, and the frames that the
//! next nodes are not done with. The stages get no further frame meanwhile; those that have arrived wait on their edges. A
//! frame from another node is acknowledged only when the saved state includes it, so that it is either in the state that a
//! killed node restores, or is sent again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::GraphError;
use super::builder::{EdgeEntry, GraphBuilder, Span};
use crate::actor::{Build, Restore, Saved, TakeSnapshot};
use crate::control::Control;
use crate::edge::Edge;
use heqis_core::{
    DropCause, EdgeSide, Event, Moves, SavedState, StateOptions, lock_for_writing, stage_of,
};

/// How long sources pause at most until no frame is in flight.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// Time until a snapshot that was not possible is tried again, where frames of other nodes wait for it.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two checks for frames in flight.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The stages of a node whose state follows from its own sources alone, and those that other nodes feed.
pub(super) fn own_and_fed_stages(graph: &GraphBuilder) -> (BTreeSet<String>, BTreeSet<String>) {
    let reached = |mut from: BTreeSet<String>| {
        loop {
            let further: Vec<String> = graph
                .edges
                .iter()
                .filter(|edge| matches!(edge.span, Span::Local))
                .map(EdgeEntry::stages)
                .filter(|(maker, taker)| from.contains(*maker) && !from.contains(*taker))
                .map(|(_, taker)| taker.to_owned())
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
        .map(|edge| edge.stages().1.to_owned());
    let fed = reached(fed_from_elsewhere.collect());
    (own.difference(&fed).cloned().collect(), fed)
}

/// An actor whose state is saved.
pub(super) struct StatefulActor {
    pub(super) name: String,
    pub(super) is_source: bool,
    /// A ring buffer has no state but frames, which are in its books.
    pub(super) is_ring: bool,
    /// Which half of a bridged edge it is.
    pub(super) bridge: Option<BridgeState>,
    pub(super) build: Recipient<Build>,
    pub(super) take_snapshot: Recipient<TakeSnapshot>,
    pub(super) restore: Recipient<Restore>,
}

/// Which half of a bridged edge an actor is.
#[derive(Clone)]
pub(super) enum BridgeState {
    Sender,
    Receiver(Recipient<Saved>),
}

impl StatefulActor {
    fn is_stage(&self) -> bool {
        !self.is_source && !self.is_ring && self.bridge.is_none()
    }
}

/// Gets the file of a node's state for this graph alone, as long as the lock is held. The lock is a file of its own, because
/// the state is replaced as a whole.
pub(super) fn lock_file(path: &Path) -> Result<File, GraphError> {
    let locked = || {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut name = name.to_owned();
        name.push(".lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.with_file_name(name))?;
        match lock_for_writing(&lock)? {
            true => Ok(lock),
            false => Err(io::Error::other("another graph saves its state there")),
        }
    };
    locked().map_err(|error| GraphError::State {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Saves the state of a node.
pub(super) struct Saving {
    pub(super) _lock: File,
    pub(super) options: StateOptions,
    pub(super) topology: String,
    pub(super) node: String,
    pub(super) control: Control,
    pub(super) actors: Vec<StatefulActor>,
    pub(super) rest: Rest,
    pub(super) moves: Arc<Mutex<Moves>>,
    /// A source whose items cannot be distinguished from those that a saved state includes.
    pub(super) unidentified: Option<String>,
}

/// What it takes until no frame is in flight.
pub(super) struct Rest {
    pub(super) control: Control,
    /// One rest at a time.
    pub(super) lock: Arc<tokio::sync::Mutex<()>>,
    /// The edges that must be empty.
    pub(super) edges: Vec<Arc<Edge>>,
    /// The receiving halves of bridged edges whose frames are part of the state, and the sending halves.
    pub(super) inputs: Vec<Arc<Edge>>,
    pub(super) outputs: Vec<Arc<Edge>>,
}

impl Rest {
    pub(super) fn pause(&self, paused: bool) {
        self.control.pause_sources(paused);
        self.inputs.iter().for_each(|edge| edge.hold(paused));
    }

    /// How many frames have moved so far, if none is in flight.
    pub(super) fn frames_moved(&self) -> Option<u64> {
        let taken = self.inputs.iter().try_fold(0, |moved, edge| {
            let report = edge.report();
            (edge.in_process() == 0).then_some(moved + report.delivered + report.dropped_total())
        })?;
        let sent: u64 = self.outputs.iter().map(|edge| edge.report().sent).sum();
        self.edges.iter().try_fold(taken + sent, |moved, edge| {
            let report = edge.report();
            (report.in_flight == 0).then_some(moved + report.sent)
        })
    }

    /// Whether the frames in flight can be finished: no half of an edge holds frames for a node that is not connected.
    fn can_drain(&self) -> bool {
        self.edges.iter().all(|edge| {
            let report = edge.report();
            report.waits.is_none() || report.in_flight == 0
        })
    }
}

impl Saving {
    /// The edges of `side` that one of `stages` feeds, or takes frames from where it is a receiving half.
    pub(super) fn edges_of(
        stages: &BTreeSet<String>,
        edges: &[Arc<Edge>],
        sides: &[EdgeSide],
    ) -> Vec<Arc<Edge>> {
        let of_stages = |edge: &&Arc<Edge>| {
            let mut ends = edge.name.split("->");
            let stage = match edge.side() {
                EdgeSide::Receiver => ends.nth(1),
                _ => ends.next(),
            };
            sides.contains(&edge.side()) && stages.contains(stage_of(stage.unwrap_or_default()))
        };
        edges.iter().filter(of_stages).cloned().collect()
    }

    /// Restores the saved state if there is one of this graph: all of it or none.
    pub(super) async fn restore(&self, sources: &[(String, u64, bool)]) {
        let path = &self.options.path;
        let saved = match SavedState::read(path) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return self.not_restored(&error.to_string()),
        };
        if saved.is_of(&self.topology, &self.node) {
            // Also where the states are not restored: a key that has left must not start afresh.
            let gone = saved.moves().gone.clone();
            lock(&self.moves).gone = gone;
        }
        let mut stages: Vec<(String, usize)> = Vec::new();
        for actor in self.actors.iter().filter(|actor| actor.is_stage()) {
            match stages.iter_mut().find(|(name, _)| *name == actor.name) {
                Some((_, workers)) => *workers += 1,
                None => stages.push((actor.name.clone(), 1)),
            }
        }
        if let Some(reason) = saved.refusal((&self.topology, &self.node), sources, &stages) {
            return self.not_restored(&reason);
        }
        if let Some(source) = &self.unidentified {
            return self.not_restored(&format!(
                "source '{source}' makes its items again, and their identity is not said"
            ));
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
            lock(&self.moves).arrived = saved.moves().arrived.clone();
            let positions: Vec<_> = sources
                .iter()
                .filter_map(|(source, ..)| Some((source, saved.position(source)?)))
                .collect();
            for (source, position) in &positions {
                self.control.saved(source, *position);
            }
            let positions: Vec<String> = positions
                .iter()
                .map(|(source, position)| format!("{source}={position}"))
                .collect();
            let positions = positions.join(" ");
            tracing::info!(path = %path.display(), positions, "saved state restored");
            return;
        };
        self.not_restored(&reason);
        let nothing = Arc::new(SavedState::default());
        for actor in &self.actors {
            match actor.is_source || actor.bridge.is_some() {
                true => drop(actor.restore.send(Restore(nothing.clone())).await),
                false => drop(actor.build.send(Build).await),
            }
        }
    }

    /// Publishes what is lost, at a limited rate per `kind`.
    fn lost(&self, kind: &'static str, what: &str, reason: &str) {
        let path = self.options.path.display();
        self.control
            .publish_limited(kind, "", |left_out| Event::StateLost {
                reason: format!("{path}: the state of the node is not {what}: {reason}"),
                left_out,
            });
    }

    fn not_restored(&self, reason: &str) {
        self.lost("unrestored", "restored", reason);
    }

    fn not_saved(&self, reason: &str) {
        self.lost("unsaved", "saved", reason);
    }

    /// Saves at intervals, and when it is asked to, until the graph stops.
    pub(super) async fn keep(self: Arc<Self>) {
        let demand = self.control.save_demand();
        loop {
            tokio::select! {
                () = actix_rt::time::sleep(self.options.every) => {}
                () = demand.wanted() => {}
            }
            if self.control.stopping() {
                return;
            }
            if self.rest.can_drain() {
                let resting = self.rest.lock.lock().await;
                demand.met();
                self.rest.pause(true);
                let saved = self.snapshot().await;
                self.rest.pause(false);
                let is_saved = match saved {
                    Some(saved) => self.write(saved).await,
                    None => false,
                };
                drop(resting);
                if is_saved {
                    continue;
                }
            }
            // Asked again soon, if frames of other nodes wait for it.
            actix_rt::time::sleep(RETRY_INTERVAL.min(self.options.every)).await;
            if !self.rest.inputs.is_empty() {
                demand.demand();
            }
        }
    }

    /// Saves the state of a node at rest.
    pub(super) async fn save_now(&self) -> bool {
        match self.snapshot().await {
            Some(saved) => self.write(saved).await,
            None => false,
        }
    }

    fn moves(&self) -> Moves {
        lock(&self.moves).clone()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the pause of a snapshot in real time"
    )]
    async fn snapshot(&self) -> Option<SavedState> {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT && !self.control.stopping() {
            if let Some(before) = self.rest.frames_moved() {
                let mut states = Vec::new();
                for actor in &self.actors {
                    states.extend(actor.take_snapshot.send(TakeSnapshot).await.ok()?);
                }
                if self.rest.frames_moved() == Some(before) {
                    match SavedState::of(&self.topology, &self.node, states) {
                        Ok(saved) => return Some(saved.with_moves(self.moves())),
                        Err(None) => {}
                        Err(Some(stage)) => {
                            if self.control.saves_received() {
                                // Its frames would never be acknowledged.
                                self.control.set_saves_received(false);
                                self.control.ring_all();
                            }
                            self.not_saved(&unsupported(&stage));
                            return None;
                        }
                    }
                }
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        None
    }

    async fn write(&self, saved: SavedState) -> bool {
        if self.control.killed() {
            return false;
        }
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
        let is_saved =
            self.wrote(written.unwrap_or_else(|error| Err(std::io::Error::other(error))));
        if is_saved && !self.control.killed() {
            for (source, position) in positions {
                self.control.saved(&source, position);
            }
            for actor in &self.actors {
                if let Some(BridgeState::Receiver(saved)) = &actor.bridge {
                    saved.do_send(Saved);
                }
            }
        }
        is_saved
    }

    fn wrote(&self, result: std::io::Result<()>) -> bool {
        if let Err(error) = &result {
            self.not_saved(&error.to_string());
        }
        result.is_ok()
    }

    /// Saves the states of the actors that ended because the node leaves, if every frame was delivered.
    pub(super) fn save_on_leave(&self) {
        let states = self.control.take_deposits();
        let is_deposited = |actor: &&StatefulActor| {
            states
                .iter()
                .any(|state| state.name() == Some(actor.name.as_str()))
        };
        // A sending half that has ended without a deposit has nothing that the next node may not have.
        let must_deposit = |actor: &&StatefulActor| {
            !actor.is_ring && !matches!(actor.bridge, Some(BridgeState::Sender))
        };
        let mut actors = self.actors.iter().filter(must_deposit);
        let delivered = self.rest.edges.iter().chain(&self.rest.inputs).all(|edge| {
            let report = edge.report();
            report.in_flight == 0
                && report.in_doubt.is_none()
                && !report.dropped.contains_key(&DropCause::Shutdown)
        });
        if !delivered {
            self.not_saved("frames were dropped, or other nodes do not have them yet");
        }
        if !delivered || !actors.all(|actor| is_deposited(&actor)) {
            return;
        }
        let own = states.iter().filter(|state| {
            let is_named = |actor: &&StatefulActor| Some(actor.name.as_str()) == state.name();
            self.actors.iter().any(|actor| is_named(&actor))
        });
        let written = match SavedState::of(&self.topology, &self.node, own.cloned()) {
            Ok(saved) => saved.with_moves(self.moves()).write(&self.options.path),
            Err(stage) => Err(io::Error::other(unsupported(&stage.unwrap_or_default()))),
        };
        if let Err(error) = &written {
            // What the stages held is nowhere else, where a source makes its items once.
            let failure = format!("the state of the node is not saved: {error}");
            self.control.set_failure(&failure);
        }
        if self.wrote(written) {
            tracing::info!(path = %self.options.path.display(), "the node's state is saved");
        }
    }
}

/// Why the state is not saved.
fn unsupported(stage: &str) -> String {
    format!("stage '{stage}' supports no snapshots, or has panicked in one")
}

pub(super) fn lock(moves: &Mutex<Moves>) -> MutexGuard<'_, Moves> {
    moves.lock().unwrap_or_else(PoisonError::into_inner)
}
