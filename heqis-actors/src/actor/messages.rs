//! The messages from the framework to the actors around stages.

use std::sync::Arc;

use actix::prelude::*;

use heqis_core::{ActorState, SavedState, StageError};

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
