//! Outcomes of frames, and how a stream of frames ends.

use serde::{Deserialize, Serialize};

/// Why a frame was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum DropCause {
    /// The edge was full and its policy drops.
    Capacity,
    /// A newer frame took its place (`latest`, `conflate`).
    Superseded,
    /// Older than the edge's `max_age` when its turn came.
    Age,
    /// Its number never arrived.
    Gap,
    /// On the wire, or waiting to be confirmed, when the link broke on an at-most-once edge.
    LinkDown,
    /// Arrived whole but is not a value of the edge's payload type.
    Decode,
    /// In flight when the drain timeout ended the node.
    Shutdown,
    /// The stage failed on it twice, or had used up its restart budget.
    StageFailed,
    /// The stage cannot process this frame, and continues.
    Refused,
}

impl DropCause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Capacity,
        Self::Superseded,
        Self::Age,
        Self::Gap,
        Self::LinkDown,
        Self::Decode,
        Self::Shutdown,
        Self::StageFailed,
        Self::Refused,
    ];

    /// Name in metrics (`dropped_<name>`), logs and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Superseded => "superseded",
            Self::Age => "age",
            Self::Gap => "gap",
            Self::LinkDown => "link_down",
            Self::Decode => "decode",
            Self::Shutdown => "shutdown",
            Self::StageFailed => "stage_failed",
            Self::Refused => "refused",
        }
    }
}

/// The outcome of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameOutcome {
    /// The consuming stage is done with it.
    Delivered,
    /// It was delivered before.
    Duplicate,
    /// It is lost.
    Dropped(DropCause),
}

impl FrameOutcome {
    /// Number of different outcomes.
    pub const COUNT: usize = 2 + DropCause::ALL.len();

    /// Position in a table of counts: delivered, duplicate, then the causes.
    pub fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Duplicate => 1,
            Self::Dropped(cause) => 2 + cause as usize,
        }
    }

    /// The outcome of an index; `None` for an unknown one.
    pub fn from_index(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::Delivered,
            1 => Self::Duplicate,
            _ => Self::Dropped(*DropCause::ALL.get(index - 2)?),
        })
    }
}

/// How a stream of frames ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its sources have ended: no further frame exists.
    Complete,
    /// A node on the way leaves (restart, upgrade, stop): the stream continues when that node is back.
    Left,
}

impl Ending {
    /// The ending of a stage whose inputs ended as `self` and as `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Left { self } else { other }
    }
}
