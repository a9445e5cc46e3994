//! The actix actors that run stages, and what they share.
//!
//! Every actor has one message for data, [`Wake`]: "look at your edges". A [`Doorbell`] in front of the mailbox lets
//! at most one `Wake` wait there, so that mailboxes stay bounded although actix's `do_send` is not.

mod outlet;
mod ring;
mod source;
mod stage;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use actix::prelude::*;

pub(crate) use outlet::Outlet;
pub use ring::RingBufferConfig;
pub(crate) use ring::{RING_KIND, RingActor, RingSetup};
pub(crate) use source::{SourceActor, SourceFactory, SourceSetup};
pub(crate) use stage::{Inlet, StageActor, StageFactory, StageSetup};

use crate::clock::Clock;
use crate::frame::{AnyFrame, Body, Frame, Head, Stamp};
use crate::payload::{Key, Payload, PayloadError, Tensor};
use crate::snapshot::SavedState;
use crate::stage::{BuildContext, Emitter, Ending, Next, Snapshot, Source, Stage, StageError};

/// Look at your edges.
#[derive(Debug)]
pub(crate) struct Wake;

impl Message for Wake {
    type Result = ();
}

/// Build what you run; answers when it is done.
#[derive(Debug)]
pub(crate) struct Build;

impl Message for Build {
    type Result = Result<(), StageError>;
}

/// Every stage of the node is built: take up recovered state and begin.
#[derive(Debug)]
pub(crate) struct Begin;

impl Message for Begin {
    type Result = ();
}

/// Say what you hold: answered between two frames, by [`Held::Busy`] where something is under way.
#[derive(Debug)]
pub(crate) struct Hold;

impl Message for Hold {
    type Result = Vec<Held>;
}

/// What an actor holds.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Busy,
    /// A source has given everything up to this position of its stream.
    Position {
        source: String,
        stream: u64,
        position: u64,
    },
    State {
        stage: String,
        worker: u32,
        fingerprint: u64,
        snapshot: Snapshot,
    },
}

/// Take up what you held in an earlier process.
#[derive(Debug)]
pub(crate) struct TakeUp(pub(crate) Arc<SavedState>);

impl Message for TakeUp {
    type Result = Result<(), StageError>;
}

/// Wakes one actor, from any thread. Any number of rings before the actor looks leave one message.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    addr: OnceLock<Recipient<Wake>>,
    rung: AtomicBool,
}

impl Doorbell {
    pub(crate) fn attach(&self, addr: Recipient<Wake>) {
        let _ = self.addr.set(addr);
    }

    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(addr) = self.addr.get()
        {
            addr.do_send(Wake);
        }
    }

    /// The actor is about to look; later rings count again.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

/// Wakes a source that answered [`Next::Waiting`]. Usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Waker(pub(crate) Arc<Doorbell>);

impl Waker {
    /// Makes the framework ask the source again.
    pub fn wake(&self) {
        self.0.ring();
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

/// A stage of any type. It keeps the frames of the current batch, so that they survive its failure.
pub(crate) trait AnyStage {
    /// Takes the frame into the batch and processes it.
    fn process(&mut self, frame: AnyFrame, out: &mut RawEmitter) -> Result<(), StageError>;
    fn flush(&mut self, out: &mut RawEmitter) -> Result<(), StageError>;
    fn drain(&mut self, ending: Ending, out: &mut RawEmitter) -> Result<(), StageError>;
    fn finish(&mut self) -> Result<(), StageError>;
    fn recover(&mut self, record: &AnyFrame) -> Result<(), StageError>;
    fn resume(&mut self, out: &mut RawEmitter) -> Result<(), StageError>;
    fn snapshot(&self) -> Snapshot;
    fn restore(&mut self, state: &[u8]) -> Result<(), StageError>;
    /// Whether frames whose outcome the commit log holds are left out.
    fn recovers(&self) -> bool;
    /// Whether frames of the past are shown to the stage.
    fn takes_past(&self) -> bool;
    /// Gives up the frames of the batch, oldest first.
    fn take_batch(&mut self) -> Vec<AnyFrame>;
    /// Gives up the newest frame of the batch.
    fn take_newest(&mut self) -> Option<AnyFrame>;
    /// Lets go of the frames of a finished batch.
    fn clear_batch(&mut self);
}

pub(crate) struct TypedStage<S: Stage> {
    stage: S,
    batch: Vec<Frame<S::In>>,
}

impl<S: Stage> TypedStage<S> {
    pub(crate) fn new(stage: S) -> Self {
        Self {
            stage,
            batch: Vec::new(),
        }
    }
}

impl<S: Stage> AnyStage for TypedStage<S> {
    fn process(&mut self, frame: AnyFrame, out: &mut RawEmitter) -> Result<(), StageError> {
        let frame = Frame::typed(frame).map_err(|frame| {
            // `check` refuses such an edge; only a graph built by hand gets here.
            StageError::Config(format!(
                "stage kind '{}' takes '{}', the edge carries '{}'",
                S::KIND,
                <S::In as Payload>::NAME,
                frame.payload_name()
            ))
        })?;
        self.batch.push(frame);
        let Some(frame) = self.batch.last() else {
            return Ok(());
        };
        let stage = &mut self.stage;
        contained(|| stage.process(frame, &mut Emitter::new(out)))
    }

    fn flush(&mut self, out: &mut RawEmitter) -> Result<(), StageError> {
        contained(|| self.stage.flush(&mut Emitter::new(out)))
    }

    fn drain(&mut self, ending: Ending, out: &mut RawEmitter) -> Result<(), StageError> {
        contained(|| self.stage.drain(ending, &mut Emitter::new(out)))
    }

    fn finish(&mut self) -> Result<(), StageError> {
        contained(|| self.stage.finish())
    }

    fn recover(&mut self, record: &AnyFrame) -> Result<(), StageError> {
        contained(|| {
            self.stage.recover(record);
            Ok(())
        })
    }

    fn resume(&mut self, out: &mut RawEmitter) -> Result<(), StageError> {
        contained(|| self.stage.resume(&mut Emitter::new(out)))
    }

    fn snapshot(&self) -> Snapshot {
        contained(|| Ok(self.stage.snapshot())).unwrap_or(Snapshot::Unsupported)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        contained(|| self.stage.restore(state))
    }

    fn recovers(&self) -> bool {
        S::RECOVERS
    }

    fn takes_past(&self) -> bool {
        S::TAKES_PAST
    }

    fn take_batch(&mut self) -> Vec<AnyFrame> {
        self.batch.drain(..).map(Frame::into_any).collect()
    }

    fn take_newest(&mut self) -> Option<AnyFrame> {
        self.batch.pop().map(Frame::into_any)
    }

    fn clear_batch(&mut self) {
        self.batch.clear();
    }
}

/// A source of any type.
pub(crate) trait AnySource {
    fn past(&mut self) -> Result<Option<ErasedItem>, StageError>;
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError>;
    /// Rebuilds an item that was recorded.
    fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<ErasedItem, PayloadError>;
}

/// An item of a source and its key.
pub(crate) struct ErasedItem {
    pub(crate) key: Key,
    pub(crate) body: Arc<dyn Body>,
}

impl ErasedItem {
    fn of<P: Payload>(item: P) -> Self {
        Self {
            key: item.key(),
            body: Arc::new(item),
        }
    }
}

pub(crate) struct TypedSource<S>(pub(crate) S);

impl<S: Source> AnySource for TypedSource<S> {
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError> {
        let next = contained(|| self.0.next())?;
        Ok(match next {
            Next::Item(item) => Next::Item(ErasedItem::of(item)),
            Next::At(ns) => Next::At(ns),
            Next::Waiting => Next::Waiting,
            Next::End => Next::End,
        })
    }

    fn past(&mut self) -> Result<Option<ErasedItem>, StageError> {
        Ok(contained(|| self.0.past())?.map(ErasedItem::of))
    }

    fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<ErasedItem, PayloadError> {
        S::Out::decode(meta, tensor).map(ErasedItem::of)
    }
}

/// Runs a stage's code; a panic becomes an error, so that it stays within the stage.
fn contained<T>(work: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    // The stage is rebuilt after a panic, so whatever state it left behind is never looked at again.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned());
        Err(StageError::Failed(format!("panic: {reason}")))
    })
}

/// Builds a stage or source; a panic in its constructor is an error as well.
pub(crate) fn build<T>(
    factory: &(dyn Fn(&BuildContext) -> Result<T, StageError> + Send + Sync),
    cx: &BuildContext,
) -> Result<T, StageError> {
    contained(|| factory(cx))
}
