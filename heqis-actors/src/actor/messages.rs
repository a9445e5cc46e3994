//! What the framework asks of the actors around stages.

use std::sync::Arc;

use actix::prelude::*;

use crate::error::StageError;
use crate::snapshot::{Held, SavedState};

/// Build what you run; answers when it is done.
#[derive(Debug)]
pub(crate) struct Build;

impl Message for Build {
    type Result = Result<(), StageError>;
}

/// Every stage of the node is built: take up recovered state and begin.
#[derive(Debug)]
pub(crate) struct Begin;

impl Message for Begin {
    type Result = ();
}

/// Say what you hold: answered between two frames, by [`Held::Busy`] where something is under way.
#[derive(Debug)]
pub(crate) struct Hold;

impl Message for Hold {
    type Result = Vec<Held>;
}

/// Take up what you held in an earlier process.
#[derive(Debug)]
pub(crate) struct TakeUp(pub(crate) Arc<SavedState>);

impl Message for TakeUp {
    type Result = Result<(), StageError>;
}
