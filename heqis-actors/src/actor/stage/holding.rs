//! Keeps the frames that a stage holds, and gives them to the stage again after it was rebuilt.

use super::StageActor;
use crate::held::is_regained;
use heqis_core::{AnyFrame, FrameOutcome, Ticket};

impl StageActor {
    /// Gives a frame for a stage that holds frames a ticket by which it is known whether the stage holds it. Where the state
    /// of the stage is saved, that is not the one by which another node waits.
    pub(super) fn prepared(&mut self, mut frame: AnyFrame) -> AnyFrame {
        let holds = self
            .stage
            .as_ref()
            .is_some_and(|stage| stage.holds_frames());
        if !holds {
            return frame;
        }
        let mut former = None;
        if frame.head.ticket.is_none() || self.setup.cx.saves_state() {
            former = frame.head.ticket.replace(Ticket::local());
        }
        self.former.push(former);
        frame
    }

    /// Adds what the stage has restored from a state to what it holds.
    pub(super) fn hold_restored(&mut self) {
        for frame in self.setup.cx.restored.take() {
            self.held.add(frame, 0);
        }
    }

    /// Puts the frames that the dropped stage alone has held in front of those that are tried once more.
    pub(super) fn regain(&mut self, held: Vec<(AnyFrame, usize)>) {
        let mut regained = Vec::new();
        for (frame, inlet) in held {
            if is_regained(&frame)
                && let Some(ticket) = &frame.head.ticket
            {
                // Dropped output has given it another one.
                ticket.set(FrameOutcome::Delivered);
                // It was booked when the stage took it for the first time.
                self.setup.inlets[inlet].edge.adopt();
                regained.push((inlet, frame));
            }
        }
        self.retry.extend(regained.into_iter().rev());
    }
}
