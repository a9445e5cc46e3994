//! The books of an edge: every frame sent is delivered, a duplicate, dropped for a named cause, or in flight. The
//! counters are the metrics themselves, so that reports and scraped values cannot differ.

use heqis_core::{Counter, DropCause, EdgeReport, EdgeSide, FrameOutcome, Metrics};

/// The running counts of one edge, or of one side of a bridged edge.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    sent: Counter,
    outcomes: [Counter; FrameOutcome::COUNT],
}

impl Books {
    pub(crate) fn open(metrics: &Metrics, edge: &str) -> Self {
        let counter = |outcome: &str| metrics.edge_frames(edge, outcome);
        let mut names = vec!["delivered".to_owned(), "duplicate".to_owned()];
        names.extend(DropCause::ALL.map(|cause| format!("dropped_{}", cause.name())));
        Self {
            sent: counter("sent"),
            outcomes: std::array::from_fn(|index| counter(&names[index])),
        }
    }

    pub(crate) fn sent(&self, frames: u64) {
        self.sent.add(frames);
    }

    pub(crate) fn close(&self, outcome: FrameOutcome, frames: u64) {
        self.outcomes[outcome.index()].add(frames);
    }

    pub(crate) fn dropped(&self, cause: DropCause, frames: u64) {
        self.close(FrameOutcome::Dropped(cause), frames);
    }

    /// Sums up; `in_flight` is the number of frames that the caller counts on queues and in process, independently of the
    /// books.
    pub(crate) fn report(&self, edge: &str, side: EdgeSide, in_flight: u64) -> EdgeReport {
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
