//! What one half of a bridged edge is built from, and how both halves report the state of their link.

use std::sync::Arc;

use actix::Recipient;

use super::conn::LinkError;
use crate::control::{Control, Life, Progress};
use crate::doorbell::{Doorbell, Wake};
use crate::edge::Edge;
use heqis_base::text::shortened;
use heqis_core::Committed;
use heqis_core::link::authority::{Action, Denial, Grants, Party};
use heqis_core::link::requests::{Message, RequestLink, TAKES_REQUESTS};
use heqis_core::wire::{MessageKind, WireFrame};
use heqis_core::{
    BridgeOptions, Clock, Event, LinkMetrics, LinkPeer, Recorded, StageError, TwoWays,
};
use heqis_core::{Head, PayloadType};
use heqis_sp::{Inproc, SpError};

/// What is kept of a reason, characters: it may repeat what a peer has sent.
const MAX_REASON: usize = 512;

/// What one half of a bridged edge is built from.
pub(crate) struct BridgeSetup {
    /// The local queue: frames to be sent, or frames received.
    pub(crate) edge: Arc<Edge>,
    /// Index of the edge in the topology.
    pub(crate) route: u32,
    /// What the edge carries.
    pub(crate) payload: PayloadType,
    pub(crate) options: BridgeOptions,
    pub(crate) inproc: Inproc,
    pub(crate) clock: Clock,
    pub(crate) control: Control,
    pub(crate) life: Life,
    /// Progress of the arbiter of the bridges.
    pub(crate) progress: Progress,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) link: LinkMetrics,
    /// Identity of this process's half, different in every process.
    pub(crate) instance: u64,
    /// Name of this node.
    pub(crate) node: String,
    /// The other end of the edge according to the topology.
    pub(crate) peer: LinkPeer,
    pub(crate) committed: Committed,
    /// Most frames without an acknowledgement.
    pub(crate) window: usize,
    /// Whether the node recognises repeated frames only by the end of what it has acknowledged: it has no commit log.
    pub(crate) whole: bool,
    /// Where several bridged edges lead to the commit log of the node, and this is one of them.
    pub(crate) ways: Option<Arc<TwoWays>>,
    /// Names of all stages of the graph, by index.
    pub(crate) stages: Arc<[String]>,
}

impl BridgeSetup {
    /// The node at the other end, for log messages.
    pub(super) fn peer_name(&self) -> String {
        match self.peer.node.as_str() {
            "" => "the other node".into(),
            name => format!("node '{name}'"),
        }
    }

    /// Connects the doorbell with this half, which is also woken by what the program asks.
    pub(super) fn attach_bell(&self, half: Recipient<Wake>) {
        self.bell.attach(half);
        if let Some(port) = &self.peer.requests {
            port.attach(self.bell.clone());
        }
    }

    /// The error of a half that cannot be built.
    pub(super) fn unusable(&self, error: &SpError) -> StageError {
        StageError::Config(format!("edge '{}': {error}", self.edge.name))
    }

    /// Reports why there is no connection, in the log as well when `log` is set.
    pub(super) fn link_waits(&self, reason: &str, log: bool) {
        let reason = shortened(reason, MAX_REASON);
        let peer = self.peer_name();
        self.edge.set_waits(Some(format!("{peer}: {reason}")));
        if log {
            let edge = self.edge.name.to_string();
            self.control
                .publish_limited("link_waits", &self.edge.name, |_| Event::LinkWaits {
                    edge,
                    peer,
                    reason,
                });
        }
    }

    /// Reports a peer that broke the protocol. The events are limited, because a peer can cause any number of them.
    pub(super) fn reject(&self, peer: &str, error: &LinkError) {
        if let Some(cause) = error.cause() {
            self.link.reject(cause);
            let edge = self.edge.name.to_string();
            // By cause, so that a flood of one kind hides no other.
            self.control
                .publish_limited(cause, &self.edge.name, |left_out| Event::PeerRejected {
                    edge,
                    peer: shortened(peer, MAX_REASON),
                    action: error.action(),
                    cause,
                    reason: shortened(&format!("{peer}: {error}"), MAX_REASON),
                    left_out,
                });
        }
    }

    /// What the peer at the other end, `end`, may do.
    pub(super) fn grants(&self, end: Party) -> Grants {
        let grants = Grants::of(end);
        let requests = self.peer.requests.as_ref();
        requests.map_or(grants, |port| grants.and(port.peer()))
    }

    /// Checks that a peer with `grants` may send a message of this kind.
    pub(super) fn allow(&self, grants: Grants, kind: MessageKind) -> Result<(), LinkError> {
        let action = Action::of(kind);
        match grants.allow(action) {
            true => Ok(()),
            false => Err(LinkError::Denied {
                denial: Denial::NotAllowed,
                action,
                reason: format!(
                    "may not {} on edge '{}' ({kind:?}): only {} may",
                    action.name(),
                    self.edge.name,
                    action.party().about().0
                ),
            }),
        }
    }

    /// What a welcome says that this node takes: merged frames, and requests where `asked`.
    pub(super) fn welcome_flags(&self, asked: bool) -> i64 {
        let requests = asked && self.peer.requests.is_some();
        1 | if requests { TAKES_REQUESTS } else { 0 }
    }

    /// Reports to the program whether requests can cross.
    pub(super) fn set_request_link(&self, link: RequestLink) {
        if let Some(port) = &self.peer.requests {
            port.set_link(link);
        }
    }

    /// There is a connection, whose peer exchanges requests or does not.
    pub(super) fn requests_cross(&self, peer_takes: bool) {
        self.set_request_link(match peer_takes {
            true => RequestLink::Up,
            false => RequestLink::Refused,
        });
    }

    /// Passes a request or a reply on to the program.
    pub(super) fn take_request(&self, wire: &WireFrame) -> Result<(), LinkError> {
        let message = match wire.header.kind {
            MessageKind::Request => Message::Request(wire.read()?),
            _ => Message::Reply(wire.read()?),
        };
        message.check()?;
        let port = self.peer.requests.as_ref();
        match port.is_none_or(|port| port.deliver(message)) {
            true => Ok(()),
            false => Err(LinkError::Protocol("does not wait for replies".into())),
        }
    }

    /// Reports a connection that carries the edge, after an outage since `down_since_ns` if there was one.
    pub(super) fn link_up(&self, down_since_ns: Option<i64>, now_ns: i64) {
        self.edge.set_waits(None);
        self.link.up.set(1);
        self.link.connects.inc();
        if let Some(since_ns) = down_since_ns {
            self.link.outage.observe_ns(now_ns - since_ns);
        }
        let edge = self.edge.name.to_string();
        self.control.publish(Event::LinkUp { edge });
    }

    /// Whether an earlier process has recorded what the frame with this head completes.
    pub(super) fn is_recorded_before(&self, head: &Head) -> bool {
        self.committed.recorded(head) == Recorded::Before
    }

    /// Reports a frame of which other frames have completed a part.
    pub(super) fn report_overlap(&self, reason: String) {
        self.link.overlaps.inc();
        self.edge.overlaps();
        self.control.frames_overlap(&self.edge.name, reason);
    }

    /// Reports a frame that was dropped, because a peer or a payload does not do what its type says.
    pub(super) fn unreadable(&self, reason: impl FnOnce() -> String) {
        self.control
            .publish_limited("unreadable", &self.edge.name, |left_out| {
                Event::FrameUnreadable {
                    edge: self.edge.name.to_string(),
                    reason: reason(),
                    left_out,
                }
            });
    }

    /// Reports that a complete stream waits for the program, which holds frames of it.
    pub(super) fn report_held(&self, held: u64) {
        let reason = format!("the program holds {held} frames that it has received");
        if self.edge.full().is_none() {
            tracing::warn!(edge = %self.edge.name, reason, "the node ends when they are dropped");
        }
        self.edge.set_full(Some(reason));
    }

    /// Reports that this half has ended.
    pub(super) fn link_ended(&self) {
        self.edge.set_waits(None);
        self.edge.set_full(None);
        self.link.up.set(0);
        self.link.set_clock(None);
        self.set_request_link(RequestLink::Down);
    }

    /// Reports that the connection that carried the edge is lost.
    pub(super) fn link_down(&self, reason: &LinkError) {
        self.link.up.set(0);
        self.link.set_clock(None);
        self.set_request_link(RequestLink::Down);
        let edge = self.edge.name.to_string();
        let reason = shortened(&reason.to_string(), MAX_REASON);
        self.edge
            .set_waits(Some(format!("{}: {reason}", self.peer_name())));
        self.control
            .publish_limited("link_down", &self.edge.name, |left_out| Event::LinkDown {
                edge,
                reason,
                left_out,
            });
    }
}
