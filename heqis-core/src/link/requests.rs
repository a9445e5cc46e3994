//! Requests over a bridged edge: a node asks the node at the other end to change something, and learns what became of it.
//!
//! The bridge carries them next to the frames, in either direction, between two nodes that both have a [`RequestPort`] for
//! the edge; any other peer never sees one. The program reads and writes them at the port, on a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::authority::Party;
use crate::payload::PayloadError;
use crate::tracker::Ring;
use crate::wire::{WireError, WireMeta as _};
use crate::wire_meta;

/// Subject of the property by which a hello says that its node has a port.
pub const REQUESTS: &str = "requests";

/// The bit in a welcome that says so.
pub const TAKES_REQUESTS: i64 = 2;

/// Most requests and replies that wait for the program.
const ROOM: usize = 8;

/// Longest value and reason, bytes.
const MAX_TEXT: usize = 1024;

/// A node asks for a change.
#[derive(Clone, Debug, PartialEq, Eq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Request {
    /// Identity of the request among those of its node: sent again, it has the same.
    pub id: u64,
    /// What to change.
    pub subject: String,
    /// The value to set; empty only asks for the value.
    pub value: String,
    /// Whether the link has been down since the request was made.
    pub late: bool,
}

wire_meta!(Request, "request");

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Reply {
    /// The request.
    pub id: u64,
    /// Whether it was done; otherwise it was refused.
    pub done: bool,
    /// The value now.
    pub value: String,
    /// Why it was refused.
    pub reason: String,
}

wire_meta!(Reply, "reply");

/// What a link carries apart from frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From the node that asks.
    Request(Request),
    /// From the node that was asked.
    Reply(Reply),
}

impl Message {
    /// Checks the lengths of its texts.
    ///
    /// # Errors
    /// [`WireError::Payload`] with the rule.
    pub fn check(&self) -> Result<(), WireError> {
        let (payload, texts) = match self {
            Self::Request(Request { subject, value, .. }) => (Request::NAME, [subject, value]),
            Self::Reply(Reply { value, reason, .. }) => (Reply::NAME, [value, reason]),
        };
        match texts.iter().all(|text| text.len() <= MAX_TEXT) {
            true => Ok(()),
            false => Err(PayloadError::Rule {
                payload,
                rule: format!("a text has more than {MAX_TEXT} bytes"),
            }
            .into()),
        }
    }
}

/// Whether requests can cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLink {
    /// There is no connection.
    Down,
    /// The node at the other end has no port for this edge.
    Refused,
    /// They cross.
    Up,
}

/// What the program reads at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// There is another connection, or none.
    Link(RequestLink),
    /// A message has arrived.
    Message(Message),
}

/// Where the program and one half of a bridged edge exchange requests. Clones are the same port.
///
/// ```
/// use heqis_core::link::requests::{Arrival, Message, Reply, Request, RequestLink, RequestPort};
///
/// let port = RequestPort::asking();
/// let request = Request { id: 1, subject: "trading state".into(), value: "halted".into(), late: false };
/// assert!(!port.send(Message::Request(request.clone())), "there is no link yet");
/// // The bridge connects, takes the request, and brings the reply.
/// port.set_link(RequestLink::Up);
/// assert!(port.send(Message::Request(request.clone())));
/// assert_eq!(port.take_due(), Some(Message::Request(request)));
/// let reply = Reply { id: 1, done: true, value: "halted".into(), reason: String::new() };
/// port.deliver(Message::Reply(reply.clone()));
/// assert_eq!(port.next(), Some(Arrival::Link(RequestLink::Up)));
/// assert_eq!(port.next(), Some(Arrival::Message(Message::Reply(reply))));
/// port.close();
/// assert_eq!(port.next(), None);
/// ```
#[derive(Clone, Debug)]
pub struct RequestPort(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What the node at the other end may do.
    peer: Party,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether a message waits to be sent: looked at whenever the bridge has sent frames.
    is_due: AtomicBool,
}

#[derive(Debug)]
struct State {
    link: RequestLink,
    /// The program has not read the state of the link.
    link_is_news: bool,
    due: Option<Message>,
    arrived: VecDeque<Message>,
    bell: Option<Arc<dyn Ring>>,
    closed: bool,
}

impl RequestPort {
    /// A port of a node that asks.
    #[must_use]
    pub fn asking() -> Self {
        Self::new(Party::Controlled)
    }

    /// A port of a node that is asked: the node at the other end may ask.
    #[must_use]
    pub fn answering() -> Self {
        Self::new(Party::Controller)
    }

    fn new(peer: Party) -> Self {
        Self(Arc::new(Shared {
            peer,
            state: Mutex::new(State {
                link: RequestLink::Down,
                link_is_news: false,
                due: None,
                arrived: VecDeque::new(),
                bell: None,
                closed: false,
            }),
            changed: Condvar::new(),
            is_due: AtomicBool::new(false),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message, in place of one that has not left yet. Returns whether there is a link; without one it is forgotten.
    pub fn send(&self, message: Message) -> bool {
        let mut state = self.state();
        if state.link != RequestLink::Up {
            return false;
        }
        state.due = Some(message);
        self.0.is_due.store(true, Ordering::Release);
        let bell = state.bell.clone();
        drop(state);
        if let Some(bell) = bell {
            bell.ring();
        }
        true
    }

    /// Whether requests can cross now.
    #[must_use]
    pub fn link(&self) -> RequestLink {
        self.state().link
    }

    /// The next thing that happens at this port; `None` once it is closed. Blocks the calling thread.
    #[must_use]
    pub fn next(&self) -> Option<Arrival> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if std::mem::take(&mut state.link_is_news) {
                return Some(Arrival::Link(state.link));
            }
            if let Some(message) = state.arrived.pop_front() {
                return Some(Arrival::Message(message));
            }
            let woken = self.0.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends [`RequestPort::next`].
    pub fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_all();
    }

    /// What the node at the other end may do, apart from what its end of the edge may.
    #[must_use]
    pub fn peer(&self) -> Party {
        self.0.peer
    }

    /// Sets what is rung when a message waits to be sent.
    pub fn attach(&self, bell: Arc<dyn Ring>) {
        self.state().bell = Some(bell);
    }

    /// The bridge has another connection, or none. What waits to be sent is forgotten: it belonged to the one before.
    pub fn set_link(&self, link: RequestLink) {
        let mut state = self.state();
        if (state.link, link) == (RequestLink::Down, RequestLink::Down) {
            return;
        }
        (state.link, state.link_is_news) = (link, true);
        state.due = None;
        state.arrived.clear();
        self.0.is_due.store(false, Ordering::Release);
        drop(state);
        self.0.changed.notify_all();
    }

    /// What the bridge is to send.
    #[must_use]
    pub fn take_due(&self) -> Option<Message> {
        if !self.0.is_due.load(Ordering::Acquire) {
            return None;
        }
        self.0.is_due.store(false, Ordering::Release);
        self.state().due.take()
    }

    /// Takes back what could not be sent yet, unless something newer waits.
    pub fn put_back(&self, message: Message) {
        let mut state = self.state();
        if state.due.is_none() && state.link == RequestLink::Up {
            state.due = Some(message);
            self.0.is_due.store(true, Ordering::Release);
        }
    }

    /// The bridge has received a message. Returns whether there is room for it; a node that asks again and again without
    /// waiting for replies exceeds it.
    pub fn deliver(&self, message: Message) -> bool {
        let mut state = self.state();
        if state.arrived.len() >= ROOM {
            return false;
        }
        state.arrived.push_back(message);
        drop(state);
        self.0.changed.notify_all();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u64) -> Message {
        Message::Request(Request {
            id,
            subject: "s".into(),
            value: "v".into(),
            late: false,
        })
    }

    #[test]
    fn only_the_newest_waits_and_none_outlives_its_link() {
        let port = RequestPort::asking();
        port.set_link(RequestLink::Up);
        assert!(port.send(request(1)) && port.send(request(2)));
        let taken = port.take_due();
        assert_eq!(taken, Some(request(2)));
        assert_eq!(port.take_due(), None);
        port.put_back(request(2));
        port.set_link(RequestLink::Down);
        port.set_link(RequestLink::Up);
        assert_eq!(port.take_due(), None);
        assert_eq!(port.next(), Some(Arrival::Link(RequestLink::Up)));
    }

    #[test]
    fn a_peer_that_does_not_wait_for_replies_is_not_kept_for_ever() {
        let port = RequestPort::answering();
        let taken = (0..100).filter(|id| port.deliver(request(*id))).count();
        assert_eq!(taken, ROOM);
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let long = "x".repeat(MAX_TEXT + 1);
        let reply = Reply {
            id: 1,
            done: true,
            value: String::new(),
            reason: long,
        };
        assert!(Message::Reply(reply).check().is_err());
        assert!(request(1).check().is_ok());
    }
}
