//! Reports of a node: the books of its edges, the figures of its stages, and what it waits for.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::ClockOffset;
use crate::outcome::DropCause;

/// The books and figures of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeReport {
    /// Name of the topology.
    pub topology: String,
    /// Name of the node.
    pub node: String,
    /// Why the graph ended itself, when it did.
    pub failure: Option<String>,
    /// Whether the node left before its streams were complete.
    #[serde(default)]
    pub left: bool,
    /// Whether frames dropped because the node left are emitted again after its restart: each of its sources is replayable.
    #[serde(default)]
    pub resumable: bool,
    /// Books of each edge and each half of a bridged edge.
    pub edges: Vec<EdgeReport>,
    /// Figures of each stage.
    pub stages: Vec<StageReport>,
}

impl NodeReport {
    /// Whether the graph ended without a failure, its books close, and nothing was lost: [`NodeReport::lost`] is empty.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let overlaps = |edge: &EdgeReport| edge.overlapping > 0;
        self.books_close() && self.lost().is_empty() && !self.edges.iter().any(overlaps)
    }

    /// Frames that were lost and that no policy of their edge allows to lose, by edge and cause: a lossless edge may drop
    /// frames above its age limit only, any other also those that its policy or a broken link costs. Frames dropped because
    /// the graph was stopped are always listed.
    #[must_use]
    pub fn lost(&self) -> Vec<Loss> {
        let of_edge = |edge: &EdgeReport| {
            let loss = |(&cause, &frames): (&DropCause, &u64)| {
                let allowed = match cause {
                    DropCause::Age => true,
                    DropCause::Capacity
                    | DropCause::Superseded
                    | DropCause::Gap
                    | DropCause::LinkDown => !edge.lossless,
                    DropCause::Decode
                    | DropCause::Shutdown
                    | DropCause::StageFailed
                    | DropCause::Refused => false,
                };
                (!allowed && frames > 0).then(|| Loss {
                    edge: edge.edge.clone(),
                    side: edge.side,
                    cause,
                    frames,
                    in_doubt: edge.in_doubt.filter(|_| cause == DropCause::Shutdown),
                })
            };
            edge.dropped.iter().filter_map(loss).collect::<Vec<_>>()
        };
        self.edges.iter().flat_map(of_edge).collect()
    }

    /// Whether the graph ended without a failure, and all books close with no frame in flight.
    #[must_use]
    pub fn books_close(&self) -> bool {
        let closed = |edge: &EdgeReport| edge.closes() && edge.in_flight == 0;
        self.failure.is_none() && self.edges.iter().all(closed)
    }

    /// Frames that the lossless `edge` has lost for good, restarts of the node included. Frames above the edge's age limit are not counted, nor are those
    /// dropped because the node left where its sources are replayable.
    #[must_use]
    pub fn lost_on(&self, edge: &EdgeReport) -> u64 {
        let lost = edge.dropped.iter().filter(|(cause, _)| match cause {
            DropCause::Age => false,
            DropCause::Shutdown => !self.resumable,
            _ => true,
        });
        match edge.lossless {
            true => lost.map(|(_, frames)| frames).sum(),
            false => 0,
        }
    }
}

/// Frames of an edge that were lost, though its policy does not allow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// `from->to`, or the stage's name for the queue inside a ring buffer.
    pub edge: String,
    /// Which part of the edge has booked it.
    pub side: EdgeSide,
    /// Why.
    pub cause: DropCause,
    /// How many.
    pub frames: u64,
    /// Those of the frames, dropped for `shutdown`, that another node may have processed.
    pub in_doubt: Option<InDoubt>,
}

/// Frames that the sending half of an at-least-once edge had sent when it ended, and whose outcome it did not know: the
/// other node may have processed them or not, and recognises them when they are sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
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

/// Which part of an edge a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeSide {
    /// Both ends are on this node.
    Local,
    /// The whole bridged edge, as the sending node knows it from acknowledgements.
    Sender,
    /// The receiving node's part: `sent` is what arrived.
    Receiver,
    /// The queue inside a ring buffer.
    Ring,
    /// The queue of a channel into the graph.
    Channel,
}

impl EdgeSide {
    /// Its name in reports and on the page.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Ring => "ring",
            Self::Channel => "channel",
        }
    }
}

/// The books of one edge at one moment.
///
/// ```
/// use heqis_actors::EdgeReport;
///
/// let report: EdgeReport = serde_json::from_str(
///     r#"{ "edge": "market->signal", "side": "local", "sent": 10, "delivered": 7, "duplicate": 0,
///          "dropped": { "capacity": 2 }, "in_flight": 1 }"#,
/// )?;
/// assert!(report.closes());
/// assert_eq!(report.dropped_total(), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EdgeReport {
    /// `from->to`, or the stage's name for the queue inside a ring buffer or of a channel.
    pub edge: String,
    /// Which part of the edge this is.
    pub side: EdgeSide,
    /// Frames that the upstream put on the edge.
    pub sent: u64,
    /// Frames that the consuming stage is done with.
    pub delivered: u64,
    /// Frames that were delivered before a restart and not processed again.
    pub duplicate: u64,
    /// Lost frames by cause; causes without a loss are left out.
    pub dropped: BTreeMap<DropCause, u64>,
    /// Frames on queues, on the wire and in process at the consumer.
    pub in_flight: u64,
    /// Whether a bridged edge has a live connection; `None` on every other edge.
    #[serde(default)]
    pub connected: Option<bool>,
    /// Frames that the receiver still accepts, as the sender of a bridged edge knows it.
    #[serde(default)]
    pub credits: Option<u64>,
    /// How far the clock of the node at the other end of a bridged edge is ahead, while that is known.
    #[serde(default)]
    pub clock: Option<ClockOffset>,
    /// The node that a half of a bridged edge waits for, and why, while it has no connection; or that its window is full.
    #[serde(default)]
    pub waits: Option<String>,
    /// Frames whose outcome the sending half did not know when it ended.
    #[serde(default)]
    pub in_doubt: Option<InDoubt>,
    /// Whether the edge promises to lose nothing: its policy is `block`, and its delivery `at-least-once` where it is bridged.
    #[serde(default)]
    pub lossless: bool,
    /// Frames made from items of which other frames had completed a part: those items count twice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overlapping: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl EdgeReport {
    /// A report without any frame.
    #[must_use]
    pub fn new(edge: impl Into<String>, side: EdgeSide) -> Self {
        Self {
            edge: edge.into(),
            side,
            sent: 0,
            delivered: 0,
            duplicate: 0,
            dropped: BTreeMap::new(),
            in_flight: 0,
            connected: None,
            credits: None,
            clock: None,
            waits: None,
            in_doubt: None,
            lossless: false,
            overlapping: 0,
        }
    }

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

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quantiles {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
}

impl Quantiles {
    /// The quantiles of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            p50_us: us(histogram.value_at_quantile(0.5)),
            p99_us: us(histogram.value_at_quantile(0.99)),
            p999_us: us(histogram.value_at_quantile(0.999)),
            max_us: us(histogram.max()),
        }
    }
}

/// The figures of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StageReport {
    /// Name in the topology.
    pub stage: String,
    /// Frames processed.
    pub frames: u64,
    /// Time from taking a frame until the stage is done with it.
    pub latency: Quantiles,
    /// Time from the frame's birth at its source until the stage is done with it.
    pub age: Quantiles,
    /// Times the stage was rebuilt.
    pub restarts: u64,
    /// Counts of the stage, by event name.
    pub events: Vec<(String, u64)>,
    /// Notes of the stage, by name.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

/// State of one half of a bridged edge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkState {
    /// The edge.
    pub edge: String,
    /// Which half.
    pub side: EdgeSide,
    /// Whether it has a live connection.
    pub up: bool,
    /// Whether it has ended.
    pub ended: bool,
}

impl LinkState {
    /// The state of a half that is down and has not ended.
    #[must_use]
    pub fn new(edge: impl Into<String>, side: EdgeSide) -> Self {
        Self {
            edge: edge.into(),
            side,
            up: false,
            ended: false,
        }
    }
}

/// Something on this node that waits for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The edge or stage that waits.
    pub subject: String,
    /// What it waits for, and why.
    pub reason: String,
    /// Start of the wait, nanoseconds of the node's clock.
    pub since_ns: i64,
}

impl Waiting {
    /// States that `subject` waits for `reason` since this time of the node's clock.
    #[must_use]
    pub fn new(subject: impl Into<String>, reason: impl Into<String>, since_ns: i64) -> Self {
        Self {
            subject: subject.into(),
            reason: reason.into(),
            since_ns,
        }
    }
}
