//! Takes the state of a key out of a stage, and puts one in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use actix::prelude::*;

use super::super::messages::{KeyAnswer, KeyRequest, MoveKey};
use super::StageActor;
use heqis_core::{AnyFrame, Head};
use heqis_core::{
    Counter, DropCause, FrameOutcome, Included, Key, KeyState, StageError, partition,
};

/// The keys that were moved from or to a stage.
pub(super) struct KeyMoves {
    gone: BTreeSet<Key>,
    arrived: BTreeMap<Key, Arrived>,
    /// Frames of keys that are gone.
    refused: Counter,
}

struct Arrived {
    included: Arc<Included>,
    /// Whether frames that the state includes can arrive here: no stage in front of this one was moved too.
    is_first: bool,
    /// For a stage that is restored from the records of the commit log, which has none of the key yet.
    state: Option<Vec<u8>>,
}

impl KeyMoves {
    /// The outcome of a frame that the stage does not get.
    fn outcome(&self, head: &Head) -> Option<FrameOutcome> {
        if self.gone.contains(&head.key) {
            return Some(FrameOutcome::Dropped(DropCause::Refused));
        }
        let arrived = self.arrived.get(&head.key)?;
        let holds = || arrived.included.holds(head.origin, head.merged.as_deref());
        (arrived.is_first && holds()).then_some(FrameOutcome::Duplicate)
    }

    /// Whether the stage does not need the record with this head.
    fn supersedes(&self, head: &Head) -> bool {
        let holds = |moved: &Arrived| moved.included.holds(head.origin, head.merged.as_deref());
        self.gone.contains(&head.key) || self.arrived.get(&head.key).is_some_and(holds)
    }
}

impl StageActor {
    /// Passes a frame on whose key belongs to the stage, and books any other.
    pub(super) fn own(&self, inlet: usize, frame: AnyFrame) -> Option<AnyFrame> {
        let moves = self.moves.as_ref();
        let Some((moves, outcome)) = moves.and_then(|m| Some((m, m.outcome(&frame.head)?))) else {
            return Some(frame);
        };
        if let FrameOutcome::Dropped(cause) = outcome {
            moves.refused.inc();
            let reason = format!("its key {} has moved away", frame.head.key);
            self.setup.control.refused(&self.setup.cx.stage, reason);
            self.drop_popped(inlet, frame, cause);
        } else {
            self.setup.inlets[inlet].edge.done(outcome, 1);
        }
        None
    }

    /// Gives the stage the records of the commit log, but those of keys that are gone, and those that are older than the
    /// state of a key that has arrived. A stage that was `rebuilt` gets that state again before.
    pub(super) fn recover(&mut self, rebuilt: bool) -> Result<(), StageError> {
        let Some(stage) = &mut self.stage else {
            return Ok(());
        };
        let moves = self.moves.as_deref();
        let arrived = moves.iter().flat_map(|moves| &moves.arrived);
        for (key, Arrived { state, .. }) in arrived.filter(|_| rebuilt) {
            if let Some(state) = state
                && !moves.is_some_and(|moves| moves.gone.contains(key))
            {
                stage.put_key(*key, state, &mut self.setup.emitter)?;
            }
        }
        for record in self.setup.cx.committed.records() {
            if !moves.is_some_and(|moves| moves.supersedes(&record.head)) {
                stage.recover(&record)?;
            }
        }
        Ok(())
    }

    fn moves(&mut self) -> &mut KeyMoves {
        let refused = self.setup.cx.counter("moved");
        self.moves.get_or_insert_with(|| {
            Box::new(KeyMoves {
                gone: BTreeSet::new(),
                arrived: BTreeMap::new(),
                refused,
            })
        })
    }

    fn take_key(&mut self, key: Key, is_lost: bool) -> Result<Option<Vec<u8>>, StageError> {
        let Some(stage) = &mut self.stage else {
            return Err(StageError::failed("the stage is not built"));
        };
        if is_lost && !stage.recovers() {
            let rule = "other nodes feed it, and its node does not save its state";
            return Err(StageError::config(rule));
        }
        let state = stage.take_key(key)?;
        self.moves().gone.insert(key);
        Ok(state)
    }

    fn put_key(&mut self, key: Key, put: KeyRequest) -> Result<(), StageError> {
        let KeyRequest::Put {
            state: KeyState {
                fingerprint, state, ..
            },
            included,
            is_first,
            is_restored,
        } = put
        else {
            return Ok(());
        };
        if fingerprint != self.setup.fingerprint {
            let rule = "its parameters are not those of the stage that the key comes from";
            return Err(StageError::config(rule));
        }
        let Some(stage) = &mut self.stage else {
            return Err(StageError::failed("the stage is not built"));
        };
        // What was restored has it already.
        let recovers = stage.recovers();
        if let (Some(state), true) = (&state, recovers || !is_restored) {
            stage.put_key(key, state, &mut self.setup.emitter)?;
        }
        let state = state.filter(|_| recovers);
        self.hold_restored();
        let moves = self.moves();
        moves.gone.remove(&key);
        let arrived = included.map(|included| Arrived {
            included,
            is_first,
            state,
        });
        if let Some(arrived) = arrived {
            moves.arrived.insert(key, arrived);
        }
        Ok(())
    }
}

impl Handler<MoveKey> for StageActor {
    type Result = MessageResult<MoveKey>;

    fn handle(&mut self, MoveKey { key, request }: MoveKey, _: &mut Self::Context) -> Self::Result {
        let workers = self.setup.options.workers;
        let is_mine = workers < 2 || partition(key, workers) == self.setup.worker as usize;
        let answer = match request {
            _ if !is_mine => return MessageResult(KeyAnswer::NotMine),
            _ if !self.is_idle() => return MessageResult(KeyAnswer::Busy),
            KeyRequest::Take { is_lost } => self.take_key(key, is_lost).map(|state| {
                KeyAnswer::Taken(KeyState {
                    stage: self.setup.cx.stage.to_string(),
                    fingerprint: self.setup.fingerprint,
                    state,
                })
            }),
            KeyRequest::Gone => {
                self.moves().gone.insert(key);
                Ok(KeyAnswer::Put)
            }
            put @ KeyRequest::Put { .. } => self.put_key(key, put).map(|()| KeyAnswer::Put),
        };
        if matches!(self.phase, super::Phase::Running) {
            // What it has emitted meanwhile, and its timer.
            self.turn();
        }
        MessageResult(answer.unwrap_or_else(KeyAnswer::Failed))
    }
}
