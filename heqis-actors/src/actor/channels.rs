//! The actors' ends of channels: the source that empties a channel into the graph, and the actor of an output.

use std::marker::PhantomData;
use std::sync::Arc;

use actix::prelude::*;

use super::erased::{AnySource, ErasedItem};
use super::messages::{Begin, Build};
use crate::channel::{InputEnd, InputQueue, OutputEnd, OutputLink};
use crate::control::{Control, Life};
use crate::doorbell::{Doorbell, Wake};
use crate::edge::Pop;
use crate::stage::Next;
use heqis_core::{Ending, FrameOutcome, Payload, PayloadError, StageError, Tensor};

/// Takes what a program sends.
pub(crate) struct InputSource<P> {
    slot: Arc<InputEnd>,
    queue: InputQueue,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> InputSource<P> {
    pub(crate) fn new(slot: &Arc<InputEnd>) -> Result<Self, StageError> {
        let queue = slot
            .queue()
            .ok_or_else(|| StageError::config("the channel is attached to no graph"))?;
        Ok(Self {
            slot: slot.clone(),
            queue: queue.clone(),
            payload: PhantomData,
        })
    }
}

impl<P: Payload> AnySource for InputSource<P> {
    fn warm_up(&mut self) -> Result<Option<ErasedItem>, StageError> {
        Ok(None)
    }

    fn next(&mut self) -> Result<Next<ErasedItem>, StageError> {
        let InputQueue { edge, clock } = &self.queue;
        Ok(match edge.pop(0, clock.now_ns()) {
            Pop::Frame(frame) => {
                // From here on the frame is in the books of the edges after the source.
                edge.done(FrameOutcome::Delivered, 1);
                Next::Item(ErasedItem {
                    key: frame.head.key,
                    body: frame.body,
                    head: Some(frame.head),
                })
            }
            Pop::Empty => Next::Waiting,
            Pop::Ended(_) => Next::End,
        })
    }

    fn close(&mut self) -> bool {
        self.slot.close();
        true
    }

    fn stop(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<ErasedItem, PayloadError> {
        ErasedItem::decoded::<P>(meta, tensor)
    }
}

impl<P> Drop for InputSource<P> {
    /// The source ends: senders learn it, and what the program has sent and no source takes is lost.
    fn drop(&mut self) {
        self.slot.close();
        self.queue.edge.abandon();
    }
}

/// What the actor of an output is built from.
pub(crate) struct OutputSetup {
    pub(crate) slot: Arc<OutputEnd>,
    pub(crate) link: Arc<OutputLink>,
    pub(crate) control: Control,
    pub(crate) life: Life,
    /// The actor's own doorbell; that of the edges wakes the receiver.
    pub(crate) bell: Arc<Doorbell>,
}

/// Ends an output. The frames themselves are taken by the receiver, on a thread of the program.
pub(crate) struct OutputActor {
    setup: OutputSetup,
    ended: bool,
}

impl OutputActor {
    pub(crate) fn new(setup: OutputSetup) -> Self {
        Self {
            setup,
            ended: false,
        }
    }

    fn turn(&mut self) {
        let OutputSetup {
            slot,
            link,
            control,
            life,
            ..
        } = &self.setup;
        if self.ended {
            return;
        }
        let abandoned = control.abandoned();
        // A receiver that is dropped at the end of its stream stops nothing.
        if slot.is_abandoned() && !abandoned && link.ending().is_none() {
            control.stop();
        }
        if slot.is_abandoned() || abandoned {
            // What arrives later is dropped too, since no receiver takes it.
            link.edges.iter().for_each(|edge| edge.abandon());
        }
        if let Some(ending) = link.ending().or(abandoned.then_some(Ending::Left)) {
            self.ended = true;
            slot.end(ending);
            life.end();
        }
    }
}

impl Actor for OutputActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.setup.bell.attach(ctx.address().recipient());
    }
}

impl Handler<Build> for OutputActor {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Begin> for OutputActor {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.turn();
    }
}

impl Handler<Wake> for OutputActor {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut Self::Context) {
        self.setup.bell.answer();
        self.turn();
    }
}
