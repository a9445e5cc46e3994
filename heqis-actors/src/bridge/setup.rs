//! What one half of a bridged edge is made of, and what both halves say of their link.

use std::sync::Arc;

use super::conn::LinkError;
use crate::clock::Clock;
use crate::commit::Committed;
use crate::control::{Control, Progress};
use crate::doorbell::Doorbell;
use crate::edge::Edge;
use crate::events::Event;
use crate::frame::PayloadType;
use crate::metrics::LinkMetrics;
use crate::options::{BridgeOptions, LinkPeer};
use crate::sp::Inproc;

/// What one half of a bridged edge is made of.
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
    /// What the arbiter of the bridges counts.
    pub(crate) progress: Progress,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) link: LinkMetrics,
    /// Identity of this process's half; another process has another one.
    pub(crate) instance: u64,
    /// Name of this node.
    pub(crate) node: String,
    /// The other end, as the topology has it.
    pub(crate) peer: LinkPeer,
    pub(crate) committed: Committed,
}

impl BridgeSetup {
    /// The node at the other end, for messages.
    pub(super) fn peer_name(&self) -> String {
        match self.peer.node.as_str() {
            "" => "the other node".into(),
            name => format!("node '{name}'"),
        }
    }

    /// States why there is no connection, in the log too when `log` is set.
    pub(super) fn link_waits(&self, reason: String, log: bool) {
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

    /// A peer did what it may not, or could not be understood. Limited: a peer can cause it without end.
    pub(super) fn reject(&self, peer: &str, error: &LinkError) {
        if let Some(cause) = error.cause() {
            self.link.reject(cause);
            let edge = self.edge.name.to_string();
            self.control
                .publish_limited("rejected", &self.edge.name, |left_out| {
                    Event::PeerRejected {
                        edge,
                        reason: format!("{peer}: {error}"),
                        left_out,
                    }
                });
        }
    }

    /// The connection that carried the edge is gone.
    pub(super) fn link_down(&self, reason: &LinkError) {
        self.link.up.set(0);
        self.link.set_clock(None);
        let edge = self.edge.name.to_string();
        let reason = reason.to_string();
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
