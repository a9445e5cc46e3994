//! The receiving half of a bridged edge: accepts one sender, passes what arrives to its [`ReceiveState`], and
//! acknowledges.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;

use super::admission::{Claim, Sender};
use super::conn::{Conn, LinkError, Owner, Received, TICK, flush};
use super::pending::{PendingHandshakes, bind, is_address_missing};
use super::phase::{Farewell, Phase};
use super::receive_state::ReceiveState;
use super::setup::BridgeSetup;
use super::window_watch::WindowWatch;
use crate::actor::{Begin, Build};
use crate::doorbell::Wake;
use heqis_core::link::authority::{Grants, Party};
use heqis_core::link::messages::{End, Parting, link_clock};
use heqis_core::wire::{MessageKind, WireFrame};
use heqis_core::{Clock, StageError, duration_ns};
use heqis_sp::{Connection, Listener, SpError};

/// How long an acknowledgement waits for further ones on a quiet edge.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// How long a sender that knows every outcome may be without a connection before it counts as ended.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two attempts to listen at an address that this machine does not have yet.
const REBIND_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct BridgeReceiver {
    pub(super) setup: Rc<BridgeSetup>,
    pub(super) state: ReceiveState,
    /// Whether this node's own frames leave first when it is stopped. A node with sources ends them when it stops, and
    /// frames derived from theirs may come back over this edge; on other nodes the edge closes at once.
    senders_first: bool,
    clock: Clock,
    pub(super) pending: PendingHandshakes,
    /// The connection that carries the edge.
    pub(super) link: Option<Link>,
    /// The sender that was accepted last; it outlives its connections.
    pub(super) sender: Option<Sender>,
    phase: Phase,
    pub(super) farewell: Farewell,
    /// A timer for the next acknowledgement is running.
    ack_timer: bool,
    pub(super) down_since_ns: Option<i64>,
    watch: WindowWatch,
    /// What the sender may do.
    grants: Grants,
    /// A connection that says it is this sender's, while the one that carries the edge may be in use.
    pub(super) claim: Option<Claim>,
}

pub(super) struct Link {
    pub(super) conn: Conn,
    pub(super) epoch: u32,
}

impl BridgeReceiver {
    pub(crate) fn new(setup: BridgeSetup, senders_first: bool) -> Self {
        let waits = format!("{}: has not connected yet", setup.peer_name());
        setup.edge.set_waits(Some(waits));
        let setup = Rc::new(setup);
        setup.control.enlist_receiver();
        Self {
            clock: link_clock(&setup.clock),
            state: ReceiveState::new(setup.clone()),
            grants: setup.grants(Party::Sender),
            setup,
            senders_first,
            pending: PendingHandshakes::default(),
            link: None,
            sender: None,
            phase: Phase::New,
            farewell: Farewell::Pending,
            ack_timer: false,
            down_since_ns: None,
            watch: WindowWatch::default(),
            claim: None,
        }
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    fn accepted(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        if let Some(oldest) = self.pending.surplus() {
            self.lost(oldest, &LinkError::Crowded, ctx);
        }
        let now_ns = self.now_ns();
        self.pending.add(connection, now_ns, ctx);
    }

    /// Removes a connection that has failed: a pending one silently, the active one with an event.
    pub(super) fn lost(&mut self, id: u64, reason: &LinkError, ctx: &mut Context<Self>) {
        if let Some(conn) = self.pending.remove(id) {
            self.claim.take_if(|claim| claim.id == id);
            self.setup.reject(&conn.who(), reason);
            conn.close(ctx);
        } else if let Some(Link { conn, .. }) = self.link.take_if(|link| link.conn.id == id) {
            self.setup.reject(&conn.who(), reason);
            conn.close(ctx);
            self.down_since_ns = Some(self.now_ns());
            match self.farewell {
                // The sender knows everything, and may well have ended.
                Farewell::Answered => self.setup.link.up.set(0),
                Farewell::Pending | Farewell::Confirmed => self.setup.link_down(reason),
            }
            if self.is_finished() || (self.is_closing() && self.state.is_settled()) {
                self.end(ctx);
            }
            self.admit_claim(ctx);
        }
    }

    fn receive(
        &mut self,
        id: u64,
        wire: &WireFrame,
        now_ns: i64,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        if wire.header.route != self.setup.route {
            return Err(LinkError::Protocol(format!(
                "route {} on edge {}",
                wire.header.route, self.setup.route
            )));
        }
        self.setup.allow(self.grants, wire.header.kind)?;
        if self.pending.get(id).is_some() {
            return self.receive_hello(id, wire, now_ns, ctx);
        }
        if self.claim.is_some() {
            self.deny_claim(ctx);
        }
        let epoch = wire.header.epoch;
        let Some(link) = self.link.as_mut().filter(|link| link.epoch == epoch) else {
            return Err(LinkError::Protocol(format!(
                "epoch {epoch} on another epoch's connection"
            )));
        };
        match wire.header.kind {
            MessageKind::Data | MessageKind::Merged => self.state.data(wire),
            MessageKind::End => {
                let End { last_seq } = wire.read()?;
                self.state.end(last_seq)
            }
            MessageKind::Heartbeat => {
                let offset = link.conn.on_heartbeat(wire, now_ns)?;
                self.setup.link.set_clock(offset);
                Ok(())
            }
            MessageKind::Leave => {
                let Parting { drain_ms, .. } = wire.read()?;
                tracing::info!(edge = %self.setup.edge.name, drain_ms, "the sender leaves");
                self.state.report_each();
                self.answer()
            }
            MessageKind::Goodbye if self.state.is_complete() && self.state.is_settled() => {
                if self.farewell == Farewell::Pending {
                    self.farewell = Farewell::Confirmed;
                    self.setup.control.receiver_done();
                    self.setup.control.enter_farewell();
                }
                Ok(())
            }
            MessageKind::Goodbye if self.is_closing() => {
                self.phase = Phase::Closing { answered: true };
                Ok(())
            }
            MessageKind::Goodbye => Err(LinkError::Goodbye),
            MessageKind::Request | MessageKind::Reply => self.setup.take_request(wire),
            kind => Err(LinkError::Protocol(format!("{kind:?} in mid-stream"))),
        }
    }

    /// Answers a sender that leaves, or one whose stream is complete.
    fn answer(&mut self) -> Result<(), LinkError> {
        let route = self.setup.route;
        let parting = Parting {
            leaves: false,
            drain_ms: 0,
        };
        if let Some(Link { conn, epoch }) = &mut self.link {
            conn.control(MessageKind::Goodbye, route, *epoch, &parting)?;
        }
        Ok(())
    }

    /// Queues an acknowledgement when there is news, or when `always`, and a heartbeat when one is due.
    pub(super) fn acknowledge(&mut self, always: bool) -> Result<(), LinkError> {
        let (route, now_ns) = (self.setup.route, self.clock.now_ns());
        let Some(Link { conn, epoch }) = &mut self.link else {
            return Ok(());
        };
        conn.send_heartbeat_if_due(route, *epoch, now_ns)?;
        conn.send_request(self.setup.peer.requests.as_ref(), route, *epoch)?;
        if conn.is_writable()
            && let Some(ack) = self.state.ack(always)
        {
            conn.control(MessageKind::Ack, route, *epoch, &ack)?;
        }
        Ok(())
    }

    /// Sends what is due, and ends this half when it is finished.
    pub(super) fn turn(&mut self, always: bool, ctx: &mut Context<Self>) {
        self.setup.progress.step();
        if self.phase == Phase::Ended {
            return;
        }
        let control = &self.setup.control;
        if control.abandoned() {
            return self.abandon(ctx);
        }
        // Nothing is left to be refused of a stream that is complete: its end is agreed as without a stop.
        let is_over = self.link.is_some() && self.state.is_complete() && self.state.is_settled();
        if self.phase == Phase::Open
            && control.stopping()
            && !is_over
            && (!self.senders_first || control.senders_drained())
        {
            self.close(ctx);
        }
        let settled = self.state.is_settled();
        let Some(id) = self.link.as_ref().map(|link| link.conn.id) else {
            let ends = self.is_closing() || self.is_alone() || self.is_finished();
            if settled && ends {
                self.end(ctx);
            }
            return;
        };
        if let Err(error) = self.acknowledge(always) {
            return self.lost(id, &error, ctx);
        }
        if self.farewell == Farewell::Confirmed && self.setup.control.may_answer() {
            self.farewell = Farewell::Answered;
            if let Err(error) = self.answer() {
                return self.lost(id, &error, ctx);
            }
        }
        flush(self, id, ctx);
        if settled {
            // Closing a connection on which something is left unread would reset it, and with it the acknowledgements
            // that the sender has not read.
            let link = self.link.as_ref();
            let sent = self.state.is_reported() && link.is_none_or(|link| link.conn.is_flushed());
            if sent && (self.is_finished() || self.phase == (Phase::Closing { answered: true })) {
                self.end(ctx);
            }
        } else if !self.ack_timer && self.state.is_waiting() {
            self.ack_timer = true;
            ctx.run_later(ACK_DELAY, |actor, ctx| {
                actor.ack_timer = false;
                actor.turn(false, ctx);
            });
        }
    }

    /// Whether this half is no longer needed: the sender has its last answer, and no half of this node waits for an answer
    /// from another node. Until then a successor of the sender, which may have died before it read the answer, can still
    /// come for it.
    fn is_finished(&self) -> bool {
        self.farewell == Farewell::Answered && self.setup.control.senders_ended()
    }

    /// Whether the sender of a complete stream has been without a connection for too long: it comes back for its last
    /// answer, unless it has waited too long and ended.
    fn is_alone(&self) -> bool {
        let control = &self.setup.control;
        self.farewell != Farewell::Pending
            && control.may_answer()
            && control.senders_ended()
            && self
                .down_since_ns
                .is_none_or(|since_ns| self.now_ns() - since_ns > duration_ns(FAREWELL_TIMEOUT))
    }

    /// This node leaves: no further credit; what has arrived is finished and acknowledged.
    fn close(&mut self, ctx: &mut Context<Self>) {
        self.phase = Phase::Closing { answered: false };
        let route = self.setup.route;
        let parting = Parting {
            leaves: true,
            drain_ms: self.setup.control.drain_left_ms().unwrap_or(0),
        };
        if let Some(Link { conn, epoch }) = &mut self.link {
            let _ = conn.control(MessageKind::Goodbye, route, *epoch, &parting);
            let id = conn.id;
            flush(self, id, ctx);
        }
        self.pending.listener = None;
        self.state.close();
    }

    /// The drain is over: reports the outcomes that are known to the sender, which keeps the other frames.
    fn abandon(&mut self, ctx: &mut Context<Self>) {
        let id = self.link.as_ref().map(|link| link.conn.id);
        if let Some(id) = id
            && !self.setup.control.killed()
            && self.acknowledge(true).is_ok()
        {
            flush(self, id, ctx);
        }
        self.state.abandon();
        self.end(ctx);
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        if let Some(link) = self.link.take() {
            link.conn.close(ctx);
        }
        self.pending.close(ctx);
        self.deposit();
        self.setup.link_ended();
        match self.farewell {
            // The sender may come back with frames whose outcome it does not know.
            Farewell::Pending => {
                self.setup.control.receiver_done();
                self.setup.control.set_incomplete();
            }
            Farewell::Confirmed | Farewell::Answered => self.setup.control.leave_farewell(),
        }
        self.setup.life.end();
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.setup.life.turned();
        let now_ns = self.now_ns();
        let holder = || self.state.holder();
        self.watch
            .check(&self.setup, self.state.open(), now_ns, holder);
        self.state.release_held();
        for id in self.pending.overdue(now_ns) {
            self.lost(id, &LinkError::Protocol("no hello in time".into()), ctx);
        }
        // The sender connects again, and sends everything that has no outcome.
        let wants_again = self.state.wants_again() && !self.setup.control.stopping();
        let again = wants_again.then_some(LinkError::Again);
        let is_in_use = |link: &Link| link.conn.is_in_use(now_ns);
        if self.claim.is_some() && !self.link.as_ref().is_some_and(is_in_use) {
            self.admit_claim(ctx);
        }
        match &self.link {
            Some(link) => match link.conn.fault(&self.setup.options, now_ns).or(again) {
                Some(error) => {
                    let id = link.conn.id;
                    self.lost(id, &error, ctx);
                }
                None => self.turn(true, ctx),
            },
            None => self.turn(false, ctx),
        }
    }

    /// Waits for the next connection.
    fn accept(&mut self, ctx: &mut Context<Self>) {
        let Some(mut listener) = self.pending.listener.take() else {
            return;
        };
        let next = async move {
            let accepted = listener.accept().await;
            if matches!(accepted, Err(SpError::Io { .. })) {
                // Out of file descriptors, perhaps: trying again at once would only occupy the processor.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (listener, accepted)
        };
        ctx.spawn(
            next.into_actor(self)
                .map(|(listener, accepted), actor, ctx| {
                    if actor.phase != Phase::Open {
                        return;
                    }
                    actor.pending.listener = Some(listener);
                    match accepted {
                        Ok(connection) => actor.accepted(connection, ctx),
                        Err(error) => actor.setup.reject("unknown peer", &error.into()),
                    }
                    actor.accept(ctx);
                }),
        );
    }

    fn bound(&mut self, listener: Listener) {
        tracing::info!(edge = %self.setup.edge.name, endpoint = %listener.endpoint(), "listening");
        self.pending.listener = Some(listener);
    }

    /// Tries to listen again after a pause, for as long as the node runs.
    fn rebind(&mut self, error: &SpError, ctx: &mut Context<Self>) {
        self.setup
            .link_waits(&format!("cannot listen yet: {error}"), true);
        ctx.run_later(REBIND_PAUSE, |actor, ctx| {
            if !matches!(actor.phase, Phase::New | Phase::Open) {
                return;
            }
            let bound = bind(&actor.setup)
                .into_actor(actor)
                .map(|bound, actor, ctx| match bound {
                    _ if !matches!(actor.phase, Phase::New | Phase::Open) => {}
                    Ok(listener) => {
                        actor.bound(listener);
                        if actor.phase == Phase::Open {
                            actor.accept(ctx);
                        }
                    }
                    Err(error) => actor.rebind(&error, ctx),
                });
            ctx.spawn(bound);
        });
    }
}

impl Owner for BridgeReceiver {
    fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        match &mut self.link {
            Some(link) if link.conn.id == id => Some(&mut link.conn),
            _ => self.pending.get(id),
        }
    }

    fn flushed(&mut self, id: u64, result: Result<(), SpError>, ctx: &mut Context<Self>) {
        match result {
            Ok(()) => self.turn(false, ctx),
            Err(error) => self.lost(id, &error.into(), ctx),
        }
    }
}

impl Actor for BridgeReceiver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.setup.attach_bell(ctx.address().recipient());
    }
}

impl StreamHandler<Received> for BridgeReceiver {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let (id, now_ns) = (received.conn, self.now_ns());
        let Some(conn) = self.conn(id) else { return };
        let result = conn
            .parse(received.message, now_ns)
            .and_then(|wire| self.receive(id, &wire, now_ns, ctx));
        match result {
            Ok(()) => self.turn(false, ctx),
            Err(error) => self.lost(id, &error, ctx),
        }
    }

    /// The end of one connection's stream is not the end of the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Build> for BridgeReceiver {
    type Result = ResponseActFuture<Self, Result<(), StageError>>;

    /// Binds the endpoint, so that a taken port is known before the node reports ready. An address that this machine does
    /// not have yet (a cable that is plugged in later, a network that is not up) is no fault: binding is tried again.
    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        Box::pin(
            bind(&self.setup)
                .into_actor(self)
                .map(move |bound, actor, ctx| {
                    match bound {
                        Ok(listener) => actor.bound(listener),
                        Err(error) if is_address_missing(&error) => actor.rebind(&error, ctx),
                        Err(error) => return Err(actor.setup.unusable(&error)),
                    }
                    Ok(())
                }),
        )
    }
}

impl Handler<Begin> for BridgeReceiver {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.phase = Phase::Open;
        ctx.run_interval(TICK, Self::tick);
        self.accept(ctx);
    }
}

impl Handler<Wake> for BridgeReceiver {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.setup.bell.answer();
        if self.phase != Phase::New {
            // Rung by the tracker (news) or by the edge (room): the new limit matters in both cases.
            self.turn(true, ctx);
        }
    }
}
