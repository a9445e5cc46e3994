//! Takes and restores the state of a stage.

use actix::prelude::*;

use super::super::messages::{Restore, TakeSnapshot};
use super::{Phase, StageActor};
use heqis_core::{ActorState, Snapshot, StageError};

impl StageActor {
    /// Whether the stage is between two frames, with nothing on its way out.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Running)
            && self.setup.emitter.staged.is_empty()
            && self.in_process.is_empty()
            && self.retry.is_empty()
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
