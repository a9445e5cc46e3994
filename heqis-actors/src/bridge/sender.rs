//! The sending half of a bridged edge: connects, introduces itself, and sends what its [`SendWindow`] has due.

use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Received, TICK, flush, socket_options};
use super::link::{Link, UpLink};
use super::send_window::{Due, SendWindow};
use super::setup::BridgeSetup;
use super::window_watch::WindowWatch;
use crate::actor::{Begin, Build};
use crate::doorbell::Wake;
use heqis_core::link::authority::{Grants, Party};
use heqis_core::link::messages::{
    End, Parting, Refuse, Welcome, control_header, encode_frame, link_clock,
};
use heqis_core::link::requests::TAKES_REQUESTS;
use heqis_core::wire::{Header, MessageKind, WireFrame};
use heqis_core::{Clock, Delivery, DropCause, Encoding, Ending, StageError, duration_ns};
use heqis_sp::{Backoff, Connection, SpError, connect};

/// Shortest and longest pause between two attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));
/// A connection that has lasted this long, or over which an outcome has arrived, counts as stable: the first attempt after
/// it waits for the shortest pause.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// How long the last answer of a receiver is awaited, over reconnects. Everything has its outcome by then.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stopping node awaits it: the receiver loses nothing without it, and may itself wait for frames that this node
/// no longer accepts.
const STOPPING_FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two log lines about a link that stays down for the same reason.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

pub(crate) struct BridgeSender {
    pub(super) setup: BridgeSetup,
    pub(super) window: SendWindow,
    clock: Clock,
    link: Link,
    /// Connections made so far; also the identity of the current one.
    epoch: u32,
    backoff: Option<Backoff>,
    phase: Phase,
    /// The end of the stream was sent, over this connection or the last one.
    end_sent: bool,
    /// The receiver has announced that its node leaves.
    peer_left: bool,
    down_since_ns: Option<i64>,
    /// Why the last attempt to connect failed, and when that was last in the log.
    waits: Option<(String, i64)>,
    watch: WindowWatch,
    /// What the receiver may do.
    grants: Grants,
}

/// What this half does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Built; does not connect yet.
    New,
    /// Sends frames.
    Sending,
    /// Everything has its outcome, since this time; the receiver's answer is awaited.
    Farewell { since_ns: i64, answered: bool },
    /// This node ends before everything has its outcome; frames that still arrive on the edge are dropped.
    Leaving,
    /// Ended for good.
    Ended,
}

impl BridgeSender {
    pub(crate) fn new(setup: BridgeSetup) -> Self {
        let backoff = Backoff::new(BACKOFF.0, BACKOFF.1, setup.instance).ok();
        let keeps = setup.options.delivery == Delivery::AtLeastOnce;
        Self {
            clock: link_clock(&setup.clock),
            window: SendWindow::new(setup.edge.clone(), keeps, setup.window),
            grants: setup.grants(Party::Receiver),
            setup,
            link: Link::Dialing,
            epoch: 0,
            backoff,
            phase: Phase::New,
            end_sent: false,
            peer_left: false,
            down_since_ns: None,
            waits: None,
            watch: WindowWatch::default(),
        }
    }

    fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    fn dial(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        self.link = Link::Dialing;
        let endpoint = self.setup.options.endpoint.clone();
        let options = socket_options(&self.setup.options);
        let (inproc, clock) = (self.setup.inproc.clone(), self.clock.clone());
        let attempt = async move {
            clock.sleep(pause).await;
            connect(&endpoint, &options, &inproc).await
        };
        ctx.spawn(
            attempt
                .into_actor(self)
                .map(|result, actor, ctx| match result {
                    _ if actor.phase == Phase::Ended => {}
                    Ok(connection) => actor.greet(connection, ctx),
                    Err(error) => {
                        let endpoint = actor.setup.options.endpoint.to_string();
                        actor.wait_for(format!("{endpoint}: {error}"));
                        if matches!(error, SpError::Tls { .. }) {
                            actor.setup.reject(&endpoint, &error.into());
                        }
                        actor.redial(ctx);
                    }
                }),
        );
    }

    /// Reports why there is no connection: at once when the reason is new, and at intervals while it stays.
    fn wait_for(&mut self, reason: String) {
        let now_ns = self.now_ns();
        let is_known = self.waits.as_ref().is_some_and(|(last, logged_ns)| {
            *last == reason && now_ns - logged_ns < duration_ns(LOG_INTERVAL)
        });
        if !is_known {
            self.waits = Some((reason.clone(), now_ns));
        }
        self.setup.link_waits(&reason, !is_known);
    }

    fn redial(&mut self, ctx: &mut Context<Self>) {
        if self.is_cut_off() {
            return self.leave(ctx);
        }
        let pause = self.backoff.as_mut().map_or(BACKOFF.1, Backoff::next_delay);
        self.dial(pause, ctx);
    }

    fn greet(&mut self, connection: Connection, ctx: &mut Context<Self>) {
        self.epoch += 1;
        let now_ns = self.now_ns();
        let mut conn = Conn::open(self.epoch.into(), connection, now_ns, ctx);
        let hello = self
            .setup
            .hello(self.window.first_seq(), &self.window.acknowledged());
        let offered = self.setup.options.encoding;
        let header = control_header(MessageKind::Hello, self.setup.route, self.epoch);
        let greeted = conn.negotiate(header, offered, 0, &hello);
        self.link = Link::Greeting(conn);
        match greeted {
            Ok(_) => flush(self, self.epoch.into(), ctx),
            Err(error) => self.lost(&error, ctx),
        }
    }

    /// Handles a lost connection: reports it, and connects again.
    fn lost(&mut self, reason: &LinkError, ctx: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            return;
        }
        let up = self.link.up().map(|up| (up.since_ns, up.proved));
        let link = std::mem::replace(&mut self.link, Link::Dialing);
        let Some(conn) = link.into_conn() else {
            return;
        };
        let peer = conn.who();
        conn.close(ctx);
        self.setup.reject(&peer, reason);
        let now_ns = self.now_ns();
        if up.is_some() {
            self.setup.link.credits.set(0);
            self.setup.link_down(reason);
            self.down_since_ns = Some(now_ns);
        } else {
            self.wait_for(reason.to_string());
        }
        // A connection that breaks soon after it was made does not reset the pauses.
        let is_stable = up.is_some_and(|(since_ns, proved)| {
            proved || now_ns - since_ns > duration_ns(STABLE_AFTER)
        });
        if is_stable && let Some(backoff) = &mut self.backoff {
            backoff.reset();
        }
        self.redial(ctx);
    }

    /// Whether this node leaves and its receiver has left before it, or was never connected: nothing more can be delivered.
    fn is_cut_off(&self) -> bool {
        self.setup.control.stopping()
            && !matches!(self.phase, Phase::Farewell { .. })
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
            // Sent to an earlier connection; its content is superseded.
            return Ok(());
        }
        self.setup.allow(self.grants, wire.header.kind)?;
        match wire.header.kind {
            MessageKind::Request | MessageKind::Reply => self.setup.take_request(wire),
            MessageKind::Welcome => self.welcomed(&wire.read()?, &wire.header, now_ns),
            MessageKind::Ack if matches!(self.link, Link::Greeting(_)) => Err(LinkError::Protocol(
                "acknowledges before its welcome".into(),
            )),
            MessageKind::Ack => {
                let done = self.window.first_seq();
                self.window.acknowledge(&wire.read()?)?;
                if let Some(up) = self.link.up() {
                    up.proved |= self.window.first_seq() > done;
                }
                Ok(())
            }
            MessageKind::Refuse => {
                let Refuse { reason } = wire.read()?;
                Err(LinkError::Refused(reason))
            }
            MessageKind::Goodbye if !wire.read::<Parting>()?.leaves => {
                if let Phase::Farewell { answered, .. } = &mut self.phase {
                    *answered = true;
                }
                Ok(())
            }
            MessageKind::Goodbye => match std::mem::replace(&mut self.link, Link::Dialing) {
                Link::Up(up) => {
                    self.peer_left = true;
                    self.link = Link::Leaving(UpLink {
                        goodbye_sent: false,
                        ..up
                    });
                    Ok(())
                }
                link => {
                    self.link = link;
                    Err(LinkError::Goodbye)
                }
            },
            MessageKind::Heartbeat => {
                if let Some(conn) = self.link.conn() {
                    let offset = conn.on_heartbeat(wire, now_ns)?;
                    self.setup.link.set_clock(offset);
                }
                Ok(())
            }
            kind => Err(LinkError::Protocol(format!(
                "a receiver does not send {kind:?}"
            ))),
        }
    }

    fn welcomed(
        &mut self,
        welcome: &Welcome,
        header: &Header,
        now_ns: i64,
    ) -> Result<(), LinkError> {
        if !matches!(self.link, Link::Greeting(_)) {
            return Err(LinkError::Protocol("a second welcome".into()));
        }
        let encoding = self.setup.agreed_encoding(header.seq)?;
        self.window.welcomed(welcome, header.ts_ns & 1 == 1)?;
        if let Link::Greeting(mut conn) = std::mem::replace(&mut self.link, Link::Dialing) {
            conn.encoding = encoding;
            // The receiver answers with its own, so that both can compare their clocks from the start.
            conn.hasten_heartbeat(now_ns);
            self.link = Link::Up(UpLink {
                conn,
                since_ns: now_ns,
                proved: false,
                goodbye_sent: false,
            });
        }
        for run in &welcome.done {
            self.setup
                .committed
                .deliver_run(run.stream, run.first, run.last);
        }
        // A paced source need not wait for items that the other side is done with.
        self.setup.control.ring_all();
        self.end_sent = false;
        self.peer_left = false;
        self.waits = None;
        self.setup.link_up(self.down_since_ns.take(), now_ns);
        self.setup
            .requests_cross(header.ts_ns & TAKES_REQUESTS != 0);
        Ok(())
    }

    /// Sends what credit, window and socket allow.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        self.setup.progress.step();
        if self.phase == Phase::Ended {
            return;
        }
        if self.setup.control.abandoned() {
            return self.leave(ctx);
        }
        if self.phase == Phase::Leaving {
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
            // The next node knows that the stream is complete, and all of it has its outcome.
            Some(Ending::Complete) if self.end_sent => self.part(ctx),
            Some(Ending::Left) => self.part(ctx),
            _ => {}
        }
    }

    /// Everything has its outcome: sends a goodbye, waits for the answer, and ends.
    fn part(&mut self, ctx: &mut Context<Self>) {
        // On an at-most-once edge the receiver may have acknowledged numbers without an outcome there either.
        self.window.drop_in_flight(DropCause::Gap);
        let (now_ns, stopping) = (self.now_ns(), self.setup.control.stopping());
        let (since_ns, answered) = match self.phase {
            Phase::Farewell { since_ns, answered } => (since_ns, answered),
            _ => {
                self.phase = Phase::Farewell {
                    since_ns: now_ns,
                    answered: false,
                };
                self.setup.control.enter_farewell();
                self.setup.control.sender_drained();
                (now_ns, false)
            }
        };
        let (route, epoch) = (self.setup.route, self.epoch);
        let complete = self.window.ending() == Some(Ending::Complete);
        let drain_ms = self.setup.control.drain_left_ms().unwrap_or(0);
        if let Link::Up(up) = &mut self.link
            && !up.goodbye_sent
        {
            let kind = match complete {
                true => MessageKind::Goodbye,
                false => MessageKind::Leave,
            };
            let parting = Parting {
                leaves: !complete,
                drain_ms,
            };
            up.goodbye_sent = up
                .conn
                .control(kind, route, epoch, &parting)
                .unwrap_or(false);
            flush(self, epoch.into(), ctx);
        }
        let timeout = match stopping {
            true => STOPPING_FAREWELL_TIMEOUT,
            false => FAREWELL_TIMEOUT,
        };
        // A node that leaves awaits an answer only over a live connection; the receiver loses nothing without it.
        let is_down = !matches!(self.link, Link::Up(_));
        if answered
            || now_ns - since_ns > duration_ns(timeout)
            || (is_down && (stopping || !complete))
        {
            self.end(ctx);
        }
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        let (route, epoch) = (self.setup.route, self.epoch);
        let now_ns = self.clock.now_ns();
        let conn = match &mut self.link {
            Link::Dialing => return Ok(()),
            Link::Greeting(conn) => return conn.send_heartbeat_if_due(route, epoch, now_ns),
            Link::Leaving(up) => {
                let parting = Parting {
                    leaves: false,
                    drain_ms: 0,
                };
                if !up.goodbye_sent {
                    let kind = MessageKind::Goodbye;
                    up.goodbye_sent = up.conn.control(kind, route, epoch, &parting)?;
                }
                return Ok(());
            }
            Link::Up(up) => &mut up.conn,
        };
        conn.send_heartbeat_if_due(route, epoch, now_ns)?;
        conn.send_request(self.setup.peer.requests.as_ref(), route, epoch)?;
        let link = &self.setup.link;
        while conn.is_writable() {
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
                    // The link may have had another encoding when the frame was first sent; a tensor that this encoding
                    // cannot carry is sent as f32, which every receiver reads.
                    let encoded = encode_frame(frame, route, epoch, seq, conn.encoding)
                        .or_else(|_| encode_frame(frame, route, epoch, seq, Encoding::F32))?;
                    link.sent_bytes.add(conn.data(encoded, &frame.body)? as u64);
                    link.resent.inc();
                    self.window.resent();
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
                            let origin = frame.head.origin;
                            self.setup.unreadable(|| {
                                format!("item {} of stream {:016x} cannot be written to the wire: {error}", origin.position, origin.stream)
                            });
                            self.window.drop_new(frame);
                        }
                        Err(error) => {
                            self.window.requeue(frame);
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

    /// This node ends before everything has its outcome: reports the frames in doubt, and drops those that still arrive.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            return;
        }
        if !matches!(self.phase, Phase::Farewell { .. }) {
            self.phase = Phase::Leaving;
        }
        self.setup.control.set_incomplete();
        if self.setup.control.saves_received() {
            self.window.keep_left();
        }
        self.window.leave(self.setup.clock.now_ns());
        self.drop_rest(ctx);
    }

    fn drop_rest(&mut self, ctx: &mut Context<Self>) {
        self.window.drop_queued(self.setup.clock.now_ns());
        if self.setup.control.abandoned() || self.setup.edge.ending().is_some() {
            self.end(ctx);
        }
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        if phase == Phase::Ended {
            return;
        }
        if let Some(conn) = std::mem::replace(&mut self.link, Link::Dialing).into_conn() {
            conn.close(ctx);
        }
        if self.setup.control.abandoned() {
            // A producer on another thread may not have ended yet.
            self.setup.edge.abandon();
        }
        self.setup.link_ended();
        self.deposit();
        match phase {
            Phase::Farewell { .. } => self.setup.control.leave_farewell(),
            _ => self.setup.control.sender_drained(),
        }
        self.setup.control.sender_ended();
        self.setup.life.end();
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.setup.life.turned();
        let now_ns = self.now_ns();
        let open = match self.link.up() {
            Some(_) => self.window.open(),
            None => (0, 0),
        };
        let holder = || format!("{} not done at {}", open.0, self.setup.peer_name());
        self.watch.check(&self.setup, open, now_ns, holder);
        let conn = self.link.conn();
        match conn.and_then(|conn| conn.fault(&self.setup.options, now_ns)) {
            Some(error) => self.lost(&error, ctx),
            None => self.pump(ctx),
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
        self.setup.attach_bell(ctx.address().recipient());
    }
}

impl StreamHandler<Received> for BridgeSender {
    fn handle(&mut self, received: Received, ctx: &mut Self::Context) {
        let now_ns = self.now_ns();
        let Some(conn) = self.conn(received.conn) else {
            return;
        };
        let result = conn
            .parse(received.message, now_ns)
            .and_then(|wire| self.receive(&wire, now_ns));
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

    /// Checks the certificate, so that a node without one does not report ready.
    fn handle(&mut self, _: Build, _: &mut Self::Context) -> Self::Result {
        let options = &self.setup.options;
        let checked = socket_options(options).validate_for(&options.endpoint);
        checked.map_err(|error| self.setup.unusable(&error))
    }
}

impl Handler<Begin> for BridgeSender {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.phase = Phase::Sending;
        ctx.run_interval(TICK, Self::tick);
        self.dial(Duration::ZERO, ctx);
    }
}

impl Handler<Wake> for BridgeSender {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.setup.bell.answer();
        if self.phase != Phase::New {
            self.pump(ctx);
        }
    }
}
