//! The receiving half of a bridged edge: lets one sender in by its [`Door`], hands what arrives to its [`Intake`], and
//! acknowledges.

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Received, TICK, flush, socket_options};
use super::messages::{End, Hello, MAX_NAMES, MAX_SEQ, Parting, Refuse, link_clock};
use super::pending::Door;
use super::receive_state::Intake;
use super::setup::BridgeSetup;
use crate::actor::{Begin, Build};
use crate::clock::{Clock, duration_ns};
use crate::doorbell::Wake;
use crate::encoding::Encoding;
use crate::error::StageError;
use crate::events::Event;
use crate::sp::{Connection, Listener, SpError};
use crate::wire::{MessageKind, WireFrame};

/// How long an acknowledgement waits for company on a quiet edge.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// How long a sender that has heard everything may be without a connection before it counts as ended.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Pause between two attempts to listen at an address that this machine does not have yet.
const REBIND: Duration = Duration::from_secs(1);

pub(crate) struct BridgeReceiver {
    setup: BridgeSetup,
    intake: Intake,
    /// Whether this node's own frames leave first when it is told to stop. So it is on a node with sources: its stop ends
    /// them, and what their frames lead to elsewhere may come back here. Elsewhere the intake closes at once.
    senders_first: bool,
    clock: Clock,
    door: Door,
    /// The connection that carries the edge, and its epoch.
    active: Option<(Conn, u32)>,
    /// Who sends, since the last hello.
    current: Option<Current>,
    ack_timer: bool,
    /// This node takes no further frames.
    closing: bool,
    /// The sender has answered this node's goodbye: nothing of it is left to read.
    farewell: bool,
    /// The sender of a complete stream has heard that everything has its outcome.
    confirmed: bool,
    /// The stages have had their last act and the sender was told so.
    parted: bool,
    begun: bool,
    ended: bool,
    down_since_ns: Option<i64>,
}

/// A sender that was let in.
struct Current {
    instance: u64,
    node: String,
}

impl BridgeReceiver {
    pub(crate) fn new(setup: BridgeSetup, senders_first: bool) -> Self {
        setup.edge.set_waits(Some(format!(
            "{}: has not connected yet",
            setup.peer_name()
        )));
        Self {
            clock: link_clock(&setup.clock),
            intake: Intake::new(&setup),
            setup,
            senders_first,
            door: Door::default(),
            active: None,
            current: None,
            ack_timer: false,
            closing: false,
            farewell: false,
            confirmed: false,
            parted: false,
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

    fn accepted(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        if let Some(oldest) = self.door.crowded() {
            self.lost(oldest, &LinkError::Crowd, ctx);
        }
        let now_ns = self.now_ns();
        self.door.enter(connection, now_ns, ctx);
    }

    /// Removes a connection that is gone: a pending one silently, the active one with an event.
    fn lost(&mut self, id: u64, reason: &LinkError, ctx: &mut Context<Self>) {
        if let Some(conn) = self.door.leave(id) {
            self.setup.reject(&conn.peer, reason);
            conn.close(ctx);
        } else if self.active.as_ref().is_some_and(|(conn, _)| conn.id == id)
            && let Some((conn, _)) = self.active.take()
        {
            self.setup.reject(&conn.peer, reason);
            conn.close(ctx);
            self.down_since_ns = Some(self.now_ns());
            match self.parted {
                // It has heard everything, and may well have ended.
                true => self.setup.link.up.set(0),
                false => self.setup.link_down(reason),
            }
            if self.has_parted() || (self.closing && self.intake.is_settled()) {
                self.end(ctx);
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
            if wire.header.kind != MessageKind::Hello {
                return Err(LinkError::Protocol(format!(
                    "{:?} before hello",
                    wire.header.kind
                )));
            }
            let hello: Hello = wire.read()?;
            self.check(&hello)?;
            if let Some(reason) = self.refusal(&hello, now_ns) {
                return self.refuse(id, wire.header.epoch, &reason, ctx);
            }
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
            MessageKind::Data => self.intake.data(wire),
            MessageKind::End => {
                let End { last_seq } = wire.read()?;
                self.intake.end(last_seq)
            }
            MessageKind::Heartbeat => {
                let offset = conn.felt(wire, now_ns)?;
                self.setup.link.set_clock(offset);
                Ok(())
            }
            MessageKind::Leave => {
                let Parting { drain_ms, .. } = wire.read()?;
                tracing::info!(edge = %self.setup.edge.name, drain_ms, "the sender leaves");
                self.intake.hurry();
                self.answer()
            }
            MessageKind::Goodbye if self.intake.is_told_the_end() && self.intake.is_settled() => {
                if !std::mem::replace(&mut self.confirmed, true) {
                    self.setup.control.enter_farewell();
                }
                Ok(())
            }
            MessageKind::Goodbye if self.closing => {
                self.farewell = true;
                Ok(())
            }
            MessageKind::Goodbye => Err(LinkError::Goodbye),
            kind @ (MessageKind::Hello
            | MessageKind::Welcome
            | MessageKind::Ack
            | MessageKind::Refuse) => Err(LinkError::Protocol(format!("{kind:?} in mid-stream"))),
        }
    }

    /// Whether a hello is for this edge, and comes in time.
    fn check(&self, hello: &Hello) -> Result<(), LinkError> {
        let (edge, payload) = (&*self.setup.edge.name, self.setup.payload.name());
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
        if hello.streams.len() > MAX_NAMES || hello.terms.len() > MAX_NAMES {
            return Err(LinkError::Protocol(format!(
                "hello names {} streams and {} terms, at most {MAX_NAMES} are taken",
                hello.streams.len(),
                hello.terms.len()
            )));
        }
        Ok(())
    }

    /// Why a sender that speaks as it should is not taken all the same.
    fn refusal(&self, hello: &Hello, now_ns: i64) -> Option<String> {
        let (here, edge) = (&self.setup.node, &self.setup.edge.name);
        if let Some(current) = &self.current
            && current.instance != hello.instance
            && let Some((conn, _)) = &self.active
            && !conn.is_dead(now_ns)
        {
            return Some(format!(
                "node '{here}' already takes edge '{edge}' from node '{}' at {}, which is alive",
                current.node, conn.peer
            ));
        }
        let expected = &self.setup.peer.node;
        if !expected.is_empty() && !hello.node.is_empty() && *expected != hello.node {
            return Some(format!(
                "node '{here}' takes edge '{edge}' from node '{expected}', this is node '{}'",
                hello.node
            ));
        }
        hello.terms.iter().find_map(|term| {
            let mine = self.setup.peer.properties.get(&term.subject)?;
            (*mine != term.value).then(|| {
                format!(
                    "{} on edge '{edge}': node '{}' (version {}) sends {}, node '{here}' (version {}) takes {mine}",
                    term.subject,
                    hello.node,
                    hello.version,
                    term.value,
                    env!("CARGO_PKG_VERSION"),
                )
            })
        })
    }

    /// Tells a sender why it is not taken, and lets it go.
    fn refuse(
        &mut self,
        id: u64,
        epoch: u32,
        reason: &str,
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        let route = self.setup.route;
        let refuse = Refuse {
            reason: reason.to_owned(),
        };
        if let Some(conn) = self.door.stranger(id) {
            conn.control(MessageKind::Refuse, route, epoch, &refuse)?;
            let error = LinkError::Protocol(reason.to_owned());
            let peer = conn.peer.clone();
            flush(self, id, ctx);
            self.setup.reject(&peer, &error);
            // What is not out yet goes with the time limit for a hello.
            if self.door.stranger(id).is_some_and(|conn| conn.idle())
                && let Some(conn) = self.door.leave(id)
            {
                conn.close(ctx);
            }
        }
        Ok(())
    }

    /// Answers a sender that leaves.
    fn answer(&mut self) -> Result<(), LinkError> {
        let route = self.setup.route;
        let parting = Parting {
            leaves: false,
            drain_ms: 0,
        };
        if let Some((conn, epoch)) = &mut self.active {
            conn.control(MessageKind::Goodbye, route, *epoch, &parting)?;
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

    /// A sender of this edge. Its own older connection may be dead without knowing it, and makes room.
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
            self.setup.link_down(&LinkError::Replaced);
        }
        for stream in &hello.streams {
            self.setup.committed.name_stream(stream.into());
        }
        let before = self.current.as_ref().map(|current| current.instance);
        if before.is_some_and(|instance| instance != hello.instance) {
            // A successor says for itself that its stream is complete, and hears for itself that all of it is done.
            self.parted = false;
            if std::mem::take(&mut self.confirmed) {
                self.setup.control.leave_farewell();
            }
        }
        self.current = Some(Current {
            instance: hello.instance,
            node: hello.node.clone(),
        });
        let id = conn.id;
        let (conn, _) = self.active.insert((conn, epoch));
        let welcome = self.intake.welcome(hello);
        conn.negotiate(
            MessageKind::Welcome,
            self.setup.route,
            epoch,
            taken,
            &welcome,
        )?;
        self.setup.link.up.set(1);
        self.setup.edge.set_waits(None);
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
            conn.control(MessageKind::Ack, route, *epoch, &ack)?;
        }
        Ok(())
    }

    /// Sends what there is to say, and looks whether this half is finished.
    fn turn(&mut self, always: bool, ctx: &mut Context<Self>) {
        self.setup.progress.step();
        if self.ended {
            return;
        }
        if self.setup.control.abandoned() {
            return self.abandon(ctx);
        }
        if self.setup.control.stopping()
            && !self.closing
            && (!self.senders_first || self.setup.control.senders_ended())
        {
            self.close(ctx);
        }
        let settled = self.intake.is_settled();
        let Some(id) = self.active.as_ref().map(|(conn, _)| conn.id) else {
            // Without a connection the last word of a complete stream cannot be exchanged; its sender comes back for it,
            // unless it has waited too long and ended.
            let alone = self.confirmed
                && self.setup.control.may_part()
                && self.setup.control.senders_gone()
                && self
                    .down_since_ns
                    .is_none_or(|since_ns| self.now_ns() - since_ns > duration_ns(LAST_WORD));
            if settled && (self.closing || alone || self.has_parted()) {
                self.end(ctx);
            }
            return;
        };
        if let Err(error) = self.acknowledge(always) {
            return self.lost(id, &error, ctx);
        }
        if self.confirmed && !self.parted && self.setup.control.may_part() {
            self.parted = true;
            if let Err(error) = self.answer() {
                return self.lost(id, &error, ctx);
            }
        }
        flush(self, id, ctx);
        if settled {
            // Closing a connection on which something is left unread would reset it, and with it the acknowledgements
            // that the sender has not read.
            let told = self.intake.is_told();
            let idle = self.active.as_ref().is_none_or(|(conn, _)| conn.idle());
            if told && idle && (self.has_parted() || (self.closing && self.farewell)) {
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

    /// Whether this half is no longer needed: the sender has had the last word, and no half of this node waits for that of
    /// another node. Until then a successor of the sender, which may have died while its last word was under way, can
    /// still come for it.
    fn has_parted(&self) -> bool {
        self.parted && self.setup.control.senders_gone()
    }

    /// This node leaves: no further credit, what has arrived is finished and acknowledged.
    fn close(&mut self, ctx: &mut Context<Self>) {
        self.closing = true;
        let route = self.setup.route;
        let parting = Parting {
            leaves: true,
            drain_ms: self.setup.control.drain_left_ms().unwrap_or(0),
        };
        if let Some((conn, epoch)) = &mut self.active {
            let _ = conn.control(MessageKind::Goodbye, route, *epoch, &parting);
            let id = conn.id;
            flush(self, id, ctx);
        }
        self.door.listener = None;
        self.intake.close();
    }

    /// The drain is over: tells the sender what has its outcome, and leaves it the rest.
    fn abandon(&mut self, ctx: &mut Context<Self>) {
        let id = self.active.as_ref().map(|(conn, _)| conn.id);
        if let Some(id) = id
            && self.acknowledge(true).is_ok()
        {
            flush(self, id, ctx);
        }
        self.intake.abandon();
        self.end(ctx);
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
        self.setup.edge.set_waits(None);
        match self.confirmed {
            true => self.setup.control.leave_farewell(),
            // The sender may come back with what it did not hear the outcome of.
            false => self.setup.control.cut_short(),
        }
        self.setup.control.ended(&self.setup.edge.name);
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ns = self.now_ns();
        for id in self.door.silent(now_ns) {
            self.lost(id, &LinkError::Protocol("no hello in time".into()), ctx);
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
                        Err(error) => actor.setup.reject("stranger", &error.into()),
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

    /// Binds the endpoint, so that a taken port is known before the node reports ready. An address that this machine does
    /// not have yet (the cable comes late, the network is not up) is no fault: it is tried again.
    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        let edge = self.edge_name();
        Box::pin(self.bind().into_actor(self).map(move |bound, actor, ctx| {
            match bound {
                Ok(listener) => actor.listening(listener),
                Err(error) if is_not_here_yet(&error) => actor.rebind(&error, ctx),
                Err(error) => {
                    return Err(StageError::Config(format!("edge '{edge}': {error}")));
                }
            }
            Ok(())
        }))
    }
}

/// Whether a bind failed because no interface has the address, which may change.
fn is_not_here_yet(error: &SpError) -> bool {
    matches!(error, SpError::Io { source, .. } if source.kind() == ErrorKind::AddrNotAvailable)
}

impl BridgeReceiver {
    fn bind(&self) -> impl Future<Output = Result<Listener, SpError>> + 'static {
        let endpoint = self.setup.options.endpoint.clone();
        let options = socket_options(self.setup.options.max_frame);
        let inproc = self.setup.inproc.clone();
        async move { Listener::bind(&endpoint, options, &inproc).await }
    }

    fn listening(&mut self, listener: Listener) {
        tracing::info!(edge = %self.setup.edge.name, endpoint = %listener.endpoint(), "listening");
        self.door.listener = Some(listener);
    }

    /// Tries to listen again after a pause, for as long as the node runs.
    fn rebind(&mut self, error: &SpError, ctx: &mut Context<Self>) {
        self.setup
            .link_waits(format!("cannot listen yet: {error}"), true);
        ctx.run_later(REBIND, |actor, ctx| {
            if actor.ended || actor.closing {
                return;
            }
            let bound = actor
                .bind()
                .into_actor(actor)
                .map(|bound, actor, ctx| match bound {
                    _ if actor.ended || actor.closing => {}
                    Ok(listener) => {
                        actor.listening(listener);
                        if actor.begun {
                            actor.accept(ctx);
                        }
                    }
                    Err(error) => actor.rebind(&error, ctx),
                });
            ctx.spawn(bound);
        });
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
