//! Runs a stage: takes batches from its edges, processes them, passes on what it emits, and restarts it when it fails.

mod ending;
mod holding;
mod moving;
mod retrying;
mod saving;
mod timing;

use std::sync::Arc;

use actix::prelude::*;

use self::moving::KeyMoves;
use super::alarm::Alarm;
use super::erased::AnyStage;
use super::inlet::Inlet;
use super::messages::{Begin, Build};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::{Control, Life, Progress};
use crate::doorbell::{Doorbell, Wake};
use crate::edge::Pop;
use crate::emitter::RawEmitter;
use crate::tap::Tap;
use heqis_core::AnyFrame;
use heqis_core::HeldFrames;
use heqis_core::{
    DropCause, Ending, Exhausted, FrameOutcome, Origin, RestartBudget, StageError, StageOptions,
    StageStats,
};
use heqis_core::{Ticket, abandon};

/// Batches and nanoseconds per turn, so that a busy or slow stage lets its neighbours on the arbiter work.
const TURN: usize = 64;
const TURN_NS: i64 = 100_000;

pub(crate) type StageFactory =
    Arc<dyn Fn(&BuildContext) -> Result<Box<dyn AnyStage>, StageError> + Send + Sync>;

/// What a stage actor is built from.
pub(crate) struct StageSetup {
    pub(crate) tap: Option<Tap>,
    pub(crate) cx: BuildContext,
    pub(crate) factory: StageFactory,
    pub(crate) inlets: Vec<Inlet>,
    pub(crate) outlet: Outlet,
    pub(crate) emitter: RawEmitter,
    pub(crate) options: StageOptions,
    /// Which of the copies of the stage this is.
    pub(crate) worker: u32,
    /// Hash of the stage's parameters.
    pub(crate) fingerprint: u64,
    /// Whether frames come from other nodes.
    pub(crate) is_fed: bool,
    /// Whether no other stage runs on the arbiter, so that this one may block its thread.
    pub(crate) may_wait: bool,
    pub(crate) control: Control,
    pub(crate) life: Life,
    pub(crate) progress: Progress,
    pub(crate) stats: StageStats,
}

pub(crate) struct StageActor {
    setup: StageSetup,
    stage: Option<Box<dyn AnyStage>>,
    /// The inlet from which the next turn takes first.
    next_inlet: usize,
    /// When the first step of this turn began, and when its last batch was done.
    began_ns: Option<i64>,
    closed_ns: Option<i64>,
    /// What is needed of each frame of the current batch once the stage is done with it.
    in_process: Vec<InProcess>,
    /// Frames of a failed batch, newest first, to be tried once more, one by one.
    retry: Vec<(usize, AnyFrame)>,
    budget: RestartBudget,
    phase: Phase,
    /// For the timer of the stage and the delay of its batches.
    alarm: Alarm,
    /// The timer is due, and this many frames go before it.
    before_timer: Option<usize>,
    /// Absent where no key was moved.
    moves: Option<Box<KeyMoves>>,
    /// Whether the stage holds frames, and those that it holds.
    holds: bool,
    held: HeldFrames,
    /// Of such a stage, the ticket that each frame of the current batch had before it got one of this node.
    former: Vec<Option<Arc<Ticket>>>,
}

/// A frame that the stage processes.
#[derive(Clone, Copy)]
struct InProcess {
    inlet: usize,
    enter_ns: i64,
    born_ns: i64,
}

impl InProcess {
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
    /// The inputs are complete and all output is on the edges; everything else on the node ends first.
    Finishing,
    Ended,
}

impl StageActor {
    pub(crate) fn new(setup: StageSetup) -> Self {
        Self {
            stage: None,
            next_inlet: 0,
            began_ns: None,
            closed_ns: None,
            in_process: Vec::new(),
            retry: Vec::new(),
            budget: RestartBudget::new(setup.options.restart),
            phase: Phase::New,
            alarm: Alarm::default(),
            before_timer: None,
            moves: None,
            holds: false,
            held: HeldFrames::default(),
            former: Vec::new(),
            setup,
        }
    }

    fn bell(&self) -> &Doorbell {
        &self.setup.cx.waker.0
    }

    fn turn(&mut self) {
        match self.phase {
            _ if self.setup.control.abandoned() => return self.abandon(),
            Phase::New | Phase::Ended => return,
            Phase::Pausing(until_ns) if self.setup.cx.clock.now_ns() < until_ns => return,
            Phase::Pausing(_) => {
                if !self.rebuild() {
                    return;
                }
            }
            Phase::Finishing => return self.finish(),
            Phase::Running | Phase::GivenUp | Phase::Draining(_) => {}
        }
        self.began_ns = None;
        for _ in 0..TURN {
            if self.setup.control.abandoned() {
                return self.abandon();
            }
            if !self.setup.outlet.offer(&mut self.setup.emitter.staged) {
                return;
            }
            if let Phase::Draining(ending) = self.phase {
                return self.drained(ending);
            }
            let step = self.step();
            self.setup.progress.step();
            match step {
                Step::Worked => {}
                Step::Idle => return,
                Step::InputsEnded(ending) => self.drain(ending),
            }
            // Reading the clock costs as much as all else that a hop does here: a batch has read it at its end.
            let now_ns = (self.closed_ns.take()).unwrap_or_else(|| self.setup.cx.clock.now_ns());
            if now_ns - *self.began_ns.get_or_insert(now_ns) > TURN_NS {
                break;
            }
        }
        self.bell().ring();
    }

    /// Processes one batch.
    fn step(&mut self) -> Step {
        if let Some((inlet, frame)) = self.retry.pop() {
            return self.retry_one(inlet, frame);
        }
        if let Some(step) = self.timer() {
            return step;
        }
        while self.in_process.len() < self.setup.options.batch.max {
            let (inlet, frame) = match self.take() {
                Taken::Frame(inlet, frame) => (inlet, frame),
                Taken::Ended(ending) if self.in_process.is_empty() => {
                    return Step::InputsEnded(ending);
                }
                Taken::Empty if self.in_process.is_empty() => {
                    return if self.timer_is_next() {
                        Step::Worked
                    } else {
                        Step::Idle
                    };
                }
                Taken::Ended(_) => break,
                Taken::Empty => match self.wait_for_batch() {
                    Some(Step::Worked) => continue,
                    Some(step) => return step,
                    None => break,
                },
            };
            if self.phase == Phase::GivenUp {
                self.drop_popped(inlet, frame, DropCause::StageFailed);
                continue;
            }
            if let Some(outcome) = self.skipped(&frame, &self.setup.inlets[inlet].edge) {
                self.setup.inlets[inlet].edge.done(outcome, 1);
                continue;
            }
            let frame = match self.moves {
                None => frame,
                Some(_) => match self.own(inlet, frame) {
                    Some(frame) => frame,
                    None => continue,
                },
            };
            self.in_process.push(InProcess::new(inlet, &frame));
            if let Some(ticket) = &frame.head.ticket {
                ticket.enter(self.setup.emitter.stage());
            }
            if let Some(tap) = &self.setup.tap {
                tap.observe(&frame);
            }
            let frame = if self.holds {
                self.prepared(frame)
            } else {
                frame
            };
            let Some(stage) = &mut self.stage else {
                return Step::Idle;
            };
            let emitted = self.setup.emitter.staged.len();
            let port = self.setup.inlets[inlet].port;
            match stage.process(port, frame, &mut self.setup.emitter) {
                Ok(()) => {}
                Err(StageError::Refused(reason)) => self.refuse(&reason, emitted),
                Err(error) => return self.failed(&error),
            }
        }
        let Some(stage) = &mut self.stage else {
            return Step::Worked;
        };
        match stage.flush(&mut self.setup.emitter) {
            Ok(()) => {
                // Books first: releasing a frame may acknowledge it to another node.
                self.close_batch();
                Step::Worked
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Drops the frame that the stage refused, with everything emitted for it; the stage continues.
    fn refuse(&mut self, reason: &str, emitted: usize) {
        self.setup.emitter.staged.truncate(emitted);
        let frame = self.stage.as_mut().and_then(|stage| stage.take_newest());
        if let (Some(taken), Some(frame)) = (self.in_process.pop(), frame) {
            if let Some(Some(ticket)) = self.former.pop() {
                ticket.set(FrameOutcome::Dropped(DropCause::Refused));
            }
            let Origin { stream, position } = frame.head.origin;
            self.setup.control.refused(
                &self.setup.cx.stage,
                format!("position {position} of stream {stream:016x}: {reason}"),
            );
            self.drop_popped(taken.inlet, frame, DropCause::Refused);
        }
    }

    fn take(&mut self) -> Taken {
        let now_ns = self.setup.cx.clock.now_ns();
        self.began_ns.get_or_insert(now_ns);
        let count = self.setup.inlets.len();
        for offset in 0..count {
            let index = (self.next_inlet + offset) % count;
            let inlet = &mut self.setup.inlets[index];
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
        Inlet::ending(&self.setup.inlets).map_or(Taken::Empty, Taken::Ended)
    }

    fn close_batch(&mut self) {
        let now_ns = self.setup.cx.clock.now_ns();
        self.closed_ns = Some(now_ns);
        if let Some(before) = &mut self.before_timer {
            *before = before.saturating_sub(self.in_process.len());
        }
        if self.holds {
            self.keep_batch();
        }
        for taken in self.in_process.drain(..) {
            self.setup.inlets[taken.inlet]
                .edge
                .done(FrameOutcome::Delivered, 1);
            self.setup
                .stats
                .processed(now_ns - taken.enter_ns, now_ns - taken.born_ns);
        }
        if let Some(stage) = &mut self.stage {
            stage.clear_batch();
        }
    }

    /// Takes back the frames of the failed batch, discards its output, and waits for a rebuild.
    fn failed(&mut self, error: &StageError) -> Step {
        self.former.clear();
        let held = self.held.take();
        abandon(std::mem::take(&mut self.setup.emitter.staged));
        let frames = self
            .stage
            .as_mut()
            .map(|stage| stage.take_batch())
            .unwrap_or_default();
        let inlets: Vec<usize> = self.in_process.drain(..).map(|taken| taken.inlet).collect();
        // Newest first, because `step` pops from the end.
        self.retry.extend(inlets.into_iter().zip(frames).rev());
        self.pause(error, held)
    }

    /// Waits for a rebuild of the stage, which then gets the frames again that it has `held`.
    fn pause(&mut self, error: &StageError, held: Vec<(AnyFrame, usize)>) -> Step {
        self.setup.control.stage_failed(&self.setup.cx.stage, error);
        abandon(self.stage.take());
        self.regain(held);
        (self.setup.emitter.wake_ns, self.before_timer) = (None, None);
        let now_ns = self.setup.cx.clock.now_ns();
        let pause_ns = match error {
            // A restart does not repair a configuration that became invalid while running (a deleted bundle).
            StageError::Config(_) => None,
            _ => self.budget.spend(now_ns),
        };
        let Some(pause_ns) = pause_ns else {
            return self.give_up(error);
        };
        self.setup
            .control
            .stage_paused(&self.setup.cx.stage, error.to_string(), now_ns);
        let until_ns = now_ns.saturating_add(pause_ns);
        self.phase = Phase::Pausing(until_ns);
        let cx = &self.setup.cx;
        self.alarm.set(until_ns, &cx.clock, &cx.waker.0);
        Step::Idle
    }

    fn rebuild(&mut self) -> bool {
        let built = self.build_stage();
        match built {
            Ok(()) => {
                self.phase = Phase::Running;
                self.setup.stats.restarted();
                self.setup.control.stage_restarted(&self.setup.cx.stage);
                true
            }
            Err(error) => self.pause(&error, Vec::new()) == Step::Worked,
        }
    }

    fn build_stage(&mut self) -> Result<(), StageError> {
        self.setup.cx.kept.rebuild();
        self.construct()?;
        self.recover(true)?;
        match &mut self.stage {
            Some(stage) => stage.resume(&mut self.setup.emitter),
            None => Ok(()),
        }
    }

    fn give_up(&mut self, error: &StageError) -> Step {
        if self.setup.options.restart.then == Exhausted::StopGraph {
            self.setup.control.crash(format!(
                "stage '{}' used up its restart budget: {error}",
                self.setup.cx.stage
            ));
            self.abandon();
            return Step::Idle;
        }
        self.phase = Phase::GivenUp;
        for (inlet, frame) in std::mem::take(&mut self.retry).into_iter().rev() {
            self.drop_popped(inlet, frame, DropCause::StageFailed);
        }
        // Frames are still taken, and dropped with their cause, so that no upstream stage waits for ever.
        Step::Worked
    }

    fn drop_popped(&self, inlet: usize, frame: AnyFrame, cause: DropCause) {
        self.setup.inlets[inlet].edge.drop_popped(frame, cause);
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    Worked,
    Idle,
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
        self.bell().attach(ctx.address().recipient());
    }
}

impl Handler<Build> for StageActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        self.setup.cx.kept.reset();
        self.construct()
    }
}

impl Handler<Begin> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        // The commit log may be built after this stage, so that recovery has to wait until all stages are.
        if let Err(error) = self.recover(false) {
            self.setup
                .control
                .stage_failed(&self.setup.cx.stage, &error);
        }
        self.phase = Phase::Running;
        if let Some(stage) = &mut self.stage
            && let Err(error) = stage.resume(&mut self.setup.emitter)
        {
            self.setup.emitter.staged.clear();
            self.pause(&error, Vec::new());
        }
        self.turn();
    }
}

impl Handler<Wake> for StageActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell().answer();
        self.turn();
        self.setup.life.turned();
    }
}
