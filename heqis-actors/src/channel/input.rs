//! The way in: senders for the program, a queue, and the source that empties it.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{self, Poll};

use thiserror::Error;

use crate::doorbell::Doorbell;
use crate::edge::{Edge, Pop};
use heqis_core::{AnyFrame, Frame, Head};
use heqis_core::{Clock, EdgeOptions, EdgeSide, Ending, Metrics, Origin, Payload, block_on};

/// A channel into a graph with room for `capacity` payloads, at least 1: senders for the program, and the source that
/// [`GraphBuilder::input`](crate::GraphBuilder::input) adds. A sender waits while the channel is full.
///
/// ```
/// use std::time::Duration;
///
/// use heqis_actors::{Frame, GraphBuilder, Payload, channel, channel_out};
///
/// #[derive(Payload)]
/// struct Price(f64);
///
/// let (prices, source) = channel::<Price>(16);
/// let (sink, doubled) = channel_out::<Price>();
/// let graph = GraphBuilder::new("doubles")
///     .input("prices", source)
///     .map("double", |price: &Frame<Price>| Price(price.0 * 2.0))
///     .output("doubled", sink)
///     .chain(&["prices", "double", "doubled"]);
///
/// let program = std::thread::spawn(move || {
///     for price in [1.0, 2.0] {
///         prices.send(Price(price)).expect("the graph runs");
///     }
///     // Dropping the last sender ends the source, and the graph with it.
///     drop(prices);
///     doubled.into_iter().map(|price| price.0).collect::<Vec<_>>()
/// });
/// let report = graph.run(Duration::from_secs(1))?;
/// assert!(report.is_clean());
/// assert_eq!(program.join().ok(), Some(vec![2.0, 4.0]));
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
#[must_use]
pub fn channel<P: Payload>(capacity: usize) -> (Sender<P>, ChannelSource<P>) {
    channel_with(EdgeOptions::new().capacity(capacity.max(1)))
}

/// As [`channel`], with the policy and the age limit of `options`: with
/// [`Policy::Conflate`](crate::Policy::Conflate) a sender never waits, and only the newest payload of each key is kept.
#[must_use]
pub fn channel_with<P: Payload>(options: EdgeOptions) -> (Sender<P>, ChannelSource<P>) {
    let room = Doorbell::of_tasks(Arc::default());
    let early = Edge::new("", EdgeSide::Channel, options, 1, 1, &Metrics::new(""));
    early.connect(vec![room.clone()], &[]);
    let slot = Arc::new(InputSlot {
        options,
        early: Mutex::new(InputQueue {
            edge: early,
            clock: Clock::virtual_at(0),
        }),
        queue: OnceLock::new(),
        room,
        senders: AtomicUsize::new(1),
    });
    let sender = Sender {
        slot: slot.clone(),
        payload: PhantomData,
    };
    let source = ChannelSource {
        end: Arc::new(InputEnd(slot)),
        payload: PhantomData,
    };
    (sender, source)
}

/// Sends payloads into a graph, from any thread and any runtime. Clones share the channel; dropping the last one ends the
/// source once the channel is empty. The payloads of one sender keep their order.
///
/// Before the graph has started, payloads wait in the channel as afterwards. When the graph stops, the channel accepts
/// nothing more, and what it has accepted is processed within the drain limit, open windows included; the rest is in the report, in the books of the
/// edge with the source's name, as dropped for `shutdown`.
pub struct Sender<P> {
    slot: Arc<InputSlot>,
    payload: PhantomData<fn(P)>,
}

/// The graph accepts nothing more, because it has stopped or was never started. Holds the payload.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[error("the graph accepts no further payload")]
pub struct SendError<P>(pub P);

/// Why a payload was not sent at once. Holds the payload.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
pub enum TrySendError<P> {
    /// The channel is full.
    #[error("the channel is full")]
    Full(P),
    /// The graph accepts nothing more.
    #[error("the graph accepts no further payload")]
    Closed(P),
}

impl<P> std::fmt::Debug for SendError<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<P> std::fmt::Debug for TrySendError<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<P> TrySendError<P> {
    /// The payload.
    pub fn into_payload(self) -> P {
        match self {
            Self::Full(payload) | Self::Closed(payload) => payload,
        }
    }
}

impl<P: Payload> Sender<P> {
    /// Sends `payload`, and blocks the calling thread while the channel is full. On a thread of an asynchronous runtime
    /// use [`Sender::send_async`], so that the other tasks of the thread continue.
    ///
    /// # Errors
    /// [`SendError`] with the payload when the graph accepts nothing more.
    pub fn send(&self, payload: P) -> Result<(), SendError<P>> {
        match self.try_send(payload) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(payload)) => Err(SendError(payload)),
            Err(TrySendError::Full(payload)) => block_on(self.send_async(payload)),
        }
    }

    /// Sends `payload` once the channel has room. On any runtime; when the future is dropped before it is ready, the payload
    /// was not sent and is dropped with it. To keep it, wait with [`Sender::ready`] and use [`Sender::try_send`].
    ///
    /// # Errors
    /// [`SendError`] with the payload when the graph accepts nothing more.
    pub async fn send_async(&self, payload: P) -> Result<(), SendError<P>> {
        let mut frame = Some(unsent(payload));
        poll_fn(|cx| {
            for registered in [false, true] {
                let Some(unsent) = frame.take() else {
                    return Poll::Ready(Ok(()));
                };
                match self.slot.offer(unsent) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(Refused::Closed(frame)) => {
                        return Poll::Ready(Err(SendError(payload_of(frame))));
                    }
                    Err(Refused::Full(unsent)) => frame = Some(unsent),
                }
                if !registered {
                    self.slot.register(cx.waker());
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends `payload` when the channel has room now.
    ///
    /// # Errors
    /// [`TrySendError`] with the payload.
    pub fn try_send(&self, payload: P) -> Result<(), TrySendError<P>> {
        self.slot
            .offer(unsent(payload))
            .map_err(|refused| match refused {
                Refused::Full(frame) => TrySendError::Full(payload_of(frame)),
                Refused::Closed(frame) => TrySendError::Closed(payload_of(frame)),
            })
    }

    /// Completes when the channel has room or accepts nothing more. Another sender may be faster.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            for registered in [false, true] {
                if self.slot.has_room() {
                    return Poll::Ready(());
                }
                if !registered {
                    self.slot.register(cx.waker());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether the graph accepts nothing more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.slot.is_closed()
    }
}

impl<P> Clone for Sender<P> {
    fn clone(&self) -> Self {
        self.slot.senders.fetch_add(1, Ordering::Relaxed);
        Self {
            slot: self.slot.clone(),
            payload: PhantomData,
        }
    }
}

impl<P> Drop for Sender<P> {
    fn drop(&mut self) {
        if self.slot.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.slot.end();
        }
    }
}

impl<P> std::fmt::Debug for Sender<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.slot.is_closed())
            .finish_non_exhaustive()
    }
}

/// The end of a channel that becomes a source of a graph. Dropping it closes the channel.
pub struct ChannelSource<P> {
    end: Arc<InputEnd>,
    payload: PhantomData<fn() -> P>,
}

impl<P> ChannelSource<P> {
    pub(crate) fn into_end(self) -> Arc<InputEnd> {
        self.end
    }
}

/// The graph's end of a channel: closes it when it is dropped, with a graph that never starts or with the source.
pub(crate) struct InputEnd(Arc<InputSlot>);

impl Deref for InputEnd {
    type Target = InputSlot;

    fn deref(&self) -> &InputSlot {
        &self.0
    }
}

impl Drop for InputEnd {
    fn drop(&mut self) {
        self.close();
    }
}

impl<P> std::fmt::Debug for ChannelSource<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelSource(..)")
    }
}

/// What senders and source share.
pub(crate) struct InputSlot {
    pub(crate) options: EdgeOptions,
    /// The queue before the graph has started, without metrics and without time.
    early: Mutex<InputQueue>,
    queue: OnceLock<InputQueue>,
    /// Rung when there is room again.
    room: Arc<Doorbell>,
    senders: AtomicUsize,
}

/// The queue of a channel.
#[derive(Clone)]
pub(crate) struct InputQueue {
    pub(crate) edge: Arc<Edge>,
    pub(crate) clock: Clock,
}

enum Refused {
    Full(AnyFrame),
    Closed(AnyFrame),
}

impl InputSlot {
    /// Makes the queue of a graph that starts, with what was sent before. `None` for a channel that has one already.
    pub(crate) fn attach(
        &self,
        name: &str,
        metrics: &Metrics,
        clock: &Clock,
        source: Arc<Doorbell>,
    ) -> Option<Arc<Edge>> {
        let edge = Edge::new(name, EdgeSide::Channel, self.options, 1, 1, metrics);
        edge.connect(vec![self.room.clone()], &[source]);
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        for (cause, frames) in early.edge.report().dropped {
            edge.books.sent(frames);
            edge.books.dropped(cause, frames);
        }
        let queue = InputQueue {
            edge: edge.clone(),
            clock: clock.clone(),
        };
        while let Pop::Frame(frame) = early.edge.pop(0, 0) {
            // The two queues have the same room.
            let _ = queue.push(frame);
        }
        self.queue.set(queue).ok()?;
        if early.edge.producers_ended() {
            edge.end_producer(Ending::Complete);
        }
        if early.edge.is_closed() {
            edge.close();
        }
        drop(early);
        self.room.ring();
        Some(edge)
    }

    /// The queue, once the graph has started.
    pub(crate) fn queue(&self) -> Option<&InputQueue> {
        self.queue.get()
    }

    /// Calls `work` with the queue of this moment.
    fn with<T>(&self, work: impl FnOnce(&InputQueue) -> T) -> T {
        if let Some(queue) = self.queue.get() {
            return work(queue);
        }
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
        // The graph may have started in the meantime.
        work(self.queue.get().unwrap_or(&early))
    }

    fn offer(&self, frame: AnyFrame) -> Result<(), Refused> {
        self.with(|queue| queue.offer(frame))
    }

    fn has_room(&self) -> bool {
        self.with(|queue| queue.edge.has_room())
    }

    fn is_closed(&self) -> bool {
        self.with(|queue| queue.edge.is_closed())
    }

    /// Registers a task that waits for room; it must check once more afterwards.
    fn register(&self, waker: &task::Waker) {
        self.room.register(waker);
    }

    /// The last sender is gone.
    fn end(&self) {
        self.with(|queue| queue.edge.end_producer(Ending::Complete));
    }

    /// Accepts nothing more.
    pub(crate) fn close(&self) {
        self.with(|queue| queue.edge.close());
    }
}

impl InputQueue {
    fn offer(&self, frame: AnyFrame) -> Result<(), Refused> {
        self.push(frame).map_err(|frame| {
            if self.edge.is_closed() {
                Refused::Closed(frame)
            } else {
                Refused::Full(frame)
            }
        })
    }

    /// The frame is born when the channel accepts it.
    fn push(&self, mut frame: AnyFrame) -> Result<(), AnyFrame> {
        let now_ns = self.clock.now_ns();
        frame.head.born_ns = now_ns;
        frame.head.enter_ns = now_ns;
        self.edge.push(frame)
    }
}

/// A frame whose origin the source sets when it takes it.
fn unsent<P: Payload>(payload: P) -> AnyFrame {
    let nowhere = Origin {
        stream: 0,
        position: 0,
    };
    AnyFrame::new(Head::new(nowhere, payload.key(), 0), payload)
}

/// The payload of a frame that was not sent.
fn payload_of<P: Payload>(frame: AnyFrame) -> P {
    match Frame::typed(frame).map(Frame::into_payload) {
        Ok(Ok(payload)) => payload,
        Ok(Err(_)) | Err(_) => {
            unreachable!("the frame was made here around a payload of this type, and not shared")
        }
    }
}
