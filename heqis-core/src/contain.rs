//! Panics in code of the program become errors, so that they end no thread of a graph.

use std::cell::RefCell;
use std::mem::needs_drop;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::StageError;

thread_local! {
    /// The last panic of a value that was dropped on this thread.
    static DROPPED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `work`; a panic becomes its message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let reason = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned());
        // The value of the panic is the program's too, and its drop could panic again.
        std::mem::forget(panic);
        format!("panic: {reason}")
    })
}

/// Runs code of a stage, which is rebuilt after a panic, so that its possibly inconsistent state is never used again.
pub fn contained<T>(work: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    caught(work).unwrap_or_else(|panic| Err(StageError::Failed(panic)))
}

/// A value of the program. A panic while it is dropped goes no further, see [`take_dropped`].
pub struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    /// Takes the value.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value.
    #[must_use]
    pub fn into_inner(mut self) -> T {
        match self.0.take() {
            Some(value) => value,
            None => unreachable!("it is taken with the whole"),
        }
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("it is taken with the whole"),
        }
    }
}

impl<T> DerefMut for Contained<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(value) => value,
            None => unreachable!("it is taken with the whole"),
        }
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if needs_drop::<T>()
            && let Some(value) = self.0.take()
            && let Err(panic) = caught(|| drop(value))
        {
            DROPPED.set(Some(format!("while a value of it was dropped: {panic}")));
        }
    }
}

/// The last panic of a value that was dropped on this thread, once.
pub fn take_dropped() -> Option<String> {
    DROPPED.take()
}
