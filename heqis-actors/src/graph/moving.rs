//! Moves the state of a key out of a running node, and into one.
//!
//! As for a snapshot, the sources pause and the frames in flight are finished first. What is taken then includes every item
//! up to one position of each source, and every frame that has arrived from another node. The node keeps what was taken, in
//! its saved state too, so that it can be taken once more by a program that was killed before it had put it elsewhere.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::mpsc;

use super::GraphError;
use super::moves::{FirstMoves, MoveError, Request};
use super::saving::{POLL_INTERVAL, Rest, Saving, TIMEOUT, lock};
use crate::actor::{KeyAnswer, KeyRequest, MoveKey, TakeSnapshot};
use crate::edge::Edge;
use heqis_core::{
    ActorState, Included, Key, KeyState, MovedKey, Moves, OriginRun, StageError, stage_of,
};

/// A stage, or one of its copies.
pub(super) struct MovableStage {
    pub(super) name: String,
    pub(super) recipient: Recipient<MoveKey>,
}

/// Moves the keys of a node.
pub(super) struct Moving {
    pub(super) stages: Vec<MovableStage>,
    /// The sources, and the receiving halves of bridged edges.
    pub(super) inputs: Vec<Recipient<TakeSnapshot>>,
    /// The queues of channels into the graph.
    pub(super) channels: Vec<Arc<Edge>>,
    pub(super) rest: Rest,
    /// The ends of the edges between stages of this node.
    pub(super) local: Vec<(String, String)>,
    /// Stages that other nodes feed and whose state is not saved.
    pub(super) unsaved: BTreeSet<String>,
    pub(super) saving: Option<Arc<Saving>>,
    pub(super) moves: Arc<Mutex<Moves>>,
}

impl Moving {
    fn moves(&self) -> Moves {
        lock(&self.moves).clone()
    }

    fn set_moves(&self, moves: Moves) {
        *lock(&self.moves) = moves;
    }

    /// States to the stages what was moved before this process, and moves what the program wants moved before the first frame.
    pub(super) async fn begin(&self, first: FirstMoves) -> Result<(), GraphError> {
        let Moves { gone, arrived } = self.moves();
        for (moved, is_gone) in (gone.iter().map(|moved| (moved, true)))
            .chain(arrived.iter().map(|moved| (moved, false)))
        {
            for state in moved.states() {
                let request = match is_gone {
                    true => KeyRequest::Gone,
                    false => self.arrival(moved, state, true),
                };
                // A stage that the graph lacks now.
                let _ = self.ask(&state.stage, moved.key(), request).await;
            }
        }
        let begun = async {
            for (stages, key) in &first.take {
                self.take_now(stages, *key).await?;
            }
            for moved in &first.put {
                self.put_now(moved).await?;
            }
            Ok(())
        };
        begun.await.map_err(|error: MoveError| {
            let (stage, error) = match error {
                MoveError::Stage(stage, error) => (stage, error),
                error => (String::new(), StageError::config(error)),
            };
            GraphError::Build(vec![(stage, error)])
        })
    }

    /// Serves the program's requests until the graph stops.
    pub(super) async fn serve(self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let request = tokio::select! {
                request = requests.recv() => request,
                () = self.rest.control.stopped() => None,
            };
            match request {
                Some(Request::Take(stages, key, answer)) => {
                    let _ = answer.send(self.take(&stages, key).await);
                }
                Some(Request::Put(moved, answer)) => {
                    let _ = answer.send(self.put(&moved).await);
                }
                Some(Request::Save(answer)) => {
                    let _resting = self.rest.lock.lock().await;
                    self.rest.pause(true);
                    let saved = match &self.saving {
                        Some(_) => self.save().await,
                        None => Err(MoveError::NotSaved),
                    };
                    self.rest.pause(false);
                    let _ = answer.send(saved);
                }
                None => return,
            }
        }
    }

    async fn take(&self, stages: &[String], key: Key) -> Result<MovedKey, MoveError> {
        let sent = self.channels.iter().map(|edge| edge.report().sent);
        let sent: Vec<u64> = sent.collect();
        let _resting = self.rest.lock.lock().await;
        // What was sent before the call is in the state.
        self.until(|| {
            let mut channels = self.channels.iter().zip(&sent);
            channels.all(|(edge, sent)| edge.report().sent - edge.queued() as u64 >= *sent)
        })
        .await?;
        self.rest.pause(true);
        let before = self.moves();
        let mut taken = self.take_at_rest(stages, key).await;
        if let Ok(moved) = &taken
            && let Err(error) = self.save().await
        {
            self.give_back(moved).await;
            self.set_moves(before);
            taken = Err(error);
        }
        self.rest.pause(false);
        taken
    }

    /// Tries until nothing has moved meanwhile.
    async fn take_at_rest(&self, stages: &[String], key: Key) -> Result<MovedKey, MoveError> {
        let begun = now();
        let rest = self.rest_of(stages);
        while begun.elapsed() < TIMEOUT && !self.rest.control.stopping() {
            if let Some(moved) = rest.frames_moved() {
                let moves = self.moves();
                match self.take_now(stages, key).await {
                    Ok(taken) if rest.frames_moved() == Some(moved) => return Ok(taken),
                    // A timer has emitted something.
                    Ok(taken) => {
                        self.give_back(&taken).await;
                        self.set_moves(moves);
                    }
                    Err(MoveError::Busy) => {}
                    Err(error) => return Err(error),
                }
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        Err(MoveError::Busy)
    }

    async fn take_now(&self, stages: &[String], key: Key) -> Result<MovedKey, MoveError> {
        let mut moves = self.moves();
        if let Some(gone) = moves.gone.iter().find(|moved| moved.key() == key) {
            let names = || gone.states().iter().map(|state| state.stage.clone());
            return match gone.is_of(stages) {
                true => Ok(gone.clone()),
                false => Err(MoveError::Gone(names().collect())),
            };
        }
        let mut included = self.included().await?;
        if let Some(arrived) = moves.arrived.iter().find(|moved| moved.key() == key) {
            // Of the nodes that had the key before.
            included.add(arrived.included());
        }
        let mut states = Vec::new();
        for stage in stages {
            let is_lost = self.unsaved.contains(stage);
            match self.ask(stage, key, KeyRequest::Take { is_lost }).await {
                Ok(state) => states.extend(state),
                Err(error) => {
                    let taken = MovedKey::new(key, states, Included::default());
                    self.give_back(&taken).await;
                    return Err(error);
                }
            }
        }
        let moved = MovedKey::new(key, states, included);
        moves.take(moved.clone());
        self.set_moves(moves);
        Ok(moved)
    }

    async fn put(&self, moved: &MovedKey) -> Result<(), MoveError> {
        let _resting = self.rest.lock.lock().await;
        self.rest.pause(true);
        let before = self.moves();
        let mut put = Err(MoveError::Busy);
        let begun = now();
        let rest = self.rest_of(moved.states().iter().map(|state| &state.stage));
        while matches!(put, Err(MoveError::Busy)) && begun.elapsed() < TIMEOUT {
            put = match rest.frames_moved() {
                Some(_) => self.put_now(moved).await,
                None => Err(MoveError::Busy),
            };
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        if put.is_ok()
            && let Err(error) = self.save().await
        {
            self.take_back(moved.states(), moved.key()).await;
            self.set_moves(before);
            put = Err(error);
        }
        self.rest.pause(false);
        put
    }

    async fn put_now(&self, moved: &MovedKey) -> Result<(), MoveError> {
        let mut moves = self.moves();
        let is_known =
            |known: &MovedKey| known.key() == moved.key() && known.included() == moved.included();
        if moves.arrived.iter().any(is_known) {
            // The program puts it at each start.
            return Ok(());
        }
        for (at, state) in moved.states().iter().enumerate() {
            let request = self.arrival(moved, state, false);
            if let Err(error) = self.ask(&state.stage, moved.key(), request).await {
                self.take_back(&moved.states()[..at], moved.key()).await;
                return Err(error);
            }
        }
        moves.put(moved.clone());
        self.set_moves(moves);
        Ok(())
    }

    fn arrival(&self, moved: &MovedKey, state: &KeyState, is_restored: bool) -> KeyRequest {
        let is_moved = |name: &str| moved.states().iter().any(|other| other.stage == name);
        KeyRequest::Put {
            state: state.clone(),
            included: Some(Arc::new(moved.included().clone())),
            is_first: !self.in_front_of(&state.stage).into_iter().any(is_moved),
            is_restored,
        }
    }

    /// The stages in front of `stage`, on this node.
    fn in_front_of(&self, stage: &str) -> BTreeSet<&str> {
        let (mut found, mut next) = (BTreeSet::new(), vec![stage]);
        while let Some(stage) = next.pop() {
            for (from, _) in self.local.iter().filter(|(_, to)| to == stage) {
                if found.insert(from.as_str()) {
                    next.push(from);
                }
            }
        }
        found
    }

    /// What must be at rest: the edges up to these stages. What they have emitted may still be on its way.
    fn rest_of<'s>(&self, stages: impl IntoIterator<Item = &'s String>) -> Rest {
        let mut taking = BTreeSet::new();
        for stage in stages {
            taking.insert(stage.as_str());
            taking.extend(self.in_front_of(stage));
        }
        let taken = |edges: &[Arc<Edge>]| -> Vec<Arc<Edge>> {
            let is_taken = |edge: &&Arc<Edge>| {
                // A ring buffer's own queue has its name.
                let to = edge
                    .name
                    .split_once("->")
                    .map_or(&*edge.name, |(_, to)| stage_of(to));
                taking.contains(to)
            };
            edges.iter().filter(is_taken).cloned().collect()
        };
        Rest {
            control: self.rest.control.clone(),
            lock: self.rest.lock.clone(),
            edges: taken(&self.rest.edges),
            inputs: taken(&self.rest.inputs),
            outputs: Vec::new(),
        }
    }

    /// Undoes a take.
    async fn give_back(&self, moved: &MovedKey) {
        for state in moved.states() {
            let request = KeyRequest::Put {
                state: state.clone(),
                included: None,
                is_first: false,
                is_restored: false,
            };
            self.undo(&state.stage, moved.key(), request).await;
        }
    }

    /// Undoes a put.
    async fn take_back(&self, states: &[KeyState], key: Key) {
        for state in states {
            let request = KeyRequest::Take { is_lost: false };
            self.undo(&state.stage, key, request).await;
        }
    }

    async fn undo(&self, stage: &str, key: Key, request: KeyRequest) {
        if let Err(error) = self.ask(stage, key, request).await {
            self.rest
                .control
                .crash(format!("a move of key {key} cannot be undone: {error}"));
        }
    }

    /// Sends a request to the copy of the stage that has the key. Returns what was taken.
    async fn ask(
        &self,
        stage: &str,
        key: Key,
        request: KeyRequest,
    ) -> Result<Option<KeyState>, MoveError> {
        let fault = |error| MoveError::Stage(stage.to_owned(), error);
        for copy in self.stages.iter().filter(|copy| copy.name == stage) {
            let request = request.clone();
            match copy.recipient.send(MoveKey { key, request }).await {
                Ok(KeyAnswer::NotMine) => {}
                Ok(KeyAnswer::Busy) => return Err(MoveError::Busy),
                Ok(KeyAnswer::Taken(state)) => return Ok(Some(state)),
                Ok(KeyAnswer::Put) => return Ok(None),
                Ok(KeyAnswer::Failed(error)) => return Err(fault(error)),
                Err(_) => return Err(MoveError::Ended),
            }
        }
        Err(fault(StageError::config("this node runs no such stage")))
    }

    /// What the states of the stages include now.
    async fn included(&self) -> Result<Included, MoveError> {
        let mut included = Included::default();
        for input in &self.inputs {
            for state in input
                .send(TakeSnapshot)
                .await
                .map_err(|_| MoveError::Ended)?
            {
                match state {
                    ActorState::Position {
                        stream, position, ..
                    } => included.insert(
                        0,
                        OriginRun {
                            stream,
                            first: 1,
                            last: position,
                        },
                    ),
                    ActorState::Received { frames, .. } => {
                        for (stream, part, first, last) in frames.ranges {
                            let run = OriginRun {
                                stream,
                                first,
                                last,
                            };
                            included.insert(part, run);
                        }
                    }
                    ActorState::Busy => return Err(MoveError::Busy),
                    ActorState::State { .. } | ActorState::Sent { .. } => {}
                }
            }
        }
        Ok(included)
    }

    async fn save(&self) -> Result<(), MoveError> {
        match &self.saving {
            Some(saving) if !saving.save_now().await => Err(MoveError::NotSaved),
            _ => Ok(()),
        }
    }

    async fn until(&self, done: impl Fn() -> bool) -> Result<(), MoveError> {
        let begun = now();
        while !done() {
            if begun.elapsed() > TIMEOUT || self.rest.control.stopping() {
                return Err(MoveError::Busy);
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// How long a move may take is a matter of real time.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds the pause of a move in real time"
)]
fn now() -> Instant {
    Instant::now()
}
