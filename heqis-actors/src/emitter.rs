//! Passes frames from stages to the framework.

use std::collections::VecDeque;
use std::marker::PhantomData;

use heqis_core::Merge;
use heqis_core::{AnyFrame, Frame, Head, Stamp};
use heqis_core::{Clock, Origins, Payload};
use heqis_core::{Deliveries, Ticket};
use heqis_core::{Leaving, Outputs};

/// Passes frames from a stage to the framework. Emitting never blocks and never fails: frames that find no room on the
/// edges wait in the actor, which takes no further input in the meantime. [`Collector`] shows one at work.
pub struct Emitter<'a, O> {
    raw: &'a mut RawEmitter,
    outputs: PhantomData<fn(O)>,
}

impl<'a, O: Outputs> Emitter<'a, O> {
    pub(crate) fn new(raw: &'a mut RawEmitter) -> Self {
        Self {
            raw,
            outputs: PhantomData,
        }
    }

    /// Emits `payload`, derived from the frame whose head is `parent`: it keeps the parent's origin and birth time,
    /// carries its stamps and keeps it unacknowledged until the derived frame is done. Of several output ports, the variant
    /// of [`Outputs`] says which one it leaves by.
    pub fn emit(&mut self, parent: &Head, payload: O) {
        self.raw.emit(parent, payload.leave());
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
    pub fn emit_from<'h>(&mut self, parents: impl IntoIterator<Item = &'h Head>, payload: O) {
        self.emit_merged(Merge::of(parents), payload);
    }

    /// As [`Emitter::emit_from`], where later outputs are made from some of the frames too, or where the stage holds frames
    /// only by its state.
    pub fn emit_merged(&mut self, parents: Merge<'_>, payload: O) {
        self.raw.emit_merged(&parents, payload.leave());
    }

    /// Asks for a call of [`Stage::on_timer`](crate::Stage::on_timer) when the graph's clock has reached `at_ns`,
    /// nanoseconds. A stage has one timer: of several times the earliest counts, and a call uses it up. On the machine's
    /// clock the call is some milliseconds late, and later while frames that arrived before that time are still waiting; a
    /// replay clock is not moved by a timer.
    pub fn wake_at(&mut self, at_ns: i64) {
        let wake_ns = &mut self.raw.wake_ns;
        *wake_ns = Some(wake_ns.map_or(at_ns, |earlier| earlier.min(at_ns)));
    }

    /// Emits `payload` as number `n` of the stage's records. It derives from `parent`, but does not keep it unacknowledged:
    /// the record replaces it, and `deliveries` reports when the frame is done.
    pub fn emit_recorded(&mut self, parent: &Head, payload: O, n: u64, deliveries: &Deliveries) {
        self.raw.emit(parent, payload.leave());
        if let Some(emitted) = self.raw.staged.back_mut() {
            emitted.head.ticket = Some(deliveries.ticket(n));
        }
    }

    /// Emits `payload` again, which the stage recorded in an earlier process as number `n`, made from `origins`.
    pub fn emit_replayed(
        &mut self,
        origins: impl Into<Origins>,
        payload: O,
        n: u64,
        deliveries: &Deliveries,
    ) {
        let now_ns = self.raw.now_ns();
        // The key is that of the payload.
        let parent = Head::of(&origins.into(), 0, now_ns);
        self.emit_recorded(&parent, payload, n, deliveries);
    }
}

impl<P: Payload> Emitter<'_, P> {
    /// Emits the payload of `frame` again, without a copy.
    pub fn forward(&mut self, frame: &Frame<P>) {
        let frame = frame.any();
        self.raw.emit(&frame.head, Leaving::of(frame));
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
    pub fn emitter<O: Outputs>(&mut self) -> Emitter<'_, O> {
        Emitter::new(&mut self.raw)
    }

    /// Takes the time of [`Emitter::wake_at`], nanoseconds, if the stage has asked for a call.
    pub fn take_timer(&mut self) -> Option<i64> {
        self.raw.wake_ns.take()
    }

    /// Takes the frames emitted so far, oldest first. Those of another payload are dropped.
    pub fn take<P: Payload>(&mut self) -> Vec<Frame<P>> {
        let staged = self.raw.staged.drain(..);
        staged
            .filter_map(|frame| Frame::typed(frame).ok())
            .collect()
    }

    /// Takes the frames emitted so far by the port `port` of `O`, oldest first; those of other ports stay.
    pub fn take_port<O: Outputs, P: Payload>(&mut self, port: &str) -> Vec<Frame<P>> {
        let index = heqis_core::Port::find(O::PORTS, port);
        let leaves = |frame: &AnyFrame| Some(usize::from(frame.head.port)) == index;
        let (taken, left): (VecDeque<_>, _) = self.raw.staged.drain(..).partition(leaves);
        self.raw.staged = left;
        (taken.into_iter())
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

    pub(crate) fn emit(&mut self, parent: &Head, payload: Leaving) {
        let stamp = Stamp {
            stage: self.stage,
            enter_ns: parent.enter_ns,
            leave_ns: self.clock.now_ns(),
        };
        let mut head = parent.derive(payload.key, stamp);
        head.port = payload.port;
        self.staged
            .push_back(AnyFrame::from_parts(head, payload.body));
    }

    fn emit_merged(&mut self, parents: &Merge<'_>, payload: Leaving) {
        if let Some(parent) = parents.single() {
            return self.emit(parent, payload);
        }
        let origins = parents.origins();
        // The last one of those that were born at the same time.
        let youngest = parents.heads().max_by_key(|head| head.born_ns);
        let now_ns = self.clock.now_ns();
        let mut base = match youngest {
            Some(parent) => parent.clone(),
            None => Head::of(&origins, payload.key, now_ns),
        };
        base.origin = origins.newest();
        base.merged = origins.merged().cloned();
        base.part = 0;
        base.warm_up = youngest.is_some() && parents.heads().all(|head| head.warm_up);
        // Frames that are kept stay with the stage.
        let tickets = parents.done.iter().filter_map(|head| head.ticket.clone());
        base.ticket = Ticket::merge(tickets.collect());
        self.emit(&base, payload);
    }
}
