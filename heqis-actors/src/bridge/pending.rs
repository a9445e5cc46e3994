//! The listening socket of a receiving half, and connections that have not said hello.

use std::collections::HashMap;
use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use actix::Context;

use super::conn::{Conn, Owner, socket_options};
use super::setup::BridgeSetup;
use heqis_core::duration_ns;
use heqis_sp::{Connection, Listener, SpError};

/// Most connections that may be pending, besides the one that carries the edge. One more closes the oldest of them: a
/// sender says hello at once, so that it gets in however many other connections are opened.
const MAX_PENDING: usize = 8;
/// How long a connection may stay pending.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes that are not complete.
#[derive(Default)]
pub(super) struct PendingHandshakes {
    /// Absent while an accept owns it, and once this half takes no further connections.
    pub(super) listener: Option<Listener>,
    /// Connections so far; also the identity of the last one.
    accepted: u64,
    /// Each pending connection with the time at which it was accepted.
    pending: HashMap<u64, (Conn, i64)>,
}

impl PendingHandshakes {
    /// The connection that has to be closed before another one is added.
    pub(super) fn surplus(&self) -> Option<u64> {
        (self.pending.len() >= MAX_PENDING)
            .then(|| self.pending.keys().min().copied())
            .flatten()
    }

    pub(super) fn add<A: Owner>(
        &mut self,
        connection: Connection,
        now_ns: i64,
        ctx: &mut Context<A>,
    ) {
        self.accepted += 1;
        let conn = Conn::open(self.accepted, connection, now_ns, ctx);
        self.pending.insert(self.accepted, (conn, now_ns));
    }

    pub(super) fn get(&mut self, id: u64) -> Option<&mut Conn> {
        self.pending.get_mut(&id).map(|(conn, _)| conn)
    }

    /// Removes a connection once it is accepted or rejected.
    pub(super) fn remove(&mut self, id: u64) -> Option<Conn> {
        self.pending.remove(&id).map(|(conn, _)| conn)
    }

    /// Connections that have not said hello in time.
    pub(super) fn overdue(&self, now_ns: i64) -> Vec<u64> {
        self.pending
            .iter()
            .filter(|(_, (_, since_ns))| now_ns - since_ns > duration_ns(HELLO_TIMEOUT))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Closes the listener and every pending connection.
    pub(super) fn close<A: Owner>(&mut self, ctx: &mut Context<A>) {
        self.listener = None;
        for (_, (conn, _)) in self.pending.drain() {
            conn.close(ctx);
        }
    }
}

/// Listens at the endpoint of an edge.
pub(super) fn bind(setup: &BridgeSetup) -> impl Future<Output = Result<Listener, SpError>> + use<> {
    let endpoint = setup.options.endpoint.clone();
    let options = socket_options(&setup.options);
    let inproc = setup.inproc.clone();
    async move { Listener::bind(&endpoint, options, &inproc).await }
}

/// Whether a bind failed because no interface has the address, which may change.
pub(super) fn is_address_missing(error: &SpError) -> bool {
    matches!(error, SpError::Io { source, .. } if source.kind() == ErrorKind::AddrNotAvailable)
}
