//! The sending half of a bridged edge: dials, greets, and puts on the wire what its [`Window`] has due.

use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Received, TICK, flush, socket_options};
use super::messages::{End, Hello, Parting, Refuse, Term, Welcome, encode_frame, link_clock};
use super::send_window::{Due, Window};
use super::setup::BridgeSetup;
use crate::actor::{Begin, Build};
use crate::clock::{Clock, duration_ns};
use crate::doorbell::Wake;
use crate::encoding::Encoding;
use crate::error::StageError;
use crate::events::Event;
use crate::options::Delivery;
use crate::outcome::DropCause;
use crate::outcome::Ending;
use crate::sp::{Backoff, Connection, SpError, connect};
use crate::wire::{MessageKind, WireFrame};

/// Shortest and longest pause between two attempts to connect.
const REDIAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// A connection that has lasted this long, or over which an outcome has come, has proved itself: the next attempt after it
/// starts with the shortest pause.
const PROVED: Duration = Duration::from_secs(5);
/// How long the last word of a receiver is awaited, over reconnects. Everything has its outcome by then.
const FAREWELL: Duration = Duration::from_secs(30);
/// How long it is awaited by a node that is told to stop: the receiver loses nothing without it, and may itself wait for what
/// this node takes no more.
const HURRY: Duration = Duration::from_secs(1);
/// Time between two log lines about a link that does not come up for the same reason.
const REMIND: Duration = Duration::from_secs(60);

pub(crate) struct BridgeSender {
    setup: BridgeSetup,
    window: Window,
    clock: Clock,
    link: Link,
    /// Connections made so far; also the identity of the current one.
    epoch: u32,
    backoff: Option<Backoff>,
    end_sent: bool,
    goodbye_sent: bool,
    begun: bool,
    ended: bool,
    /// Everything has its outcome and the receiver is told so, since this time; its answer is awaited.
    farewell_ns: Option<i64>,
    /// This node ends before everything has its outcome; what still comes on the edge is dropped.
    leaving: bool,
    /// The receiver has said that it leaves.
    peer_left: bool,
    /// The receiver has answered the last word.
    parted: bool,
    /// An outcome has come over this connection.
    proved: bool,
    up_since_ns: Option<i64>,
    down_since_ns: Option<i64>,
    /// Why the last attempt to connect failed, and when that was last in the log.
    waits: Option<(String, i64)>,
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
            goodbye_sent: false,
            begun: false,
            ended: false,
            farewell_ns: None,
            leaving: false,
            peer_left: false,
            parted: false,
            proved: false,
            up_since_ns: None,
            down_since_ns: None,
            waits: None,
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
                        let endpoint = &actor.setup.options.endpoint;
                        actor.wait_for(format!("{endpoint}: {error}"));
                        actor.redial(ctx);
                    }
                }),
        );
    }

    /// States why there is no connection: at once when the reason is new, and now and then while it stays.
    fn wait_for(&mut self, reason: String) {
        let now_ns = self.now_ns();
        let is_known = self.waits.as_ref().is_some_and(|(last, logged_ns)| {
            *last == reason && now_ns - logged_ns < duration_ns(REMIND)
        });
        if !is_known {
            self.waits = Some((reason.clone(), now_ns));
        }
        self.setup.link_waits(reason, !is_known);
    }

    fn redial(&mut self, ctx: &mut Context<Self>) {
        if self.is_cut_off() {
            return self.leave(ctx);
        }
        let pause = self.backoff.as_mut().map_or(REDIAL.1, Backoff::next_delay);
        self.dial(pause, ctx);
    }

    fn greet(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        self.epoch += 1;
        let now_ns = self.now_ns();
        let mut conn = Conn::open(self.epoch.into(), connection, now_ns, ctx);
        let hello = Hello {
            edge: self.setup.edge.name.to_string(),
            payload: self.setup.payload.name().to_owned(),
            instance: self.setup.instance,
            first_seq: self.window.first_seq(),
            at_least_once: self.window.keeps(),
            node: self.setup.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            streams: self
                .setup
                .committed
                .streams()
                .iter()
                .map(Into::into)
                .collect(),
            terms: (self.setup.peer.properties.iter())
                .map(|(subject, value)| Term {
                    subject: subject.clone(),
                    value: value.clone(),
                })
                .collect(),
        };
        let offered = self.setup.options.encoding;
        let greeted = conn.negotiate(
            MessageKind::Hello,
            self.setup.route,
            self.epoch,
            offered,
            &hello,
        );
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
        self.setup.reject(&peer, reason);
        let now_ns = self.now_ns();
        if was_up {
            self.setup.link.credits.set(0);
            self.setup.link_down(reason);
            self.down_since_ns = Some(now_ns);
        } else {
            self.wait_for(reason.to_string());
        }
        // A connection that breaks soon after it was made does not reset the pauses.
        let up_since_ns = self.up_since_ns.take();
        let lasted = up_since_ns.is_some_and(|since_ns| now_ns - since_ns > duration_ns(PROVED));
        if (std::mem::take(&mut self.proved) || lasted)
            && let Some(backoff) = &mut self.backoff
        {
            backoff.reset();
        }
        self.redial(ctx);
    }

    /// Whether this node leaves and its receiver has left before it, or was never there: nothing more can be delivered.
    fn is_cut_off(&self) -> bool {
        self.setup.control.stopping()
            && self.farewell_ns.is_none()
            && matches!(self.link, Link::Dialing)
            && (self.peer_left || self.epoch == 0)
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
            MessageKind::Welcome => self.welcomed(&wire.read()?, wire.header.seq, now_ns),
            MessageKind::Ack if matches!(self.link, Link::Greeting(_)) => Err(LinkError::Protocol(
                "acknowledges before its welcome".into(),
            )),
            MessageKind::Ack => {
                let done = self.window.first_seq();
                self.window.acknowledged(&wire.read()?)?;
                self.proved |= self.window.first_seq() > done;
                Ok(())
            }
            MessageKind::Refuse => {
                let Refuse { reason } = wire.read()?;
                Err(LinkError::Refused(reason))
            }
            MessageKind::Goodbye if !wire.read::<Parting>()?.leaves => {
                self.parted = self.farewell_ns.is_some();
                Ok(())
            }
            MessageKind::Goodbye => match std::mem::replace(&mut self.link, Link::Dialing) {
                Link::Up(conn) => {
                    self.peer_left = true;
                    self.link = Link::Leaving(conn, Farewell::Due);
                    Ok(())
                }
                link => {
                    self.link = link;
                    Err(LinkError::Goodbye)
                }
            },
            MessageKind::Heartbeat => {
                if let Some(conn) = self.link.conn() {
                    let offset = conn.felt(wire, now_ns)?;
                    self.setup.link.set_clock(offset);
                }
                Ok(())
            }
            kind @ (MessageKind::Data
            | MessageKind::Hello
            | MessageKind::End
            | MessageKind::Leave) => Err(LinkError::Protocol(format!(
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
        for run in &welcome.have {
            self.setup
                .committed
                .deliver_run(run.stream, run.first, run.last);
        }
        // A paced source need not wait for what the other side has.
        self.setup.control.ring_all();
        self.end_sent = false;
        self.goodbye_sent = false;
        self.peer_left = false;
        self.up_since_ns = Some(now_ns);
        self.waits = None;
        self.setup.edge.set_waits(None);
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
        self.setup.progress.step();
        if self.ended {
            return;
        }
        if self.setup.control.abandoned() {
            return self.leave(ctx);
        }
        if self.leaving {
            return self.drop_rest(ctx);
        }
        if self.is_cut_off() && self.window.ending() != Some(Ending::Left) {
            return self.leave(ctx);
        }
        if let Err(error) = self.fill() {
            return self.lost(&error, ctx);
        }
        flush(self, self.epoch.into(), ctx);
        match self.window.ending() {
            // The next node has heard that the stream is complete, and all of it has its outcome.
            Some(Ending::Complete) if self.end_sent => self.part(ctx),
            Some(Ending::Left) => self.part(ctx),
            _ => {}
        }
    }

    /// Everything has its outcome: says so, waits for the answer, and ends.
    fn part(&mut self, ctx: &mut Context<Self>) {
        // On an at-most-once edge the receiver may have called numbers done that had no outcome there either.
        self.window.give_up(DropCause::Gap);
        let now_ns = self.now_ns();
        if self.farewell_ns.is_none() {
            self.farewell_ns = Some(now_ns);
            self.setup.control.enter_farewell();
            self.setup.control.sender_ended();
        }
        let (route, epoch) = (self.setup.route, self.epoch);
        let complete = self.window.ending() == Some(Ending::Complete);
        let drain_ms = self.setup.control.drain_left_ms().unwrap_or(0);
        if !self.goodbye_sent
            && let Link::Up(conn) = &mut self.link
        {
            let kind = if complete {
                MessageKind::Goodbye
            } else {
                MessageKind::Leave
            };
            let parting = Parting {
                leaves: !complete,
                drain_ms,
            };
            self.goodbye_sent = conn.control(kind, route, epoch, &parting).unwrap_or(false);
            flush(self, epoch.into(), ctx);
        }
        let patience = match self.setup.control.stopping() {
            true => HURRY,
            false => FAREWELL,
        };
        let waited = self
            .farewell_ns
            .is_some_and(|since_ns| now_ns - since_ns > duration_ns(patience));
        let is_up = matches!(self.link, Link::Up(_));
        // Who leaves waits for an answer where there is one to come; the receiver loses nothing without it.
        let hurry = !complete || self.setup.control.stopping();
        if self.parted || waited || (hurry && !is_up) {
            self.end(ctx);
        }
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        let (route, epoch) = (self.setup.route, self.epoch);
        let now_ns = self.clock.now_ns();
        let conn = match &mut self.link {
            Link::Dialing => return Ok(()),
            Link::Greeting(conn) => return conn.beat(route, epoch, now_ns),
            Link::Leaving(conn, farewell) => {
                let parting = Parting {
                    leaves: false,
                    drain_ms: 0,
                };
                if *farewell == Farewell::Due
                    && conn.control(MessageKind::Goodbye, route, epoch, &parting)?
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
                Due::End(Ending::Left) => break,
                Due::End(Ending::Complete) => {
                    if !self.end_sent {
                        let end = End {
                            last_seq: self.window.next_seq() - 1,
                        };
                        self.end_sent = conn.control(MessageKind::End, route, epoch, &end)?;
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
                        Err(
                            error @ (LinkError::Wire(_)
                            | LinkError::Socket(SpError::TooLarge { .. })),
                        ) => {
                            if let Some(left_out) = self
                                .setup
                                .control
                                .admit("unsendable", &self.setup.edge.name)
                            {
                                tracing::error!(edge = %self.setup.edge.name, origin = ?frame.head.origin, %error, left_out, "frame dropped: it cannot be written to the wire");
                            }
                            self.window.unsendable(frame);
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

    /// This node ends before everything has its outcome: names what is in doubt, and drops what still comes.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        self.leaving = true;
        self.setup.control.cut_short();
        self.window.leave(self.setup.clock.now_ns());
        self.drop_rest(ctx);
    }

    fn drop_rest(&mut self, ctx: &mut Context<Self>) {
        self.window.leave_rest(self.setup.clock.now_ns());
        if self.setup.control.abandoned() || self.setup.edge.ending().is_some() {
            self.end(ctx);
        }
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(conn) = std::mem::replace(&mut self.link, Link::Dialing).into_conn() {
            conn.close(ctx);
        }
        self.setup.link.up.set(0);
        self.setup.link.set_clock(None);
        self.setup.edge.set_waits(None);
        match self.farewell_ns {
            Some(_) => self.setup.control.leave_farewell(),
            None => self.setup.control.sender_ended(),
        }
        self.setup.control.sender_gone();
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
