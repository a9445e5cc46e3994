//! Keeps the frames that a stage holds, and gives them to the stage again after it was rebuilt.

use super::super::erased::build;
use super::StageActor;
use heqis_core::is_regained;
use heqis_core::{AnyFrame, DropCause, FrameOutcome, StageError, Ticket, abandon};

impl StageActor {
    /// Gives a frame for a stage that holds frames a ticket by which it is known whether the stage holds it. Where the state
    /// of the stage is saved, that is not the one by which another node waits.
    pub(super) fn prepared(&mut self, mut frame: AnyFrame) -> AnyFrame {
        let mut former = None;
        if frame.head.ticket.is_none() || self.setup.cx.saves_state() {
            former = frame.head.ticket.replace(Ticket::local());
        }
        self.former.push(former);
        frame
    }

    /// Adds what the stage has restored from a state to what it holds.
    pub(super) fn hold_restored(&mut self) {
        for frame in self.setup.cx.kept.take() {
            self.held.add(frame, 0);
        }
        self.setup.cx.kept.commit();
    }

    /// Builds the stage.
    pub(super) fn construct(&mut self) -> Result<(), StageError> {
        let stage = build(&*self.setup.factory, &self.setup.cx)?;
        self.holds = stage.holds_frames();
        self.stage = Some(stage);
        Ok(())
    }

    /// Keeps those frames of a finished batch that the stage holds.
    pub(super) fn keep_batch(&mut self) {
        self.former.clear();
        self.setup.cx.kept.commit();
        let batch = self.stage.as_mut().map(|stage| stage.take_batch());
        for (frame, taken) in batch.unwrap_or_default().into_iter().zip(&self.in_process) {
            self.held.add(frame, taken.inlet);
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

    /// Ends the stage, and books the frames that it alone holds as dropped: nothing brings them back.
    pub(super) fn lose_held(&mut self, cause: DropCause) {
        let held = self.held.take();
        abandon(self.stage.take());
        for (frame, inlet) in held.into_iter().filter(|(frame, _)| is_regained(frame)) {
            // It was booked when the stage took it.
            self.setup.inlets[inlet].edge.adopt();
            self.drop_popped(inlet, frame, cause);
        }
    }
}
