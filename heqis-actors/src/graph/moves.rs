//! What a program asks of a node whose keys move, and what is answered.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use heqis_core::{Key, MovedKey, StageError};

/// Why a key was not moved. The node is as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The node has no such stage, or the stage does not move the key.
    #[error("stage '{0}': {1}")]
    Stage(String, StageError),
    /// The key has left this node already, with the state of other stages.
    #[error("the key has left with the stages {0:?}")]
    Gone(Vec<String>),
    /// Frames in flight were not finished within two seconds: a next node is slow or not connected, or the graph ends.
    #[error("frames are in flight")]
    Busy,
    /// The move is not in the file of the node's state.
    #[error("the node's state cannot be saved")]
    NotSaved,
    /// The graph has ended, or drains.
    #[error("the graph has ended")]
    Ended,
}

/// A program's request, with where its answer goes.
pub(super) enum Request {
    Take(
        Vec<String>,
        Key,
        oneshot::Sender<Result<MovedKey, MoveError>>,
    ),
    Put(Box<MovedKey>, oneshot::Sender<Result<(), MoveError>>),
    /// Saves the node's state now.
    Save(oneshot::Sender<Result<(), MoveError>>),
}

/// Where a program sends its requests.
pub(super) type Requests = mpsc::Sender<Request>;

/// What the program wants moved before the first frame.
#[derive(Debug, Default)]
pub(super) struct FirstMoves {
    pub(super) take: Vec<(Vec<String>, Key)>,
    pub(super) put: Vec<MovedKey>,
}

/// How many requests of a program may wait.
const REQUESTS: usize = 16;

pub(super) fn requests() -> (Requests, mpsc::Receiver<Request>) {
    mpsc::channel(REQUESTS)
}
