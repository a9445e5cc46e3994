//! The books of an edge: every frame sent is delivered, a duplicate, dropped for a named cause, or in flight. The
//! counters are the metrics themselves, so that reports and scraped values cannot differ.

use crate::metrics::{Counter, Metrics};
use crate::outcome::{DropCause, FrameOutcome};
use crate::report::{EdgeReport, EdgeSide};

/// The running counts of one edge, or of one side of a bridged edge.
#[derive(Clone, Debug)]
pub struct Books {
    sent: Counter,
    outcomes: [Counter; FrameOutcome::COUNT],
}

impl Books {
    /// The books of `edge`, exported by `metrics`.
    pub fn open(metrics: &Metrics, edge: &str) -> Self {
        let counter = |outcome: &str| metrics.edge_frames(edge, outcome);
        let mut names = vec!["delivered".to_owned(), "duplicate".to_owned()];
        names.extend(DropCause::ALL.map(|cause| format!("dropped_{}", cause.name())));
        Self {
            sent: counter("sent"),
            outcomes: std::array::from_fn(|index| counter(&names[index])),
        }
    }

    /// Books frames that were put on the edge.
    #[inline]
    pub fn sent(&self, frames: u64) {
        self.sent.add(frames);
    }

    /// Books the outcome of frames.
    #[inline]
    pub fn close(&self, outcome: FrameOutcome, frames: u64) {
        self.outcomes[outcome.index()].add(frames);
    }

    /// Books frames as dropped.
    #[inline]
    pub fn dropped(&self, cause: DropCause, frames: u64) {
        self.close(FrameOutcome::Dropped(cause), frames);
    }

    /// Sums up; `in_flight` is the number of frames that the caller counts on queues and in process, independently of the
    /// books.
    pub fn report(&self, edge: &str, side: EdgeSide, in_flight: u64) -> EdgeReport {
        let of = |outcome: FrameOutcome| self.outcomes[outcome.index()].get();
        let mut report = EdgeReport::new(edge, side);
        report.sent = self.sent.get();
        report.delivered = of(FrameOutcome::Delivered);
        report.duplicate = of(FrameOutcome::Duplicate);
        report.dropped = DropCause::ALL
            .into_iter()
            .map(|cause| (cause, of(FrameOutcome::Dropped(cause))))
            .filter(|(_, frames)| *frames > 0)
            .collect();
        report.in_flight = in_flight;
        report
    }
}
