//! The sending half of a bridged edge.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;

use super::conn::{Conn, LinkError, Owner, Pulse, Received, TICK, flush, socket_options};
use super::{Ack, BridgeSetup, EMPTY, End, Have, Hello, Welcome, encode_frame, link_clock};
use crate::actor::{Begin, Build, Wake};
use crate::clock::Clock;
use crate::edge::{Cause, Edge, Outcome, Pop};
use crate::encoding::Encoding;
use crate::events::Event;
use crate::frame::{AnyFrame, Origin};
use crate::options::Delivery;
use crate::sp::{Backoff, SpError, connect};
use crate::stage::StageError;
use crate::wire::{Kind, WireFrame};

/// Shortest and longest pause between two attempts to connect.
const REDIAL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

pub(crate) struct BridgeSender {
    setup: BridgeSetup,
    /// Most frames kept unacknowledged.
    retain: usize,
    clock: Clock,
    link: Link,
    /// Connections made so far; also the identity of the current one.
    epoch: u32,
    backoff: Option<Backoff>,
    /// Number of the next new frame.
    next_seq: u64,
    /// Everything up to here has an outcome.
    done: u64,
    /// Number of the next frame to put on the wire; below `next_seq` while frames are sent again.
    cursor: u64,
    /// May send up to here.
    limit: u64,
    /// Frames sent and not done, oldest first; only on an at-least-once edge.
    retained: VecDeque<(u64, AnyFrame)>,
    /// Frames sent and without an outcome yet.
    open: u64,
    /// The highest number that was booked as lost with the link; only on an at-most-once edge.
    lost: u64,
    /// The receiver's memory of this half, and what it has reported.
    session: Option<u64>,
    reported: [u64; Outcome::COUNT],
    have: Vec<Have>,
    /// Origin of the last new frame, and which of the frames of that origin it was.
    last_origin: Option<Origin>,
    part: u32,
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

impl BridgeSender {
    pub(crate) fn new(setup: BridgeSetup, retain: usize) -> Self {
        let backoff = Backoff::new(REDIAL.0, REDIAL.1, setup.instance).ok();
        Self {
            clock: link_clock(&setup.clock),
            setup,
            retain,
            link: Link::Dialing,
            epoch: 0,
            backoff,
            next_seq: 1,
            done: 0,
            cursor: 1,
            limit: 0,
            retained: VecDeque::new(),
            open: 0,
            lost: 0,
            session: None,
            reported: [0; Outcome::COUNT],
            have: Vec::new(),
            last_origin: None,
            part: 0,
            end_sent: false,
            begun: false,
            ended: false,
            down_since_ns: None,
        }
    }

    fn keeps(&self) -> bool {
        self.setup.options.delivery == Delivery::AtLeastOnce
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

    fn greet(&mut self, connection: crate::sp::Connection, ctx: &mut Context<Self>) {
        self.epoch += 1;
        let now_ns = self.now_ns();
        let mut conn = Conn::open(self.epoch.into(), connection, now_ns, ctx);
        let hello = Hello {
            edge: self.setup.edge.name.to_string(),
            payload: self.setup.payload.name.to_owned(),
            instance: self.setup.instance,
            first_seq: if self.keeps() {
                self.done + 1
            } else {
                self.next_seq
            },
            at_least_once: self.keeps(),
        };
        let offered = self.setup.options.encoding;
        let greeted = conn.negotiate(Kind::Hello, self.setup.route, self.epoch, offered, &hello);
        self.link = Link::Greeting(conn);
        match greeted {
            Ok(_) => flush(self, self.epoch.into(), now_ns, ctx),
            Err(error) => self.lost(&error, ctx),
        }
    }

    /// The connection is gone: says so, and dials again.
    fn lost(&mut self, reason: &LinkError, ctx: &mut Context<Self>) {
        if self.ended {
            return;
        }
        let link = std::mem::replace(&mut self.link, Link::Dialing);
        let (was_up, conn) = match link {
            Link::Dialing => return,
            Link::Greeting(conn) => (false, conn),
            Link::Up(conn) | Link::Leaving(conn, _) => (true, conn),
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
            self.down_since_ns = Some(self.now_ns());
            Event::LinkDown {
                edge: self.setup.edge.name.to_string(),
                reason: reason.to_string(),
            }
            .publish();
        }
        self.redial(ctx);
    }

    fn receive(&mut self, wire: &WireFrame) -> Result<(), LinkError> {
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
            Kind::Welcome => self.welcomed(&wire.read()?, wire.header.seq),
            Kind::Ack if matches!(self.link, Link::Greeting(_)) => Err(LinkError::Protocol(
                "acknowledges before its welcome".into(),
            )),
            Kind::Ack => self.acknowledged(&wire.read()?),
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
            Kind::Heartbeat => Ok(()),
            kind @ (Kind::Data | Kind::Hello | Kind::End) => Err(LinkError::Protocol(format!(
                "a receiver does not send {kind:?}"
            ))),
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, taken: u64) -> Result<(), LinkError> {
        if !matches!(self.link, Link::Greeting(_)) {
            return Err(LinkError::Protocol("a second welcome".into()));
        }
        if welcome.received >= self.next_seq {
            return Err(LinkError::Protocol(format!(
                "the receiver has frame {}, the last one sent is {}",
                welcome.received,
                self.next_seq - 1
            )));
        }
        let encoding = self.agreed(taken)?;
        if let Link::Greeting(mut conn) = std::mem::replace(&mut self.link, Link::Dialing) {
            conn.encoding = encoding;
            self.link = Link::Up(conn);
        }
        let remembered = self.session == Some(welcome.session);
        if !remembered {
            self.session = Some(welcome.session);
            self.reported = [0; Outcome::COUNT];
            self.have.clone_from(&welcome.have);
        }
        if self.keeps() {
            let confirmed = if remembered { welcome.received } else { 0 };
            self.cursor = confirmed.max(self.done) + 1;
        } else {
            // What the receiver has not got is gone; it is told by the jump in the numbers. What was lost with an
            // earlier connection has been booked then, although the receiver still asks for it.
            let confirmed = welcome.received.max(self.done).max(self.lost);
            let lost = if remembered {
                self.next_seq - 1 - confirmed
            } else {
                self.open
            };
            self.lost = self.next_seq - 1;
            self.close(Outcome::Dropped(Cause::LinkDown), lost);
            if !remembered {
                self.done = self.next_seq - 1;
            }
            self.cursor = self.next_seq;
        }
        self.limit = welcome.limit;
        self.end_sent = false;
        if let Some(backoff) = &mut self.backoff {
            backoff.reset();
        }
        self.setup.link.up.set(1);
        self.setup.link.connects.inc();
        if let Some(since_ns) = self.down_since_ns.take() {
            self.setup.link.outage.observe_ns(self.now_ns() - since_ns);
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

    fn acknowledged(&mut self, ack: &Ack) -> Result<(), LinkError> {
        let refuse = |fault: String| {
            Err(LinkError::Protocol(format!(
                "acknowledges frame {}: {fault}",
                ack.done
            )))
        };
        let (done, last) = (self.done, self.next_seq - 1);
        if !(done..=last).contains(&ack.done) {
            return refuse(format!("{done} was acknowledged and {last} sent"));
        }
        let Ok(outcomes) = <[u64; Outcome::COUNT]>::try_from(&ack.outcomes[..]) else {
            return refuse(format!(
                "{} kinds of outcomes are not {}",
                ack.outcomes.len(),
                Outcome::COUNT
            ));
        };
        // One outcome for each frame that is newly done, but those that this side has booked as lost: a receiver that
        // counts otherwise would break the books here.
        let newly_done = ack.done - done;
        let counts = outcomes
            .iter()
            .zip(&self.reported)
            .map(|(&now, &before)| now.checked_sub(before));
        let news = counts
            .into_iter()
            .try_fold(0u64, |sum, count| sum.checked_add(count?));
        if !news.is_some_and(|news| {
            if self.keeps() {
                news == newly_done
            } else {
                news <= newly_done.min(self.open)
            }
        }) {
            return refuse(format!(
                "outcomes {outcomes:?} after {:?} are not those of {newly_done} frames",
                self.reported
            ));
        }
        for (index, (now, before)) in outcomes
            .into_iter()
            .zip(std::mem::replace(&mut self.reported, outcomes))
            .enumerate()
        {
            if now > before
                && let Some(outcome) = Outcome::from_index(index)
            {
                self.close(outcome, now - before);
            }
        }
        self.limit = self.limit.max(ack.limit);
        self.done = ack.done;
        while self
            .retained
            .front()
            .is_some_and(|(seq, _)| *seq <= self.done)
        {
            self.retained.pop_front();
        }
        Ok(())
    }

    /// Gives `frames` of those under way their outcome.
    fn close(&mut self, outcome: Outcome, frames: u64) {
        self.open -= frames;
        self.setup.edge.done(outcome, frames);
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
        // The limit is a peer's to say, and may be as high as it gets.
        let credits = self.limit.saturating_sub(self.cursor - 1);
        self.setup
            .link
            .credits
            .set(credits.try_into().unwrap_or(i64::MAX));
        let now_ns = self.now_ns();
        flush(self, self.epoch.into(), now_ns, ctx);
        if self.end_sent && self.done + 1 == self.next_seq {
            self.finish(now_ns, ctx);
        }
    }

    fn fill(&mut self) -> Result<(), LinkError> {
        if let Link::Leaving(conn, farewell @ Farewell::Due) = &mut self.link
            && conn.control(Kind::Goodbye, self.setup.route, self.epoch, &EMPTY)?
        {
            *farewell = Farewell::Said;
        }
        let Link::Up(conn) = &mut self.link else {
            return Ok(());
        };
        let (edge, route, epoch) = (self.setup.edge.clone(), self.setup.route, self.epoch);
        let keeps = self.setup.options.delivery == Delivery::AtLeastOnce;
        while conn.writable() && self.cursor <= self.limit {
            if self.cursor < self.next_seq {
                let Some((seq, frame)) = self
                    .retained
                    .front()
                    .map(|(first, _)| self.cursor - first)
                    .and_then(|offset| self.retained.get(usize::try_from(offset).ok()?))
                else {
                    return Err(LinkError::Protocol(format!(
                        "frame {} is no longer kept",
                        self.cursor
                    )));
                };
                // The link may have been of another encoding when the frame was first sent; what this one cannot carry
                // goes as it is, which every receiver reads.
                let encoded = encode_frame(frame, route, epoch, *seq, conn.encoding)
                    .or_else(|_| encode_frame(frame, route, epoch, *seq, Encoding::F32))?;
                let bytes = conn.data(encoded, &frame.body)?;
                self.setup.link.sent_bytes.add(bytes as u64);
                self.setup.link.resent.inc();
                self.cursor += 1;
                continue;
            }
            if self.retained.len() >= self.retain {
                break;
            }
            let mut frame = match edge.pop(0, self.setup.clock.now_ns()) {
                Pop::Frame(frame) => frame,
                Pop::Empty => break,
                Pop::Ended => {
                    if !self.end_sent {
                        let end = End {
                            last_seq: self.next_seq - 1,
                        };
                        self.end_sent = conn.control(Kind::End, route, epoch, &end)?;
                    }
                    break;
                }
            };
            let origin = frame.head.origin;
            // A stage may make several frames of one item; they follow each other on the edge.
            self.part = if self.last_origin.replace(origin) == Some(origin) {
                self.part + 1
            } else {
                0
            };
            let part = self.part;
            frame.head.part = part;
            let had = |run: &Have| {
                (run.stream, run.part) == (origin.stream, part)
                    && (run.first..=run.last).contains(&origin.position)
            };
            if self.have.iter().any(had) {
                edge.done(Outcome::Duplicate, 1);
                continue;
            }
            let sent = encode_frame(&frame, route, epoch, self.next_seq, conn.encoding)
                .map_err(LinkError::from)
                .and_then(|encoded| conn.data(encoded, &frame.body));
            match sent {
                Ok(bytes) => self.setup.link.sent_bytes.add(bytes as u64),
                Err(LinkError::Wire(error)) => {
                    unsendable(&edge, frame, &error);
                    continue;
                }
                Err(LinkError::Socket(error @ SpError::TooLarge { .. })) => {
                    unsendable(&edge, frame, &error);
                    continue;
                }
                Err(error) => {
                    // The frame was not queued: it goes first after the reconnect, or is lost with the link.
                    if keeps {
                        self.retained.push_back((self.next_seq, frame));
                        self.next_seq += 1;
                        self.open += 1;
                    } else {
                        edge.lose_popped(frame, Cause::LinkDown);
                    }
                    return Err(error);
                }
            }
            if keeps {
                self.retained.push_back((self.next_seq, frame));
            }
            self.next_seq += 1;
            self.cursor = self.next_seq;
            self.open += 1;
        }
        Ok(())
    }

    /// Everything has its outcome: tells the receiver that it may leave, and ends.
    fn finish(&mut self, now_ns: i64, ctx: &mut Context<Self>) {
        // On an at-most-once edge the receiver may have called numbers done that had no outcome there either.
        self.close(Outcome::Dropped(Cause::Gap), self.open);
        let (route, epoch) = (self.setup.route, self.epoch);
        if let Link::Up(conn) = &mut self.link {
            // The receiver also leaves by itself after a while, so a goodbye that cannot be queued is no loss.
            let _ = conn.control(Kind::Goodbye, route, epoch, &EMPTY);
            flush(self, epoch.into(), now_ns, ctx);
        }
        self.end(ctx);
    }

    fn abandon(&mut self, ctx: &mut Context<Self>) {
        self.close(Outcome::Dropped(Cause::Shutdown), self.open);
        self.setup.edge.abandon();
        self.end(ctx);
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        self.ended = true;
        self.retained.clear();
        if let Link::Up(conn) | Link::Leaving(conn, _) | Link::Greeting(conn) =
            std::mem::replace(&mut self.link, Link::Dialing)
        {
            conn.close(ctx);
        }
        self.setup.link.up.set(0);
        self.setup.control.ended(&self.setup.edge.name);
        ctx.stop();
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let now_ns = self.now_ns();
        let (route, epoch) = (self.setup.route, self.epoch);
        let leaving = matches!(self.link, Link::Leaving(..));
        let (Link::Up(conn) | Link::Leaving(conn, _) | Link::Greeting(conn)) = &mut self.link
        else {
            return;
        };
        let result = match conn.pulse(now_ns) {
            Pulse::Fine => Ok(false),
            Pulse::Speak if leaving => Ok(false),
            Pulse::Speak => conn.control(Kind::Heartbeat, route, epoch, &EMPTY),
            Pulse::Dead => Err(LinkError::Silent),
        };
        match result {
            Ok(_) => flush(self, epoch.into(), now_ns, ctx),
            Err(error) => self.lost(&error, ctx),
        }
    }
}

fn unsendable(edge: &Edge, frame: AnyFrame, error: &dyn std::fmt::Display) {
    tracing::error!(edge = %edge.name, origin = ?frame.head.origin, %error, "frame dropped: it cannot be written to the wire");
    edge.lose_popped(frame, Cause::Decode);
}

impl Owner for BridgeSender {
    fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        match &mut self.link {
            Link::Up(conn) | Link::Leaving(conn, _) | Link::Greeting(conn) if conn.id == id => {
                Some(conn)
            }
            _ => None,
        }
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
                .and_then(|wire| self.receive(&wire)),
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
