//! Why a stage cannot work.

use thiserror::Error;

/// Why a stage could not be built or could not process a frame.
///
/// An expected outcome (a rejected bar, an empty window) is a value of the stage's own types, not an error.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageError {
    /// The configuration or something it names is unusable; restarting will not help.
    #[error("{0}")]
    Config(String),
    /// The stage failed while processing; it is rebuilt within its restart budget. A frame on which it fails twice is
    /// dropped, because it is assumed to be the reason.
    #[error("{0}")]
    Failed(String),
    /// Something that the stage needs is not available (a full disk, a disconnected device); no frame is the reason. The
    /// stage is rebuilt within its restart budget, and every frame is kept.
    #[error("{0}")]
    Unavailable(String),
    /// This one frame cannot be processed, and the stage can continue: the frame is dropped, cause `refused`, with an alarm.
    /// For `Stage::process` only; elsewhere it counts as [`StageError::Failed`].
    #[error("{0}")]
    Refused(String),
}

impl StageError {
    /// A [`StageError::Config`] from anything that can be printed.
    pub fn config(reason: impl std::fmt::Display) -> Self {
        Self::Config(reason.to_string())
    }

    /// A [`StageError::Unavailable`] from anything that can be printed.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self::Unavailable(reason.to_string())
    }

    /// A [`StageError::Refused`] from anything that can be printed.
    pub fn refused(reason: impl std::fmt::Display) -> Self {
        Self::Refused(reason.to_string())
    }

    /// A [`StageError::Failed`] from anything that can be printed.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}
