//! The ring buffer: a queue with a policy of its own between two stages.
//!
//! It continues to take frames while its outgoing edges are full, which no other stage does: in front of a slow link its
//! policy decides which frames are kept.

use std::sync::Arc;

use actix::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inlet::Inlet;
use super::messages::{Begin, Build, Restore, TakeSnapshot};
use super::outlet::Outlet;
use crate::context::BuildContext;
use crate::control::{Control, Life};
use crate::doorbell::{Doorbell, Wake};
use crate::edge::{Edge, Pop};
use crate::emitter::RawEmitter;
use heqis_core::AnyFrame;
use heqis_core::Leaving;
use heqis_core::{
    ActorState, DropCause, Ending, FrameOutcome, Policy, StageError, StageStats, limits, setters,
};

/// Kind name of the ring buffer in topologies.
pub(crate) const RING_KIND: &str = "ring-buffer";

/// Frames moved in one turn.
const TURN: usize = 256;

/// Parameters of a `ring-buffer` stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RingBufferConfig {
    /// Most frames that the buffer holds.
    #[schemars(range(min = *limits::CAPACITY.start(), max = *limits::CAPACITY.end()))]
    pub capacity: usize,
    /// What happens when it is full.
    #[serde(default)]
    pub policy: Policy,
}

setters!(RingBufferConfig: policy: Policy);

impl RingBufferConfig {
    /// A buffer of `capacity` frames, with the policy `block`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            policy: Policy::default(),
        }
    }
}

/// What a ring-buffer actor is built from.
pub(crate) struct RingSetup {
    pub(crate) cx: BuildContext,
    pub(crate) inlets: Vec<Inlet>,
    /// The buffer itself: an edge from this actor to itself, with books of its own.
    pub(crate) ring: Arc<Edge>,
    pub(crate) outlet: Outlet,
    pub(crate) emitter: RawEmitter,
    pub(crate) control: Control,
    pub(crate) life: Life,
    pub(crate) stats: StageStats,
}

pub(crate) struct RingActor {
    setup: RingSetup,
    phase: Phase,
    /// A frame that the `block` policy turned away from the ring.
    waiting: Option<AnyFrame>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Built; moves nothing yet.
    New,
    Running,
    /// The inputs have ended, and the ring after them.
    Emptying,
    Ended,
}

impl RingActor {
    pub(crate) fn new(setup: RingSetup) -> Self {
        Self {
            setup,
            phase: Phase::New,
            waiting: None,
        }
    }

    fn bell(&self) -> &Doorbell {
        &self.setup.cx.waker.0
    }

    fn turn(&mut self) {
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return;
        }
        if self.setup.control.abandoned() {
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
        self.bell().ring();
    }

    /// Moves one frame from the inputs into the ring.
    fn fill(&mut self) -> bool {
        if let Some(frame) = self.waiting.take()
            && let Err(frame) = self.setup.ring.push(frame)
        {
            self.waiting = Some(frame);
            return false;
        }
        let now_ns = self.setup.cx.clock.now_ns();
        for inlet in self
            .setup
            .inlets
            .iter_mut()
            .filter(|inlet| inlet.ended.is_none())
        {
            match inlet.edge.pop(inlet.lane, now_ns) {
                Pop::Frame(frame) => {
                    // From here on the frame is in the books of the ring.
                    inlet.edge.done(FrameOutcome::Delivered, 1);
                    if let Err(frame) = self.setup.ring.push(frame) {
                        self.waiting = Some(frame);
                    }
                    return true;
                }
                Pop::Empty => {}
                Pop::Ended(ending) => inlet.ended = Some(ending),
            }
        }
        if self.phase == Phase::Running
            && self.waiting.is_none()
            && let Some(ending) = Inlet::ending(&self.setup.inlets)
        {
            self.phase = Phase::Emptying;
            self.setup.ring.end_producer(ending);
        }
        false
    }

    /// Moves one frame from the ring onto the outgoing edges.
    fn empty(&mut self) -> Emptied {
        if !self.setup.outlet.offer(&mut self.setup.emitter.staged) {
            return Emptied::Nothing;
        }
        let now_ns = self.setup.cx.clock.now_ns();
        match self.setup.ring.pop(0, now_ns) {
            Pop::Frame(frame) => {
                let head = frame.head.clone();
                let (born_ns, enter_ns) = (head.born_ns, head.last_leave_ns());
                self.setup.emitter.emit(&head, Leaving::of(&frame));
                self.setup.ring.done(FrameOutcome::Delivered, 1);
                self.setup
                    .stats
                    .processed(now_ns - enter_ns, now_ns - born_ns);
                self.setup.outlet.offer(&mut self.setup.emitter.staged);
                Emptied::Moved
            }
            Pop::Empty => Emptied::Nothing,
            Pop::Ended(ending) => Emptied::Ended(ending),
        }
    }

    fn end(&mut self, ending: Ending) {
        self.phase = Phase::Ended;
        self.setup.outlet.end(ending);
        self.setup.life.end();
    }

    fn abandon(&mut self) {
        if let Some(frame) = self.waiting.take() {
            if let Some(ticket) = &frame.head.ticket {
                ticket.set(FrameOutcome::Dropped(DropCause::Shutdown));
            }
            self.setup.ring.drop_unsent(1);
        }
        for inlet in &self.setup.inlets {
            inlet.edge.abandon();
        }
        self.setup.ring.abandon();
        self.setup.outlet.abandon(&mut self.setup.emitter.staged);
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
        self.bell().attach(ctx.address().recipient());
    }
}

impl Handler<Build> for RingActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<TakeSnapshot> for RingActor {
    type Result = MessageResult<TakeSnapshot>;

    /// The frames in the ring are in the books of its own edge.
    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let idle = self.phase != Phase::New
            && self.waiting.is_none()
            && self.setup.emitter.staged.is_empty();
        MessageResult(match idle {
            true => Vec::new(),
            false => vec![ActorState::Busy],
        })
    }
}

impl Handler<Restore> for RingActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Restore, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Begin> for RingActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.phase = Phase::Running;
        self.turn();
    }
}

impl Handler<Wake> for RingActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.bell().answer();
        self.turn();
        self.setup.life.turned();
    }
}
