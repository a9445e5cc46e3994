//! A state that a pipeline adds to and pages read, where the writer does not wait for readers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Items that may be queued before a writer waits for the reader: some seconds of a pipeline at full speed.
const CAPACITY: usize = 65_536;

/// A state that is added to on one side and read on the other.
///
/// A reader may hold the lock for long: it copies whole series, and its thread has the lowest priority. Items added in the
/// meantime are queued; the next holder of the lock, writer or reader, applies them in order. The queue has no lock.
#[derive(Debug)]
pub(crate) struct NonBlockingInbox<S, T> {
    inner: Mutex<Inner<S, T>>,
    sender: Sender<T>,
    queued: AtomicUsize,
    apply: fn(&mut S, T),
}

#[derive(Debug)]
pub(crate) struct Inner<S, T> {
    state: S,
    queue: Receiver<T>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S, T> NonBlockingInbox<S, T> {
    /// Returns an empty inbox in front of `state`; `apply` adds one item to the state.
    pub(crate) fn new(state: S, apply: fn(&mut S, T)) -> Self {
        let (sender, queue) = channel();
        Self {
            inner: Mutex::new(Inner { state, queue }),
            sender,
            queued: AtomicUsize::new(0),
            apply,
        }
    }

    /// Adds an item, directly where no reader holds the lock. Waits only while [`CAPACITY`] items are queued.
    pub(crate) fn push(&self, item: T) {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.queued.load(Ordering::Relaxed) < CAPACITY => {
                self.queued.fetch_add(1, Ordering::Relaxed);
                // Cannot fail: this inbox owns the receiver.
                let _ = self.sender.send(item);
                return;
            }
            Err(TryLockError::WouldBlock) => lock(&self.inner),
        };
        self.apply_queued(&mut inner);
        (self.apply)(&mut inner.state, item);
    }

    /// Returns the state with everything that was added before this call.
    pub(crate) fn read(&self) -> ReadGuard<'_, S, T> {
        let mut inner = lock(&self.inner);
        self.apply_queued(&mut inner);
        ReadGuard(inner)
    }

    fn apply_queued(&self, inner: &mut Inner<S, T>) {
        for item in inner.queue.try_iter() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            (self.apply)(&mut inner.state, item);
        }
    }
}

/// Read access to the state; writers queue while it exists.
pub(crate) struct ReadGuard<'a, S, T>(MutexGuard<'a, Inner<S, T>>);

impl<S, T> std::ops::Deref for ReadGuard<'_, S, T> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_does_not_wait_for_a_reader_and_keeps_all_items_in_order() {
        let inbox = NonBlockingInbox::new(Vec::new(), Vec::push);
        inbox.push(0);
        let guard = inbox.read();
        // On the same thread: a push that waited for the guard would deadlock.
        (1..=1_000).for_each(|item| inbox.push(item));
        assert_eq!(*guard, [0]);
        drop(guard);
        inbox.push(1_001);
        assert_eq!(*inbox.read(), (0..=1_001).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_makes_the_writer_wait_for_the_reader() {
        let inbox = NonBlockingInbox::new(0_usize, |sum, item: usize| *sum += item);
        std::thread::scope(|scope| {
            let guard = inbox.read();
            let writer = scope.spawn(|| (0..CAPACITY + 10).for_each(|_| inbox.push(1)));
            while inbox.queued.load(Ordering::Relaxed) < CAPACITY {
                std::thread::yield_now();
            }
            assert!(!writer.is_finished());
            drop(guard);
        });
        assert_eq!(*inbox.read(), CAPACITY + 10);
    }
}
