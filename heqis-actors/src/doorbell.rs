//! Wakes an actor with at most one message in its mailbox, or the tasks and threads of the program that wait at a channel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task;

use actix::prelude::*;

use heqis_core::Ring;

/// Makes an actor check its edges.
#[derive(Debug)]
pub(crate) struct Wake;

impl Message for Wake {
    type Result = ();
}

/// Tasks and threads outside the graph that wait for the same thing.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Vec<task::Waker>>);

impl Tasks {
    /// Registers a waiter until the next [`Tasks::wake`]. One that waits again is registered once.
    pub(crate) fn register(&self, waker: &task::Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    pub(crate) fn wake(&self) {
        let mut wakers = {
            let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *wakers)
        };
        // Outside the lock, because a waker runs code of the program.
        wakers.drain(..).for_each(task::Waker::wake);
    }
}

#[derive(Debug)]
enum Target {
    Actor(Recipient<Wake>),
    Tasks(Arc<Tasks>),
}

/// Wakes one actor, or the tasks that wait at a channel, from any thread. Any number of rings before the actor checks its
/// edges leave one message.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    target: OnceLock<Target>,
    rung: AtomicBool,
}

impl Doorbell {
    /// A doorbell of `tasks`, which register before they check.
    pub(crate) fn of_tasks(tasks: Arc<Tasks>) -> Arc<Self> {
        let bell = Self::default();
        bell.attach_tasks(tasks);
        Arc::new(bell)
    }

    /// Sets the actor, which checks its edges once it begins: earlier rings reached nothing and are forgotten.
    pub(crate) fn attach(&self, addr: Recipient<Wake>) {
        let _ = self.target.set(Target::Actor(addr));
        self.answer();
    }

    pub(crate) fn attach_tasks(&self, tasks: Arc<Tasks>) {
        let _ = self.target.set(Target::Tasks(tasks));
    }

    /// Registers a task of a doorbell of tasks. It must check once more afterwards what it waits for.
    pub(crate) fn register(&self, waker: &task::Waker) {
        if let Some(Target::Tasks(tasks)) = self.target.get() {
            tasks.register(waker);
        }
        self.answer();
    }

    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            match self.target.get() {
                Some(Target::Actor(addr)) => addr.do_send(Wake),
                Some(Target::Tasks(tasks)) => tasks.wake(),
                None => {}
            }
        }
    }

    /// Whether the actor has not answered the last ring yet.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// The actor is about to check its edges; later rings send a message again.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Ring for Doorbell {
    fn ring(&self) {
        Self::ring(self);
    }
}

impl task::Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Wakes a source that answered [`Next::Waiting`](crate::Next::Waiting). Usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct Waker(pub(crate) Arc<Doorbell>);

impl Waker {
    /// Makes the framework ask the source again.
    pub fn wake(&self) {
        self.0.ring();
    }
}
