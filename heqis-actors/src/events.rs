//! Lifecycle and alarm events, published over actix-broker.
//!
//! The broker applies no back-pressure and clones an event per subscriber, so that data must not be sent over it.
//! Subscribe from an actor with [`actix_broker::BrokerSubscribe`].

use actix::prelude::*;
use actix_broker::{Broker, BrokerSubscribe as _, SystemBroker};

/// Something that happened to a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Every stage is built; frames may flow.
    Ready,
    /// A stage failed; it is rebuilt when its budget allows.
    StageFailed {
        /// The stage.
        stage: String,
        /// The error.
        reason: String,
    },
    /// A stage refused one frame, which is dropped, cause `refused`; the stage continues.
    FrameRefused {
        /// The stage.
        stage: String,
        /// Why, with the frame's origin.
        reason: String,
        /// Refusals since the last event that were not published.
        left_out: u64,
    },
    /// A failed stage was rebuilt.
    StageRestarted {
        /// The stage.
        stage: String,
    },
    /// A stage has ended: its inputs ended, or the graph stopped.
    StageEnded {
        /// The stage.
        stage: String,
    },
    /// A bridged edge has a live connection.
    LinkUp {
        /// The edge.
        edge: String,
    },
    /// A bridged edge lost its connection.
    LinkDown {
        /// The edge.
        edge: String,
        /// Why.
        reason: String,
        /// Times since the last event that were not published.
        left_out: u64,
    },
    /// A bridged edge has no connection, and the attempt to make one failed.
    LinkWaits {
        /// The edge.
        edge: String,
        /// The node at its other end, or its address where the node is not known.
        peer: String,
        /// Why, with the address.
        reason: String,
    },
    /// A peer was disconnected because of what it sent.
    PeerRejected {
        /// The edge.
        edge: String,
        /// Why.
        reason: String,
        /// Times since the last event that were not published.
        left_out: u64,
    },
    /// Frames without an acknowledgement fill the window of a bridged edge: it carries nothing further until some of them
    /// are done.
    WindowFull {
        /// The edge.
        edge: String,
        /// How many frames, and which stage holds them.
        reason: String,
        /// Times since the last event that were not published.
        left_out: u64,
    },
    /// A frame was made from items of which other frames have completed a part: a stage before the edge is not
    /// deterministic, or its state was lost. The frame is processed, so that some items count twice.
    FramesOverlap {
        /// The edge.
        edge: String,
        /// The items.
        reason: String,
        /// Frames since the last event that were not published.
        left_out: u64,
    },
    /// A node that this one watches has stalled.
    PeerStalled {
        /// The node.
        peer: String,
        /// What was observed.
        reason: String,
    },
    /// Frames were older than the latency budget of a path.
    BudgetOverrun {
        /// The path's last stage.
        stage: String,
        /// Age of the frame, nanoseconds.
        age_ns: i64,
    },
    /// The graph begins to drain.
    Stopping,
}

impl Message for Event {
    type Result = ();
}

/// Passes every event of this process's actix system to a function, for as long as the system runs.
struct Subscriber<F>(F);

impl<F: FnMut(&Event) + Unpin + 'static> Actor for Subscriber<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.subscribe_async::<SystemBroker, Event>(ctx);
    }
}

impl<F: FnMut(&Event) + Unpin + 'static> Handler<Event> for Subscriber<F> {
    type Result = ();

    fn handle(&mut self, event: Event, _: &mut Self::Context) {
        (self.0)(&event);
    }
}

/// Calls `handler` with every event that is published from now on, on this thread. Must be called inside an actix system.
pub fn subscribe(handler: impl FnMut(&Event) + Unpin + 'static) {
    Subscriber(handler).start();
}

impl Event {
    /// Publishes to every subscriber in the actix system, and to the log.
    pub fn publish(self) {
        match &self {
            Self::StageFailed { stage, reason } => tracing::error!(%stage, %reason, "stage failed"),
            Self::StageRestarted { stage } => tracing::warn!(%stage, "stage restarted"),
            Self::FrameRefused {
                stage,
                reason,
                left_out,
            } => tracing::warn!(%stage, %reason, left_out, "frame refused"),
            Self::LinkDown {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, left_out, "link down"),
            Self::LinkWaits { edge, peer, reason } => {
                tracing::warn!(%edge, %peer, %reason, "link waits")
            }
            Self::PeerRejected {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, left_out, "peer rejected"),
            Self::WindowFull {
                edge,
                reason,
                left_out,
            } => tracing::error!(%edge, %reason, left_out, "window full"),
            Self::FramesOverlap {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, left_out, "frames overlap"),
            Self::PeerStalled { peer, reason } => tracing::error!(%peer, %reason, "peer stalled"),
            Self::LinkUp { edge } => tracing::info!(%edge, "link up"),
            Self::StageEnded { stage } => tracing::debug!(%stage, "stage ended"),
            Self::BudgetOverrun { stage, age_ns } => {
                tracing::warn!(%stage, age_ns, "latency budget overrun")
            }
            Self::Ready => tracing::info!("ready"),
            Self::Stopping => tracing::info!("draining"),
        }
        if System::is_registered() {
            Broker::<SystemBroker>::issue_async(self);
        }
    }
}
