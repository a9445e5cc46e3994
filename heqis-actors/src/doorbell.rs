//! Wakes an actor with at most one message in its mailbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use actix::prelude::*;

/// Makes an actor check its edges.
#[derive(Debug)]
pub(crate) struct Wake;

impl Message for Wake {
    type Result = ();
}

/// Wakes one actor, from any thread. Any number of rings before the actor checks its edges leave one message.
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

    /// The actor is about to check its edges; later rings send a message again.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
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
