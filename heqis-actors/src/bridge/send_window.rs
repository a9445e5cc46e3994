//! What a sender has put on the wire and not heard the outcome of, and the numbers that say how far it may go.
//!
//! ```text
//! 1 ▸ … ▸ done ▸ … ▸ cursor ▸ … ▸ next_seq          limit
//! have an outcome  ╰ under way ╯╰ to be sent again ╯     ╰ new frames up to here
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use super::conn::LinkError;
use super::messages::{Ack, Have, Welcome};
use crate::edge::{Edge, Pop};
use crate::frame::{AnyFrame, Origin};
use crate::outcome::Ending;
use crate::outcome::{DropCause, Outcome};
use crate::report::InDoubt;

/// The numbers and frames of one sending half.
pub(super) struct Window {
    edge: Arc<Edge>,
    /// Whether frames are kept until they have an outcome: the edge is at-least-once.
    keeps: bool,
    /// Most frames kept unacknowledged.
    retain: usize,
    /// Number of the next new frame.
    next_seq: u64,
    /// Everything up to here has an outcome.
    done: u64,
    /// Number of the next frame to put on the wire; below `next_seq` while frames are sent again.
    cursor: u64,
    /// May send up to here.
    limit: u64,
    /// Frames sent and not done, oldest first; only on an at-least-once edge.
    retained: VecDeque<(u64, AnyFrame)>,
    /// Frames sent and without an outcome yet.
    open: u64,
    /// The highest number that was booked as lost with the link; only on an at-most-once edge.
    lost: u64,
    /// The receiver's memory of this half, and what it has reported.
    session: Option<u64>,
    reported: [u64; Outcome::COUNT],
    have: Vec<Have>,
    /// Origin of the last new frame, and which of the frames of that origin it was.
    last_origin: Option<Origin>,
    part: u32,
}

/// What goes on the wire next.
pub(super) enum Due<'a> {
    /// A frame that was sent before, with its number.
    Again(u64, &'a AnyFrame),
    /// A new frame, which gets [`Window::next_seq`] when it is sent.
    New(AnyFrame),
    /// No frame will come any more from the stages that there are.
    End(Ending),
    /// Nothing now.
    Nothing,
}

impl Window {
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
            open: 0,
            lost: 0,
            session: None,
            reported: [0; Outcome::COUNT],
            have: Vec::new(),
            last_origin: None,
            part: 0,
        }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// The lowest number that may still be sent.
    pub(super) fn first_seq(&self) -> u64 {
        if self.keeps {
            self.done + 1
        } else {
            self.next_seq
        }
    }

    /// Number of the next new frame.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Frames that the receiver still takes. The limit is a peer's to say, and may be as high as it gets.
    pub(super) fn credits(&self) -> u64 {
        self.limit.saturating_sub(self.cursor - 1)
    }

    /// Whether every frame has its outcome.
    pub(super) fn is_done(&self) -> bool {
        self.done + 1 == self.next_seq
    }

    /// Takes a welcome up: where the receiver's memory ends, and what it has of earlier senders.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) -> Result<(), LinkError> {
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
            self.reported = [0; Outcome::COUNT];
            self.have.clone_from(&welcome.have);
        }
        if self.keeps {
            let confirmed = if remembered { welcome.received } else { 0 };
            self.cursor = confirmed.max(self.done) + 1;
        } else {
            // What the receiver has not got is gone; it is told by the jump in the numbers. What was lost with an
            // earlier connection has been booked then, although the receiver still asks for it.
            let confirmed = welcome.received.max(self.done).max(self.lost);
            let lost = if remembered {
                self.next_seq - 1 - confirmed
            } else {
                self.open
            };
            self.lost = self.next_seq - 1;
            self.close(Outcome::Dropped(DropCause::LinkDown), lost);
            if !remembered {
                self.done = self.next_seq - 1;
            }
            self.cursor = self.next_seq;
        }
        self.limit = welcome.limit;
        Ok(())
    }

    /// Takes an acknowledgement up: outcomes, and how far may be sent.
    pub(super) fn acknowledged(&mut self, ack: &Ack) -> Result<(), LinkError> {
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
        let Ok(outcomes) = <[u64; Outcome::COUNT]>::try_from(&ack.outcomes[..]) else {
            return refuse(format!(
                "{} kinds of outcomes are not {}",
                ack.outcomes.len(),
                Outcome::COUNT
            ));
        };
        // One outcome for each frame that is newly done, but those that this side has booked as lost: a receiver that
        // counts otherwise would break the books here.
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
                news <= newly_done.min(self.open)
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
                && let Some(outcome) = Outcome::from_index(index)
            {
                self.close(outcome, now - before);
            }
        }
        self.limit = self.limit.max(ack.limit);
        self.done = ack.done;
        while self
            .retained
            .front()
            .is_some_and(|(seq, _)| *seq <= self.done)
        {
            self.retained.pop_front();
        }
        Ok(())
    }

    /// What goes on the wire next, within credit and window.
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
                    "frame {} is no longer kept",
                    self.cursor
                ))),
            };
        }
        while self.retained.len() < self.retain {
            let mut frame = match self.edge.pop(0, now_ns) {
                Pop::Frame(frame) => frame,
                Pop::Empty => break,
                Pop::Ended(ending) => return Ok(Due::End(ending)),
            };
            if frame.head.past {
                self.edge.done(Outcome::Delivered, 1);
                continue;
            }
            frame.head.part = self.part_of(frame.head.origin);
            if !self.is_had(&frame) {
                return Ok(Due::New(frame));
            }
            self.edge.done(Outcome::Duplicate, 1);
        }
        Ok(Due::Nothing)
    }

    /// Which of the frames of its origin a new frame is. A stage may make several of one item; they follow each other.
    fn part_of(&mut self, origin: Origin) -> u32 {
        self.part = if self.last_origin.replace(origin) == Some(origin) {
            self.part + 1
        } else {
            0
        };
        self.part
    }

    /// Whether the receiver has a new frame from an earlier sender.
    fn is_had(&self, frame: &AnyFrame) -> bool {
        let (origin, part) = (frame.head.origin, frame.head.part);
        self.have.iter().any(|run| {
            (run.stream, run.part) == (origin.stream, part)
                && (run.first..=run.last).contains(&origin.position)
        })
    }

    /// A frame is on the wire again.
    pub(super) fn repeated(&mut self) {
        self.cursor += 1;
    }

    /// A new frame is on the wire.
    pub(super) fn sent(&mut self, frame: AnyFrame) {
        self.number(frame);
        self.cursor = self.next_seq;
    }

    /// A new frame that could not be queued: it goes first after the reconnect, or is lost with the link.
    pub(super) fn cut_off(&mut self, frame: AnyFrame) {
        if self.keeps {
            self.number(frame);
        } else {
            self.edge.lose_popped(frame, DropCause::LinkDown);
        }
    }

    fn number(&mut self, frame: AnyFrame) {
        if self.keeps {
            self.retained.push_back((self.next_seq, frame));
        }
        self.next_seq += 1;
        self.open += 1;
    }

    /// A new frame that no connection could carry.
    pub(super) fn unsendable(&mut self, frame: AnyFrame) {
        self.edge.lose_popped(frame, DropCause::Decode);
    }

    /// Gives up what is under way for `cause`. Whoever waits for the frames' outcome hears the cause: without it they would
    /// count as delivered there.
    pub(super) fn give_up(&mut self, cause: DropCause) {
        self.close(Outcome::Dropped(cause), self.open);
        for (_, frame) in self.retained.drain(..) {
            if let Some(ticket) = &frame.head.ticket {
                ticket.set(Outcome::Dropped(cause));
            }
        }
    }

    /// Ends without the outcome of what is under way, because the node does: it is named, and its successor sends it
    /// again. What waits on the edge is dropped as well, and so is what still comes.
    pub(super) fn leave(&mut self, now_ns: i64) {
        if let (Some((first_seq, first)), Some((last_seq, last))) =
            (self.retained.front(), self.retained.back())
        {
            self.edge.set_in_doubt(InDoubt {
                frames: self.open,
                first_seq: *first_seq,
                last_seq: *last_seq,
                first_position: first.head.origin.position,
                last_position: last.head.origin.position,
            });
        }
        self.give_up(DropCause::Shutdown);
        self.leave_rest(now_ns);
    }

    /// Drops what waits on the edge: nothing will be sent any more.
    pub(super) fn leave_rest(&mut self, now_ns: i64) {
        while let Pop::Frame(frame) = self.edge.pop(0, now_ns) {
            self.edge.lose_popped(frame, DropCause::Shutdown);
        }
    }

    /// How the edge has ended, once nothing waits on it and every frame has its outcome.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.edge.ending().filter(|_| self.is_done())
    }

    /// Gives `frames` of those under way their outcome.
    fn close(&mut self, outcome: Outcome, frames: u64) {
        self.open -= frames;
        self.edge.done(outcome, frames);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::Head;
    use crate::metrics::Metrics;
    use crate::options::EdgeOptions;
    use crate::payload::{Payload, PayloadError, Tensor};
    use crate::report::EdgeSide;
    use crate::ticket::Deliveries;

    /// A payload of nothing but its head.
    struct Blank;

    impl Payload for Blank {
        const NAME: &'static str = "blank";

        fn encode(&self, _: &mut Vec<u8>) -> Result<(), PayloadError> {
            Ok(())
        }

        fn decode(_: &[u8], _: Tensor) -> Result<Self, PayloadError> {
            Ok(Self)
        }
    }

    #[test]
    fn what_is_in_doubt_when_the_node_leaves_is_not_delivered() {
        let metrics = Metrics::new("test");
        let options = EdgeOptions::default();
        let edge = Edge::new("a->b", EdgeSide::Sender, options, 1, 1, &metrics);
        let mut window = Window::new(edge.clone(), true, 8);
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
        let mut outcomes = vec![0; Outcome::COUNT];
        outcomes[Outcome::Delivered.index()] = 1;
        let ack = Ack {
            limit: 8,
            done: 1,
            outcomes,
        };
        window.acknowledged(&ack).unwrap();
        assert_eq!(deliveries.done(), 1);
        window.leave(0);
        drop(window);
        assert_eq!(deliveries.done(), 1, "the others are emitted again");
    }
}
