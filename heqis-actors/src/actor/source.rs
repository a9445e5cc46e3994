//! Runs a source: asks for items while there is room downstream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;

use super::alarm::Alarm;
use super::erased::{AnySource, ErasedItem, build};
use super::messages::{Begin, Build, Restore, TakeSnapshot};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::{Control, Life};
use crate::doorbell::{Doorbell, Wake};
use crate::stage::Next;
use heqis_core::{
    ActorState, Ending, Origin, PayloadError, Recording, Replay, StageError, meta_of,
};
use heqis_core::{AnyFrame, Head, Stamp};

/// Items per turn, so that a fast source lets its neighbours on the arbiter work.
const TURN: usize = 64;
/// Items between two checks of a recording for segments that are no longer needed.
const PRUNE_EVERY: u64 = 4096;

pub(crate) type SourceFactory =
    Arc<dyn Fn(&BuildContext) -> Result<Box<dyn AnySource>, StageError> + Send + Sync>;

/// What a source actor is built from.
pub(crate) struct SourceSetup {
    pub(crate) cx: BuildContext,
    pub(crate) index: u16,
    pub(crate) factory: SourceFactory,
    pub(crate) outlet: Outlet,
    pub(crate) control: Control,
    pub(crate) life: Life,
    /// Identity of the source's sequence of items.
    pub(crate) stream: u64,
    /// Where the items are recorded, when the source makes them once only.
    pub(crate) recording: Option<Recording>,
    /// Whether the stream is the same in each run.
    pub(crate) replayable: bool,
}

pub(crate) struct SourceActor {
    setup: SourceSetup,
    source: Option<Box<dyn AnySource>>,
    position: u64,
    /// The position up to which the node's state has the items' effect: they are skipped.
    start_after: u64,
    /// What the source kept of that position.
    cursor: Option<Vec<u8>>,
    /// The warm-up items were emitted, or are not needed.
    warm_up_given: bool,
    /// Items that were recorded before this process and are emitted again.
    replay: Option<Replay>,
    staged: VecDeque<AnyFrame>,
    begun: bool,
    /// The source knows that it is not asked again.
    stopped: bool,
    alarm: Alarm,
}

impl SourceActor {
    pub(crate) fn new(setup: SourceSetup) -> Self {
        Self {
            setup,
            source: None,
            position: 0,
            start_after: 0,
            cursor: None,
            warm_up_given: false,
            replay: None,
            staged: VecDeque::new(),
            begun: false,
            stopped: false,
            alarm: Alarm::default(),
        }
    }

    fn bell(&self) -> &Arc<Doorbell> {
        &self.setup.cx.waker.0
    }

    fn turn(&mut self) {
        let stopping = self.setup.control.stopping();
        let serving = stopping && self.is_serving();
        if stopping && !serving {
            self.stop();
        }
        if self.setup.control.abandoned() {
            self.setup.outlet.abandon(&mut self.staged);
        } else if !self.setup.outlet.offer(&mut self.staged) {
            return;
        }
        if stopping && !serving {
            return self.end(Ending::Left);
        }
        // A source that has not given its warm-up items has no position yet, and a snapshot waits for one.
        if self.warm_up_given && self.setup.control.sources_paused() {
            return;
        }
        for _ in 0..TURN {
            let due = Origin {
                stream: self.setup.stream,
                position: self.position + 1,
            };
            let skipped = due.position <= self.start_after;
            let replaying = skipped || self.setup.cx.committed.is_settled(due);
            self.setup.cx.replaying.store(replaying, Ordering::Relaxed);
            match self.next() {
                Ok(Next::Item(_)) if skipped => self.position += 1,
                Ok(Next::Item(item)) => {
                    let now_ns = self.setup.cx.clock.now_ns();
                    let mut head = item
                        .head
                        .unwrap_or_else(|| Box::new(Head::new(due, item.key, now_ns)));
                    head.origin = due;
                    head.warm_up = !self.warm_up_given;
                    self.position += u64::from(self.warm_up_given);
                    let _ = head.stamps.try_push(Stamp {
                        stage: self.setup.index,
                        enter_ns: head.enter_ns,
                        leave_ns: now_ns,
                    });
                    self.staged.push_back(AnyFrame {
                        head,
                        body: item.body,
                    });
                    if !self.setup.outlet.offer(&mut self.staged) {
                        return;
                    }
                }
                Ok(Next::At(_) | Next::Waiting) if stopping => return self.end(Ending::Left),
                Ok(Next::At(wake_ns)) => return self.sleep(wake_ns),
                Ok(Next::Waiting) => return,
                Ok(Next::End) => return self.end(Ending::Complete),
                Err(error) => return self.fail(&error),
            }
        }
        self.bell().ring();
    }

    /// Whether the source of a graph that drains still gives out what it has accepted.
    fn is_serving(&mut self) -> bool {
        !self.setup.control.abandoned() && self.source.as_mut().is_some_and(|source| source.close())
    }

    /// The next item: recorded ones first, then those of the source itself, which are recorded before they are emitted.
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError> {
        let Some(source) = &mut self.source else {
            return Ok(Next::Waiting);
        };
        if !self.warm_up_given {
            match source.warm_up()? {
                Some(item) => return Ok(Next::Item(item)),
                None => self.warm_up_given = true,
            }
            if self.warm_up_given && self.setup.control.sources_paused() {
                return Ok(Next::Waiting);
            }
        }
        if let Some(replay) = &mut self.replay {
            match replay.next_item().map_err(StageError::failed)? {
                Some((_, frame)) => {
                    let item = meta_of(&frame).and_then(|meta| {
                        let tensor = frame.tensor().map_err(|error| PayloadError::Rule {
                            payload: "recorded item",
                            rule: error.to_string(),
                        })?;
                        source.decode(&meta, tensor)
                    });
                    return item.map(Next::Item).map_err(StageError::failed);
                }
                None => self.replay = None,
            }
        }
        let next = source.next()?;
        if let (Some(recording), Next::Item(item)) = (&mut self.setup.recording, &next) {
            let mut meta = Vec::with_capacity(256);
            item.body.encode(&mut meta).map_err(StageError::failed)?;
            recording
                .append(meta, item.body.tensor(), self.setup.cx.clock.now_ns())
                .map_err(StageError::failed)?;
            if recording.position() % PRUNE_EVERY == 0
                && let Err(error) =
                    recording.prune(self.setup.control.saved_position(&self.setup.cx.stage))
            {
                tracing::warn!(stage = %self.setup.cx.stage, %error, "old segments of the recording are not removed");
            }
        }
        Ok(next)
    }

    fn position(&self) -> ActorState {
        ActorState::Position {
            source: self.setup.cx.stage.to_string(),
            stream: self.setup.stream,
            // Items that are still skipped are in the states already.
            position: self.position.max(self.start_after),
            cursor: match self.position < self.start_after {
                true => self.cursor.clone(),
                false => self.source.as_ref().and_then(|source| source.cursor()),
            },
        }
    }

    fn sleep(&mut self, wake_ns: i64) {
        let cx = &self.setup.cx;
        self.alarm.set(wake_ns, &cx.clock, &cx.waker.0);
    }

    fn stop(&mut self) {
        if let Some(source) = &mut self.source
            && !std::mem::replace(&mut self.stopped, true)
            && let Err(error) = source.stop()
        {
            self.setup
                .control
                .stage_failed(&self.setup.cx.stage, &error);
        }
    }

    /// Ends the source because of `error`.
    fn fail(&mut self, error: &StageError) {
        let (control, stage) = (&self.setup.control, &self.setup.cx.stage);
        control.stage_failed(stage, error);
        control.fail(format!("source '{stage}': {error}"));
        self.end(Ending::Left);
    }

    fn end(&mut self, ending: Ending) {
        self.stop();
        self.setup.outlet.end(ending);
        if ending == Ending::Left && self.warm_up_given {
            let position = self.position();
            self.setup.control.deposit(position);
        }
        if self.source.take().is_some() {
            self.setup.life.end();
        }
    }
}

impl Actor for SourceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.bell().attach(ctx.address().recipient());
    }
}

impl Handler<Build> for SourceActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        self.source = Some(build(&*self.setup.factory, &self.setup.cx)?);
        Ok(())
    }
}

impl Handler<Begin> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.begun = true;
        if let Some(recording) = &self.setup.recording {
            let from = (self.start_after + 1).max(recording.first());
            if self.start_after + 1 < recording.first() {
                tracing::warn!(stage = %self.setup.cx.stage, from, "the recording starts later than the state of the stages ends");
            }
            self.position = from - 1;
            self.replay = Some(recording.replay(from));
        } else if self.start_after > 0
            && let Some(source) = &mut self.source
        {
            // The states of the stages include the items up to there.
            match source.seek(self.start_after + 1, self.cursor.as_deref()) {
                Ok(true) => self.position = self.start_after,
                Ok(false) => {}
                Err(error) => return self.fail(&error),
            }
        }
        self.turn();
    }
}

impl Handler<TakeSnapshot> for SourceActor {
    type Result = MessageResult<TakeSnapshot>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let idle =
            self.begun && self.warm_up_given && self.staged.is_empty() && self.source.is_some();
        MessageResult(vec![match idle && self.setup.control.sources_paused() {
            true => self.position(),
            false => ActorState::Busy,
        }])
    }
}

impl Handler<Restore> for SourceActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, Restore(saved): Restore, _: &mut Self::Context) -> Self::Result {
        // A source that makes its items once only and is not recorded continues wherever it is.
        let position = saved.position(&self.setup.cx.stage);
        // The saved state of the stages includes the warm-up items.
        self.warm_up_given = position.is_some();
        self.start_after = match self.setup.replayable {
            true => position.unwrap_or(0),
            false => 0,
        };
        let cursor = saved.cursor(&self.setup.cx.stage, self.setup.stream);
        self.cursor = cursor.map(<[u8]>::to_vec);
        if let Some(recording) = &mut self.setup.recording
            && let Err(error) = recording.prune(self.start_after)
        {
            tracing::warn!(stage = %self.setup.cx.stage, %error, "old segments of the recording are not removed");
        }
        Ok(())
    }
}

impl Handler<Wake> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell().answer();
        if self.begun && self.source.is_some() {
            self.turn();
            self.setup.life.turned();
        }
    }
}
