//! Joins: pairs of frames from two ports that have the same key.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::emitter::Emitter;
use heqis_core::Frame;

use crate::stage::Stage;
use heqis_core::{ClosureResult, Counter, Ending, Key, Payload, StageError};
use heqis_derive::Inputs;

/// What [`GraphBuilder::join`](crate::GraphBuilder::join) takes.
#[derive(Inputs)]
pub(crate) enum JoinIn<L: Payload, R: Payload> {
    Left(Frame<L>),
    Right(Frame<R>),
}

/// How many frames a join holds, and what it does with frames that find no partner.
///
/// The first frame of a key from the left belongs to the first one from the right, the second to the second, and so on, in
/// whichever order they arrive: the pairs do not depend on the speed of the two sides. A frame that comes first is held. Where
/// its side holds [`capacity`](Join::capacity) frames already it is refused: dropped, cause `refused`, with an alarm, and
/// counted as the event `full`. At the end of both complete streams, held frames have no partner: they are counted as the event
/// `unmatched`, and done.
///
/// The emitted frame derives from both ([`Emitter::emit_from`]): a node in front keeps a held frame, and sends it again to a
/// killed node. Its credit must therefore exceed the frames that are held. The stage is not saved by `state`.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    capacity: usize,
}

impl Default for Join {
    fn default() -> Self {
        Self { capacity: 65_536 }
    }
}

impl Join {
    /// A join that holds at most `frames` of each side; 65,536 by default.
    #[must_use]
    pub fn capacity(frames: usize) -> Self {
        Self { capacity: frames }
    }
}

/// The frames of one side that wait for a partner, by key.
struct Held<P> {
    frames: BTreeMap<Key, VecDeque<Frame<P>>>,
    count: usize,
}

impl<P: Payload> Held<P> {
    fn new() -> Self {
        Self {
            frames: BTreeMap::new(),
            count: 0,
        }
    }

    /// The frame of the key that has waited longest.
    fn first(&self, key: Key) -> Option<&Frame<P>> {
        self.frames.get(&key)?.front()
    }

    fn pop(&mut self, key: Key) {
        if let Some(frames) = self.frames.get_mut(&key) {
            self.count -= usize::from(frames.pop_front().is_some());
            if frames.is_empty() {
                self.frames.remove(&key);
            }
        }
    }
}

/// The stage of [`GraphBuilder::join`](crate::GraphBuilder::join).
pub(crate) struct JoinStage<L, R, O, F> {
    join: Join,
    left: Held<L>,
    right: Held<R>,
    full: Counter,
    unmatched: Counter,
    call: Arc<F>,
    result: PhantomData<fn() -> O>,
}

impl<L: Payload, R: Payload, O, F> JoinStage<L, R, O, F> {
    pub(crate) fn new(join: Join, call: Arc<F>, cx: &BuildContext) -> Self {
        Self {
            join,
            left: Held::new(),
            right: Held::new(),
            full: cx.counter("full"),
            unmatched: cx.counter("unmatched"),
            call,
            result: PhantomData,
        }
    }
}

/// Holds the frame until its partner arrives.
fn hold<P: Payload>(
    side: &mut Held<P>,
    frame: &Frame<P>,
    join: Join,
    full: &Counter,
) -> Result<(), StageError> {
    if side.count >= join.capacity {
        full.inc();
        let held = side.count;
        return Err(StageError::refused(format!(
            "{held} frames wait for a partner already"
        )));
    }
    let frames = side.frames.entry(frame.head().key).or_default();
    frames.push_back(frame.clone());
    side.count += 1;
    Ok(())
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
                None => return hold(&mut self.left, left, self.join, &self.full),
            },
            JoinIn::Right(right) => match self.left.first(right.head().key) {
                Some(left) => (left, right),
                None => return hold(&mut self.right, right, self.join, &self.full),
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
                .add((self.left.count + self.right.count) as u64);
        }
        Ok(())
    }
}
