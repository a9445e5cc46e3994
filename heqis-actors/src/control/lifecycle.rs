//! Which actors of a graph still run, and in which order they end.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::panicking;

use tokio::sync::watch;

use super::{Control, lock};
use crate::doorbell::Doorbell;
use heqis_core::take_dropped;
use heqis_core::{Event, StageError};

/// Counts of actors.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    alive: AtomicUsize,
    /// Those of `alive` that wait for all others to end.
    finishing: AtomicUsize,
    /// Those of `alive` that wait only for the last message of another node.
    farewells: AtomicUsize,
    /// Sending halves of bridged edges that may still send a frame.
    senders: AtomicUsize,
    /// Sending halves that have not ended: they may wait for the last answer of another node.
    senders_alive: AtomicUsize,
    /// Receiving halves that are not in their farewell.
    receivers: AtomicUsize,
    /// An actor ended before its stream was known to be complete.
    incomplete: AtomicBool,
    all_ended: watch::Sender<bool>,
    /// Stages and halves of bridged edges that have ended for good, by name.
    ended: Mutex<BTreeSet<String>>,
}

/// An actor that runs. Where it is dropped before its end, because of a panic that nothing has caught or with the thread of its
/// arbiter, no frame would get further: the graph ends with a failure.
pub(crate) struct Life {
    control: Control,
    name: String,
    ended: AtomicBool,
}

impl Life {
    /// The actor has ended for good.
    pub(crate) fn end(&self) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.control.ended(&self.name);
        }
    }

    /// Reports a panic of a value that the actor's turn has dropped.
    pub(crate) fn turned(&self) {
        if let Some(reason) = take_dropped()
            && self.control.admit("dropped", &self.name).is_some()
        {
            let reason = StageError::Failed(reason);
            self.control.stage_failed(&self.name, &reason);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !*self.ended.get_mut() && (panicking() || !self.control.abandoned()) {
            let reason = "its actor has panicked, or its thread has ended";
            self.control
                .crash(format!("stage or edge '{}': {reason}", self.name));
        }
        self.end();
    }
}

impl Control {
    /// Registers an actor, of the stage or edge `name`; its doorbell is rung when the graph stops.
    pub(crate) fn enlist(&self, name: &str, bell: Arc<Doorbell>) -> Life {
        self.0.lifecycle.alive.fetch_add(1, Ordering::AcqRel);
        lock(&self.0.bells).push(bell);
        Life {
            control: self.clone(),
            name: name.to_owned(),
            ended: AtomicBool::new(false),
        }
    }

    /// Registers the sending half of a bridged edge, which calls [`Control::sender_drained`] when it sends no further frame and
    /// [`Control::sender_ended`] when it ends.
    pub(crate) fn enlist_sender(&self) {
        self.0.lifecycle.senders.fetch_add(1, Ordering::AcqRel);
        self.0
            .lifecycle
            .senders_alive
            .fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn sender_ended(&self) {
        if self
            .0
            .lifecycle
            .senders_alive
            .fetch_sub(1, Ordering::AcqRel)
            == 1
        {
            self.ring_all();
        }
    }

    /// Whether no sending half waits for the last answer of another node.
    pub(crate) fn senders_ended(&self) -> bool {
        self.0.lifecycle.senders_alive.load(Ordering::Acquire) == 0
    }

    pub(crate) fn sender_drained(&self) {
        if self.0.lifecycle.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ring_all();
        }
    }

    /// Whether no further frame leaves this node, so that no frame derived from one can come back.
    pub(crate) fn senders_drained(&self) -> bool {
        self.0.lifecycle.senders.load(Ordering::Acquire) == 0
    }

    /// An actor waits for all others to end before it finishes.
    pub(crate) fn finishing(&self) {
        self.0.lifecycle.finishing.fetch_add(1, Ordering::AcqRel);
        self.wake_finishing();
    }

    /// An actor that called [`Control::finishing`] is about to end.
    pub(crate) fn finished(&self) {
        self.0.lifecycle.finishing.fetch_sub(1, Ordering::AcqRel);
    }

    /// One half of a bridged edge waits only for the last message of the other half.
    pub(crate) fn enter_farewell(&self) {
        self.0.lifecycle.farewells.fetch_add(1, Ordering::AcqRel);
        self.wake_finishing();
    }

    /// A half that called [`Control::enter_farewell`] is about to end.
    pub(crate) fn leave_farewell(&self) {
        self.0.lifecycle.farewells.fetch_sub(1, Ordering::AcqRel);
    }

    /// Registers the receiving half of a bridged edge, which calls [`Control::receiver_done`] when it knows every outcome, or
    /// ends.
    pub(crate) fn enlist_receiver(&self) {
        self.0.lifecycle.receivers.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn receiver_done(&self) {
        self.0.lifecycle.receivers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether every stage has emitted its last frame and everything emitted is done: a frame that still has no outcome is
    /// only held by a stage.
    pub(crate) fn only_receivers_left(&self) -> bool {
        let lifecycle = &self.0.lifecycle;
        let rest = lifecycle.finishing.load(Ordering::Acquire)
            + lifecycle.farewells.load(Ordering::Acquire)
            + lifecycle.receivers.load(Ordering::Acquire);
        lifecycle.alive.load(Ordering::Acquire) == rest
    }

    /// Whether no frame can arrive again: only stages that are finishing and halves of bridged edges in their farewell are
    /// left.
    pub(crate) fn may_finish(&self) -> bool {
        let (finishing, farewells) = (&self.0.lifecycle.finishing, &self.0.lifecycle.farewells);
        self.0.lifecycle.alive.load(Ordering::Acquire)
            == finishing.load(Ordering::Acquire) + farewells.load(Ordering::Acquire)
    }

    /// Whether every stage has finished, so that receivers may send their last answer.
    pub(crate) fn may_answer(&self) -> bool {
        self.0.lifecycle.alive.load(Ordering::Acquire)
            == self.0.lifecycle.farewells.load(Ordering::Acquire)
    }

    fn wake_finishing(&self) {
        if self.may_finish() {
            self.ring_all();
        }
    }

    /// An actor ended before its stream was known to be complete: no stage of the node may finish.
    pub(crate) fn set_incomplete(&self) {
        self.0.lifecycle.incomplete.store(true, Ordering::Release);
    }

    pub(crate) fn is_incomplete(&self) -> bool {
        self.0.lifecycle.incomplete.load(Ordering::Acquire)
    }

    /// An actor has ended for good.
    fn ended(&self, stage: &str) {
        lock(&self.0.lifecycle.ended).insert(stage.to_owned());
        self.publish(Event::StageEnded {
            stage: stage.to_owned(),
        });
        if self.0.lifecycle.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.lifecycle.all_ended.send_replace(true);
        } else {
            self.wake_finishing();
        }
    }

    /// Whether an actor of this name has ended for good.
    pub(crate) fn has_ended(&self, stage: &str) -> bool {
        lock(&self.0.lifecycle.ended).contains(stage)
    }

    /// Completes when every registered actor has ended.
    pub(crate) async fn all_ended(&self) {
        if self.0.lifecycle.alive.load(Ordering::Acquire) == 0 {
            // The last actor to end would say so.
            return;
        }
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self
            .0
            .lifecycle
            .all_ended
            .subscribe()
            .wait_for(|ended| *ended)
            .await;
    }
}
