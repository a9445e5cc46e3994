//! The frames that a stage holds from one batch to the next, so that a stage that is rebuilt gets them again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::frame::AnyFrame;
use crate::ticket::Ticket;

/// A frame without its ticket, the ticket, and from which inlet it came.
type Entry = (AnyFrame, Weak<Ticket>, usize);

/// How many entries there are before those of frames that are done are looked for.
const LEAST: usize = 64;

/// The frames that one stage holds, in the order in which it got them. What a stage does not hold any longer is forgotten by and by.
#[derive(Debug, Default)]
pub struct HeldFrames {
    entries: VecDeque<Entry>,
    /// At this number of entries those of frames that are done are removed.
    full: usize,
}

/// What the windows of a stage leave to the actor around it.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<KeptState>>);

#[derive(Debug, Default)]
struct KeptState {
    /// Frames that were restored from a state; the actor adds them to its [`HeldFrames`].
    frames: Vec<AnyFrame>,
    /// By windows, in the order in which the stage builds them: up to which time they are closed, nanoseconds, now and after
    /// the last batch that was finished.
    closed_ns: Vec<(i64, i64)>,
    /// Windows built so far.
    built: usize,
}

/// Up to which time windows are closed, also for those of a stage that is rebuilt.
#[derive(Debug)]
pub struct ClosedUpTo {
    kept: Kept,
    at: usize,
    ns: i64,
}

impl ClosedUpTo {
    /// The time.
    pub fn ns(&self) -> i64 {
        self.ns
    }

    /// Notes that the windows are closed up to another time.
    pub fn set(&mut self, ns: i64) {
        if self.ns != ns {
            self.ns = ns;
            if let Some((now, _)) = self.kept.lock().closed_ns.get_mut(self.at) {
                *now = ns;
            }
        }
    }
}

impl Kept {
    /// Adds a frame that was restored, which gets a ticket.
    pub fn add(&self, frame: &mut AnyFrame) {
        frame.head.ticket = Some(Ticket::local());
        self.lock().frames.push(frame.clone());
    }

    /// Takes the frames that were restored.
    pub fn take(&self) -> Vec<AnyFrame> {
        std::mem::take(&mut self.lock().frames)
    }

    /// The stage is built for the first time.
    pub fn reset(&self) {
        *self.lock() = KeptState::default();
    }

    /// The stage is rebuilt.
    pub fn rebuild(&self) {
        self.lock().built = 0;
    }

    /// A batch is finished: what it has closed stays closed.
    pub fn commit(&self) {
        for (now, finished) in &mut self.lock().closed_ns {
            *finished = *now;
        }
    }

    /// The next windows of the stage are built.
    pub fn closed_up_to(&self) -> ClosedUpTo {
        let mut state = self.lock();
        let at = state.built;
        state.built += 1;
        if at == state.closed_ns.len() {
            state.closed_ns.push((i64::MIN, i64::MIN));
        }
        let ns = state
            .closed_ns
            .get_mut(at)
            .map_or(i64::MIN, |(now, finished)| {
                *now = *finished;
                *finished
            });
        drop(state);
        ClosedUpTo {
            kept: self.clone(),
            at,
            ns,
        }
    }

    fn lock(&self) -> MutexGuard<'_, KeptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldFrames {
    /// Adds a frame that a stage has processed, if the stage holds it, or something derived from it is still on its way.
    pub fn add(&mut self, mut frame: AnyFrame, inlet: usize) {
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
    pub fn take(&mut self) -> Vec<(AnyFrame, usize)> {
        let entries = std::mem::take(&mut self.entries).into_iter();
        let held = entries.filter_map(|(mut frame, ticket, inlet)| {
            frame.head.ticket = Some(ticket.upgrade()?);
            Some((frame, inlet))
        });
        held.collect()
    }
}

/// Whether the dropped stage alone has held the frame: nothing derived from it is on its way.
pub fn is_regained(frame: &AnyFrame) -> bool {
    let ticket = frame.head.ticket.as_ref();
    ticket.is_some_and(|ticket| Arc::strong_count(ticket) == 1)
}
