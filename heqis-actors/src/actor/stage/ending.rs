//! The end of a stage: its last frames, its state, and what it loses when it is abandoned.

use super::{Phase, StageActor, StageSetup};
use heqis_core::{DropCause, Ending, abandon};

impl StageActor {
    pub(super) fn drain(&mut self, ending: Ending) {
        let StageSetup {
            cx,
            control,
            emitter,
            is_fed,
            ..
        } = &mut self.setup;
        // What the stage still holds comes back from nowhere: this is the end of the data, although the node leaves.
        let is_last = control.is_live() && !*is_fed && !cx.saves_state();
        let of_stage = if is_last { Ending::Complete } else { ending };
        self.phase = Phase::Draining(ending);
        if let Some(stage) = &mut self.stage
            && let Err(error) = stage.drain(of_stage, emitter)
        {
            control.stage_failed(&cx.stage, &error);
            let reason = format!("stage '{}' failed with its last frames: {error}", cx.stage);
            // Frames of other nodes that the stage holds stay there.
            match *is_fed {
                true => return control.crash(reason),
                false => control.fail(reason),
            }
            self.lose_held(DropCause::StageFailed);
        }
    }

    /// Ends the output. A stage whose inputs are complete finishes once no frame can arrive again.
    pub(super) fn drained(&mut self, ending: Ending) {
        self.setup.outlet.end(ending);
        if ending == Ending::Left
            && let Some(stage) = &self.stage
        {
            let state = self.state(stage.snapshot());
            self.setup.control.deposit(state);
        }
        if ending == Ending::Left || self.stage.is_none() {
            return self.end();
        }
        self.phase = Phase::Finishing;
        self.setup.control.finishing();
        self.finish();
    }

    pub(super) fn finish(&mut self) {
        if !self.setup.control.may_finish() {
            return;
        }
        if let Some(stage) = &mut self.stage
            && !self.setup.control.is_incomplete()
            && let Err(error) = stage.finish()
        {
            self.setup
                .control
                .stage_failed(&self.setup.cx.stage, &error);
            self.setup
                .control
                .fail(format!("stage '{}': {error}", self.setup.cx.stage));
        }
        self.setup.control.finished();
        // What it still holds is part of no later frame.
        self.stage = None;
        self.end();
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        abandon(self.stage.take());
        self.setup.life.end();
    }

    /// Books every frame of this actor as dropped and ends, because the drain timeout has passed.
    pub(super) fn abandon(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let frames = self
            .stage
            .as_mut()
            .map(|stage| stage.take_batch())
            .unwrap_or_default();
        let inlets: Vec<usize> = self.in_process.drain(..).map(|taken| taken.inlet).collect();
        let retry = std::mem::take(&mut self.retry);
        for (inlet, frame) in inlets.into_iter().zip(frames).chain(retry) {
            self.drop_popped(inlet, frame, DropCause::Shutdown);
        }
        if !self.setup.is_fed && !self.setup.control.is_resumable() {
            self.lose_held(DropCause::Shutdown);
        }
        for inlet in &self.setup.inlets {
            inlet.edge.abandon();
        }
        self.setup.outlet.abandon(&mut self.setup.emitter.staged);
        self.setup.outlet.end(Ending::Left);
        if self.phase == Phase::Finishing {
            self.setup.control.finished();
        }
        self.end();
    }
}
