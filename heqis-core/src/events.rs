//! Lifecycle and alarm events of a graph.
//!
//! Each graph has its own; subscribers that read too slowly miss the oldest, and count them. Data must not be sent over it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

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
    /// A peer was refused, or disconnected because of what it sent.
    PeerRejected {
        /// The edge.
        edge: String,
        /// The name in its certificate with the serial number, and its address.
        peer: String,
        /// What it may not do, where that is the reason: [`Action::name`](crate::link::authority::Action::name).
        action: Option<&'static str>,
        /// The cause in the metric `heqis_link_rejected_peers_total`.
        cause: &'static str,
        /// Why.
        reason: String,
        /// Times since the last event that were not published.
        left_out: u64,
    },
    /// The state of the node is not saved, or the one that was is not restored: the node runs all the same, and after the next
    /// restart it begins without this state.
    StateLost {
        /// Why, with the path of the file.
        reason: String,
        /// Times since the last event that were not published.
        left_out: u64,
    },
    /// A frame of a bridged edge was dropped, cause `decode`: its payload cannot be written or read.
    FrameUnreadable {
        /// The edge.
        edge: String,
        /// Why, with the frame's number or origin.
        reason: String,
        /// Frames since the last event that were not published.
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
#[derive(Clone, Debug, Default)]
pub struct EventBus(Arc<Subscribers>);

/// Those who read the events; absent once the graph has ended.
#[derive(Debug)]
struct Subscribers(Mutex<Option<Vec<Weak<Mutex<Unread>>>>>);

impl Default for Subscribers {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Drop for Subscribers {
    /// A graph that never ran ends with its builder.
    fn drop(&mut self) {
        self.close();
    }
}

impl Subscribers {
    fn close(&self) {
        let subscribers = lock(&self.0).take();
        for subscriber in subscribers.unwrap_or_default() {
            let waker = subscriber.upgrade().and_then(|unread| {
                let mut unread = lock(&unread);
                unread.ended = true;
                unread.waker.take()
            });
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl EventBus {
    /// Publishes to every subscriber, and to the log. Never waits.
    pub fn publish(&self, event: Event) {
        event.log();
        let mut wakers = Vec::new();
        if let Some(subscribers) = &mut *lock(&self.0.0) {
            subscribers.retain(|subscriber| {
                let unread = subscriber.upgrade();
                if let Some(unread) = &unread {
                    wakers.extend(lock(unread).push(event.clone()));
                }
                unread.is_some()
            });
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Every event from now on.
    pub fn subscribe(&self) -> Events {
        let unread = Arc::new(Mutex::new(Unread::default()));
        match &mut *lock(&self.0.0) {
            Some(subscribers) => subscribers.push(Arc::downgrade(&unread)),
            None => lock(&unread).ended = true,
        }
        Events { unread, missed: 0 }
    }

    /// Publishes nothing more: subscribers come to the end.
    pub fn close(&self) {
        self.0.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a subscriber has not read yet.
#[derive(Debug, Default)]
struct Unread {
    events: VecDeque<Event>,
    /// Events that were dropped because there was no room.
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl Unread {
    /// Returns who waits for it.
    fn push(&mut self, event: Event) -> Option<Waker> {
        if self.events.len() == ROOM {
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event);
        self.waker.take()
    }
}

/// The events of one graph, in order. It ends when the graph has ended.
///
/// A thread reads them in a loop, which waits for each event; a task as a [`Stream`], or by [`Events::recv_async`].
///
/// At most 256 events wait to be read; older ones are counted by [`Events::missed`] and lost.
///
/// ```
/// use heqis_actors::{Event, Frame, GraphBuilder, Payload};
///
/// # #[derive(Payload)]
/// # struct Count(u64);
/// let graph = GraphBuilder::new("counts")
///     .source_iter("count", (0..3).map(Count))
///     .sink_fn("sink", |_: &Frame<Count>| ())
///     .chain(&["count", "sink"]);
/// let events = graph.events();
/// let running = graph.spawn()?;
/// let ended: Vec<String> = events
///     .into_iter()
///     .filter_map(|event| match event {
///         Event::StageEnded { stage } => Some(stage),
///         _ => None,
///     })
///     .collect();
/// assert_eq!(ended, ["count", "sink"]);
/// # running.wait_blocking();
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
#[derive(Debug)]
pub struct Events {
    unread: Arc<Mutex<Unread>>,
    missed: u64,
}

impl Events {
    /// The next event; `None` when the graph has ended. Blocks the calling thread.
    pub fn recv(&mut self) -> Option<Event> {
        block_on(self.recv_async())
    }

    /// As [`Events::recv`], to be awaited. Cancel-safe, and works on any executor.
    pub async fn recv_async(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(Some(cx))).await
    }

    /// The next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Event> {
        match self.poll(None) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    /// The events as an iterator, which blocks the calling thread until there is one.
    pub fn iter(&mut self) -> impl Iterator<Item = Event> {
        std::iter::from_fn(|| self.recv())
    }

    /// Events that were lost because this subscriber read too slowly.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn poll(&mut self, cx: Option<&mut Context<'_>>) -> Poll<Option<Event>> {
        let mut unread = lock(&self.unread);
        let missed = std::mem::take(&mut unread.missed);
        let next = match unread.events.pop_front() {
            None if !unread.ended => {
                unread.waker = cx.map(|cx| cx.waker().clone());
                Poll::Pending
            }
            event => Poll::Ready(event),
        };
        drop(unread);
        if missed > 0 {
            self.missed += missed;
            tracing::warn!(events = missed, "a subscriber reads events too slowly");
        }
        next
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(Some(cx))
    }
}

/// Waits for each event.
impl IntoIterator for Events {
    type Item = Event;
    type IntoIter = EventsIter;

    fn into_iter(self) -> EventsIter {
        EventsIter(self)
    }
}

/// The events of a graph for a thread, which waits for each of them.
#[derive(Debug)]
pub struct EventsIter(Events);

impl Iterator for EventsIter {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.0.recv()
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
                peer,
                action,
                cause,
                reason,
                left_out,
            } => {
                tracing::warn!(%edge, %peer, action, cause, %reason, suppressed = left_out, "peer rejected");
            }
            Self::StateLost { reason, left_out } => {
                tracing::warn!(%reason, suppressed = left_out, "state lost")
            }
            Self::FrameUnreadable {
                edge,
                reason,
                left_out,
            } => tracing::error!(%edge, %reason, suppressed = left_out, "frame dropped"),
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
