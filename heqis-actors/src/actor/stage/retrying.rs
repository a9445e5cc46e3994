//! Tries the frames of a failed batch once more.

use super::{InProcess, StageActor, Step};
use heqis_core::{AnyFrame, DropCause, StageError, abandon};

impl StageActor {
    /// Processes one frame of a failed batch once more. It is dropped when it fails again, unless the failure is not its own.
    pub(super) fn retry_one(&mut self, inlet: usize, frame: AnyFrame) -> Step {
        let frame = if self.holds {
            self.prepared(frame)
        } else {
            frame
        };
        let Some(stage) = &mut self.stage else {
            return Step::Idle;
        };
        self.in_process.push(InProcess::new(inlet, &frame));
        let poison = frame.clone();
        let result = stage
            .process(
                self.setup.inlets[inlet].port,
                frame,
                &mut self.setup.emitter,
            )
            .and_then(|()| stage.flush(&mut self.setup.emitter));
        match result {
            Ok(()) => {
                self.close_batch();
                Step::Worked
            }
            Err(error) => {
                self.in_process.clear();
                self.former.clear();
                stage.clear_batch();
                let held = self.held.take();
                abandon(std::mem::take(&mut self.setup.emitter.staged));
                if let StageError::Refused(reason) = &error {
                    self.setup
                        .control
                        .refused(&self.setup.cx.stage, reason.clone());
                    self.drop_popped(inlet, poison, DropCause::Refused);
                    held.into_iter()
                        .for_each(|(frame, inlet)| self.held.add(frame, inlet));
                    return Step::Worked;
                }
                // Before the frame is dropped, which the stage may hold: it stays with its sender otherwise.
                abandon(self.stage.take());
                if let StageError::Unavailable(_) = error {
                    self.retry.push((inlet, poison));
                } else {
                    tracing::warn!(stage = %self.setup.cx.stage, origin = ?poison.head.origin, %error, "frame dropped: the stage failed on it twice");
                    self.drop_popped(inlet, poison, DropCause::StageFailed);
                }
                self.pause(&error, held)
            }
        }
    }
}
