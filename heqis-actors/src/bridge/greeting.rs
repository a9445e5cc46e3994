//! How a receiving half comes to its sender: pending connections say hello, and are accepted or refused.

use actix::prelude::*;

use super::admission::{Claim, Sender, asks_for_requests};
use super::conn::{Conn, LinkError, flush};
use super::phase::Farewell;
use super::receiver::{BridgeReceiver, Link};
use heqis_core::link::messages::{Hello, Refuse, control_header};
use heqis_core::wire::{MessageKind, WireFrame};

impl BridgeReceiver {
    /// Handles the first message of a pending connection: accepts its sender, or refuses it with a reason.
    pub(super) fn receive_hello(
        &mut self,
        id: u64,
        wire: &WireFrame,
        now_ns: i64,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        let header = wire.header;
        if self.claim.as_ref().is_some_and(|claim| claim.id == id) {
            // A sender says nothing but that it is alive until it is welcome.
            if header.kind != MessageKind::Heartbeat {
                self.deny_claim(ctx);
            }
            return Ok(());
        }
        if header.kind != MessageKind::Hello {
            return Err(LinkError::Protocol(format!(
                "{:?} before hello",
                header.kind
            )));
        }
        let hello: Hello = wire.read()?;
        self.setup.check_hello(&hello)?;
        let alive = self.link.as_ref().map(|link| &link.conn);
        let alive = alive.filter(|conn| !conn.is_silent(now_ns));
        let identity = self.pending.get(id).and_then(|conn| conn.identity.clone());
        let active = self.sender.as_ref().zip(alive);
        if let Some(error) = self.setup.refusal(&hello, identity.as_ref(), active) {
            return self.refuse(id, header.epoch, &error, ctx);
        }
        let claim = Claim {
            id,
            hello,
            epoch: header.epoch,
            encoding: self.setup.accepted_encoding(header.seq),
        };
        // The same sender connects again only after it has closed the older connection. Another process that says it is that
        // sender has to wait until this shows.
        match self
            .link
            .as_ref()
            .is_some_and(|link| link.conn.is_in_use(now_ns))
        {
            true if self.claim.is_some() => {
                let error = self.setup.takeover();
                self.refuse(id, header.epoch, &error, ctx)
            }
            true => {
                self.claim = Some(claim);
                Ok(())
            }
            false => self.admit(&claim, ctx),
        }
    }

    /// The connection that carries the edge is in use: refuses the one that says it is of the same sender.
    pub(super) fn deny_claim(&mut self, ctx: &mut Context<Self>) {
        if let Some(Claim { id, epoch, .. }) = self.claim.take() {
            let error = self.setup.takeover();
            if let Err(error) = self.refuse(id, epoch, &error, ctx) {
                self.lost(id, &error, ctx);
            }
        }
    }

    /// The connection that carried the edge is gone, or not in use: admits the next one of the same sender.
    pub(super) fn admit_claim(&mut self, ctx: &mut Context<Self>) {
        if let Some(claim) = self.claim.take()
            && let Err(error) = self.admit(&claim, ctx)
        {
            self.lost(claim.id, &error, ctx);
        }
    }

    fn admit(&mut self, claim: &Claim, ctx: &mut Context<Self>) -> Result<(), LinkError> {
        match self.pending.remove(claim.id) {
            Some(conn) => self.welcome(conn, claim, ctx),
            None => Ok(()),
        }
    }

    /// Sends a sender the reason for which it is refused, and closes its connection.
    fn refuse(
        &mut self,
        id: u64,
        epoch: u32,
        error: &LinkError,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        let route = self.setup.route;
        let refuse = Refuse {
            reason: match error {
                LinkError::Protocol(reason) => reason.clone(),
                error => error.to_string(),
            },
        };
        if let Some(conn) = self.pending.get(id) {
            conn.control(MessageKind::Refuse, route, epoch, &refuse)?;
            let peer = conn.who();
            flush(self, id, ctx);
            self.setup.reject(&peer, error);
            // Bytes that are still buffered are lost when the time limit for a hello closes the connection.
            if self.pending.get(id).is_some_and(|conn| conn.is_flushed())
                && let Some(conn) = self.pending.remove(id)
            {
                conn.close(ctx);
            }
        }
        Ok(())
    }

    /// Accepts a sender. Its own older connection may be dead without knowing it, and is replaced.
    fn welcome(
        &mut self,
        conn: Conn,
        claim: &Claim,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        let Claim {
            hello,
            epoch,
            encoding,
            ..
        } = claim;
        if let Some(old) = self.link.take() {
            old.conn.close(ctx);
            self.setup.link_down(&LinkError::Replaced);
        }
        for stream in &hello.streams {
            self.setup.committed.name_stream(stream.into());
        }
        let previous = self.sender.replace(Sender {
            instance: hello.instance,
            node: hello.node.clone(),
        });
        if previous.is_some_and(|previous| previous.instance != hello.instance)
            && self.farewell != Farewell::Pending
        {
            // A successor declares its own stream complete and confirms its own outcomes.
            self.farewell = Farewell::Pending;
            self.setup.control.enlist_receiver();
            self.setup.control.leave_farewell();
        }
        let id = conn.id;
        let link = self.link.insert(Link {
            conn,
            epoch: *epoch,
        });
        let welcome = self.state.welcome(hello);
        let header = control_header(MessageKind::Welcome, self.setup.route, *epoch);
        let asked = asks_for_requests(hello);
        let flags = self.setup.welcome_flags(asked);
        link.conn.negotiate(header, *encoding, flags, &welcome)?;
        self.setup.link_up(self.down_since_ns.take(), self.now_ns());
        self.setup.requests_cross(asked);
        self.acknowledge(true)?;
        flush(self, id, ctx);
        Ok(())
    }
}
