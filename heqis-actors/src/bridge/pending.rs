//! Where senders come in: the listening socket, and connections that have not said hello.

use std::collections::HashMap;
use std::time::Duration;

use actix::Context;

use super::conn::{Conn, Owner};
use crate::clock::duration_ns;
use crate::sp::{Connection, Listener};

/// Connections that may wait to say hello, besides the one that carries the edge. One more, and the oldest has to go:
/// a sender says hello at once, so that it gets in however many strangers stand at the door.
const STRANGERS: usize = 8;
/// How long a stranger may stay silent.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// The door of a receiving half.
#[derive(Default)]
pub(super) struct Door {
    /// Absent while an accept owns it, and once the door is shut.
    pub(super) listener: Option<Listener>,
    /// Connections so far; also the identity of the last one.
    count: u64,
    strangers: HashMap<u64, (Conn, i64)>,
}

impl Door {
    /// The stranger who has to go before another one comes in.
    pub(super) fn crowded(&self) -> Option<u64> {
        (self.strangers.len() >= STRANGERS)
            .then(|| self.strangers.keys().min().copied())
            .flatten()
    }

    pub(super) fn enter<A: Owner>(
        &mut self,
        connection: Connection,
        now_ns: i64,
        ctx: &mut Context<A>,
    ) {
        self.count += 1;
        let conn = Conn::open(self.count, connection, now_ns, ctx);
        self.strangers.insert(self.count, (conn, now_ns));
    }

    pub(super) fn stranger(&mut self, id: u64) -> Option<&mut Conn> {
        self.strangers.get_mut(&id).map(|(conn, _)| conn)
    }

    /// A stranger is none any more, or goes.
    pub(super) fn leave(&mut self, id: u64) -> Option<Conn> {
        self.strangers.remove(&id).map(|(conn, _)| conn)
    }

    /// Strangers who have been silent for too long.
    pub(super) fn silent(&self, now_ns: i64) -> Vec<u64> {
        self.strangers
            .iter()
            .filter(|(_, (_, since_ns))| now_ns - since_ns > duration_ns(HELLO_WITHIN))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Sends everybody away.
    pub(super) fn clear<A: Owner>(&mut self, ctx: &mut Context<A>) {
        self.listener = None;
        for (_, (conn, _)) in self.strangers.drain() {
            conn.close(ctx);
        }
    }
}
