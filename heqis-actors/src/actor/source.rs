//! Runs a source: asks for items while there is room downstream.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;

use super::{AnySource, Begin, Build, Doorbell, Outlet, Wake, build};
use crate::control::Control;
use crate::frame::{AnyFrame, Head, Origin, Stamp};
use crate::stage::{BuildContext, Ending, Next, StageError};

/// Items per turn, so that a fast source lets its neighbours on the arbiter work.
const TURN: usize = 64;

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
        for _ in 0..TURN {
            let Some(source) = &mut self.source else {
                return;
            };
            match source.next() {
                Ok(Next::Item(item)) => {
                    let born_ns = self.cx.clock.now_ns();
                    self.position += 1;
                    let origin = Origin {
                        stream: self.stream,
                        position: self.position,
                    };
                    let mut head = Head::new(origin, item.key, born_ns);
                    let _ = head.stamps.try_push(Stamp {
                        stage: self.index,
                        enter_ns: born_ns,
                        leave_ns: born_ns,
                    });
                    self.staged.push_back((item.into_frame)(head));
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
        self.turn();
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
