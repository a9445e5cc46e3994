//! The most recent events of this node's graph.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use heqis_actors::{Event as GraphEvent, Events as GraphEvents};
use heqis_dashboard::live::{Event, EventKind, Level};

use super::words::now_ms;

/// Events that are kept.
const ROOM: usize = 1_000;

/// A bounded list of events, numbered in order.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    kept: Mutex<(u64, VecDeque<Event>)>,
}

impl EventLog {
    pub(super) fn add(
        &self,
        at_ms: i64,
        node: &str,
        kind: EventKind,
        level: Level,
        subject: &str,
        cause: Option<String>,
    ) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, events) = &mut *kept;
        *last += 1;
        if events.len() == ROOM {
            events.pop_front();
        }
        events.push_back(Event {
            n: *last,
            at_ms,
            node: node.to_owned(),
            kind,
            level,
            subject: subject.to_owned(),
            cause,
        });
    }

    /// Returns the newest `most` events before number `before`, newest first, and whether older ones are kept.
    pub(super) fn before(&self, before: Option<u64>, most: usize) -> (Vec<Event>, bool) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut older = kept
            .1
            .iter()
            .rev()
            .filter(|event| before.is_none_or(|before| event.n < before));
        let rows = older.by_ref().take(most).cloned().collect();
        (rows, older.next().is_some())
    }
}

/// Records the events of the graph of `node` until it has ended.
pub(super) fn listen(log: &Arc<EventLog>, node: String, mut events: GraphEvents) {
    let log = log.clone();
    actix_rt::spawn(async move {
        while let Some(event) = events.recv_async().await {
            match converted(&event) {
                Some((kind, level, subject, cause)) => {
                    log.add(now_ms(), &node, kind, level, &subject, cause);
                }
                None => tracing::debug!(?event, "the page shows no such event"),
            }
        }
    });
}

fn converted(event: &GraphEvent) -> Option<(EventKind, Level, String, Option<String>)> {
    use Level::{Error, Info, Warning};
    let own = String::new;
    Some(match event {
        GraphEvent::Ready => (EventKind::Ready, Info, own(), None),
        GraphEvent::Stopping => (EventKind::Stopping, Info, own(), None),
        GraphEvent::StageFailed { stage, reason } => (
            EventKind::StageFailed,
            Error,
            stage.clone(),
            Some(reason.clone()),
        ),
        GraphEvent::StageRestarted { stage } => {
            (EventKind::StageRestarted, Warning, stage.clone(), None)
        }
        GraphEvent::StageEnded { stage } => (EventKind::StageEnded, Info, stage.clone(), None),
        GraphEvent::LinkUp { edge } => (EventKind::LinkUp, Info, edge.clone(), None),
        GraphEvent::FrameRefused {
            stage,
            reason,
            left_out,
        } => (
            EventKind::FrameRefused,
            Warning,
            stage.clone(),
            Some(counted(reason, *left_out)),
        ),
        GraphEvent::LinkWaits { edge, peer, reason } => (
            EventKind::LinkWaits,
            Warning,
            edge.clone(),
            Some(format!("{peer}: {reason}")),
        ),
        GraphEvent::LinkDown {
            edge,
            reason,
            left_out,
        } => (
            EventKind::LinkDown,
            Error,
            edge.clone(),
            Some(counted(reason, *left_out)),
        ),
        GraphEvent::PeerRejected {
            edge,
            reason,
            left_out,
            ..
        } => (
            EventKind::PeerRejected,
            Warning,
            edge.clone(),
            Some(counted(reason, *left_out)),
        ),
        GraphEvent::WindowFull {
            edge,
            reason,
            left_out,
        } => (
            EventKind::WindowFull,
            Error,
            edge.clone(),
            Some(counted(reason, *left_out)),
        ),
        GraphEvent::FramesOverlap {
            edge,
            reason,
            left_out,
        } => (
            EventKind::FramesOverlap,
            Warning,
            edge.clone(),
            Some(counted(reason, *left_out)),
        ),
        GraphEvent::PeerStalled { peer, reason } => (
            EventKind::PeerStalled,
            Error,
            peer.clone(),
            Some(reason.clone()),
        ),
        GraphEvent::BudgetOverrun { stage, age_ns } => {
            let cause = format!("a frame was {:.0} µs old", *age_ns as f64 / 1e3);
            (
                EventKind::BudgetOverrun,
                Warning,
                stage.clone(),
                Some(cause),
            )
        }
        _ => return None,
    })
}

/// Returns a reason, with the number of events of its kind that were left out before it.
fn counted(reason: &str, left_out: u64) -> String {
    match left_out {
        0 => reason.to_owned(),
        times => format!("{reason} ({times} more before it)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_paged_backwards() {
        let log = EventLog::default();
        for at in 0..ROOM as i64 + 5 {
            log.add(at, "n", EventKind::LinkUp, Level::Info, "a->b", None);
        }
        let (newest, more) = log.before(None, 2);
        assert_eq!((newest[0].n, newest[1].n, more), (1_005, 1_004, true));
        let (all, more) = log.before(Some(1_004), 5_000);
        assert_eq!(
            (all.len(), all[0].n, all[997].n, more),
            (998, 1_003, 6, false)
        );
    }
}
