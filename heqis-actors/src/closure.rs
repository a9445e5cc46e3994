//! Stages and sources made of closures.
//!
//! A closure that is called by shared reference (`Fn`) has no state of its own: it is called by each worker and after each
//! restart. One that changes what it has captured (`FnMut`) exists once, so that its state is neither copied nor lost: the
//! stage has one worker and is not rebuilt after a failure.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use crate::emitter::Emitter;
use crate::stage::{Next, Source, Stage};
use heqis_core::Frame;
use heqis_core::Outputs;
use heqis_core::{Payload, Snapshot, StageError};

/// Name of the kind of stages and sources that are closures.
pub(crate) const CLOSURE: &str = "closure";

/// A stage without state that calls a shared closure.
pub(crate) struct SharedFn<I, O, F> {
    call: Arc<F>,
    payloads: PhantomData<fn(I) -> O>,
}

impl<I, O, F> SharedFn<I, O, F> {
    pub(crate) fn new(call: Arc<F>) -> Self {
        Self {
            call,
            payloads: PhantomData,
        }
    }
}

impl<I: Payload, O: Payload, F> Stage for SharedFn<I, O, F>
where
    F: Fn(&Frame<I>, &mut Emitter<'_, O>) -> Result<(), StageError> + 'static,
{
    type Config = ();
    type In = I;
    type Out = O;
    const KIND: &'static str = CLOSURE;

    fn process(&mut self, frame: &Frame<I>, out: &mut Emitter<'_, O>) -> Result<(), StageError> {
        (self.call)(frame, out)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }
}

/// A stage without state that emits what a shared closure returns, by the port that it says.
pub(crate) struct SplitFn<I, O, F> {
    call: Arc<F>,
    payloads: PhantomData<fn(I) -> O>,
}

impl<I, O, F> SplitFn<I, O, F> {
    pub(crate) fn new(call: Arc<F>) -> Self {
        Self {
            call,
            payloads: PhantomData,
        }
    }
}

impl<I: Payload, O: Outputs, F> Stage for SplitFn<I, O, F>
where
    F: Fn(&Frame<I>) -> O + 'static,
{
    type Config = ();
    type In = I;
    type Out = O;
    const KIND: &'static str = "split";
    const ROUTES: bool = true;

    fn process(&mut self, frame: &Frame<I>, out: &mut Emitter<'_, O>) -> Result<(), StageError> {
        out.emit(frame.head(), (self.call)(frame));
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }
}

/// A stage whose state is what its closure has captured.
pub(crate) struct OwnFn<I, O, F> {
    call: F,
    snapshot: Snapshot,
    payloads: PhantomData<fn(I) -> O>,
}

impl<I, O, F> OwnFn<I, O, F> {
    pub(crate) fn new(call: F, snapshot: Snapshot) -> Self {
        Self {
            call,
            snapshot,
            payloads: PhantomData,
        }
    }
}

impl<I: Payload, O: Payload, F> Stage for OwnFn<I, O, F>
where
    F: FnMut(&Frame<I>, &mut Emitter<'_, O>) -> Result<(), StageError> + 'static,
{
    type Config = ();
    type In = I;
    type Out = O;
    const KIND: &'static str = CLOSURE;

    fn process(&mut self, frame: &Frame<I>, out: &mut Emitter<'_, O>) -> Result<(), StageError> {
        (self.call)(frame, out)
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }
}

/// A source that calls a closure for each item.
pub(crate) struct SourceFn<P, F> {
    next: F,
    payload: PhantomData<fn() -> P>,
}

impl<P, F> SourceFn<P, F> {
    pub(crate) fn new(next: F) -> Self {
        Self {
            next,
            payload: PhantomData,
        }
    }
}

impl<P: Payload, F> Source for SourceFn<P, F>
where
    F: FnMut() -> Result<Next<P>, StageError> + 'static,
{
    type Config = ();
    type Out = P;
    const KIND: &'static str = CLOSURE;
    // Only the program knows whether a second run gives the same items: it does, if it states their identity.
    const REPLAYABLE: bool = true;
    const IDENTITY_OPTIONAL: bool = true;

    fn next(&mut self) -> Result<Next<P>, StageError> {
        (self.next)()
    }
}

/// A source of the items of an iterator that a closure makes, beginning with the item of any position.
pub(crate) struct SourceFrom<F, I> {
    start: Option<F>,
    items: Option<I>,
}

impl<F, I> SourceFrom<F, I> {
    pub(crate) fn new(start: F) -> Self {
        Self {
            start: Some(start),
            items: None,
        }
    }
}

impl<F, I> Source for SourceFrom<F, I>
where
    F: FnOnce(u64) -> Result<I, StageError> + 'static,
    I: Iterator<Item: Payload> + 'static,
{
    type Config = ();
    type Out = I::Item;
    const KIND: &'static str = CLOSURE;
    const REPLAYABLE: bool = true;
    const IDENTITY_OPTIONAL: bool = true;

    fn next(&mut self) -> Result<Next<I::Item>, StageError> {
        self.seek(1, None)?;
        let item = self.items.as_mut().and_then(Iterator::next);
        Ok(item.map_or(Next::End, Next::Item))
    }

    fn seek(&mut self, position: u64, _: Option<&[u8]>) -> Result<bool, StageError> {
        if let Some(start) = self.start.take() {
            self.items = Some(start(position)?);
        }
        Ok(true)
    }
}

/// A value that is taken out one time, on the thread where it is needed.
pub(crate) struct Once<T>(Mutex<Option<T>>);

impl<T> Once<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// # Errors
    /// [`StageError::Config`] the second time.
    pub(crate) fn take(&self) -> Result<T, StageError> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| {
            StageError::config(
                "it is one closure with its state: it has one worker and is not rebuilt",
            )
        })
    }
}
