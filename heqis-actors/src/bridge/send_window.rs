//! The frames that a sender has sent and whose outcome it does not know, and the numbers up to which it may send.
//!
//! ```text
//! 1 ▸ … ▸ done ▸ … ▸ cursor ▸ … ▸ next_seq          limit
//! have an outcome  ╰ in flight ╯╰ to be sent again ╯     ╰ new frames up to here
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::conn::LinkError;
use crate::edge::{Edge, Pop};
use heqis_core::link::dedup_log::{DedupLog, FrameId};
use heqis_core::link::messages::{Ack, PositionRange, Welcome};
use heqis_core::{AnyFrame, Head};
use heqis_core::{DropCause, Ending, FrameOutcome, InDoubt, Merged, Origin};

/// The numbers and frames of one sending half.
pub(super) struct SendWindow {
    edge: Arc<Edge>,
    /// Whether frames are retained until they have an outcome: the edge is at-least-once.
    keeps: bool,
    /// Most frames retained without an acknowledgement.
    retain: usize,
    /// Number of the next new frame.
    next_seq: u64,
    /// Everything up to here has an outcome.
    done: u64,
    /// Number of the next frame to put on the wire; below `next_seq` while frames are sent again.
    cursor: u64,
    /// The receiver accepts numbers up to this one.
    limit: u64,
    /// Frames sent and not done, oldest first; only on an at-least-once edge.
    retained: VecDeque<(u64, AnyFrame)>,
    /// Frames sent and without an outcome yet.
    in_flight: u64,
    /// The highest number that was booked as lost with the link; only on an at-most-once edge.
    lost: u64,
    /// The receiver's session with this half, and the outcomes that it has reported.
    session: Option<u64>,
    reported: [u64; FrameOutcome::COUNT],
    /// Positions that the receiver is done with since an earlier sender instance.
    done_before: Vec<PositionRange>,
    /// The frames that a receiver was done with, over the life of this process, without those of `run`.
    acknowledged: DedupLog,
    /// The last run of them.
    run: Option<PositionRange>,
    /// Origins of the last new frame, and which of the frames with those origins it was.
    last_origin: Option<(Origin, Option<Arc<Merged>>)>,
    part: u32,
    /// Whether the receiver takes merged frames.
    takes_merged: bool,
    /// Frames of the restored state that the next node may not have; they are sent before any other.
    restored: VecDeque<AnyFrame>,
    /// Frames that this half has dropped because the node leaves, where its state is saved with them.
    left: Option<Vec<AnyFrame>>,
}

/// What is sent next.
pub(super) enum Due<'a> {
    /// A frame that was sent before, with its number.
    Again(u64, &'a AnyFrame),
    /// A new frame, which gets [`SendWindow::next_seq`] when it is sent.
    New(AnyFrame),
    /// The stages in front of the edge have ended.
    End(Ending),
    /// Nothing for now.
    Nothing,
}

impl SendWindow {
    pub(super) fn new(edge: Arc<Edge>, keeps: bool, retain: usize) -> Self {
        Self {
            edge,
            keeps,
            retain,
            next_seq: 1,
            done: 0,
            cursor: 1,
            limit: 0,
            retained: VecDeque::new(),
            in_flight: 0,
            lost: 0,
            session: None,
            reported: [0; FrameOutcome::COUNT],
            done_before: Vec::new(),
            acknowledged: DedupLog::default(),
            run: None,
            last_origin: None,
            part: 0,
            takes_merged: true,
            restored: VecDeque::new(),
            left: None,
        }
    }

    /// The lowest number that may still be sent.
    pub(super) fn first_seq(&self) -> u64 {
        if self.keeps {
            self.done + 1
        } else {
            self.next_seq
        }
    }

    /// The longest ranges of frames that a receiver was done with. A restarted one learns them: it would take frames that a
    /// restarted sender sends again for new ones.
    pub(super) fn acknowledged(&mut self) -> Vec<PositionRange> {
        if let Some(run) = self.run.take() {
            self.acknowledged.insert(run);
        }
        self.acknowledged.done()
    }

    /// Adds a frame that the receiver is done with.
    fn note_done(&mut self, head: &Head) {
        let id = FrameId::of(head);
        for item in id.items() {
            match &mut self.run {
                Some(run)
                    if (run.stream, run.part) == (item.stream, item.part)
                        && run.last.checked_add(1) == Some(item.first) =>
                {
                    run.last = item.last;
                }
                run => {
                    if let Some(before) = run.replace(item) {
                        self.acknowledged.insert(before);
                    }
                }
            }
        }
    }

    /// How many frames are retained without an acknowledgement, and how many have one.
    pub(super) fn open(&self) -> (u64, u64) {
        (self.retained.len() as u64, self.done)
    }

    /// Number of the next new frame.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Frames that the receiver still accepts. The peer chooses the limit, which may be any number.
    pub(super) fn credits(&self) -> u64 {
        self.limit.saturating_sub(self.cursor - 1)
    }

    /// Whether every frame has its outcome.
    pub(super) fn is_done(&self) -> bool {
        self.done + 1 == self.next_seq
    }

    /// Handles a welcome: the last number received, the positions of earlier senders, and whether merged frames are taken.
    pub(super) fn welcomed(
        &mut self,
        welcome: &Welcome,
        takes_merged: bool,
    ) -> Result<(), LinkError> {
        self.takes_merged = takes_merged;
        if !takes_merged
            && self
                .retained
                .iter()
                .any(|(_, frame)| frame.head.merged.is_some())
        {
            return Err(merged_refused());
        }
        if welcome.received >= self.next_seq {
            return Err(LinkError::Protocol(format!(
                "the receiver has frame {}, the last one sent is {}",
                welcome.received,
                self.next_seq - 1
            )));
        }
        let remembered = self.session == Some(welcome.session);
        if !remembered {
            self.session = Some(welcome.session);
            self.reported = [0; FrameOutcome::COUNT];
            for range in welcome.done.iter().filter(|_| self.keeps) {
                self.acknowledged.insert(*range);
            }
            self.done_before = self.acknowledged();
        }
        if self.keeps {
            let confirmed = if remembered { welcome.received } else { 0 };
            self.cursor = confirmed.max(self.done) + 1;
        } else {
            // Frames that the receiver does not have are lost; it learns of them by the jump in the numbers. Those lost
            // with an earlier connection were booked then, although the receiver still expects them.
            let confirmed = welcome.received.max(self.done).max(self.lost);
            let lost = if remembered {
                self.next_seq - 1 - confirmed
            } else {
                self.in_flight
            };
            self.lost = self.next_seq - 1;
            self.close(FrameOutcome::Dropped(DropCause::LinkDown), lost);
            if !remembered {
                self.done = self.next_seq - 1;
            }
            self.cursor = self.next_seq;
        }
        self.limit = welcome.limit;
        Ok(())
    }

    /// Handles an acknowledgement: outcomes, and the number up to which frames may be sent.
    pub(super) fn acknowledge(&mut self, ack: &Ack) -> Result<(), LinkError> {
        let refuse = |fault: String| {
            Err(LinkError::Protocol(format!(
                "acknowledges frame {}: {fault}",
                ack.done
            )))
        };
        let (done, last) = (self.done, self.next_seq - 1);
        if !(done..=last).contains(&ack.done) {
            return refuse(format!("{done} was acknowledged and {last} sent"));
        }
        let Ok(outcomes) = <[u64; FrameOutcome::COUNT]>::try_from(&ack.outcomes[..]) else {
            return refuse(format!(
                "{} kinds of outcomes are not {}",
                ack.outcomes.len(),
                FrameOutcome::COUNT
            ));
        };
        // One outcome for each frame that is newly done, except those that this side has booked as lost: a receiver that
        // counts otherwise would break the books of this side.
        let newly_done = ack.done - done;
        let counts = outcomes
            .iter()
            .zip(&self.reported)
            .map(|(&now, &before)| now.checked_sub(before));
        let news = counts
            .into_iter()
            .try_fold(0u64, |sum, count| sum.checked_add(count?));
        if !news.is_some_and(|news| {
            if self.keeps {
                news == newly_done
            } else {
                news <= newly_done.min(self.in_flight)
            }
        }) {
            return refuse(format!(
                "outcomes {outcomes:?} after {:?} are not those of {newly_done} frames",
                self.reported
            ));
        }
        for (index, (now, before)) in outcomes
            .into_iter()
            .zip(std::mem::replace(&mut self.reported, outcomes))
            .enumerate()
        {
            if now > before
                && let Some(outcome) = FrameOutcome::from_index(index)
            {
                self.close(outcome, now - before);
            }
        }
        self.limit = self.limit.max(ack.limit);
        self.done = ack.done;
        while let Some((seq, _)) = self.retained.front()
            && *seq <= self.done
        {
            if let Some((_, frame)) = self.retained.pop_front() {
                self.note_done(&frame.head);
            }
        }
        Ok(())
    }

    /// Returns what is sent next, within credit and window.
    pub(super) fn due(&mut self, now_ns: i64) -> Result<Due<'_>, LinkError> {
        if self.cursor > self.limit {
            return Ok(Due::Nothing);
        }
        if self.cursor < self.next_seq {
            let kept = self
                .retained
                .front()
                .map(|(first, _)| self.cursor - first)
                .and_then(|offset| self.retained.get(usize::try_from(offset).ok()?));
            return match kept {
                Some((seq, frame)) => Ok(Due::Again(*seq, frame)),
                None => Err(LinkError::Protocol(format!(
                    "frame {} is no longer retained",
                    self.cursor
                ))),
            };
        }
        while self.retained.len() < self.retain {
            if let Some(frame) = self.restored.pop_front() {
                self.edge.adopt();
                if self.is_done_before(&frame) {
                    self.edge.done(FrameOutcome::Duplicate, 1);
                    continue;
                }
                return self.checked(frame);
            }
            let mut frame = match self.edge.pop(0, now_ns) {
                Pop::Frame(frame) => frame,
                Pop::Empty => break,
                Pop::Ended(ending) => return Ok(Due::End(ending)),
            };
            if frame.head.warm_up {
                self.edge.done(FrameOutcome::Delivered, 1);
                continue;
            }
            frame.head.part = self.part_of(&frame.head);
            if !self.is_done_before(&frame) {
                return self.checked(frame);
            }
            self.edge.done(FrameOutcome::Duplicate, 1);
        }
        Ok(Due::Nothing)
    }

    /// A new frame, if the receiver takes frames of its kind.
    fn checked(&mut self, frame: AnyFrame) -> Result<Due<'_>, LinkError> {
        if frame.head.merged.is_some() && !self.takes_merged {
            self.requeue(frame);
            return Err(merged_refused());
        }
        Ok(Due::New(frame))
    }

    /// The frames that the next node is not known to be done with, in their order.
    pub(super) fn snapshot(&mut self) -> Vec<AnyFrame> {
        let retained = self.retained.iter().map(|(_, frame)| frame);
        let left = self.left.iter().flatten();
        let mut frames: Vec<_> = left
            .chain(retained)
            .chain(&self.restored)
            .cloned()
            .collect();
        let (last, part) = (self.last_origin.clone(), self.part);
        let edge = self.edge.clone();
        edge.waiting(|frame| {
            if !frame.head.warm_up {
                let mut frame = frame.clone();
                frame.head.part = self.part_of(&frame.head);
                frames.push(frame);
            }
        });
        (self.last_origin, self.part) = (last, part);
        frames
    }

    /// Keeps the frames that are dropped from now on for [`SendWindow::snapshot`].
    pub(super) fn keep_left(&mut self) {
        if self.left.is_none() {
            let retained = self.retained.iter().map(|(_, frame)| frame.clone());
            self.left = Some(retained.chain(std::mem::take(&mut self.restored)).collect());
        }
    }

    /// Sends frames of a restored state first.
    pub(super) fn restore(&mut self, frames: impl IntoIterator<Item = AnyFrame>) {
        self.restored = frames.into_iter().collect();
    }

    /// Which of the frames of its origins a new frame is. The frames that a stage derives from one item are consecutive.
    fn part_of(&mut self, head: &Head) -> u32 {
        let origin = (head.origin, head.merged.clone());
        self.part = match &self.last_origin {
            Some(last) if *last == origin => self.part + 1,
            _ => 0,
        };
        self.last_origin = Some(origin);
        self.part
    }

    /// Whether the receiver is done with a new frame, which an earlier sender has sent.
    fn is_done_before(&self, frame: &AnyFrame) -> bool {
        let head = &frame.head;
        if self.done_before.is_empty() {
            return false;
        }
        let id = FrameId::of(head);
        let mut items = id.items().peekable();
        // A frame that completes no item is recognised by the receiver.
        items.peek().is_some()
            && items.all(|item| {
                let within = |run: &PositionRange| {
                    (run.stream, run.part) == (item.stream, item.part)
                        && run.first <= item.first
                        && item.last <= run.last
                };
                self.done_before.iter().any(within)
            })
    }

    /// A retained frame was sent again.
    pub(super) fn resent(&mut self) {
        self.cursor += 1;
    }

    /// A new frame was sent.
    pub(super) fn sent(&mut self, frame: AnyFrame) {
        self.number(frame);
        self.cursor = self.next_seq;
    }

    /// Handles a new frame that could not be queued: it is sent first after the reconnect, or lost with the link.
    pub(super) fn requeue(&mut self, frame: AnyFrame) {
        if self.keeps {
            self.number(frame);
        } else {
            self.edge.drop_popped(frame, DropCause::LinkDown);
        }
    }

    fn number(&mut self, frame: AnyFrame) {
        if self.keeps {
            self.retained.push_back((self.next_seq, frame));
        }
        self.next_seq += 1;
        self.in_flight += 1;
    }

    /// Drops a new frame that no connection can carry.
    pub(super) fn drop_new(&mut self, frame: AnyFrame) {
        self.edge.drop_popped(frame, DropCause::Decode);
    }

    /// Drops the frames in flight for `cause`. Their tickets get the cause too: without it they would count as delivered
    /// at the bridge over which the frames arrived.
    pub(super) fn drop_in_flight(&mut self, cause: DropCause) {
        self.close(FrameOutcome::Dropped(cause), self.in_flight);
        for (_, frame) in self.retained.drain(..) {
            if let Some(ticket) = &frame.head.ticket {
                ticket.set(FrameOutcome::Dropped(cause));
            }
        }
    }

    /// Ends without the outcome of the frames in flight, because the node ends: they are reported as in doubt, and the
    /// node's successor sends them again. Frames that wait on the edge are dropped as well.
    pub(super) fn leave(&mut self, now_ns: i64) {
        if let (Some((first_seq, first)), Some((last_seq, last))) =
            (self.retained.front(), self.retained.back())
        {
            let mut in_doubt = InDoubt::default();
            in_doubt.frames = self.in_flight;
            (in_doubt.first_seq, in_doubt.last_seq) = (*first_seq, *last_seq);
            in_doubt.first_position = first.head.origin.position;
            in_doubt.last_position = last.head.origin.position;
            self.edge.set_in_doubt(in_doubt);
        }
        self.drop_in_flight(DropCause::Shutdown);
        self.drop_queued(now_ns);
    }

    /// Drops what waits on the edge: nothing further is sent.
    pub(super) fn drop_queued(&mut self, now_ns: i64) {
        while let Pop::Frame(mut frame) = self.edge.pop(0, now_ns) {
            if self.left.is_some() && !frame.head.warm_up {
                frame.head.part = self.part_of(&frame.head);
                self.left
                    .iter_mut()
                    .for_each(|left| left.push(frame.clone()));
            }
            self.edge.drop_popped(frame, DropCause::Shutdown);
        }
    }

    /// How the edge has ended, once nothing waits on it and every frame has its outcome.
    pub(super) fn ending(&self) -> Option<Ending> {
        let is_done = self.is_done() && self.restored.is_empty();
        self.edge.ending().filter(|_| is_done)
    }

    /// Gives `frames` of those in flight their outcome.
    fn close(&mut self, outcome: FrameOutcome, frames: u64) {
        self.in_flight -= frames;
        self.edge.done(outcome, frames);
    }
}

fn merged_refused() -> LinkError {
    let reason = "its version does not take frames that are made from several frames; update it";
    LinkError::Refused(reason.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use heqis_core::Deliveries;
    use heqis_core::EdgeOptions;
    use heqis_core::EdgeSide;
    use heqis_core::Head;
    use heqis_core::Metrics;
    use heqis_core::Origins;

    /// A payload without content.
    #[derive(heqis_derive::Payload)]
    struct Blank;

    #[test]
    fn a_receiver_that_takes_no_merged_frames_is_not_sent_any() {
        let metrics = Metrics::new("test");
        let edge = Edge::new(
            "a->b",
            EdgeSide::Sender,
            EdgeOptions::default(),
            1,
            1,
            &metrics,
        );
        let mut window = SendWindow::new(edge.clone(), true, 8);
        let welcome = Welcome {
            session: 1,
            received: 0,
            limit: 8,
            done: Vec::new(),
        };
        window.welcomed(&welcome, false).unwrap();
        edge.push(AnyFrame::new(Head::of(&Origins::default(), 0, 0), Blank))
            .unwrap();
        assert!(matches!(window.due(0), Err(LinkError::Refused(_))));
        // The frame is kept for a receiver of a later version.
        let refused = window.welcomed(&welcome, false);
        assert!(matches!(refused, Err(LinkError::Refused(_))));
        window.welcomed(&welcome, true).unwrap();
        assert!(matches!(window.due(0).unwrap(), Due::Again(1, _)));
    }

    #[test]
    fn frames_in_doubt_when_the_node_leaves_are_not_delivered() {
        let metrics = Metrics::new("test");
        let options = EdgeOptions::default();
        let edge = Edge::new("a->b", EdgeSide::Sender, options, 1, 1, &metrics);
        let mut window = SendWindow::new(edge.clone(), true, 8);
        window.limit = 8;
        let deliveries = Deliveries::after(0);
        for n in 1..=3 {
            let origin = Origin {
                stream: 0,
                position: n,
            };
            let mut head = Head::new(origin, 0, 0);
            head.ticket = Some(deliveries.ticket(n));
            edge.push(AnyFrame::new(head, Blank)).unwrap();
            let Due::New(frame) = window.due(0).unwrap() else {
                panic!("a frame waits")
            };
            window.sent(frame);
        }
        let mut outcomes = vec![0; FrameOutcome::COUNT];
        outcomes[FrameOutcome::Delivered.index()] = 1;
        let ack = Ack {
            limit: 8,
            done: 1,
            outcomes,
        };
        window.acknowledge(&ack).unwrap();
        assert_eq!(deliveries.done(), 1);
        window.leave(0);
        drop(window);
        assert_eq!(deliveries.done(), 1, "the other records are emitted again");
    }
}
