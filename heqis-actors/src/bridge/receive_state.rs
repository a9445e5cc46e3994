//! What has arrived on the receiving half of an edge: from which sender, up to which number, and what became of it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::conn::LinkError;
use super::dedup_log::{Known, Memory, Place};
use super::messages::{Ack, Have, Hello, MAX_HAVE, MAX_SEQ, Welcome, decode_frame};
use super::setup::BridgeSetup;
use crate::commit::Committed;
use crate::control::Control;
use crate::doorbell::Doorbell;
use crate::edge::Edge;
use crate::frame::PayloadType;
use crate::options::Delivery;
use crate::outcome::Ending;
use crate::outcome::{DropCause, Outcome};
use crate::ticket::{Ticket, Tracker};
use crate::wire::WireFrame;

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

/// The numbers and frames of one receiving half.
pub(super) struct Intake {
    edge: Arc<Edge>,
    payload: PayloadType,
    /// Most frames that wait for the stage.
    credit: u64,
    /// Whether copies are known again: the edge is at-least-once.
    keeps: bool,
    bell: Arc<Doorbell>,
    control: Control,
    /// Identity of this process's half.
    instance: u64,
    committed: Committed,
    session: Option<Session>,
    sessions: u64,
    /// What was received over the life of this process, to recognise what a restarted sender repeats.
    memory: Memory,
    /// The sender's last number, once it has said so.
    last_seq: Option<u64>,
    /// This node takes no further frames.
    closed: bool,
    edge_ended: bool,
}

impl Intake {
    pub(super) fn new(setup: &BridgeSetup) -> Self {
        Self {
            edge: setup.edge.clone(),
            payload: setup.payload,
            credit: setup.options.credit as u64,
            keeps: setup.options.delivery == Delivery::AtLeastOnce,
            bell: setup.bell.clone(),
            control: setup.control.clone(),
            instance: setup.instance,
            committed: setup.committed.clone(),
            session: None,
            sessions: 0,
            memory: Memory::default(),
            last_seq: None,
            closed: false,
            edge_ended: false,
        }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Begins to take what this sender sends, or goes on with it.
    pub(super) fn welcome(&mut self, hello: &Hello) -> Welcome {
        let known = self
            .session
            .take_if(|session| session.sender == hello.instance);
        let is_known = known.is_some();
        if !is_known {
            // A successor says for itself where its stream ends.
            self.last_seq = None;
        }
        let mut session = known.unwrap_or_else(|| {
            self.sessions += 1;
            Session {
                sender: hello.instance,
                id: self.instance.wrapping_add(self.sessions),
                received: hello.first_seq - 1,
                given_up: 0,
                tracker: Tracker::new(
                    hello.first_seq - 1,
                    self.credit / 4,
                    self.keeps,
                    self.bell.clone(),
                ),
            }
        });
        session.given_up = hello.first_seq - 1;
        let (id, received) = (session.id, session.received);
        self.session = Some(session);
        Welcome {
            session: id,
            received,
            limit: self.limit(),
            have: if hello.at_least_once && !is_known {
                self.have()
            } else {
                Vec::new()
            },
        }
    }

    /// What need not come again: what was received and is done, and what the node's log holds.
    fn have(&self) -> Vec<Have> {
        let mut have = self.memory.have();
        // What is under way is not in the log yet.
        let logged = self.committed.runs().into_iter();
        have.extend(logged.map(|(stream, first, last)| Have {
            stream,
            part: 0,
            first,
            last,
        }));
        have.sort_by_key(|run| Reverse(run.last - run.first));
        have.truncate(MAX_HAVE);
        have
    }

    /// The sender may send up to here: what the stage has taken, plus the credit.
    fn limit(&self) -> u64 {
        let reached = self
            .session
            .as_ref()
            .map_or(0, |session| session.received.max(session.given_up));
        if self.closed {
            return reached;
        }
        // The queue may still hold frames of an earlier session, which this session's numbers do not count.
        reached + self.credit.saturating_sub(self.edge.queued() as u64)
    }

    /// Takes a data frame.
    pub(super) fn data(&mut self, wire: &WireFrame) -> Result<(), LinkError> {
        let seq = wire.header.seq;
        let (credit, queued) = (self.credit, self.edge.queued() as u64);
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        if self.closed {
            // Sent before the sender had read the goodbye. Left unacknowledged, it goes to this node's successor.
            return Ok(());
        }
        if seq <= session.received {
            // Sent again although it had arrived: the number has, or will get, its one outcome.
            return Ok(());
        }
        let highest = if self.keeps {
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
        let excess = || LinkError::Protocol(format!("frame {seq} exceeds the credit of {credit}"));
        if queued >= credit {
            return Err(excess());
        }
        // An at-most-once sender has booked these as lost with the link.
        session.tracker.pass(session.received + 1, seq - 1);
        session.received = seq;
        let books = &self.edge.books;
        let mut frame = match decode_frame(wire, self.payload) {
            Ok(frame) => frame,
            Err(error) => {
                if let Some(left_out) = self.control.admit("undecodable", &self.edge.name) {
                    tracing::error!(edge = %self.edge.name, seq, %error, left_out, "frame dropped: it does not decode");
                }
                books.sent(1);
                books.dropped(DropCause::Decode, 1);
                session
                    .tracker
                    .complete(seq, Some(Outcome::Dropped(DropCause::Decode)));
                return Ok(());
            }
        };
        let ticket = Ticket::new(session.tracker.clone(), seq);
        if self.keeps {
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
        if self.edge_ended {
            return Err(LinkError::Protocol(format!(
                "frame {seq} is new, and the stream was complete"
            )));
        }
        frame.head.ticket = Some(ticket);
        if self.edge.push(frame).is_err() {
            return Err(excess());
        }
        if queued + 1 > credit / 2 {
            self.edge.request_room();
        }
        Ok(())
    }

    /// Takes the sender's word that no number above `last_seq` will come.
    pub(super) fn end(&mut self, last_seq: u64) -> Result<(), LinkError> {
        if self.closed {
            return Ok(());
        }
        let received = self.session.as_ref().map_or(0, |session| session.received);
        let most = if self.keeps { received } else { MAX_SEQ };
        if !(received..=most).contains(&last_seq) {
            return Err(LinkError::Protocol(format!(
                "ends at {last_seq}, {received} was sent"
            )));
        }
        if let Some(session) = &self.session {
            // Numbers that an at-most-once sender gave up behind the last one received.
            session.tracker.pass(received + 1, last_seq);
            session.tracker.set_eager();
        }
        self.last_seq = Some(last_seq);
        self.end_edge(Ending::Complete);
        Ok(())
    }

    /// Whether the sender has said which number is its last.
    pub(super) fn is_told_the_end(&self) -> bool {
        self.last_seq.is_some()
    }

    /// Takes nothing further: what has arrived is finished and acknowledged.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if let Some(session) = &self.session {
            session.tracker.set_eager();
        }
        self.end_edge(Ending::Left);
    }

    /// The sender leaves and waits for its outcomes: they are told as they come.
    pub(super) fn hurry(&self) {
        if let Some(session) = &self.session {
            session.tracker.set_eager();
        }
    }

    /// Drops what has arrived and is not done.
    pub(super) fn abandon(&mut self) {
        self.edge.abandon();
        self.end_edge(Ending::Left);
    }

    fn end_edge(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.edge_ended, true) {
            self.edge.end_producer(ending);
        }
    }

    /// The next acknowledgement, when there is news, or when `always`.
    pub(super) fn ack(&self, always: bool) -> Option<Ack> {
        let session = self.session.as_ref()?;
        (always || session.tracker.has_news()).then(|| {
            let (done, outcomes) = session.tracker.tell();
            Ack {
                limit: self.limit(),
                done,
                outcomes,
            }
        })
    }

    /// Whether the sender has been told everything.
    pub(super) fn is_told(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| !session.tracker.has_news())
    }

    /// Whether something has arrived and is not done.
    pub(super) fn is_waiting(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.tracker.done() < session.received)
    }

    /// Whether every number received has an outcome and no more will come.
    pub(super) fn is_settled(&self) -> bool {
        self.edge_ended
            && self.session.as_ref().is_none_or(|session| {
                let last = self.last_seq.unwrap_or(session.received);
                session.tracker.done() >= last.max(session.received)
            })
    }
}
