//! The sending half of a bridged edge: dials, greets, and puts on the wire what its [`Window`] has due.

use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Received, TICK, flush, socket_options};
use super::window::{Due, Window};
use super::{BridgeSetup, EMPTY, End, Hello, Welcome, encode_frame, link_clock};
use crate::actor::{Begin, Build, Wake};
use crate::clock::Clock;
use crate::edge::Cause;
use crate::encoding::Encoding;
use crate::events::Event;
use crate::options::Delivery;
use crate::sp::{Backoff, Connection, SpError, connect};
use crate::stage::StageError;
use crate::wire::{Kind, WireFrame};

/// Shortest and longest pause between two attempts to connect.
const REDIAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

pub(crate) struct BridgeSender {
    setup: BridgeSetup,
    window: Window,
    clock: Clock,
    link: Link,
    /// Connections made so far; also the identity of the current one.
    epoch: u32,
    backoff: Option<Backoff>,
    end_sent: bool,
    begun: bool,
    ended: bool,
    down_since_ns: Option<i64>,
}

enum Link {
    /// An attempt to connect, or the pause before it, is under way.
    Dialing,
    /// Connected; the receiver's welcome is awaited.
    Greeting(Conn),
    Up(Conn),
    /// The receiver said goodbye: acknowledgements are still taken; a goodbye in return is the last thing sent, so
    /// that the receiver can close a connection on which nothing is left to read.
    Leaving(Conn, Farewell),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Farewell {
    Due,
    Said,
}

impl Link {
    fn conn(&mut self) -> Option<&mut Conn> {
        match self {
            Self::Dialing => None,
            Self::Greeting(conn) | Self::Up(conn) | Self::Leaving(conn, _) => Some(conn),
        }
    }

    fn into_conn(self) -> Option<Conn> {
        match self {
            Self::Dialing => None,
            Self::Greeting(conn) | Self::Up(conn) | Self::Leaving(conn, _) => Some(conn),
        }
    }
}

impl BridgeSender {
    pub(crate) fn new(setup: BridgeSetup, retain: usize) -> Self {
        let backoff = Backoff::new(REDIAL.0, REDIAL.1, setup.instance).ok();
        let keeps = setup.options.delivery == Delivery::AtLeastOnce;
        Self {
            clock: link_clock(&setup.clock),
            window: Window::new(setup.edge.clone(), keeps, retain),
            setup,
            link: Link::Dialing,
            epoch: 0,
            backoff,
            end_sent: false,
            begun: false,
            ended: false,
            down_since_ns: None,
        }
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn dial(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        self.link = Link::Dialing;
        let endpoint = self.setup.options.endpoint.clone();
        let options = socket_options(self.setup.options.max_frame);
        let (inproc, clock) = (self.setup.inproc.clone(), self.clock.clone());
        let attempt = async move {
            clock.sleep(pause).await;
            connect(&endpoint, &options, &inproc).await
        };
        ctx.spawn(
            attempt
                .into_actor(self)
                .map(|result, actor, ctx| match result {
                    _ if actor.ended => {}
                    Ok(connection) => actor.greet(connection, ctx),
                    Err(error) => {
                        tracing::debug!(edge = %actor.setup.edge.name, %error, "connect failed");
                        actor.redial(ctx);
                    }
                }),
        );
    }

    fn redial(&mut self, ctx: &mut Context<Self>) {
        let pause = self.backoff.as_mut().map_or(REDIAL.1, Backoff::next_delay);
        self.dial(pause, ctx);
    }

    fn greet(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        self.epoch += 1;
        let now_ns = self.now_ns();
        let mut conn = Conn::open(self.epoch.into(), connection, now_ns, ctx);
        let hello = Hello {
            edge: self.setup.edge.name.to_string(),
            payload: self.setup.payload.name.to_owned(),
            instance: self.setup.instance,
            first_seq: self.window.first_seq(),
            at_least_once: self.window.keeps(),
        };
        let offered = self.setup.options.encoding;
        let greeted = conn.negotiate(Kind::Hello, self.setup.route, self.epoch, offered, &hello);
        self.link = Link::Greeting(conn);
        match greeted {
            Ok(_) => flush(self, self.epoch.into(), ctx),
            Err(error) => self.lost(&error, ctx),
        }
    }

    /// The connection is gone: says so, and dials again.
    fn lost(&mut self, reason: &LinkError, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        let was_up = matches!(self.link, Link::Up(_) | Link::Leaving(..));
        let link = std::mem::replace(&mut self.link, Link::Dialing);
        let Some(conn) = link.into_conn() else {
            return;
        };
        let peer = conn.peer.clone();
        conn.close(ctx);
        if let Some(cause) = reason.cause() {
            self.setup.link.reject(cause);
            Event::PeerRejected {
                edge: self.setup.edge.name.to_string(),
                reason: format!("{peer}: {reason}"),
            }
            .publish();
        }
        if was_up {
            self.setup.link.up.set(0);
            self.setup.link.credits.set(0);
            self.setup.link.set_clock(None);
            self.down_since_ns = Some(self.now_ns());
            Event::LinkDown {
                edge: self.setup.edge.name.to_string(),
                reason: reason.to_string(),
            }
            .publish();
        }
        self.redial(ctx);
    }

    fn receive(&mut self, wire: &WireFrame, now_ns: i64) -> Result<(), LinkError> {
        if wire.header.route != self.setup.route {
            return Err(LinkError::Protocol(format!(
                "route {} on edge {}",
                wire.header.route, self.setup.route
            )));
        }
        if wire.header.epoch != self.epoch {
            // Meant for an earlier connection; its content is superseded.
            return Ok(());
        }
        match wire.header.kind {
            Kind::Welcome => self.welcomed(&wire.read()?, wire.header.seq, now_ns),
            Kind::Ack if matches!(self.link, Link::Greeting(_)) => Err(LinkError::Protocol(
                "acknowledges before its welcome".into(),
            )),
            Kind::Ack => self.window.acknowledged(&wire.read()?),
            Kind::Goodbye => match std::mem::replace(&mut self.link, Link::Dialing) {
                Link::Up(conn) => {
                    self.link = Link::Leaving(conn, Farewell::Due);
                    Ok(())
                }
                link => {
                    self.link = link;
                    Err(LinkError::Goodbye)
                }
            },
            Kind::Heartbeat => {
                if let Some(conn) = self.link.conn() {
                    let offset = conn.felt(wire, now_ns)?;
                    self.setup.link.set_clock(offset);
                }
                Ok(())
            }
            kind @ (Kind::Data | Kind::Hello | Kind::End) => Err(LinkError::Protocol(format!(
                "a receiver does not send {kind:?}"
            ))),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, taken: u64, now_ns: i64) -> Result<(), LinkError> {
        if !matches!(self.link, Link::Greeting(_)) {
            return Err(LinkError::Protocol("a second welcome".into()));
        }
        let encoding = self.agreed(taken)?;
        self.window.welcomed(welcome)?;
        if let Link::Greeting(mut conn) = std::mem::replace(&mut self.link, Link::Dialing) {
            conn.encoding = encoding;
            // The receiver answers with its own, so that both know each other's clock from the start.
            conn.beat_soon(now_ns);
            self.link = Link::Up(conn);
        }
        self.end_sent = false;
        if let Some(backoff) = &mut self.backoff {
            backoff.reset();
        }
        self.setup.link.up.set(1);
        self.setup.link.connects.inc();
        if let Some(since_ns) = self.down_since_ns.take() {
            self.setup.link.outage.observe_ns(now_ns - since_ns);
        }
        Event::LinkUp {
            edge: self.setup.edge.name.to_string(),
        }
        .publish();
        Ok(())
    }

    /// The encoding that a welcome takes: the one that was offered, or `f32`.
    fn agreed(&self, taken: u64) -> Result<Encoding, LinkError> {
        let offered = self.setup.options.encoding;
        match Encoding::from_number(taken) {
            Some(taken) if taken == offered => Ok(offered),
            Some(Encoding::F32) => {
                tracing::warn!(edge = %self.setup.edge.name, offered = offered.name(), "the receiver does not take the encoding, tensors are sent as f32");
                Ok(Encoding::F32)
            }
            _ => Err(LinkError::Protocol(format!(
                "takes the encoding number {taken}, {} was offered",
                offered.name()
            ))),
        }
    }

    /// Puts on the wire what credit, window and socket allow.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        if self.setup.control.abandoned() {
            return self.abandon(ctx);
        }
        if let Err(error) = self.fill() {
            return self.lost(&error, ctx);
        }
        flush(self, self.epoch.into(), ctx);
        if self.end_sent && self.window.is_done() {
            self.finish(ctx);
        }
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        let (route, epoch) = (self.setup.route, self.epoch);
        let now_ns = self.clock.now_ns();
        let conn = match &mut self.link {
            Link::Dialing => return Ok(()),
            Link::Greeting(conn) => return conn.beat(route, epoch, now_ns),
            Link::Leaving(conn, farewell) => {
                if *farewell == Farewell::Due
                    && conn.control(Kind::Goodbye, route, epoch, &EMPTY)?
                {
                    *farewell = Farewell::Said;
                }
                return Ok(());
            }
            Link::Up(conn) => conn,
        };
        conn.beat(route, epoch, now_ns)?;
        let link = &self.setup.link;
        while conn.writable() {
            match self.window.due(self.setup.clock.now_ns())? {
                Due::Nothing => break,
                Due::End => {
                    if !self.end_sent {
                        let end = End {
                            last_seq: self.window.next_seq() - 1,
                        };
                        self.end_sent = conn.control(Kind::End, route, epoch, &end)?;
                    }
                    break;
                }
                Due::Again(seq, frame) => {
                    // The link may have been of another encoding when the frame was first sent; what this one cannot
                    // carry goes as it is, which every receiver reads.
                    let encoded = encode_frame(frame, route, epoch, seq, conn.encoding)
                        .or_else(|_| encode_frame(frame, route, epoch, seq, Encoding::F32))?;
                    link.sent_bytes.add(conn.data(encoded, &frame.body)? as u64);
                    link.resent.inc();
                    self.window.repeated();
                }
                Due::New(frame) => {
                    let seq = self.window.next_seq();
                    let sent = encode_frame(&frame, route, epoch, seq, conn.encoding)
                        .map_err(LinkError::from)
                        .and_then(|encoded| conn.data(encoded, &frame.body));
                    match sent {
                        Ok(bytes) => {
                            link.sent_bytes.add(bytes as u64);
                            self.window.sent(frame);
                        }
                        Err(LinkError::Wire(error)) => self.window.unsendable(frame, &error),
                        Err(LinkError::Socket(error @ SpError::TooLarge { .. })) => {
                            self.window.unsendable(frame, &error);
                        }
                        Err(error) => {
                            self.window.cut_off(frame);
                            return Err(error);
                        }
                    }
                }
            }
        }
        let credits = self.window.credits().try_into();
        link.credits.set(credits.unwrap_or(i64::MAX));
        Ok(())
    }

    /// Everything has its outcome: tells the receiver that it may leave, and ends.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        // On an at-most-once edge the receiver may have called numbers done that had no outcome there either.
        self.window.give_up(Cause::Gap);
        let (route, epoch) = (self.setup.route, self.epoch);
        if let Link::Up(conn) = &mut self.link {
            // The receiver also leaves by itself after a while, so a goodbye that cannot be queued is no loss.
            let _ = conn.control(Kind::Goodbye, route, epoch, &EMPTY);
            flush(self, epoch.into(), ctx);
        }
        self.end(ctx);
    }

    fn abandon(&mut self, ctx: &mut Context<Self>) {
        self.window.give_up(Cause::Shutdown);
        self.setup.edge.abandon();
        self.end(ctx);
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        self.ended = true;
        if let Some(conn) = std::mem::replace(&mut self.link, Link::Dialing).into_conn() {
            conn.close(ctx);
        }
        self.setup.link.up.set(0);
        self.setup.link.set_clock(None);
        self.setup.control.ended(&self.setup.edge.name);
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ns = self.now_ns();
        match self.link.conn() {
            Some(conn) if conn.is_dead(now_ns) => self.lost(&LinkError::Silent, ctx),
            _ => self.pump(ctx),
        }
    }
}

impl Owner for BridgeSender {
    fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        self.link.conn().filter(|conn| conn.id == id)
    }

    fn flushed(&mut self, _id: u64, result: Result<(), SpError>, ctx: &mut Context<Self>) {
        match result {
            Ok(()) => self.pump(ctx),
            Err(error) => self.lost(&error.into(), ctx),
        }
    }
}

impl Actor for BridgeSender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.setup.bell.attach(ctx.address().recipient());
    }
}

impl StreamHandler<Received> for BridgeSender {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let now_ns = self.now_ns();
        let Some(conn) = self.conn(received.conn) else {
            return;
        };
        conn.heard_ns = now_ns;
        let result = match received.message {
            Ok(Some(bytes)) => WireFrame::parse(bytes)
                .map_err(LinkError::from)
                .and_then(|wire| self.receive(&wire, now_ns)),
            Ok(None) => Err(LinkError::Closed),
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(()) => self.pump(ctx),
            Err(error) => self.lost(&error, ctx),
        }
    }

    /// The end of one connection's stream is not the end of the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Build> for BridgeSender {
    type Result = Result<(), StageError>;

    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

impl Handler<Begin> for BridgeSender {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.begun = true;
        ctx.run_interval(TICK, Self::tick);
        self.dial(Duration::ZERO, ctx);
    }
}

impl Handler<Wake> for BridgeSender {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.setup.bell.answer();
        if self.begun {
            self.pump(ctx);
        }
    }
}
