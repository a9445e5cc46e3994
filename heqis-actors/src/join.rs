//! Joins: pairs of frames from two ports that have the same key.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::emitter::Emitter;
use heqis_core::Frame;

use crate::stage::Stage;
use heqis_core::{ClosureResult, Counter, Ending, Held, Join, Payload, StageError};
use heqis_derive::Inputs;

/// What [`GraphBuilder::join`](crate::GraphBuilder::join) takes.
#[derive(Inputs)]
pub(crate) enum JoinIn<L: Payload, R: Payload> {
    Left(Frame<L>),
    Right(Frame<R>),
}

/// The stage of [`GraphBuilder::join`](crate::GraphBuilder::join).
pub(crate) struct JoinStage<L, R, O, F> {
    left: Held<Frame<L>>,
    right: Held<Frame<R>>,
    full: Counter,
    unmatched: Counter,
    call: Arc<F>,
    result: PhantomData<fn() -> O>,
}

impl<L: Payload, R: Payload, O, F> JoinStage<L, R, O, F> {
    pub(crate) fn new(join: Join, call: Arc<F>, cx: &BuildContext) -> Self {
        Self {
            left: Held::new(join),
            right: Held::new(join),
            full: cx.counter("full"),
            unmatched: cx.counter("unmatched"),
            call,
            result: PhantomData,
        }
    }
}

/// Holds the frame until its partner arrives.
fn hold<P: Payload>(
    side: &mut Held<Frame<P>>,
    frame: &Frame<P>,
    full: &Counter,
) -> Result<(), StageError> {
    if side.push(frame.head().key, || frame.clone()) {
        return Ok(());
    }
    full.inc();
    let held = side.count();
    Err(StageError::refused(format!(
        "{held} frames wait for a partner already"
    )))
}

impl<L: Payload, R: Payload, O: ClosureResult + 'static, F> Stage for JoinStage<L, R, O, F>
where
    F: Fn(&Frame<L>, &Frame<R>) -> O + 'static,
{
    type Config = ();
    type In = JoinIn<L, R>;
    type Out = O::Out;
    const KIND: &'static str = "join";

    fn process(
        &mut self,
        input: &JoinIn<L, R>,
        out: &mut Emitter<'_, O::Out>,
    ) -> Result<(), StageError> {
        let (left, right) = match input {
            JoinIn::Left(left) => match self.right.first(left.head().key) {
                Some(right) => (left, right),
                None => return hold(&mut self.left, left, &self.full),
            },
            JoinIn::Right(right) => match self.left.first(right.head().key) {
                Some(left) => (left, right),
                None => return hold(&mut self.right, right, &self.full),
            },
        };
        let key = left.head().key;
        let joined = (self.call)(left, right).into_payload().map(|payload| {
            if let Some(payload) = payload {
                out.emit_from([left.head(), right.head()], payload);
            }
        });
        // Also where the pair is refused: the next frame has the next partner.
        match input {
            JoinIn::Left(_) => self.right.pop(key),
            JoinIn::Right(_) => self.left.pop(key),
        }
        joined
    }

    fn drain(&mut self, ending: Ending, _: &mut Emitter<'_, O::Out>) -> Result<(), StageError> {
        // Of a node that leaves, the next start gets them again.
        if ending == Ending::Complete {
            self.unmatched
                .add((self.left.count() + self.right.count()) as u64);
        }
        Ok(())
    }
}
