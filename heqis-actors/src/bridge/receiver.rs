//! The receiving half of a bridged edge.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Pulse, Received, TICK, flush, socket_options};
use super::memory::{Known, Memory, Place};
use super::ticket::Tracker;
use super::{
    Ack, BridgeSetup, EMPTY, End, Hello, MAX_SEQ, Ticket, Welcome, decode_frame, link_clock,
};
use crate::actor::{Begin, Build, Wake};
use crate::clock::{Clock, duration_ns};
use crate::commit::Committed;
use crate::edge::{Cause, Outcome};
use crate::encoding::Encoding;
use crate::events::Event;
use crate::options::Delivery;
use crate::sp::{Connection, Listener, SpError};
use crate::stage::StageError;
use crate::wire::{Kind, WireFrame};

/// Connections that may wait to say hello, besides the one that carries the edge. One more, and the oldest has to go:
/// a sender says hello at once, so that it gets in however many strangers stand at the door.
const STRANGERS: usize = 8;
/// How long a stranger may stay silent.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How long an acknowledgement waits for company on a quiet edge.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// How long the receiver of an ended edge stays, in case the last acknowledgement got lost.
const LINGER: Duration = Duration::from_secs(2);

/// What is remembered of one sender instance.
struct Session {
    sender: u64,
    id: u64,
    /// The highest number received.
    received: u64,
    /// What comes after the last hello is numbered above this. An at-most-once sender has given up what lies between
    /// it and `received`; credit that were counted from `received` might never let it send again.
    given_up: u64,
    tracker: Arc<Tracker>,
}

pub(crate) struct BridgeReceiver {
    setup: BridgeSetup,
    committed: Committed,
    /// Whether the sender's end is awaited when this node is told to stop. So it is on a node with sources: its stop
    /// ends them, and the end comes round. Elsewhere the upstream knows nothing of the stop, and the intake closes.
    await_end: bool,
    clock: Clock,
    listener: Option<Listener>,
    next_conn: u64,
    /// Connections that have not said hello.
    strangers: HashMap<u64, (Conn, i64)>,
    /// The connection that carries the edge, and its epoch.
    active: Option<(Conn, u32)>,
    session: Option<Session>,
    sessions: u64,
    /// What was received over the life of this process, to recognise what a restarted sender repeats.
    memory: Memory,
    ack_timer: bool,
    /// The sender's last number, once it has said so.
    last_seq: Option<u64>,
    /// This node takes no further frames.
    closing: bool,
    /// The sender has answered this node's goodbye: nothing of it is left to read.
    farewell: bool,
    edge_ended: bool,
    settled_ns: Option<i64>,
    begun: bool,
    ended: bool,
    down_since_ns: Option<i64>,
}

impl BridgeReceiver {
    pub(crate) fn new(setup: BridgeSetup, committed: Committed, await_end: bool) -> Self {
        Self {
            clock: link_clock(&setup.clock),
            setup,
            committed,
            await_end,
            listener: None,
            next_conn: 0,
            strangers: HashMap::new(),
            active: None,
            session: None,
            sessions: 0,
            memory: Memory::default(),
            ack_timer: false,
            last_seq: None,
            closing: false,
            farewell: false,
            edge_ended: false,
            settled_ns: None,
            begun: false,
            ended: false,
            down_since_ns: None,
        }
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn keeps(&self) -> bool {
        self.setup.options.delivery == Delivery::AtLeastOnce
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
        if self.strangers.len() >= STRANGERS
            && let Some(&oldest) = self.strangers.keys().min()
        {
            self.lost(oldest, &LinkError::Crowd, ctx);
        }
        self.next_conn += 1;
        let now_ns = self.now_ns();
        let conn = Conn::open(self.next_conn, connection, now_ns, ctx);
        self.strangers.insert(self.next_conn, (conn, now_ns));
    }

    /// A connection is gone: a stranger silently, the active one with a word.
    fn lost(&mut self, id: u64, reason: &LinkError, ctx: &mut Context<Self>) {
        if let Some((conn, _)) = self.strangers.remove(&id) {
            self.reject(&conn.peer, reason);
            conn.close(ctx);
        } else if self.active.as_ref().is_some_and(|(conn, _)| conn.id == id)
            && let Some((conn, _)) = self.active.take()
        {
            self.reject(&conn.peer, reason);
            conn.close(ctx);
            self.setup.link.up.set(0);
            self.down_since_ns = Some(self.now_ns());
            if self.settled() {
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
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        if wire.header.route != self.setup.route {
            return Err(LinkError::Protocol(format!(
                "route {} on edge {}",
                wire.header.route, self.setup.route
            )));
        }
        if let Some(stranger) = self.strangers.remove(&id) {
            if wire.header.kind != Kind::Hello {
                self.strangers.insert(id, stranger);
                return Err(LinkError::Protocol(format!(
                    "{:?} before hello",
                    wire.header.kind
                )));
            }
            let hello: Result<Hello, _> = wire.read().map_err(LinkError::from);
            return match hello.and_then(|hello| self.checked(hello)) {
                Ok(hello) => {
                    let taken = self.takes(wire.header.seq);
                    self.greet(stranger.0, &hello, wire.header.epoch, taken, ctx)
                }
                Err(error) => {
                    self.strangers.insert(id, stranger);
                    Err(error)
                }
            };
        }
        if self
            .active
            .as_ref()
            .is_none_or(|(_, epoch)| *epoch != wire.header.epoch)
        {
            return Err(LinkError::Protocol(format!(
                "epoch {} on another epoch's connection",
                wire.header.epoch
            )));
        }
        match wire.header.kind {
            Kind::Data => self.data(wire),
            Kind::End => {
                let end: End = wire.read()?;
                let received = self.session.as_ref().map_or(0, |session| session.received);
                if self.closing {
                    return Ok(());
                }
                let most = if self.keeps() { received } else { MAX_SEQ };
                if !(received..=most).contains(&end.last_seq) {
                    return Err(LinkError::Protocol(format!(
                        "ends at {}, {received} was sent",
                        end.last_seq
                    )));
                }
                if let Some(session) = &self.session {
                    // Numbers that an at-most-once sender gave up behind the last one received.
                    session.tracker.pass(received + 1, end.last_seq);
                    session.tracker.set_eager();
                }
                self.last_seq = Some(end.last_seq);
                self.end_edge();
                Ok(())
            }
            Kind::Goodbye if self.closing => {
                self.farewell = true;
                Ok(())
            }
            Kind::Goodbye => Err(LinkError::Goodbye),
            Kind::Heartbeat => Ok(()),
            kind @ (Kind::Hello | Kind::Welcome | Kind::Ack) => {
                Err(LinkError::Protocol(format!("{kind:?} in mid-stream")))
            }
        }
    }

    fn checked(&self, hello: Hello) -> Result<Hello, LinkError> {
        let (edge, payload) = (&*self.setup.edge.name, self.setup.payload.name);
        if hello.edge != edge || hello.payload != payload {
            return Err(LinkError::Protocol(format!(
                "says hello for edge '{}' of '{}', this is '{edge}' of '{payload}'",
                hello.edge, hello.payload
            )));
        }
        if hello.at_least_once != self.keeps() {
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
        if self.edge_ended
            && self
                .session
                .as_ref()
                .is_none_or(|session| session.sender != hello.instance)
        {
            return Err(LinkError::Protocol("the edge has ended".into()));
        }
        Ok(hello)
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
        ctx: &mut Context<Self>,
    ) -> Result<(), LinkError> {
        if let Some((old, _)) = self.active.take() {
            old.close(ctx);
            Event::LinkDown {
                edge: self.edge_name(),
                reason: LinkError::Replaced.to_string(),
            }
            .publish();
        }
        let id = conn.id;
        self.active = Some((conn, epoch));
        let known = self
            .session
            .as_ref()
            .is_some_and(|session| session.sender == hello.instance);
        if !known {
            self.sessions += 1;
            let every = (self.setup.options.credit / 4) as u64;
            self.session = Some(Session {
                sender: hello.instance,
                id: self.setup.instance.wrapping_add(self.sessions),
                received: hello.first_seq - 1,
                given_up: 0,
                tracker: Tracker::new(hello.first_seq - 1, every, self.setup.bell.clone()),
            });
        }
        if let Some(session) = &mut self.session {
            session.given_up = hello.first_seq - 1;
        }
        let Some(session) = &self.session else {
            return Ok(());
        };
        let welcome = Welcome {
            session: session.id,
            received: session.received,
            limit: self.limit(),
            have: if hello.at_least_once && !known {
                self.memory.have()
            } else {
                Vec::new()
            },
        };
        self.setup.link.up.set(1);
        self.setup.link.connects.inc();
        if let Some(since_ns) = self.down_since_ns.take() {
            self.setup.link.outage.observe_ns(self.now_ns() - since_ns);
        }
        Event::LinkUp {
            edge: self.edge_name(),
        }
        .publish();
        let route = self.setup.route;
        if let Some((conn, _)) = &mut self.active {
            conn.negotiate(Kind::Welcome, route, epoch, taken, &welcome)?;
        }
        self.acknowledge(true)?;
        let now_ns = self.now_ns();
        flush(self, id, now_ns, ctx);
        Ok(())
    }

    /// The sender may send up to here: what the stage has taken, plus the credit.
    fn limit(&self) -> u64 {
        let reached = self
            .session
            .as_ref()
            .map_or(0, |session| session.received.max(session.given_up));
        if self.closing {
            return reached;
        }
        // The queue may still hold frames of an earlier session, which this session's numbers do not count.
        reached + (self.setup.options.credit as u64).saturating_sub(self.setup.edge.queued() as u64)
    }

    fn data(&mut self, wire: &WireFrame) -> Result<(), LinkError> {
        let seq = wire.header.seq;
        let credit = self.setup.options.credit as u64;
        let queued = self.setup.edge.queued() as u64;
        let keeps = self.keeps();
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if self.closing {
            // Sent before the sender had read the goodbye. Left unacknowledged, it goes to this node's successor.
            return Ok(());
        }
        if seq <= session.received {
            // Sent again although it had arrived: the number has, or will get, its one outcome.
            return Ok(());
        }
        let highest = if keeps {
            session.received + 1
        } else {
            self.last_seq.unwrap_or(MAX_SEQ)
        };
        if seq > highest || self.last_seq.is_some_and(|last| seq > last) {
            return Err(LinkError::Protocol(format!(
                "frame {seq} after frame {}",
                session.received
            )));
        }
        if queued >= credit {
            return Err(LinkError::Protocol(format!(
                "frame {seq} exceeds the credit of {credit}"
            )));
        }
        // An at-most-once sender has booked these as lost with the link.
        session.tracker.pass(session.received + 1, seq - 1);
        session.received = seq;
        let books = &self.setup.edge.books;
        let mut frame = match decode_frame(wire, self.setup.payload) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(edge = %self.setup.edge.name, seq, %error, "frame dropped: it does not decode");
                books.sent(1);
                books.dropped(Cause::Decode, 1);
                session
                    .tracker
                    .complete(seq, Some(Outcome::Dropped(Cause::Decode)));
                return Ok(());
            }
        };
        let ticket = Ticket::new(session.tracker.clone(), seq);
        if keeps {
            let origin = frame.head.origin;
            let place = Place {
                stream: origin.stream,
                part: frame.head.part,
                position: origin.position,
            };
            let known = match self.memory.meet(place) {
                Known::New if self.committed.contains(origin) => Known::Done,
                known => known,
            };
            if !matches!(known, Known::New) {
                books.sent(1);
                books.close(Outcome::Duplicate, 1);
                ticket.set(Outcome::Duplicate);
                if let Known::UnderWay(first) = known {
                    first.follow(ticket);
                }
                return Ok(());
            }
            self.memory.keep(place, &ticket);
        }
        frame.head.ticket = Some(ticket);
        if self.setup.edge.push(frame).is_err() {
            return Err(LinkError::Protocol(format!(
                "frame {seq} exceeds the credit of {credit}"
            )));
        }
        if queued + 1 > credit / 2 {
            self.setup.edge.request_room();
        }
        Ok(())
    }

    /// Queues an acknowledgement when there is news, or when `always`.
    fn acknowledge(&mut self, always: bool) -> Result<(), LinkError> {
        let limit = self.limit();
        let (Some(session), Some((conn, epoch))) = (&self.session, &mut self.active) else {
            return Ok(());
        };
        if conn.writable() && (always || session.tracker.has_news()) {
            let (done, outcomes) = session.tracker.tell();
            conn.control(
                Kind::Ack,
                self.setup.route,
                *epoch,
                &Ack {
                    limit,
                    done,
                    outcomes,
                },
            )?;
        }
        Ok(())
    }

    /// Sends what there is to say, and looks whether this half is finished.
    fn turn(&mut self, always: bool, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        if self.setup.control.abandoned() {
            self.setup.edge.abandon();
            self.end_edge();
            return self.end(ctx);
        }
        if self.setup.control.stopping() && !self.closing && !self.await_end {
            self.close(ctx);
        }
        let Some(id) = self.active.as_ref().map(|(conn, _)| conn.id) else {
            if self.settled() {
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
        let now_ns = self.now_ns();
        flush(self, id, now_ns, ctx);
        if self.settled() {
            self.settled_ns.get_or_insert(now_ns);
            // Closing a connection on which something is left unread would reset it, and with it the acknowledgements
            // that the sender has not read.
            let told = self
                .session
                .as_ref()
                .is_none_or(|session| !session.tracker.has_news());
            let idle = self.active.as_ref().is_none_or(|(conn, _)| conn.idle());
            if self.closing && self.last_seq.is_none() && self.farewell && told && idle {
                self.end(ctx);
            }
        } else if !self.ack_timer
            && self
                .session
                .as_ref()
                .is_some_and(|s| s.tracker.done() < s.received)
        {
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
            let now_ns = self.now_ns();
            flush(self, id, now_ns, ctx);
        }
        if let Some(session) = &self.session {
            session.tracker.set_eager();
        }
        self.listener = None;
        self.end_edge();
    }

    fn end_edge(&mut self) {
        if !std::mem::replace(&mut self.edge_ended, true) {
            self.setup.edge.end_producer();
        }
    }

    /// Whether every number received has an outcome and no more will come.
    fn settled(&self) -> bool {
        self.edge_ended
            && self.session.as_ref().is_none_or(|session| {
                session.tracker.done()
                    >= self
                        .last_seq
                        .unwrap_or(session.received)
                        .max(session.received)
            })
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some((conn, _)) = self.active.take() {
            conn.close(ctx);
        }
        for (_, (conn, _)) in self.strangers.drain() {
            conn.close(ctx);
        }
        self.setup.link.up.set(0);
        self.setup.control.ended(&self.setup.edge.name);
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ns = self.now_ns();
        let silent: Vec<u64> = self
            .strangers
            .iter()
            .filter(|(_, (_, since_ns))| now_ns - since_ns > duration_ns(HELLO_WITHIN))
            .map(|(&id, _)| id)
            .collect();
        for id in silent {
            self.lost(id, &LinkError::Protocol("no hello in time".into()), ctx);
        }
        if self
            .settled_ns
            .is_some_and(|since_ns| now_ns - since_ns > duration_ns(LINGER))
        {
            return self.end(ctx);
        }
        let route = self.setup.route;
        let Some((conn, epoch)) = &mut self.active else {
            return self.turn(false, ctx);
        };
        let (id, epoch) = (conn.id, *epoch);
        let result = match conn.pulse(now_ns) {
            Pulse::Fine => Ok(false),
            Pulse::Speak => conn.control(Kind::Heartbeat, route, epoch, &EMPTY),
            Pulse::Dead => Err(LinkError::Silent),
        };
        match result {
            Ok(_) => self.turn(true, ctx),
            Err(error) => self.lost(id, &error, ctx),
        }
    }

    /// Waits for the next peer.
    fn accept(&mut self, ctx: &mut Context<Self>) {
        let Some(mut listener) = self.listener.take() else {
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
                    actor.listener = Some(listener);
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
            _ => self.strangers.get_mut(&id).map(|(conn, _)| conn),
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
                .and_then(|wire| self.receive(id, &wire, ctx)),
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
                    actor.listener = Some(listener);
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
