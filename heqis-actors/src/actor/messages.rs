//! The messages from the framework to the actors around stages.

use std::sync::Arc;

use actix::prelude::*;

use heqis_core::{ActorState, Included, Key, KeyState, SavedState, StageError};

/// Builds the stage or source, and answers when that is done.
#[derive(Debug)]
pub(crate) struct Build;

impl Message for Build {
    type Result = Result<(), StageError>;
}

/// Starts the flow: every stage of the node is built, and recovered state is taken up.
#[derive(Debug)]
pub(crate) struct Begin;

impl Message for Begin {
    type Result = ();
}

/// Asks for the actor's state between two frames; the answer is [`ActorState::Busy`] while frames are in process.
#[derive(Debug)]
pub(crate) struct TakeSnapshot;

impl Message for TakeSnapshot {
    type Result = Vec<ActorState>;
}

/// The state that was taken last is on the disk.
#[derive(Debug)]
pub(crate) struct Saved;

impl Message for Saved {
    type Result = ();
}

/// Restores the state that was saved by an earlier process.
#[derive(Debug)]
pub(crate) struct Restore(pub(crate) Arc<SavedState>);

impl Message for Restore {
    type Result = Result<(), StageError>;
}

/// Moves the state of a key from or to a stage, between two frames.
#[derive(Debug)]
pub(crate) struct MoveKey {
    pub(crate) key: Key,
    pub(crate) request: KeyRequest,
}

impl Message for MoveKey {
    type Result = KeyAnswer;
}

/// What happens to the state of a key.
#[derive(Clone, Debug)]
pub(crate) enum KeyRequest {
    /// It leaves; further frames of the key are refused. `is_lost`: neither a saved state nor a source would bring back what
    /// the stage has of it.
    Take { is_lost: bool },
    /// It had left before this process started.
    Gone,
    /// It arrives. Without `included` it comes back, because the move has failed.
    Put {
        state: KeyState,
        included: Option<Arc<Included>>,
        /// Whether no stage in front of this one was moved too.
        is_first: bool,
        /// It had arrived before this process started.
        is_restored: bool,
    },
}

/// The answer to [`MoveKey`].
#[derive(Debug)]
pub(crate) enum KeyAnswer {
    /// Another worker of the stage has the key.
    NotMine,
    /// Frames are in process.
    Busy,
    Taken(KeyState),
    Put,
    Failed(StageError),
}
