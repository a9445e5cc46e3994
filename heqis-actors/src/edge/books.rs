//! The books of an edge: every frame sent is delivered, found to be a duplicate, dropped for a named cause, or in
//! flight. Counters are the metrics themselves, so what is printed and what is scraped cannot differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bridge::ClockOffset;
use crate::metrics::{Counter, Metrics};

/// Why a frame was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Cause {
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
    /// Still under way when the drain timeout ended the node.
    Shutdown,
    /// The stage failed on it twice, or had used up its restart budget.
    StageFailed,
    /// The stage cannot process this frame, and is well.
    Refused,
}

impl Cause {
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

/// What became of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The consuming stage is done with it.
    Delivered,
    /// It had been delivered before.
    Duplicate,
    /// It is lost.
    Dropped(Cause),
}

impl Outcome {
    /// Number of different outcomes.
    pub(crate) const COUNT: usize = 2 + Cause::ALL.len();

    /// Position in a table of counts: delivered, duplicate, then the causes.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Delivered => 0,
            Self::Duplicate => 1,
            Self::Dropped(cause) => 2 + cause as usize,
        }
    }

    pub(crate) fn from_index(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::Delivered,
            1 => Self::Duplicate,
            _ => Self::Dropped(*Cause::ALL.get(index - 2)?),
        })
    }
}

/// The running counts of one edge, or of one side of a bridged edge.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    sent: Counter,
    outcomes: [Counter; Outcome::COUNT],
}

impl Books {
    pub(crate) fn open(metrics: &Metrics, edge: &str) -> Self {
        let counter = |outcome: &str| metrics.edge_frames(edge, outcome);
        let mut names = vec!["delivered".to_owned(), "duplicate".to_owned()];
        names.extend(Cause::ALL.map(|cause| format!("dropped_{}", cause.name())));
        Self {
            sent: counter("sent"),
            outcomes: std::array::from_fn(|index| counter(&names[index])),
        }
    }

    pub(crate) fn sent(&self, frames: u64) {
        self.sent.add(frames);
    }

    pub(crate) fn close(&self, outcome: Outcome, frames: u64) {
        self.outcomes[outcome.index()].add(frames);
    }

    pub(crate) fn dropped(&self, cause: Cause, frames: u64) {
        self.close(Outcome::Dropped(cause), frames);
    }

    /// Sums up; `in_flight` is what the caller finds on queues and in hands, counted independently of the books.
    pub(crate) fn report(&self, edge: &str, side: Side, in_flight: u64) -> EdgeReport {
        EdgeReport {
            edge: edge.to_owned(),
            side,
            sent: self.sent.get(),
            delivered: self.outcomes[Outcome::Delivered.index()].get(),
            duplicate: self.outcomes[Outcome::Duplicate.index()].get(),
            dropped: Cause::ALL
                .into_iter()
                .map(|cause| (cause, self.outcomes[Outcome::Dropped(cause).index()].get()))
                .filter(|(_, frames)| *frames > 0)
                .collect(),
            in_flight,
            connected: None,
            credits: None,
            clock: None,
            waits: None,
            in_doubt: None,
            lossless: false,
        }
    }
}

/// Frames that the sending half of an at-least-once edge had sent when it ended, and of which it did not hear the
/// outcome: the other node may have done them or not, and recognises them when they come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InDoubt {
    /// How many; they are among those dropped for `shutdown`.
    pub frames: u64,
    /// Number of the first one on the edge.
    pub first_seq: u64,
    /// Number of the last one.
    pub last_seq: u64,
    /// Position in its stream of the first one.
    pub first_position: u64,
    /// Position in its stream of the last one.
    pub last_position: u64,
}

/// Which part of an edge a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both ends are on this node.
    Local,
    /// The whole bridged edge, as the sending node knows it from acknowledgements.
    Sender,
    /// The receiving node's part: `sent` is what arrived.
    Receiver,
    /// The queue inside a ring buffer.
    Ring,
}

/// The books of one edge at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// `from->to`, or the stage's name for the queue inside a ring buffer.
    pub edge: String,
    /// Which part of the edge this is.
    pub side: Side,
    /// Frames that the upstream put on the edge.
    pub sent: u64,
    /// Frames that the consuming stage is done with.
    pub delivered: u64,
    /// Frames that had been delivered before a restart and were not processed again.
    pub duplicate: u64,
    /// Lost frames by cause; causes without a loss are left out.
    pub dropped: BTreeMap<Cause, u64>,
    /// Frames found on queues, on the wire and in the consumer's hand.
    pub in_flight: u64,
    /// Whether a bridged edge has a live connection; `None` on every other edge.
    #[serde(default)]
    pub connected: Option<bool>,
    /// Frames that the receiver still takes, as the sender of a bridged edge knows it.
    #[serde(default)]
    pub credits: Option<u64>,
    /// How far the clock of the node at the other end of a bridged edge is ahead, while that is known.
    #[serde(default)]
    pub clock: Option<ClockOffset>,
    /// For whom a half of a bridged edge waits, and why, while it has no connection.
    #[serde(default)]
    pub waits: Option<String>,
    /// Frames whose outcome the sending half did not hear before it ended.
    #[serde(default)]
    pub in_doubt: Option<InDoubt>,
    /// Whether the edge promises to lose nothing: its policy is `block`, and its delivery `at-least-once` where it is bridged.
    #[serde(default)]
    pub lossless: bool,
}

impl EdgeReport {
    /// Lost frames of all causes.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether `sent = delivered + duplicate + dropped + in flight`.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.sent == self.delivered + self.duplicate + self.dropped_total() + self.in_flight
    }
}
