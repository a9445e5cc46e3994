//! Stages and sources of any type behind one trait.

use std::sync::Arc;

use crate::context::BuildContext;
use crate::emitter::{Emitter, RawEmitter};
use crate::stage::{Next, Source, Stage};
use heqis_core::Inputs;
use heqis_core::{AnyFrame, Body, Head, sound};
use heqis_core::{Contained, contained};
use heqis_core::{Ending, Key, Payload, PayloadError, Snapshot, StageError, Tensor};

/// A stage of any type. It keeps the frames of the current batch, so that they survive a failure of the stage.
pub(crate) trait AnyStage {
    /// Adds the frame, which came by the port with this index, to the batch and processes it.
    fn process(
        &mut self,
        port: usize,
        frame: AnyFrame,
        out: &mut RawEmitter,
    ) -> Result<(), StageError>;
    fn flush(&mut self, out: &mut RawEmitter) -> Result<(), StageError>;
    fn on_timer(&mut self, now_ns: i64, out: &mut RawEmitter) -> Result<(), StageError>;
    fn drain(&mut self, ending: Ending, out: &mut RawEmitter) -> Result<(), StageError>;
    fn finish(&mut self) -> Result<(), StageError>;
    fn recover(&mut self, record: &AnyFrame) -> Result<(), StageError>;
    fn resume(&mut self, out: &mut RawEmitter) -> Result<(), StageError>;
    fn snapshot(&self) -> Snapshot;
    fn restore(&mut self, state: &[u8]) -> Result<(), StageError>;
    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError>;
    fn put_key(&mut self, key: Key, state: &[u8], out: &mut RawEmitter) -> Result<(), StageError>;
    /// Whether the stage is not shown frames whose outcome the commit log holds.
    fn recovers(&self) -> bool;
    /// Whether frames that it holds are kept for a rebuild.
    fn holds_frames(&self) -> bool;
    /// Whether the stage is the commit log.
    fn is_log(&self) -> bool;
    /// Whether the stage is shown warm-up items.
    fn takes_warm_up(&self) -> bool;
    /// Takes the frames of the batch out, oldest first.
    fn take_batch(&mut self) -> Vec<AnyFrame>;
    /// Takes the newest frame of the batch out.
    fn take_newest(&mut self) -> Option<AnyFrame>;
    /// Drops the frames of a finished batch, which releases their tickets.
    fn clear_batch(&mut self);
}

pub(crate) struct TypedStage<S: Stage> {
    stage: Contained<S>,
    batch: Vec<<S::In as Inputs>::Frame>,
    /// A frame of another type, which follows those of the batch. The check of graphs refuses edges that carry one.
    other: Option<AnyFrame>,
}

impl<S: Stage> TypedStage<S> {
    pub(crate) fn new(stage: S) -> Self {
        Self {
            stage: Contained::new(stage),
            batch: Vec::new(),
            other: None,
        }
    }
}

impl<S: Stage> AnyStage for TypedStage<S> {
    fn process(
        &mut self,
        port: usize,
        frame: AnyFrame,
        out: &mut RawEmitter,
    ) -> Result<(), StageError> {
        let frame = match S::In::arrive(port, frame) {
            Ok(frame) => frame,
            Err(frame) => {
                let error = StageError::Config(format!(
                    "stage kind '{}' takes '{}', the edge carries '{}'",
                    S::KIND,
                    (S::In::PORTS.get(port)).map_or("nothing", |port| port.payload),
                    frame.payload_name()
                ));
                self.other = Some(frame);
                return Err(error);
            }
        };
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

    fn on_timer(&mut self, now_ns: i64, out: &mut RawEmitter) -> Result<(), StageError> {
        contained(|| self.stage.on_timer(now_ns, &mut Emitter::new(out)))
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

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        contained(|| self.stage.take_key(key))
    }

    fn put_key(&mut self, key: Key, state: &[u8], out: &mut RawEmitter) -> Result<(), StageError> {
        contained(|| self.stage.put_key(key, state, &mut Emitter::new(out)))
    }

    fn recovers(&self) -> bool {
        S::RECOVERS
    }

    fn holds_frames(&self) -> bool {
        S::HOLDS_FRAMES
    }

    fn is_log(&self) -> bool {
        S::COMMIT_LOG
    }

    fn takes_warm_up(&self) -> bool {
        S::TAKES_WARM_UP
    }

    fn take_batch(&mut self) -> Vec<AnyFrame> {
        let batch = self.batch.drain(..).map(S::In::into_any);
        batch.chain(self.other.take()).collect()
    }

    fn take_newest(&mut self) -> Option<AnyFrame> {
        self.batch.pop().map(S::In::into_any)
    }

    fn clear_batch(&mut self) {
        self.batch.clear();
        self.other = None;
    }
}

/// A source of any type.
pub(crate) trait AnySource {
    fn warm_up(&mut self) -> Result<Option<ErasedItem>, StageError>;
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError>;
    fn cursor(&self) -> Option<Vec<u8>> {
        None
    }
    fn seek(&mut self, _position: u64, _cursor: Option<&[u8]>) -> Result<bool, StageError> {
        Ok(false)
    }
    /// The graph begins to drain. Returns whether the source still gives out what it has accepted: it is then asked until it
    /// has nothing more, and stopped afterwards.
    fn close(&mut self) -> bool {
        false
    }
    fn stop(&mut self) -> Result<(), StageError>;
    /// Rebuilds an item that was recorded.
    fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<ErasedItem, PayloadError>;
}

/// An item of a source and its key.
pub(crate) struct ErasedItem {
    pub(crate) key: Key,
    pub(crate) body: Arc<dyn Body>,
    /// The head that the item has already, without an origin: of an item from a channel, which was born when it was sent.
    pub(crate) head: Option<Box<Head>>,
}

impl ErasedItem {
    pub(super) fn of<P: Payload>(item: P) -> Self {
        Self {
            key: item.key(),
            body: Arc::new(Contained::new(item)),
            head: None,
        }
    }

    /// A recorded item.
    pub(super) fn decoded<P: Payload>(meta: &[u8], tensor: Tensor) -> Result<Self, PayloadError> {
        sound::<P, _>(|| P::decode(meta, tensor).map(Self::of))
    }
}

pub(crate) struct TypedSource<S>(Contained<S>);

impl<S> TypedSource<S> {
    pub(crate) fn new(source: S) -> Self {
        Self(Contained::new(source))
    }
}

impl<S: Source> AnySource for TypedSource<S> {
    fn next(&mut self) -> Result<Next<ErasedItem>, StageError> {
        // With the key of the item, which is code of the program too.
        contained(|| {
            Ok(match self.0.next()? {
                Next::Item(item) => Next::Item(ErasedItem::of(item)),
                Next::At(ns) => Next::At(ns),
                Next::Waiting => Next::Waiting,
                Next::End => Next::End,
            })
        })
    }

    fn warm_up(&mut self) -> Result<Option<ErasedItem>, StageError> {
        contained(|| Ok(self.0.warm_up()?.map(ErasedItem::of)))
    }

    fn cursor(&self) -> Option<Vec<u8>> {
        contained(|| Ok(self.0.cursor())).unwrap_or_default()
    }

    fn seek(&mut self, position: u64, cursor: Option<&[u8]>) -> Result<bool, StageError> {
        contained(|| self.0.seek(position, cursor))
    }

    fn stop(&mut self) -> Result<(), StageError> {
        contained(|| {
            self.0.stop();
            Ok(())
        })
    }

    fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<ErasedItem, PayloadError> {
        ErasedItem::decoded::<S::Out>(meta, tensor)
    }
}

/// Builds a stage or source; a panic in its constructor is an error as well.
pub(crate) fn build<T>(
    factory: &(dyn Fn(&BuildContext) -> Result<T, StageError> + Send + Sync),
    cx: &BuildContext,
) -> Result<T, StageError> {
    contained(|| factory(cx))
}
