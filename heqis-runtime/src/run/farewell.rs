//! The last report of a node, kept for those who have asked for reports, so that they see how it ended.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use heqis_actors::Clock;

/// The header of a report by which a node says that its stages have ended.
pub(super) const ENDED: &str = "heqis-ended";

/// The header of a report by which a node says which board its machine is.
pub(super) const BOARD: &str = "heqis-board";

/// A node that received a request within this time waits until its last report is fetched.
const RECENT: Duration = Duration::from_secs(3);
/// How long a node waits at most until its last report is fetched.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Who has asked for reports, and whether the last one was fetched.
#[derive(Debug)]
pub(crate) struct Farewell {
    clock: Clock,
    /// When a report was requested last, nanoseconds; 0 for never.
    asked_ns: AtomicI64,
    ended: AtomicBool,
    fetched: AtomicBool,
}

impl Farewell {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            asked_ns: AtomicI64::new(0),
            ended: AtomicBool::new(false),
            fetched: AtomicBool::new(false),
        }
    }

    /// Notes a request, and returns whether it gets the last report.
    pub(super) fn asked(&self) -> bool {
        let now_ns = self.clock.now_ns().max(1);
        self.asked_ns.store(now_ns, Ordering::Release);
        let ended = self.ended.load(Ordering::Acquire);
        if ended {
            self.fetched.store(true, Ordering::Release);
        }
        ended
    }

    /// Marks the stages as ended.
    pub(super) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Waits until the last report was fetched, where a report was requested recently.
    pub(super) async fn linger(&self) {
        let now_ns = self.clock.now_ns();
        let asked_ns = self.asked_ns.load(Ordering::Acquire);
        let recent_ns = i64::try_from(RECENT.as_nanos()).unwrap_or(i64::MAX);
        if asked_ns == 0 || now_ns - asked_ns > recent_ns {
            return;
        }
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if self.fetched.load(Ordering::Acquire) {
                return;
            }
            actix_rt::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_request_leaves_at_once_and_another_once_its_last_report_is_fetched() {
        actix_rt::System::new().block_on(async {
            let alone = Farewell::new(Clock::real());
            alone.ended();
            alone.linger().await;
            assert!(!alone.fetched.load(Ordering::Acquire));

            let asked = std::rc::Rc::new(Farewell::new(Clock::real()));
            assert!(!asked.asked());
            asked.ended();
            let waits = asked.clone();
            let leaving = actix_rt::spawn(async move { waits.linger().await });
            actix_rt::task::yield_now().await;
            assert!(!leaving.is_finished());
            assert!(asked.asked());
            assert!(leaving.await.is_ok());
        });
    }
}
