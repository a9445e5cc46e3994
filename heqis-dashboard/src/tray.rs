//! What a pipeline writes and pages read, so that the writer waits for no reader.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Things that lie in a tray before a writer waits for the reader: some seconds of a pipeline at full speed.
const ROOM: usize = 65_536;

/// A state that is added to on one side and read on the other.
///
/// A reader may hold the state for long: it copies whole series, and its thread goes behind all others. What comes in the
/// meantime is put into the tray, and the next one who has the state, writer or reader, takes it in, in the order in which
/// it came. The tray itself has no lock.
#[derive(Debug)]
pub(crate) struct Tray<S, T> {
    state: Mutex<Held<S, T>>,
    put: Sender<T>,
    waiting: AtomicUsize,
    take: fn(&mut S, T),
}

#[derive(Debug)]
pub(crate) struct Held<S, T> {
    state: S,
    tray: Receiver<T>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S, T> Tray<S, T> {
    /// An empty tray before `state`, which `take` adds a thing to.
    pub(crate) fn new(state: S, take: fn(&mut S, T)) -> Self {
        let (put, tray) = channel();
        Self {
            state: Mutex::new(Held { state, tray }),
            put,
            waiting: AtomicUsize::new(0),
            take,
        }
    }

    /// Adds a thing, at once where nobody reads. Waits only when [`ROOM`] things wait already.
    pub(crate) fn add(&self, thing: T) {
        let mut held = match self.state.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.waiting.load(Ordering::Relaxed) < ROOM => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                // The other end is held by this very tray.
                let _ = self.put.send(thing);
                return;
            }
            Err(TryLockError::WouldBlock) => lock(&self.state),
        };
        self.take_in(&mut held);
        (self.take)(&mut held.state, thing);
    }

    /// The state with everything that was added before.
    pub(crate) fn read(&self) -> Reading<'_, S, T> {
        let mut held = lock(&self.state);
        self.take_in(&mut held);
        Reading(held)
    }

    fn take_in(&self, held: &mut Held<S, T>) {
        for thing in held.tray.try_iter() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            (self.take)(&mut held.state, thing);
        }
    }
}

/// The state while it is read.
pub(crate) struct Reading<'a, S, T>(MutexGuard<'a, Held<S, T>>);

impl<S, T> std::ops::Deref for Reading<'_, S, T> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_does_not_wait_for_a_reader_and_nothing_is_lost_or_out_of_order() {
        let tray = Tray::new(Vec::new(), Vec::push);
        tray.add(0);
        let held = tray.read();
        // On this very thread: it would wait for itself.
        (1..=1_000).for_each(|thing| tray.add(thing));
        assert_eq!(*held, [0]);
        drop(held);
        tray.add(1_001);
        assert_eq!(*tray.read(), (0..=1_001).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_tray_makes_the_writer_wait_for_the_reader() {
        let tray = Tray::new(0_usize, |sum, thing: usize| *sum += thing);
        std::thread::scope(|scope| {
            let held = tray.read();
            let writer = scope.spawn(|| (0..ROOM + 10).for_each(|_| tray.add(1)));
            while tray.waiting.load(Ordering::Relaxed) < ROOM {
                std::thread::yield_now();
            }
            assert!(!writer.is_finished());
            drop(held);
        });
        assert_eq!(*tray.read(), ROOM + 10);
    }
}
