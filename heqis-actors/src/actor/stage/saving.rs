//! Takes and restores the state of a stage, and recognises what is recorded.

use actix::prelude::*;

use super::super::messages::{Restore, TakeSnapshot};
use super::{Phase, StageActor};
use crate::edge::Edge;
use heqis_core::{ActorState, AnyFrame, FrameOutcome, Recorded, Snapshot, StageError};

impl StageActor {
    /// Whether the stage is between two frames, with nothing on its way out.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Running)
            && self.setup.emitter.staged.is_empty()
            && self.in_process.is_empty()
            && self.retry.is_empty()
    }

    /// The outcome of a frame that the stage does not get: a warm-up item that it does not take, or one whose outcome it knows.
    pub(super) fn skipped(&self, frame: &AnyFrame, edge: &Edge) -> Option<FrameOutcome> {
        let stage = self.stage.as_ref()?;
        if frame.head.warm_up {
            return (!stage.takes_warm_up()).then_some(FrameOutcome::Delivered);
        }
        let (committed, head) = (&self.setup.cx.committed, &frame.head);
        if stage.is_log() {
            return match committed.recorded(head) {
                Recorded::Before => Some(FrameOutcome::Duplicate),
                Recorded::Now | Recorded::Not => None,
                Recorded::Partly => {
                    edge.overlaps();
                    let control = &self.setup.control;
                    control.frames_overlap(&edge.name, format!("made from {}", head.origins()));
                    None
                }
            };
        }
        (stage.recovers() && committed.holds(head)).then_some(FrameOutcome::Duplicate)
    }

    pub(super) fn state(&self, snapshot: Snapshot) -> ActorState {
        ActorState::State {
            stage: self.setup.cx.stage.to_string(),
            worker: self.setup.worker,
            fingerprint: self.setup.fingerprint,
            snapshot,
        }
    }
}

impl Handler<TakeSnapshot> for StageActor {
    type Result = MessageResult<TakeSnapshot>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        MessageResult(vec![match &self.stage {
            Some(stage) if self.is_idle() => self.state(stage.snapshot()),
            _ => ActorState::Busy,
        }])
    }
}

impl Handler<Restore> for StageActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, Restore(saved): Restore, _: &mut Self::Context) -> Self::Result {
        let Some(state) = saved.of_stage(
            &self.setup.cx.stage,
            self.setup.worker,
            self.setup.fingerprint,
        )?
        else {
            return Ok(());
        };
        let Some(stage) = &mut self.stage else {
            return Err(StageError::failed("the stage is not built"));
        };
        let restored = stage.restore(state);
        self.hold_restored();
        restored
    }
}
