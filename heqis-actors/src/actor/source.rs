//! Runs a source: asks for items while there is room downstream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;

use super::erased::{AnySource, ErasedItem, build};
use super::messages::{Begin, Build, Hold, TakeUp};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::Control;
use crate::doorbell::{Doorbell, Wake};
use crate::error::StageError;
use crate::frame::{AnyFrame, Head, Origin, Stamp};
use crate::outcome::Ending;
use crate::payload::PayloadError;
use crate::recording::{Recording, Replay, meta_of};
use crate::snapshot::Held;
use crate::stage::Next;

/// Items per turn, so that a fast source lets its neighbours on the arbiter work.
const TURN: usize = 64;
/// Items after which a recording is looked through for segments that are not needed any more.
const PRUNE_EVERY: u64 = 4096;

pub(crate) type SourceFactory =
    Arc<dyn Fn(&BuildContext) -> Result<Box<dyn AnySource>, StageError> + Send + Sync>;

/// What a source actor is made of.
pub(crate) struct SourceSetup {
    pub(crate) cx: BuildContext,
    pub(crate) index: u16,
    pub(crate) factory: SourceFactory,
    pub(crate) outlet: Outlet,
    pub(crate) control: Control,
    /// Identity of the source's sequence of items.
    pub(crate) stream: u64,
    /// Where the items are written down, when the source gives them once only.
    pub(crate) recording: Option<Recording>,
    /// Whether the stream is the same in each run.
    pub(crate) replayable: bool,
}

pub(crate) struct SourceActor {
    cx: BuildContext,
    index: u16,
    factory: SourceFactory,
    source: Option<Box<dyn AnySource>>,
    outlet: Outlet,
    bell: Arc<Doorbell>,
    control: Control,
    stream: u64,
    position: u64,
    /// The position up to which the node's state has the items' effect: they are passed over.
    start_after: u64,
    /// The items of the past were given, or are not needed.
    past_given: bool,
    /// Whether the stream is the same in each run.
    replayable: bool,
    recording: Option<Recording>,
    /// What was recorded before this process and has to come again.
    replay: Option<Replay>,
    staged: VecDeque<AnyFrame>,
    begun: bool,
    /// A timer for this time is running already.
    alarm_ns: Option<i64>,
}

impl SourceActor {
    pub(crate) fn new(setup: SourceSetup) -> Self {
        Self {
            bell: setup.cx.waker.0.clone(),
            cx: setup.cx,
            index: setup.index,
            factory: setup.factory,
            source: None,
            outlet: setup.outlet,
            control: setup.control,
            stream: setup.stream,
            position: 0,
            start_after: 0,
            past_given: false,
            replayable: setup.replayable,
            recording: setup.recording,
            replay: None,
            staged: VecDeque::new(),
            begun: false,
            alarm_ns: None,
        }
    }

    fn turn(&mut self) {
        if self.control.abandoned() {
            self.outlet.abandon(&mut self.staged);
        } else if !self.outlet.offer(&mut self.staged) {
            return;
        }
        if self.control.stopping() {
            return self.end(Ending::Left);
        }
        if self.control.sources_paused() {
            return;
        }
        for _ in 0..TURN {
            let due = Origin {
                stream: self.stream,
                position: self.position + 1,
            };
            let passed_over = due.position <= self.start_after;
            let replaying = passed_over || self.cx.committed.is_settled(due);
            self.cx.replaying.store(replaying, Ordering::Relaxed);
            match self.next() {
                Ok(Next::Item(_)) if passed_over => self.position += 1,
                Ok(Next::Item(item)) => {
                    let born_ns = self.cx.clock.now_ns();
                    let mut head = Head::new(due, item.key, born_ns);
                    head.past = !self.past_given;
                    self.position += u64::from(self.past_given);
                    let _ = head.stamps.try_push(Stamp {
                        stage: self.index,
                        enter_ns: born_ns,
                        leave_ns: born_ns,
                    });
                    self.staged.push_back(AnyFrame::from_parts(head, item.body));
                    if !self.outlet.offer(&mut self.staged) {
                        return;
                    }
                }
                Ok(Next::At(wake_ns)) => return self.sleep(wake_ns),
                Ok(Next::Waiting) => return,
                Ok(Next::End) => return self.end(Ending::Complete),
                Err(error) => {
                    self.control.stage_failed(&self.cx.stage, &error);
                    self.control
                        .fail(format!("source '{}': {error}", self.cx.stage));
                    return self.end(Ending::Left);
                }
            }
        }
        self.bell.ring();
    }

    /// The next item: of what was recorded first, then of the source itself, whose items are written down before they go
    /// on their way.
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError> {
        let Some(source) = &mut self.source else {
            return Ok(Next::Waiting);
        };
        if !self.past_given {
            match source.warm_up()? {
                Some(item) => return Ok(Next::Item(item)),
                None => self.past_given = true,
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
        if let (Some(recording), Next::Item(item)) = (&mut self.recording, &next) {
            recording
                .append(&*item.body, self.cx.clock.now_ns())
                .map_err(StageError::failed)?;
            if recording.position() % PRUNE_EVERY == 0
                && let Err(error) = recording.prune(self.control.saved_position(&self.cx.stage))
            {
                tracing::warn!(stage = %self.cx.stage, %error, "old segments of the recording are not removed");
            }
        }
        Ok(next)
    }

    fn position(&self) -> Held {
        Held::Position {
            source: self.cx.stage.to_string(),
            stream: self.stream,
            position: self.position,
        }
    }

    fn sleep(&mut self, wake_ns: i64) {
        if self.alarm_ns != Some(wake_ns) {
            self.alarm_ns = Some(wake_ns);
            let (clock, bell) = (self.cx.clock.clone(), self.bell.clone());
            actix_rt::spawn(async move {
                clock.sleep_until(wake_ns).await;
                bell.ring();
            });
        }
    }

    fn end(&mut self, ending: Ending) {
        self.outlet.end(ending);
        if ending == Ending::Left && self.past_given {
            let position = self.position();
            self.control.deposit(position);
        }
        if self.source.take().is_some() {
            self.control.ended(&self.cx.stage);
        }
    }
}

impl Actor for SourceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.bell.attach(ctx.address().recipient());
    }
}

impl Handler<Build> for SourceActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        self.source = Some(build(&*self.factory, &self.cx)?);
        Ok(())
    }
}

impl Handler<Begin> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.begun = true;
        if let Some(recording) = &self.recording {
            let from = (self.start_after + 1).max(recording.first());
            if self.start_after + 1 < recording.first() {
                tracing::warn!(stage = %self.cx.stage, from, "the recording starts later than the state of the stages ends");
            }
            self.position = from - 1;
            match recording.replay(from) {
                Ok(replay) => self.replay = Some(replay),
                Err(error) => {
                    self.control
                        .fail(format!("source '{}': {error}", self.cx.stage));
                    return self.end(Ending::Left);
                }
            }
        }
        self.turn();
    }
}

impl Handler<Hold> for SourceActor {
    type Result = MessageResult<Hold>;

    fn handle(&mut self, _: Hold, _: &mut Self::Context) -> Self::Result {
        let idle = self.begun && self.past_given && self.staged.is_empty() && self.source.is_some();
        MessageResult(vec![match idle && self.control.sources_paused() {
            true => self.position(),
            false => Held::Busy,
        }])
    }
}

impl Handler<TakeUp> for SourceActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, TakeUp(saved): TakeUp, _: &mut Self::Context) -> Self::Result {
        // A source that gives its items once only and is not recorded goes on wherever it is.
        let position = saved.position(&self.cx.stage);
        // What the stages hold has the past in it.
        self.past_given = position.is_some();
        self.start_after = match self.replayable {
            true => position.unwrap_or(0),
            false => 0,
        };
        if let Some(recording) = &mut self.recording
            && let Err(error) = recording.prune(self.start_after)
        {
            tracing::warn!(stage = %self.cx.stage, %error, "old segments of the recording are not removed");
        }
        Ok(())
    }
}

impl Handler<Wake> for SourceActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell.answer();
        if self.begun && self.source.is_some() {
            self.turn();
        }
    }
}
