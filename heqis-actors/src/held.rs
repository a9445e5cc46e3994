//! The frames that a stage holds from one batch to the next, so that a stage that is rebuilt gets them again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use heqis_core::{AnyFrame, Ticket};

/// A frame without its ticket, the ticket, and from which inlet it came.
type Entry = (AnyFrame, Weak<Ticket>, usize);

/// How many entries there are before those of frames that are done are looked for.
const LEAST: usize = 64;

/// The frames that one stage holds, in the order in which it got them. What a stage does not hold any longer is forgotten by and by.
#[derive(Debug, Default)]
pub(crate) struct HeldFrames {
    entries: VecDeque<Entry>,
    /// At this number of entries those of frames that are done are removed.
    full: usize,
}

/// Frames that a stage restores from a state; the actor around it adds them to its [`HeldFrames`].
#[derive(Clone, Debug, Default)]
pub(crate) struct RestoredFrames(Arc<Mutex<Vec<AnyFrame>>>);

impl RestoredFrames {
    /// Adds a frame, which gets a ticket.
    pub(crate) fn add(&self, frame: &mut AnyFrame) {
        frame.head.ticket = Some(Ticket::local());
        let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push(frame.clone());
    }

    pub(crate) fn take(&self) -> Vec<AnyFrame> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl HeldFrames {
    /// Adds a frame that a stage has processed, if the stage holds it, or something derived from it is still on its way.
    pub(crate) fn add(&mut self, mut frame: AnyFrame, inlet: usize) {
        let ticket = frame.head.ticket.take();
        let Some(ticket) = ticket.filter(|ticket| Arc::strong_count(ticket) > 1) else {
            return;
        };
        if self.entries.len() >= self.full.max(LEAST) {
            self.entries
                .retain(|(_, ticket, _)| ticket.strong_count() > 0);
            self.full = self.entries.len() * 2;
        }
        self.entries
            .push_back((frame, Arc::downgrade(&ticket), inlet));
    }

    /// Takes every frame whose ticket exists, oldest first. The caller drops the stage then, and asks [`is_regained`].
    pub(crate) fn take(&mut self) -> Vec<(AnyFrame, usize)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let held = entries.filter_map(|(mut frame, ticket, inlet)| {
            frame.head.ticket = Some(ticket.upgrade()?);
            Some((frame, inlet))
        });
        held.collect()
    }
}

/// Whether the dropped stage alone has held the frame: nothing derived from it is on its way.
pub(crate) fn is_regained(frame: &AnyFrame) -> bool {
    let ticket = frame.head.ticket.as_ref();
    ticket.is_some_and(|ticket| Arc::strong_count(ticket) == 1)
}
