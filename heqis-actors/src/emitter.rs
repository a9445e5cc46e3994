//! Where a stage puts what it makes.

use std::collections::VecDeque;
use std::marker::PhantomData;

use crate::clock::Clock;
use crate::frame::{AnyFrame, Frame, Head, Origin, Stamp};
use crate::payload::{Key, Payload};
use crate::ticket::Deliveries;

/// Hands frames to the framework. Emitting never blocks and never fails: what finds no room on the edges waits in
/// the actor, which takes no further input meanwhile.
pub struct Emitter<'a, P> {
    raw: &'a mut RawEmitter,
    payload: PhantomData<fn(P)>,
}

impl<'a, P: Payload> Emitter<'a, P> {
    pub(crate) fn new(raw: &'a mut RawEmitter) -> Self {
        Self {
            raw,
            payload: PhantomData,
        }
    }

    /// Emits `payload`, derived from the frame whose head is `parent`: it keeps the parent's origin and birth time,
    /// carries its stamps and keeps it unacknowledged until the derived frame is done.
    pub fn emit(&mut self, parent: &Head, payload: P) {
        let key = payload.key();
        self.raw
            .emit(parent, key, |head| AnyFrame::new(head, payload));
    }

    /// Emits `payload` as number `n` of what the stage has recorded. It derives from `parent`, but does not keep it
    /// unacknowledged: the record takes its place, and `deliveries` tells when the frame is done.
    pub fn emit_recorded(&mut self, parent: &Head, payload: P, n: u64, deliveries: &Deliveries) {
        let key = payload.key();
        let ticket = deliveries.ticket(n);
        self.raw.emit(parent, key, |mut head| {
            head.ticket = Some(ticket);
            AnyFrame::new(head, payload)
        });
    }

    /// Emits `payload` again, which the stage had recorded in an earlier process as number `n`, made of `origin`.
    pub fn emit_replayed(&mut self, origin: Origin, payload: P, n: u64, deliveries: &Deliveries) {
        let now_ns = self.raw.now_ns();
        let parent = Head::new(origin, payload.key(), now_ns);
        self.emit_recorded(&parent, payload, n, deliveries);
    }
}

/// Collects what a stage emits, for tests and benches of a stage outside any graph.
pub struct Collector {
    raw: RawEmitter,
}

impl Collector {
    /// An empty probe whose stamps read `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            raw: RawEmitter::new(0, clock),
        }
    }

    /// An emitter into this probe.
    pub fn emitter<P: Payload>(&mut self) -> Emitter<'_, P> {
        Emitter::new(&mut self.raw)
    }

    /// Takes what was emitted so far, oldest first.
    pub fn take<P: Payload>(&mut self) -> Vec<Frame<P>> {
        self.raw
            .staged
            .drain(..)
            .filter_map(|frame| Frame::typed(frame).ok())
            .collect()
    }
}

/// Collects what a stage emits during one batch.
#[derive(Debug)]
pub(crate) struct RawEmitter {
    stage: u16,
    clock: Clock,
    /// Emitted and not yet on every edge, oldest first.
    pub(crate) staged: VecDeque<AnyFrame>,
}

impl RawEmitter {
    pub(crate) fn new(stage: u16, clock: Clock) -> Self {
        Self {
            stage,
            clock,
            staged: VecDeque::new(),
        }
    }

    pub(crate) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    pub(crate) fn emit(&mut self, parent: &Head, key: Key, frame: impl FnOnce(Head) -> AnyFrame) {
        let stamp = Stamp {
            stage: self.stage,
            enter_ns: parent.enter_ns,
            leave_ns: self.clock.now_ns(),
        };
        self.staged.push_back(frame(parent.derive(key, stamp)));
    }
}
