//! The ring buffer: a queue with a policy of its own between two stages.
//!
//! It goes on taking frames while its outgoing edges are full, which no other stage does; that is its whole purpose:
//! upstream of a slow link it decides, by its policy, what is kept.

use std::sync::Arc;

use actix::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inlet::Inlet;
use super::messages::{Begin, Build, Hold, TakeUp};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::Control;
use crate::doorbell::{Doorbell, Wake};
use crate::edge::{Edge, Pop};
use crate::emitter::RawEmitter;
use crate::error::StageError;
use crate::frame::AnyFrame;
use crate::options::Policy;
use crate::outcome::Ending;
use crate::outcome::Outcome;
use crate::snapshot::Held;
use crate::stats::StageStats;

/// MessageKind name of the ring buffer in topologies.
pub(crate) const RING_KIND: &str = "ring-buffer";

/// Frames moved in one turn.
const TURN: usize = 256;

/// Parameters of a `ring-buffer` stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RingBufferConfig {
    /// Most frames that the buffer holds.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub capacity: usize,
    /// What happens when it is full.
    #[serde(default)]
    pub policy: Policy,
}

/// What a ring-buffer actor is made of.
pub(crate) struct RingSetup {
    pub(crate) cx: BuildContext,
    pub(crate) inlets: Vec<Inlet>,
    /// The buffer itself: an edge from this actor to itself, with books of its own.
    pub(crate) ring: Arc<Edge>,
    pub(crate) outlet: Outlet,
    pub(crate) emitter: RawEmitter,
    pub(crate) control: Control,
    pub(crate) stats: StageStats,
}

pub(crate) struct RingActor {
    cx: BuildContext,
    inlets: Vec<Inlet>,
    ring: Arc<Edge>,
    outlet: Outlet,
    emitter: RawEmitter,
    bell: Arc<Doorbell>,
    control: Control,
    stats: StageStats,
    begun: bool,
    /// The inputs have ended and the ring was told so.
    closed: bool,
    ended: bool,
    /// A frame that the `block` policy turned away from the ring.
    waiting: Option<AnyFrame>,
}

impl RingActor {
    pub(crate) fn new(setup: RingSetup) -> Self {
        Self {
            bell: setup.cx.waker.0.clone(),
            cx: setup.cx,
            inlets: setup.inlets,
            ring: setup.ring,
            outlet: setup.outlet,
            emitter: setup.emitter,
            control: setup.control,
            stats: setup.stats,
            begun: false,
            closed: false,
            ended: false,
            waiting: None,
        }
    }

    fn turn(&mut self) {
        if self.ended || !self.begun {
            return;
        }
        if self.control.abandoned() {
            return self.abandon();
        }
        for _ in 0..TURN {
            let took = self.fill();
            match self.empty() {
                Emptied::Ended(ending) => return self.end(ending),
                Emptied::Moved => {}
                Emptied::Nothing if took => {}
                Emptied::Nothing => return,
            }
        }
        self.bell.ring();
    }

    /// Moves one frame from the inputs into the ring.
    fn fill(&mut self) -> bool {
        if let Some(frame) = self.waiting.take()
            && let Err(frame) = self.ring.push(frame)
        {
            self.waiting = Some(frame);
            return false;
        }
        let now_ns = self.cx.clock.now_ns();
        for inlet in self.inlets.iter_mut().filter(|inlet| inlet.ended.is_none()) {
            match inlet.edge.pop(inlet.lane, now_ns) {
                Pop::Frame(frame) => {
                    // The ring's own books take over here.
                    inlet.edge.done(Outcome::Delivered, 1);
                    if let Err(frame) = self.ring.push(frame) {
                        self.waiting = Some(frame);
                    }
                    return true;
                }
                Pop::Empty => {}
                Pop::Ended(ending) => inlet.ended = Some(ending),
            }
        }
        if !self.closed
            && self.waiting.is_none()
            && let Some(ending) = Inlet::ending(&self.inlets)
        {
            self.closed = true;
            self.ring.end_producer(ending);
        }
        false
    }

    /// Moves one frame from the ring onto the outgoing edges.
    fn empty(&mut self) -> Emptied {
        if !self.outlet.offer(&mut self.emitter.staged) {
            return Emptied::Nothing;
        }
        let now_ns = self.cx.clock.now_ns();
        match self.ring.pop(0, now_ns) {
            Pop::Frame(frame) => {
                let head = frame.head.clone();
                let (born_ns, enter_ns) = (head.born_ns, head.last_leave_ns());
                self.emitter.emit(&head, head.key, |head| {
                    AnyFrame::from_parts(head, frame.body)
                });
                self.ring.done(Outcome::Delivered, 1);
                self.stats.processed(now_ns - enter_ns, now_ns - born_ns);
                self.outlet.offer(&mut self.emitter.staged);
                Emptied::Moved
            }
            Pop::Empty => Emptied::Nothing,
            Pop::Ended(ending) => Emptied::Ended(ending),
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ended = true;
        self.outlet.end(ending);
        self.control.ended(&self.cx.stage);
    }

    fn abandon(&mut self) {
        if self.waiting.take().is_some() {
            self.ring.refuse(1);
        }
        for inlet in &self.inlets {
            inlet.edge.abandon();
        }
        self.ring.abandon();
        self.outlet.abandon(&mut self.emitter.staged);
        self.end(Ending::Left);
    }
}

enum Emptied {
    Moved,
    Nothing,
    Ended(Ending),
}

impl Actor for RingActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.bell.attach(ctx.address().recipient());
    }
}

impl Handler<Build> for RingActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Hold> for RingActor {
    type Result = MessageResult<Hold>;

    /// What the ring holds is in the books of its own edge.
    fn handle(&mut self, _: Hold, _: &mut Self::Context) -> Self::Result {
        let idle = self.begun && self.waiting.is_none() && self.emitter.staged.is_empty();
        MessageResult(match idle {
            true => Vec::new(),
            false => vec![Held::Busy],
        })
    }
}

impl Handler<TakeUp> for RingActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: TakeUp, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Begin> for RingActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.begun = true;
        self.turn();
    }
}

impl Handler<Wake> for RingActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell.answer();
        self.turn();
    }
}
