//! The way out: an output of the graph, and the receiver that takes frames from its edges.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;

use crate::doorbell::{Doorbell, Tasks};
use crate::edge::{Edge, Pop};
use heqis_core::{AnyFrame, Frame, Ticket};
use heqis_core::{Clock, Ending, FrameOutcome, Payload, StageStats, block_on, block_on_for};

/// A way out of a graph: the sink that [`GraphBuilder::output`](crate::GraphBuilder::output) adds, and the receiver for the
/// program.
///
/// The frames wait on the edges to the sink, whose capacity and policy are those of any edge: with `block` a receiver that
/// takes nothing stops the graph, with `latest` it finds the newest frame.
///
/// ```
/// use std::time::Duration;
///
/// use heqis_actors::{GraphBuilder, Payload, channel_out};
///
/// #[derive(Payload)]
/// struct Count(u64);
///
/// let (sink, counts) = channel_out::<Count>();
/// let graph = GraphBuilder::new("counts")
///     .source_iter("count", (1..=3).map(Count))
///     .output("counts", sink)
///     .chain(&["count", "counts"]);
/// let running = graph.spawn()?;
/// assert_eq!(counts.into_iter().map(|count| count.0).sum::<u64>(), 6);
/// assert!(running.wait_blocking().is_clean());
/// # Ok::<(), heqis_actors::GraphError>(())
/// ```
#[must_use]
pub fn channel_out<P: Payload>() -> (ChannelSink<P>, Receiver<P>) {
    let slot = Arc::<OutputSlot>::default();
    let receiver = Receiver {
        slot: slot.clone(),
        next: 0,
        payload: PhantomData,
    };
    let sink = ChannelSink {
        end: Arc::new(OutputEnd(slot)),
        payload: PhantomData,
    };
    (sink, receiver)
}

/// The end of a way out that becomes a sink of a graph.
pub struct ChannelSink<P> {
    end: Arc<OutputEnd>,
    payload: PhantomData<fn(P)>,
}

impl<P> ChannelSink<P> {
    pub(crate) fn into_end(self) -> Arc<OutputEnd> {
        self.end
    }
}

/// The graph's end of a way out: ends it when it is dropped, with a graph that never starts or with its actor.
pub(crate) struct OutputEnd(Arc<OutputSlot>);

impl Deref for OutputEnd {
    type Target = OutputSlot;

    fn deref(&self) -> &OutputSlot {
        &self.0
    }
}

impl Drop for OutputEnd {
    fn drop(&mut self) {
        self.end(Ending::Left);
    }
}

impl<P> std::fmt::Debug for ChannelSink<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelSink(..)")
    }
}

/// Takes the frames that come out of a graph: on a thread, as an iterator, or on any asynchronous runtime, as a stream.
///
/// A frame is delivered in the books when it is taken, and acknowledged to the node that sent it when the program drops it, so
/// that a frame whose effect could still be lost is sent again after a crash. A node that other nodes feed therefore does not
/// end while the program holds frames of them, unless it is stopped, and its report says how many: drop the frames before
/// [`GraphHandle::wait`](crate::GraphHandle::wait).
///
/// Dropping the receiver stops the graph as [`GraphHandle::stop`](crate::GraphHandle::stop) does: sources end, other outputs
/// are served until they are empty, and the frames that reach this one are dropped, cause `shutdown`, so that a node in front
/// of this one keeps them.
pub struct Receiver<P> {
    slot: Arc<OutputSlot>,
    /// The edge from which the next frame is taken first.
    next: usize,
    payload: PhantomData<fn() -> P>,
}

/// Why there is no frame now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TryRecvError {
    /// No frame waits.
    #[error("no frame waits")]
    Empty,
    /// Every frame was taken, and no further one will arrive.
    #[error("the graph has ended")]
    Ended,
}

impl<P: Payload> Receiver<P> {
    /// The next frame; blocks the calling thread until there is one. `None` once the graph has ended and every frame was
    /// taken.
    pub fn recv(&mut self) -> Option<Frame<P>> {
        block_on(poll_fn(|cx| self.poll_recv(cx)))
    }

    /// As [`Receiver::recv`], for at most `timeout`.
    ///
    /// # Errors
    /// [`TryRecvError`] when there was no frame.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Frame<P>, TryRecvError> {
        match block_on_for(poll_fn(|cx| self.poll_recv(cx)), Some(timeout)) {
            Some(Some(frame)) => Ok(frame),
            Some(None) => Err(TryRecvError::Ended),
            None => Err(TryRecvError::Empty),
        }
    }

    /// The next frame, as [`Receiver::recv`], on any runtime. A dropped future has taken no frame.
    pub async fn recv_async(&mut self) -> Option<Frame<P>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next frame when one waits.
    ///
    /// # Errors
    /// [`TryRecvError`] when no frame waits.
    pub fn try_recv(&mut self) -> Result<Frame<P>, TryRecvError> {
        let slot = &self.slot;
        // Read before the edges: what was on them when the output ended is dropped, and nothing is added afterwards.
        let ended = slot.has_ended();
        let Some(link) = slot.link.get() else {
            return Err(if ended {
                TryRecvError::Ended
            } else {
                TryRecvError::Empty
            });
        };
        let frame = link.take(&mut self.next);
        match frame {
            Some(frame) => {
                // Only a graph whose check was left out carries another type: the frame is booked, and the program continues.
                Frame::typed(frame).map_err(|_| TryRecvError::Empty)
            }
            None if ended || link.is_empty_for_good() => Err(TryRecvError::Ended),
            None => Err(TryRecvError::Empty),
        }
    }

    /// How the stream of frames has ended, once it has: [`Ending::Complete`] when every source has, [`Ending::Left`] when
    /// the graph was stopped or has failed.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        let of_edges = || self.slot.link.get()?.ending();
        self.slot.ending().or_else(of_edges)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<P>>> {
        for registered in [false, true] {
            match self.try_recv() {
                Ok(frame) => return Poll::Ready(Some(frame)),
                Err(TryRecvError::Ended) => return Poll::Ready(None),
                Err(TryRecvError::Empty) if registered => {}
                Err(TryRecvError::Empty) => self.slot.register(cx.waker()),
            }
        }
        Poll::Pending
    }
}

impl<P: Payload> Stream for Receiver<P> {
    type Item = Frame<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame<P>>> {
        self.poll_recv(cx)
    }
}

impl<P: Payload> IntoIterator for Receiver<P> {
    type Item = Frame<P>;
    type IntoIter = IntoIter<P>;

    fn into_iter(self) -> IntoIter<P> {
        IntoIter(self)
    }
}

/// The frames of a [`Receiver`]; waits for each on the calling thread.
#[derive(Debug)]
pub struct IntoIter<P>(Receiver<P>);

impl<P: Payload> Iterator for IntoIter<P> {
    type Item = Frame<P>;

    fn next(&mut self) -> Option<Frame<P>> {
        self.0.recv()
    }
}

impl<P> Drop for Receiver<P> {
    fn drop(&mut self) {
        self.slot.abandoned.store(true, Ordering::Release);
        if let Some(link) = self.slot.link.get() {
            link.actor.ring();
        }
    }
}

impl<P> std::fmt::Debug for Receiver<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("ended", &self.slot.has_ended())
            .finish_non_exhaustive()
    }
}

/// What an output and its receiver share.
#[derive(Default)]
pub(crate) struct OutputSlot {
    link: OnceLock<Arc<OutputLink>>,
    tasks: Arc<Tasks>,
    /// The receiver is gone.
    abandoned: AtomicBool,
    ending: OnceLock<Ending>,
}

/// The edges of a started output.
pub(crate) struct OutputLink {
    pub(crate) edges: Vec<Arc<Edge>>,
    pub(crate) clock: Clock,
    pub(crate) stats: StageStats,
    /// Rung by the edges when a frame waits.
    pub(crate) bell: Arc<Doorbell>,
    /// The doorbell of the output's actor.
    pub(crate) actor: Arc<Doorbell>,
    /// Frames of other nodes that programs have taken out of the graph and not dropped.
    pub(crate) held: Arc<AtomicU64>,
}

impl OutputSlot {
    /// Connects the edges of a graph that starts. Returns whether the slot had none.
    pub(crate) fn attach(&self, link: Arc<OutputLink>) -> bool {
        link.bell.attach_tasks(self.tasks.clone());
        let attached = self.link.set(link).is_ok();
        self.tasks.wake();
        attached
    }

    /// Whether the receiver is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Registers a waiter for the next frame; it must check once more afterwards.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.tasks.register(waker);
        if let Some(link) = self.link.get() {
            link.bell.answer();
        }
    }

    /// No further frame arrives.
    pub(crate) fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.tasks.wake();
    }

    fn has_ended(&self) -> bool {
        self.ending.get().is_some()
    }

    fn ending(&self) -> Option<Ending> {
        self.ending.get().copied()
    }
}

impl OutputLink {
    /// Takes one frame from the edges in turn.
    fn take(&self, next: &mut usize) -> Option<AnyFrame> {
        let count = self.edges.len();
        for offset in 0..count {
            let index = (*next + offset) % count;
            let edge = &self.edges[index];
            while let Pop::Frame(mut frame) = edge.pop(0, self.clock.now_ns()) {
                edge.done(FrameOutcome::Delivered, 1);
                if edge.producers_ended() && self.is_empty_for_good() {
                    self.actor.ring();
                }
                // A warm-up item fills the state of stages and leaves no node.
                if !frame.head.warm_up {
                    let (enter_ns, born_ns) = (frame.head.enter_ns, frame.head.born_ns);
                    self.stats.processed(0, enter_ns - born_ns);
                    if let Some(ticket) = frame.head.ticket.take() {
                        frame.head.ticket = Some(Ticket::outside(ticket, self.held.clone()));
                    }
                    *next = (index + 1) % count;
                    return Some(frame);
                }
            }
        }
        None
    }

    /// Whether every producer has ended and every frame was taken.
    pub(crate) fn is_empty_for_good(&self) -> bool {
        self.ending().is_some()
    }

    /// How the edges have ended, once they are empty.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.edges
            .iter()
            .try_fold(Ending::Complete, |all, edge| Some(all.and(edge.ending()?)))
    }
}
