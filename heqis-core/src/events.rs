//! Lifecycle and alarm events of a graph.
//!
//! Each graph has its own; subscribers that read too slowly miss the oldest, and count them. Data must not be sent over it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::blocking::block_on;

/// Events that are kept for a subscriber that has not read them.
const ROOM: usize = 256;

/// Something that happened to a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// Publishes the events of a graph. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventBus(Arc<Mutex<Option<broadcast::Sender<Event>>>>);

impl Default for EventBus {
    /// A bus without subscribers.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(broadcast::Sender::new(ROOM)))))
    }
}

impl EventBus {
    /// Publishes to every subscriber, and to the log. Never waits.
    pub fn publish(&self, event: Event) {
        event.log();
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*sender {
            // Without a subscriber it is only logged.
            let _ = sender.send(event);
        }
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> Events {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = match &*sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        };
        Events {
            receiver,
            missed: 0,
        }
    }

    /// Publishes nothing more: subscribers come to the end.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The events of one graph, in order. It ends when the graph has ended. As an iterator it blocks the calling thread.
///
/// At most 256 events wait to be read; older ones are counted by [`Events::missed`] and lost.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    missed: u64,
}

impl Events {
    /// The next event; `None` when the graph has ended. Blocks the calling thread.
    pub fn recv(&mut self) -> Option<Event> {
        block_on(self.recv_async())
    }

    /// As [`Events::recv`], to be awaited. Cancel-safe, and works on any executor.
    pub async fn recv_async(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(events)) => self.miss(events),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Event> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(events)) => self.miss(events),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// Events that were lost because this subscriber read too slowly.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn miss(&mut self, events: u64) {
        self.missed += events;
        tracing::warn!(events, "a subscriber reads events too slowly");
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.recv()
    }
}

impl Event {
    fn log(&self) {
        match self {
            Self::StageFailed { stage, reason } => tracing::error!(%stage, %reason, "stage failed"),
            Self::StageRestarted { stage } => tracing::warn!(%stage, "stage restarted"),
            Self::FrameRefused {
                stage,
                reason,
                left_out,
            } => tracing::warn!(%stage, %reason, suppressed = left_out, "frame refused"),
            Self::LinkDown {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, suppressed = left_out, "link down"),
            Self::LinkWaits { edge, peer, reason } => {
                tracing::warn!(%edge, %peer, %reason, "link waits")
            }
            Self::PeerRejected {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, suppressed = left_out, "peer rejected"),
            Self::WindowFull {
                edge,
                reason,
                left_out,
            } => tracing::error!(%edge, %reason, suppressed = left_out, "window full"),
            Self::FramesOverlap {
                edge,
                reason,
                left_out,
            } => tracing::warn!(%edge, %reason, suppressed = left_out, "frames overlap"),
            Self::PeerStalled { peer, reason } => tracing::error!(%peer, %reason, "peer stalled"),
            Self::LinkUp { edge } => tracing::info!(%edge, "link up"),
            Self::StageEnded { stage } => tracing::debug!(%stage, "stage ended"),
            Self::BudgetOverrun { stage, age_ns } => {
                tracing::warn!(%stage, age_ns, "latency budget overrun")
            }
            Self::Ready => tracing::info!("ready"),
            Self::Stopping => tracing::info!("draining"),
        }
    }
}
