//! Whether a graph has done everything that it can do without further input and time, and its end as if it was killed: for
//! tests.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::handle::GraphHandle;
use heqis_core::NodeReport;

/// How often a probe lets everything else on its arbiter go first.
const YIELDS: usize = 8;

impl GraphHandle {
    /// Waits until no frame moves any more, at most for `limit`; returns whether that is so. Frames that wait for a program,
    /// for another node or for a later time stay where they are.
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds the wait in real time, whatever the graph's clock is"
    )]
    pub(crate) async fn settled(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        let mut before = None;
        while begun.elapsed() < limit && !*self.ended.borrow() {
            self.probe().await;
            // Nothing was rung during the last round, and nothing has moved since the round before it.
            let now = self.reporter.control.is_quiet().then(|| self.moved());
            if now.is_some() && now == before {
                return true;
            }
            before = now;
        }
        *self.ended.borrow()
    }

    /// Waits until every arbiter has done what it had to do.
    async fn probe(&self) {
        let mut answers = Vec::new();
        for (_, arbiter, _) in self.arbiters() {
            let (answer, answered) = oneshot::channel::<()>();
            arbiter.spawn(async move {
                for _ in 0..YIELDS {
                    tokio::task::yield_now().await;
                }
                drop(answer);
            });
            answers.push(answered);
        }
        for answered in answers {
            // An arbiter that has ended drops its end.
            let _ = answered.await;
        }
    }

    /// Changes with every frame that moves.
    fn moved(&self) -> (u64, u64) {
        let edges = self.reporter.report().edges;
        let moved = |(sent, done), edge: &heqis_core::EdgeReport| {
            let out = edge.delivered + edge.duplicate + edge.dropped_total();
            (sent + edge.sent, done + out)
        };
        edges.iter().fold((0, 0), moved)
    }

    /// Ends the graph as if its process was killed: from the call on nothing is saved, and no frame is acknowledged.
    pub(crate) fn kill(self) -> NodeReport {
        self.reporter.control.kill();
        self.wait_blocking()
    }
}
