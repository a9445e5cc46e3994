//! The receiving half of a bridged edge: lets one sender in by its [`Door`], hands what arrives to its [`Intake`], and
//! acknowledges.

use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Received, TICK, flush, socket_options};
use super::door::Door;
use super::intake::Intake;
use super::{BridgeSetup, EMPTY, End, Hello, MAX_SEQ, link_clock};
use crate::actor::{Begin, Build, Wake};
use crate::clock::{Clock, duration_ns};
use crate::commit::Committed;
use crate::encoding::Encoding;
use crate::events::Event;
use crate::sp::{Connection, Listener, SpError};
use crate::stage::StageError;
use crate::wire::{Kind, WireFrame};

/// How long an acknowledgement waits for company on a quiet edge.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// How long the receiver of an ended edge stays, in case the last acknowledgement got lost.
const LINGER: Duration = Duration::from_secs(2);

pub(crate) struct BridgeReceiver {
    setup: BridgeSetup,
    intake: Intake,
    /// Whether the sender's end is awaited when this node is told to stop. So it is on a node with sources: its stop
    /// ends them, and the end comes round. Elsewhere the upstream knows nothing of the stop, and the intake closes.
    await_end: bool,
    clock: Clock,
    door: Door,
    /// The connection that carries the edge, and its epoch.
    active: Option<(Conn, u32)>,
    ack_timer: bool,
    /// This node takes no further frames.
    closing: bool,
    /// The sender has answered this node's goodbye: nothing of it is left to read.
    farewell: bool,
    settled_ns: Option<i64>,
    begun: bool,
    ended: bool,
    down_since_ns: Option<i64>,
}

impl BridgeReceiver {
    pub(crate) fn new(setup: BridgeSetup, committed: Committed, await_end: bool) -> Self {
        Self {
            clock: link_clock(&setup.clock),
            intake: Intake::new(&setup, committed),
            setup,
            await_end,
            door: Door::default(),
            active: None,
            ack_timer: false,
            closing: false,
            farewell: false,
            settled_ns: None,
            begun: false,
            ended: false,
            down_since_ns: None,
        }
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn edge_name(&self) -> String {
        self.setup.edge.name.to_string()
    }

    fn reject(&self, peer: &str, error: &LinkError) {
        if let Some(cause) = error.cause() {
            self.setup.link.reject(cause);
            Event::PeerRejected {
                edge: self.edge_name(),
                reason: format!("{peer}: {error}"),
            }
            .publish();
        }
    }

    fn accepted(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        if let Some(oldest) = self.door.crowded() {
            self.lost(oldest, &LinkError::Crowd, ctx);
        }
        let now_ns = self.now_ns();
        self.door.enter(connection, now_ns, ctx);
    }

    /// A connection is gone: a stranger silently, the active one with a word.
    fn lost(&mut self, id: u64, reason: &LinkError, ctx: &mut Context<Self>) {
        if let Some(conn) = self.door.leave(id) {
            self.reject(&conn.peer, reason);
            conn.close(ctx);
        } else if self.active.as_ref().is_some_and(|(conn, _)| conn.id == id)
            && let Some((conn, _)) = self.active.take()
        {
            self.reject(&conn.peer, reason);
            conn.close(ctx);
            self.setup.link.up.set(0);
            self.setup.link.set_clock(None);
            self.down_since_ns = Some(self.now_ns());
            if self.intake.is_settled() {
                // The sender has seen the last acknowledgement, or will come back within the linger time; while this
                // node leaves, it goes to a successor.
                if self.closing || matches!(reason, LinkError::Goodbye) {
                    self.end(ctx);
                }
            } else {
                Event::LinkDown {
                    edge: self.edge_name(),
                    reason: reason.to_string(),
                }
                .publish();
            }
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
        if self.door.stranger(id).is_some() {
            if wire.header.kind != Kind::Hello {
                return Err(LinkError::Protocol(format!(
                    "{:?} before hello",
                    wire.header.kind
                )));
            }
            let hello: Hello = wire.read()?;
            self.check(&hello)?;
            let taken = self.takes(wire.header.seq);
            return match self.door.leave(id) {
                Some(conn) => self.greet(conn, &hello, wire.header.epoch, taken, now_ns, ctx),
                None => Ok(()),
            };
        }
        let epoch = wire.header.epoch;
        let conn = match &mut self.active {
            Some((conn, current)) if *current == epoch => conn,
            _ => {
                return Err(LinkError::Protocol(format!(
                    "epoch {epoch} on another epoch's connection"
                )));
            }
        };
        match wire.header.kind {
            Kind::Data => self.intake.data(wire),
            Kind::End => {
                let End { last_seq } = wire.read()?;
                self.intake.end(last_seq)
            }
            Kind::Heartbeat => {
                let offset = conn.felt(wire, now_ns)?;
                self.setup.link.set_clock(offset);
                Ok(())
            }
            Kind::Goodbye if self.closing => {
                self.farewell = true;
                Ok(())
            }
            Kind::Goodbye => Err(LinkError::Goodbye),
            kind @ (Kind::Hello | Kind::Welcome | Kind::Ack) => {
                Err(LinkError::Protocol(format!("{kind:?} in mid-stream")))
            }
        }
    }

    /// Whether a hello is for this edge, and comes in time.
    fn check(&self, hello: &Hello) -> Result<(), LinkError> {
        let (edge, payload) = (&*self.setup.edge.name, self.setup.payload.name);
        if hello.edge != edge || hello.payload != payload {
            return Err(LinkError::Protocol(format!(
                "says hello for edge '{}' of '{}', this is '{edge}' of '{payload}'",
                hello.edge, hello.payload
            )));
        }
        if hello.at_least_once != self.intake.keeps() {
            let here = self.setup.options.delivery;
            return Err(LinkError::Protocol(format!(
                "the sender does not deliver {here:?}, as this node does"
            )));
        }
        if !(1..=MAX_SEQ).contains(&hello.first_seq) {
            return Err(LinkError::Protocol(format!(
                "numbers start between 1 and 2^62, hello says {}",
                hello.first_seq
            )));
        }
        if self.intake.is_over_for(hello.instance) {
            return Err(LinkError::Protocol("the edge has ended".into()));
        }
        Ok(())
    }

    /// The encoding that this node takes of the number that a hello offers: every one that it knows.
    fn takes(&self, offered: u64) -> Encoding {
        let known = Encoding::from_number(offered);
        let here = self.setup.options.encoding;
        if known != Some(here) {
            tracing::warn!(edge = %self.setup.edge.name, offered, here = here.name(), "the sender offers another encoding than this node's topology says");
        }
        known.unwrap_or(Encoding::F32)
    }

    /// A sender of this edge: the newest one wins, because an old connection may be dead without knowing it.
    fn greet(
        &mut self,
        conn: Conn,
        hello: &Hello,
        epoch: u32,
        taken: Encoding,
        now_ns: i64,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        if let Some((old, _)) = self.active.take() {
            old.close(ctx);
            self.setup.link.set_clock(None);
            Event::LinkDown {
                edge: self.edge_name(),
                reason: LinkError::Replaced.to_string(),
            }
            .publish();
        }
        let id = conn.id;
        let (conn, _) = self.active.insert((conn, epoch));
        let welcome = self.intake.welcome(hello);
        conn.negotiate(Kind::Welcome, self.setup.route, epoch, taken, &welcome)?;
        self.setup.link.up.set(1);
        self.setup.link.connects.inc();
        if let Some(since_ns) = self.down_since_ns.take() {
            self.setup.link.outage.observe_ns(now_ns - since_ns);
        }
        Event::LinkUp {
            edge: self.edge_name(),
        }
        .publish();
        self.acknowledge(true)?;
        flush(self, id, ctx);
        Ok(())
    }

    /// Queues an acknowledgement when there is news, or when `always`, and a heartbeat when one is due.
    fn acknowledge(&mut self, always: bool) -> Result<(), LinkError> {
        let (route, now_ns) = (self.setup.route, self.clock.now_ns());
        let Some((conn, epoch)) = &mut self.active else {
            return Ok(());
        };
        conn.beat(route, *epoch, now_ns)?;
        if conn.writable()
            && let Some(ack) = self.intake.ack(always)
        {
            conn.control(Kind::Ack, route, *epoch, &ack)?;
        }
        Ok(())
    }

    /// Sends what there is to say, and looks whether this half is finished.
    fn turn(&mut self, always: bool, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        if self.setup.control.abandoned() {
            self.intake.abandon();
            return self.end(ctx);
        }
        if self.setup.control.stopping() && !self.closing && !self.await_end {
            self.close(ctx);
        }
        let Some(id) = self.active.as_ref().map(|(conn, _)| conn.id) else {
            if self.intake.is_settled() {
                // The sender may never come back for the last acknowledgement.
                self.settled_ns.get_or_insert(self.clock.now_ns());
                if self.closing {
                    self.end(ctx);
                }
            }
            return;
        };
        if let Err(error) = self.acknowledge(always) {
            return self.lost(id, &error, ctx);
        }
        flush(self, id, ctx);
        if self.intake.is_settled() {
            self.settled_ns.get_or_insert(self.clock.now_ns());
            // Closing a connection on which something is left unread would reset it, and with it the acknowledgements
            // that the sender has not read.
            let told = self.intake.is_told();
            let idle = self.active.as_ref().is_none_or(|(conn, _)| conn.idle());
            if self.closing && !self.intake.is_told_the_end() && self.farewell && told && idle {
                self.end(ctx);
            }
        } else if !self.ack_timer && self.intake.is_waiting() {
            self.ack_timer = true;
            ctx.run_later(ACK_DELAY, |actor, ctx| {
                actor.ack_timer = false;
                actor.turn(false, ctx);
            });
        }
    }

    /// This node leaves: no further credit, what has arrived is finished and acknowledged.
    fn close(&mut self, ctx: &mut Context<Self>) {
        self.closing = true;
        let route = self.setup.route;
        if let Some((conn, epoch)) = &mut self.active {
            let _ = conn.control(Kind::Goodbye, route, *epoch, &EMPTY);
            let id = conn.id;
            flush(self, id, ctx);
        }
        self.door.listener = None;
        self.intake.close();
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some((conn, _)) = self.active.take() {
            conn.close(ctx);
        }
        self.door.clear(ctx);
        self.setup.link.up.set(0);
        self.setup.link.set_clock(None);
        self.setup.control.ended(&self.setup.edge.name);
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ns = self.now_ns();
        for id in self.door.silent(now_ns) {
            self.lost(id, &LinkError::Protocol("no hello in time".into()), ctx);
        }
        if self
            .settled_ns
            .is_some_and(|since_ns| now_ns - since_ns > duration_ns(LINGER))
        {
            return self.end(ctx);
        }
        match &self.active {
            Some((conn, _)) if conn.is_dead(now_ns) => {
                let id = conn.id;
                self.lost(id, &LinkError::Silent, ctx);
            }
            Some(_) => self.turn(true, ctx),
            None => self.turn(false, ctx),
        }
    }

    /// Waits for the next peer.
    fn accept(&mut self, ctx: &mut Context<Self>) {
        let Some(mut listener) = self.door.listener.take() else {
            return;
        };
        let next = async move {
            let accepted = listener.accept().await;
            if matches!(accepted, Err(SpError::Io { .. })) {
                // Out of file descriptors, perhaps: trying again at once would only burn the processor.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (listener, accepted)
        };
        ctx.spawn(
            next.into_actor(self)
                .map(|(listener, accepted), actor, ctx| {
                    if actor.ended || actor.closing {
                        return;
                    }
                    actor.door.listener = Some(listener);
                    match accepted {
                        Ok(connection) => actor.accepted(connection, ctx),
                        Err(error) => actor.reject("stranger", &error.into()),
                    }
                    actor.accept(ctx);
                }),
        );
    }
}

impl Owner for BridgeReceiver {
    fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        match &mut self.active {
            Some((conn, _)) if conn.id == id => Some(conn),
            _ => self.door.stranger(id),
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
        self.setup.bell.attach(ctx.address().recipient());
    }
}

impl StreamHandler<Received> for BridgeReceiver {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let (id, now_ns) = (received.conn, self.now_ns());
        let Some(conn) = self.conn(id) else { return };
        conn.heard_ns = now_ns;
        let result = match received.message {
            Ok(Some(bytes)) => WireFrame::parse(bytes)
                .map_err(LinkError::from)
                .and_then(|wire| self.receive(id, &wire, now_ns, ctx)),
            Ok(None) => Err(LinkError::Closed),
            Err(error) => Err(error.into()),
        };
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

    /// Binds the endpoint, so that a taken port is known before the node reports ready.
    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        let endpoint = self.setup.options.endpoint.clone();
        let options = socket_options(self.setup.options.max_frame);
        let inproc = self.setup.inproc.clone();
        let edge = self.edge_name();
        Box::pin(
            async move { Listener::bind(&endpoint, options, &inproc).await }
                .into_actor(self)
                .map(move |bound, actor, _| {
                    let listener = bound
                        .map_err(|error| StageError::Config(format!("edge '{edge}': {error}")))?;
                    tracing::info!(%edge, endpoint = %listener.endpoint(), "listening");
                    actor.door.listener = Some(listener);
                    Ok(())
                }),
        )
    }
}

impl Handler<Begin> for BridgeReceiver {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.begun = true;
        ctx.run_interval(TICK, Self::tick);
        self.accept(ctx);
    }
}

impl Handler<Wake> for BridgeReceiver {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.setup.bell.answer();
        if self.begun {
            // Rung by the tracker (news) or by the edge (room): the new limit matters in both cases.
            self.turn(true, ctx);
        }
    }
}
