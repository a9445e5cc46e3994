//! Passes frames from stages to the framework.

use std::collections::VecDeque;
use std::marker::PhantomData;

use crate::frame::{AnyFrame, Frame, Head, Stamp};
use crate::merge::Merge;
use crate::ticket::{Deliveries, Ticket};
use heqis_core::{Clock, Key, Origins, Payload};

/// Passes frames from a stage to the framework. Emitting never blocks and never fails: frames that find no room on the
/// edges wait in the actor, which takes no further input in the meantime. [`Collector`] shows one at work.
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

    /// Emits `payload`, made from all frames whose heads are `parents`. They stay unacknowledged until the emitted frame and
    /// everything else derived from them is done, and are then acknowledged together; a commit log records the origins of
    /// all of them. It has the birth time and the stamps of the youngest one.
    ///
    /// A stage keeps the heads of the frames that it collects until it emits, so that a killed node gets them again.
    ///
    /// ```
    /// use heqis_actors::{Clock, Collector, Emitter, Frame, Origin, Payload};
    /// # #[derive(Payload)]
    /// # struct Count(u64);
    /// let item = |position| Frame::detached(Origin { stream: 1, position }, 0, Count(position));
    /// let window: Vec<_> = (1..=10).map(item).collect();
    /// let mut collector = Collector::new(Clock::virtual_at(0));
    /// let sum = window.iter().map(|frame| frame.0).sum();
    /// collector.emitter().emit_from(window.iter().map(Frame::head), Count(sum));
    /// let emitted = collector.take::<Count>();
    /// assert_eq!((emitted[0].0, emitted[0].head().origins().done()[0].last), (55, 10));
    /// ```
    pub fn emit_from<'h>(&mut self, parents: impl IntoIterator<Item = &'h Head>, payload: P) {
        self.emit_merged(Merge::of(parents), payload);
    }

    /// As [`Emitter::emit_from`], where later outputs are made from some of the frames too, or where the stage holds frames
    /// only by its state.
    pub fn emit_merged(&mut self, parents: Merge<'_>, payload: P) {
        let key = payload.key();
        self.raw
            .emit_merged(&parents, key, |head| AnyFrame::new(head, payload));
    }

    /// Asks for a call of [`Stage::on_timer`](crate::Stage::on_timer) when the graph's clock has reached `at_ns`,
    /// nanoseconds. A stage has one timer: of several times the earliest counts, and a call uses it up. On the machine's
    /// clock the call is some milliseconds late, and later while frames that arrived before that time are still waiting; a
    /// replay clock is not moved by a timer.
    pub fn wake_at(&mut self, at_ns: i64) {
        let wake_ns = &mut self.raw.wake_ns;
        *wake_ns = Some(wake_ns.map_or(at_ns, |earlier| earlier.min(at_ns)));
    }

    /// Emits the payload of `frame` again, without a copy.
    pub fn forward(&mut self, frame: &Frame<P>) {
        let AnyFrame { head, body } = frame.any();
        self.raw.emit(head, head.key, |head| {
            AnyFrame::from_parts(head, body.clone())
        });
    }

    /// Emits `payload` as number `n` of the stage's records. It derives from `parent`, but does not keep it unacknowledged:
    /// the record replaces it, and `deliveries` reports when the frame is done.
    pub fn emit_recorded(&mut self, parent: &Head, payload: P, n: u64, deliveries: &Deliveries) {
        let key = payload.key();
        let ticket = deliveries.ticket(n);
        self.raw.emit(parent, key, |mut head| {
            head.ticket = Some(ticket);
            AnyFrame::new(head, payload)
        });
    }

    /// Emits `payload` again, which the stage recorded in an earlier process as number `n`, made from `origins`.
    pub fn emit_replayed(
        &mut self,
        origins: impl Into<Origins>,
        payload: P,
        n: u64,
        deliveries: &Deliveries,
    ) {
        let now_ns = self.raw.now_ns();
        let parent = Head::of(&origins.into(), payload.key(), now_ns);
        self.emit_recorded(&parent, payload, n, deliveries);
    }
}

/// Collects the frames that a stage emits, for tests and benches of a stage outside any graph.
///
/// ```
/// use heqis_actors::{Clock, Collector, Frame, Origin, Payload};
///
/// #[derive(Payload)]
/// struct Count(u64);
///
/// let frame = Frame::detached(Origin { stream: 1, position: 5 }, 0, Count(20));
/// let mut collector = Collector::new(Clock::virtual_at(0));
/// collector.emitter().emit(frame.head(), Count(frame.0 + 1));
/// let emitted = collector.take::<Count>();
/// assert_eq!((emitted[0].0, emitted[0].head().origin.position), (21, 5));
/// ```
pub struct Collector {
    raw: RawEmitter,
}

impl Collector {
    /// An empty collector whose stamps read `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            raw: RawEmitter::new(0, clock),
        }
    }

    /// An emitter into this collector.
    pub fn emitter<P: Payload>(&mut self) -> Emitter<'_, P> {
        Emitter::new(&mut self.raw)
    }

    /// Takes the time of [`Emitter::wake_at`], nanoseconds, if the stage has asked for a call.
    pub fn take_timer(&mut self) -> Option<i64> {
        self.raw.wake_ns.take()
    }

    /// Takes the frames emitted so far, oldest first.
    pub fn take<P: Payload>(&mut self) -> Vec<Frame<P>> {
        self.raw
            .staged
            .drain(..)
            .filter_map(|frame| Frame::typed(frame).ok())
            .collect()
    }
}

/// Collects the frames that a stage emits during one batch.
#[derive(Debug)]
pub(crate) struct RawEmitter {
    stage: u16,
    clock: Clock,
    /// Emitted and not yet on every edge, oldest first.
    pub(crate) staged: VecDeque<AnyFrame>,
    /// When the stage wants its timer to be called.
    pub(crate) wake_ns: Option<i64>,
}

impl RawEmitter {
    pub(crate) fn new(stage: u16, clock: Clock) -> Self {
        Self {
            stage,
            clock,
            staged: VecDeque::new(),
            wake_ns: None,
        }
    }

    /// Index of the stage.
    pub(crate) fn stage(&self) -> u16 {
        self.stage
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

    fn emit_merged(&mut self, parents: &Merge<'_>, key: Key, frame: impl FnOnce(Head) -> AnyFrame) {
        if let Some(parent) = parents.single() {
            return self.emit(parent, key, frame);
        }
        let origins = parents.origins();
        // The last one of those that were born at the same time.
        let youngest = parents.heads().max_by_key(|head| head.born_ns);
        let now_ns = self.clock.now_ns();
        let mut base = match youngest {
            Some(parent) => parent.clone(),
            None => Head::of(&origins, key, now_ns),
        };
        base.origin = origins.newest();
        base.merged = origins.merged().cloned();
        base.part = 0;
        base.warm_up = youngest.is_some() && parents.heads().all(|head| head.warm_up);
        // Frames that are kept stay with the stage.
        let tickets = parents.done.iter().filter_map(|head| head.ticket.clone());
        base.ticket = Ticket::merge(tickets.collect());
        self.emit(&base, key, frame);
    }
}
