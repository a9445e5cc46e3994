//! One lane of an edge: the queue of one worker of the consumer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::doorbell::Doorbell;
use heqis_core::AnyFrame;
use heqis_core::{Ending, Key, Policy};

pub(super) struct Lane {
    pub(super) capacity: usize,
    pub(super) state: Mutex<LaneState>,
    /// Signalled for a consumer thread that waits in [`Edge::wait_for_more`].
    pub(super) more: Condvar,
    pub(super) consumer: OnceLock<Arc<Doorbell>>,
}

pub(super) struct LaneState {
    pub(super) queue: Queue,
    /// A producer was turned away and is woken when there is room.
    pub(super) producer_waits: bool,
    /// The consumer's thread waits on the condition variable.
    pub(super) consumer_waits: bool,
    /// The consumer gets nothing, so that the state of the node can be saved.
    pub(super) held: bool,
    /// Every producer has ended.
    pub(super) ended: Option<Ending>,
    /// The consumer takes what waits and nothing more.
    pub(super) closed: bool,
}

/// First in, first out; or one slot per key in order of the keys' first arrival; or closed, because the consumer is gone.
pub(super) enum Queue {
    Fifo(VecDeque<AnyFrame>),
    Slots {
        order: VecDeque<Key>,
        frames: HashMap<Key, AnyFrame>,
    },
    Closed,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fifo(frames) => frames.len(),
            Self::Slots { order, .. } => order.len(),
            Self::Closed => 0,
        }
    }

    /// The waiting frames, next one first.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &AnyFrame> + '_> {
        match self {
            Self::Closed => Box::new(std::iter::empty()),
            Self::Fifo(frames) => Box::new(frames.iter()),
            Self::Slots { order, frames } => {
                Box::new(order.iter().filter_map(|key| frames.get(key)))
            }
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<AnyFrame> {
        match self {
            Self::Fifo(frames) => frames.pop_front(),
            Self::Slots { order, frames } => order.pop_front().and_then(|key| frames.remove(&key)),
            Self::Closed => None,
        }
    }
}

/// What a consumer finds on its lane.
pub(crate) enum Pop {
    Frame(AnyFrame),
    Empty,
    /// Empty, and no further frame will arrive.
    Ended(Ending),
}

impl Lane {
    pub(super) fn new(policy: Policy, capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::new(LaneState {
                queue: match policy {
                    Policy::Conflate => Queue::Slots {
                        order: VecDeque::new(),
                        frames: HashMap::new(),
                    },
                    _ => Queue::Fifo(VecDeque::with_capacity(capacity.min(1024))),
                },
                producer_waits: false,
                consumer_waits: false,
                held: false,
                ended: None,
                closed: false,
            }),
            more: Condvar::new(),
            consumer: OnceLock::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        // A panic while the lock is held cannot leave the queue half changed: every change is one call on it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_consumer(&self) {
        if let Some(consumer) = self.consumer.get() {
            consumer.ring();
        }
    }
}
