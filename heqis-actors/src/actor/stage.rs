//! Runs a stage: takes batches from its edges, processes them, carries what comes out, restarts it when it fails.

use std::sync::Arc;

use actix::prelude::*;

use super::erased::{AnyStage, build};
use super::inlet::Inlet;
use super::messages::{Begin, Build, Hold, TakeUp};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::{Control, Progress};
use crate::doorbell::{Doorbell, Wake};
use crate::edge::Pop;
use crate::emitter::RawEmitter;
use crate::error::StageError;
use crate::frame::{AnyFrame, Origin};
use crate::options::{BatchOptions, Exhausted, StageOptions};
use crate::outcome::Ending;
use crate::outcome::{DropCause, Outcome};
use crate::restart::RestartBudget;
use crate::snapshot::Held;
use crate::snapshot::Snapshot;
use crate::stats::StageStats;
use crate::tap::Tap;

/// Batches and nanoseconds per turn, so that a busy or slow stage lets its neighbours on the arbiter work.
const TURN: usize = 64;
const TURN_NS: i64 = 100_000;

pub(crate) type StageFactory =
    Arc<dyn Fn(&BuildContext) -> Result<Box<dyn AnyStage>, StageError> + Send + Sync>;

/// What a stage actor is made of.
pub(crate) struct StageSetup {
    pub(crate) tap: Option<Tap>,
    pub(crate) cx: BuildContext,
    pub(crate) factory: StageFactory,
    pub(crate) inlets: Vec<Inlet>,
    pub(crate) outlet: Outlet,
    pub(crate) emitter: RawEmitter,
    pub(crate) options: StageOptions,
    /// Which of the copies of the stage this is, and what its parameters are.
    pub(crate) worker: u32,
    pub(crate) fingerprint: u64,
    /// Whether the stage has its arbiter for itself and may wait on its thread.
    pub(crate) may_wait: bool,
    pub(crate) control: Control,
    pub(crate) progress: Progress,
    pub(crate) stats: StageStats,
}

pub(crate) struct StageActor {
    tap: Option<Tap>,
    cx: BuildContext,
    factory: StageFactory,
    stage: Option<Box<dyn AnyStage>>,
    inlets: Vec<Inlet>,
    /// The inlet to look at first in the next turn.
    next_inlet: usize,
    outlet: Outlet,
    emitter: RawEmitter,
    batch: BatchOptions,
    worker: u32,
    fingerprint: u64,
    may_wait: bool,
    /// What must be known of each frame in the current batch once the stage is done with it.
    hand: Vec<InHand>,
    /// Frames of a failed batch, newest first, to be tried once more, one by one.
    retry: Vec<(usize, AnyFrame)>,
    bell: Arc<Doorbell>,
    control: Control,
    progress: Progress,
    stats: StageStats,
    budget: RestartBudget,
    exhausted: Exhausted,
    phase: Phase,
}

/// A frame in the stage's hand.
#[derive(Clone, Copy)]
struct InHand {
    inlet: usize,
    enter_ns: i64,
    born_ns: i64,
}

impl InHand {
    fn new(inlet: usize, frame: &AnyFrame) -> Self {
        Self {
            inlet,
            enter_ns: frame.head.enter_ns,
            born_ns: frame.head.born_ns,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Built or being built; not begun.
    New,
    Running,
    /// Waiting until this time for a rebuild.
    Pausing(i64),
    /// The restart budget is used up: input is dropped.
    GivenUp,
    /// Inputs ended and drained; the last outputs wait for room.
    Draining(Ending),
    /// Inputs are complete and outputs are out; everything else on the node has to end first.
    Finishing,
    Ended,
}

impl StageActor {
    pub(crate) fn new(setup: StageSetup) -> Self {
        Self {
            bell: setup.cx.waker.0.clone(),
            tap: setup.tap,
            cx: setup.cx,
            factory: setup.factory,
            stage: None,
            inlets: setup.inlets,
            next_inlet: 0,
            outlet: setup.outlet,
            emitter: setup.emitter,
            batch: setup.options.batch,
            worker: setup.worker,
            fingerprint: setup.fingerprint,
            may_wait: setup.may_wait,
            hand: Vec::new(),
            retry: Vec::new(),
            control: setup.control,
            progress: setup.progress,
            stats: setup.stats,
            budget: RestartBudget::new(setup.options.restart),
            exhausted: setup.options.restart.then,
            phase: Phase::New,
        }
    }

    fn turn(&mut self) {
        match self.phase {
            _ if self.control.abandoned() => return self.abandon(),
            Phase::New | Phase::Ended => return,
            Phase::Pausing(until_ns) if self.cx.clock.now_ns() < until_ns => return,
            Phase::Pausing(_) => {
                if !self.rebuild() {
                    return;
                }
            }
            Phase::Finishing => return self.finish(),
            Phase::Running | Phase::GivenUp | Phase::Draining(_) => {}
        }
        let start_ns = self.cx.clock.now_ns();
        for _ in 0..TURN {
            if self.control.abandoned() {
                return self.abandon();
            }
            if !self.outlet.offer(&mut self.emitter.staged) {
                return;
            }
            if let Phase::Draining(ending) = self.phase {
                return self.drained(ending);
            }
            let step = self.step();
            self.progress.step();
            match step {
                Step::Worked => {}
                Step::Idle => return,
                Step::Paused => return,
                Step::InputsEnded(ending) => self.drain(ending),
            }
            if self.cx.clock.now_ns() - start_ns > TURN_NS {
                break;
            }
        }
        self.bell.ring();
    }

    /// Processes one batch.
    fn step(&mut self) -> Step {
        if let Some((inlet, frame)) = self.retry.pop() {
            return self.retry_one(inlet, frame);
        }
        let mut first = true;
        while self.hand.len() < self.batch.max {
            let frame = match self.take() {
                Taken::Frame(inlet, frame) => (inlet, frame),
                Taken::Ended(ending) if self.hand.is_empty() => return Step::InputsEnded(ending),
                Taken::Empty if self.hand.is_empty() => return Step::Idle,
                Taken::Ended(_) => break,
                Taken::Empty => {
                    // Only a stage with one inlet and a thread of its own can wait without stopping others.
                    if !std::mem::replace(&mut first, false)
                        || !self.may_wait
                        || self.batch.max_delay.is_zero()
                    {
                        break;
                    }
                    let waited_ns = self.cx.clock.now_ns() - self.hand[0].enter_ns;
                    let left =
                        self.batch
                            .max_delay
                            .saturating_sub(std::time::Duration::from_nanos(
                                u64::try_from(waited_ns).unwrap_or(0),
                            ));
                    self.inlets[0].edge.wait_for_more(self.inlets[0].lane, left);
                    first = !left.is_zero();
                    continue;
                }
            };
            let (inlet, frame) = frame;
            if self.phase == Phase::GivenUp {
                self.inlets[inlet]
                    .edge
                    .lose_popped(frame, DropCause::StageFailed);
                continue;
            }
            if frame.head.past && self.stage.as_ref().is_some_and(|stage| !stage.takes_past()) {
                self.inlets[inlet].edge.done(Outcome::Delivered, 1);
                continue;
            }
            if self.stage.as_ref().is_some_and(|stage| stage.recovers())
                && !frame.head.past
                && self.cx.committed.contains(frame.head.origin)
            {
                self.inlets[inlet].edge.done(Outcome::Duplicate, 1);
                continue;
            }
            self.hand.push(InHand::new(inlet, &frame));
            if let Some(tap) = &self.tap {
                tap.show(&frame);
            }
            let Some(stage) = &mut self.stage else {
                return Step::Idle;
            };
            let emitted = self.emitter.staged.len();
            match stage.process(frame, &mut self.emitter) {
                Ok(()) => {}
                Err(StageError::Refused(reason)) => self.refuse(&reason, emitted),
                Err(error) => return self.failed(&error),
            }
        }
        let Some(stage) = &mut self.stage else {
            return Step::Worked;
        };
        match stage.flush(&mut self.emitter) {
            Ok(()) => {
                // Books first: releasing a frame may acknowledge it to another node.
                self.close_batch();
                Step::Worked
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Drops the frame that was just processed, with what was emitted for it: the stage cannot take it, and is well.
    fn refuse(&mut self, reason: &str, emitted: usize) {
        self.emitter.staged.truncate(emitted);
        let frame = self.stage.as_mut().and_then(|stage| stage.take_newest());
        if let (Some(held), Some(frame)) = (self.hand.pop(), frame) {
            let Origin { stream, position } = frame.head.origin;
            self.control.refused(
                &self.cx.stage,
                format!("position {position} of stream {stream:016x}: {reason}"),
            );
            self.inlets[held.inlet]
                .edge
                .lose_popped(frame, DropCause::Refused);
        }
    }

    /// Processes one frame of a failed batch once more; for the last time, unless it is not to blame.
    fn retry_one(&mut self, inlet: usize, frame: AnyFrame) -> Step {
        let Some(stage) = &mut self.stage else {
            return Step::Idle;
        };
        self.hand.push(InHand::new(inlet, &frame));
        let poison = frame.clone();
        let result = stage
            .process(frame, &mut self.emitter)
            .and_then(|()| stage.flush(&mut self.emitter));
        match result {
            Ok(()) => {
                self.close_batch();
                Step::Worked
            }
            Err(error) => {
                self.hand.clear();
                stage.clear_batch();
                self.emitter.staged.clear();
                if let StageError::Unavailable(_) = error {
                    self.retry.push((inlet, poison));
                } else if let StageError::Refused(reason) = &error {
                    self.control.refused(&self.cx.stage, reason.clone());
                    self.inlets[inlet]
                        .edge
                        .lose_popped(poison, DropCause::Refused);
                    return Step::Worked;
                } else {
                    tracing::warn!(stage = %self.cx.stage, origin = ?poison.head.origin, %error, "frame dropped: the stage failed on it twice");
                    self.inlets[inlet]
                        .edge
                        .lose_popped(poison, DropCause::StageFailed);
                }
                self.pause(&error)
            }
        }
    }

    fn take(&mut self) -> Taken {
        let now_ns = self.cx.clock.now_ns();
        let count = self.inlets.len();
        for offset in 0..count {
            let index = (self.next_inlet + offset) % count;
            let inlet = &mut self.inlets[index];
            if inlet.ended.is_some() {
                continue;
            }
            match inlet.edge.pop(inlet.lane, now_ns) {
                Pop::Frame(frame) => {
                    self.next_inlet = (index + 1) % count;
                    return Taken::Frame(index, frame);
                }
                Pop::Empty => {}
                Pop::Ended(ending) => inlet.ended = Some(ending),
            }
        }
        Inlet::ending(&self.inlets).map_or(Taken::Empty, Taken::Ended)
    }

    fn close_batch(&mut self) {
        let now_ns = self.cx.clock.now_ns();
        for held in self.hand.drain(..) {
            self.inlets[held.inlet].edge.done(Outcome::Delivered, 1);
            self.stats
                .processed(now_ns - held.enter_ns, now_ns - held.born_ns);
        }
        if let Some(stage) = &mut self.stage {
            stage.clear_batch();
        }
    }

    /// Takes the failed batch back, forgets what it emitted, and waits for a rebuild.
    fn failed(&mut self, error: &StageError) -> Step {
        self.emitter.staged.clear();
        let frames = self
            .stage
            .as_mut()
            .map(|stage| stage.take_batch())
            .unwrap_or_default();
        let inlets: Vec<usize> = self.hand.drain(..).map(|held| held.inlet).collect();
        // Newest first, because `step` pops from the end.
        self.retry.extend(inlets.into_iter().zip(frames).rev());
        self.pause(error)
    }

    fn pause(&mut self, error: &StageError) -> Step {
        self.control.stage_failed(&self.cx.stage, error);
        self.stage = None;
        let now_ns = self.cx.clock.now_ns();
        let pause_ns = match error {
            // A configuration that went bad while running (a deleted bundle) does not mend itself by restarting.
            StageError::Config(_) => None,
            StageError::Failed(_) | StageError::Unavailable(_) | StageError::Refused(_) => {
                self.budget.spend(now_ns)
            }
        };
        let Some(pause_ns) = pause_ns else {
            return self.give_up(error);
        };
        self.control
            .stage_paused(&self.cx.stage, error.to_string(), now_ns);
        let until_ns = now_ns.saturating_add(pause_ns);
        self.phase = Phase::Pausing(until_ns);
        let (clock, bell) = (self.cx.clock.clone(), self.bell.clone());
        actix_rt::spawn(async move {
            clock.sleep_until(until_ns).await;
            bell.ring();
        });
        Step::Paused
    }

    fn rebuild(&mut self) -> bool {
        let built = self.build_stage();
        match built {
            Ok(()) => {
                self.phase = Phase::Running;
                self.stats.restarted();
                self.control.stage_restarted(&self.cx.stage);
                true
            }
            Err(error) => self.pause(&error) == Step::Worked,
        }
    }

    fn build_stage(&mut self) -> Result<(), StageError> {
        let mut stage = build(&*self.factory, &self.cx)?;
        for record in self.cx.committed.records() {
            stage.recover(&record)?;
        }
        stage.resume(&mut self.emitter)?;
        self.stage = Some(stage);
        Ok(())
    }

    fn give_up(&mut self, error: &StageError) -> Step {
        if self.exhausted == Exhausted::StopGraph {
            self.control.crash(format!(
                "stage '{}' used up its restart budget: {error}",
                self.cx.stage
            ));
            self.abandon();
            return Step::Paused;
        }
        self.phase = Phase::GivenUp;
        for (inlet, frame) in self.retry.drain(..).rev() {
            self.inlets[inlet]
                .edge
                .lose_popped(frame, DropCause::StageFailed);
        }
        // Go on taking frames, to drop them with their cause, so that nothing upstream waits for ever.
        Step::Worked
    }

    fn drain(&mut self, ending: Ending) {
        if let Some(stage) = &mut self.stage
            && let Err(error) = stage.drain(ending, &mut self.emitter)
        {
            self.control.stage_failed(&self.cx.stage, &error);
        }
        self.phase = Phase::Draining(ending);
    }

    /// The last outputs are out. A complete stage waits with its last act until nothing can come again.
    fn drained(&mut self, ending: Ending) {
        self.outlet.end(ending);
        if ending == Ending::Left
            && let Some(stage) = &self.stage
        {
            let held = self.held(stage.snapshot());
            self.control.deposit(held);
        }
        if ending == Ending::Left || self.stage.is_none() {
            return self.end();
        }
        self.phase = Phase::Finishing;
        self.control.finishing();
        self.finish();
    }

    fn finish(&mut self) {
        if !self.control.may_finish() {
            return;
        }
        if let Some(stage) = &mut self.stage
            && !self.control.is_cut_short()
            && let Err(error) = stage.finish()
        {
            self.control.stage_failed(&self.cx.stage, &error);
            self.control
                .fail(format!("stage '{}': {error}", self.cx.stage));
        }
        self.control.finished();
        self.end();
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.stage = None;
        self.control.ended(&self.cx.stage);
    }

    /// The drain timeout has passed: books whatever is here as lost and ends.
    fn abandon(&mut self) {
        if self.phase == Phase::Ended {
            return;
        }
        let frames = self
            .stage
            .as_mut()
            .map(|stage| stage.take_batch())
            .unwrap_or_default();
        let hand: Vec<usize> = self.hand.drain(..).map(|held| held.inlet).collect();
        let retry = std::mem::take(&mut self.retry);
        for (inlet, frame) in hand.into_iter().zip(frames).chain(retry) {
            self.inlets[inlet]
                .edge
                .lose_popped(frame, DropCause::Shutdown);
        }
        for inlet in &self.inlets {
            inlet.edge.abandon();
        }
        self.outlet.abandon(&mut self.emitter.staged);
        self.outlet.end(Ending::Left);
        if self.phase == Phase::Finishing {
            self.control.finished();
        }
        self.end();
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    Worked,
    Idle,
    Paused,
    InputsEnded(Ending),
}

enum Taken {
    Frame(usize, AnyFrame),
    Empty,
    Ended(Ending),
}

impl Actor for StageActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.bell.attach(ctx.address().recipient());
    }
}

impl Handler<Build> for StageActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        self.stage = Some(build(&*self.factory, &self.cx)?);
        Ok(())
    }
}

impl Handler<Begin> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        // Recovery waits for this moment: the commit log may be built after this stage.
        for record in self.cx.committed.records() {
            if let Some(stage) = &mut self.stage
                && let Err(error) = stage.recover(&record)
            {
                self.control.stage_failed(&self.cx.stage, &error);
            }
        }
        self.phase = Phase::Running;
        if let Some(stage) = &mut self.stage
            && let Err(error) = stage.resume(&mut self.emitter)
        {
            self.emitter.staged.clear();
            self.pause(&error);
        }
        self.turn();
    }
}

impl Handler<Hold> for StageActor {
    type Result = MessageResult<Hold>;

    fn handle(&mut self, _: Hold, _: &mut Self::Context) -> Self::Result {
        let idle = self.phase == Phase::Running
            && self.emitter.staged.is_empty()
            && self.hand.is_empty()
            && self.retry.is_empty();
        MessageResult(vec![match &self.stage {
            Some(stage) if idle => self.held(stage.snapshot()),
            _ => Held::Busy,
        }])
    }
}

impl StageActor {
    fn held(&self, snapshot: Snapshot) -> Held {
        Held::State {
            stage: self.cx.stage.to_string(),
            worker: self.worker,
            fingerprint: self.fingerprint,
            snapshot,
        }
    }
}

impl Handler<TakeUp> for StageActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, TakeUp(saved): TakeUp, _: &mut Self::Context) -> Self::Result {
        let Some(state) = saved.of_stage(&self.cx.stage, self.worker, self.fingerprint)? else {
            return Ok(());
        };
        match &mut self.stage {
            Some(stage) => stage.restore(state),
            None => Err(StageError::failed("the stage is not built")),
        }
    }
}

impl Handler<Wake> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell.answer();
        self.turn();
    }
}
