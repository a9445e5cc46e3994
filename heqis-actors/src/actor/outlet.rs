//! Where an actor's frames leave: its outgoing edges, by broadcast or by partition.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::edge::Edge;
use crate::frame::AnyFrame;
use heqis_core::{DropCause, Ending, FrameOutcome, partition};

/// The outgoing edges of one stage.
#[derive(Default)]
pub(crate) struct Outlet {
    /// Edges that each get every frame.
    broadcast: Vec<Arc<Edge>>,
    /// Edges that share the frames by key.
    partitioned: Vec<Arc<Edge>>,
    /// Number of targets that the front frame has already reached.
    reached: usize,
    ended: bool,
}

impl Outlet {
    pub(crate) fn new(broadcast: Vec<Arc<Edge>>, partitioned: Vec<Arc<Edge>>) -> Self {
        Self {
            broadcast,
            partitioned,
            reached: 0,
            ended: false,
        }
    }

    /// Puts staged frames on the edges, in order. Returns whether all found room; otherwise the actor is woken when there
    /// is room.
    pub(crate) fn offer(&mut self, staged: &mut VecDeque<AnyFrame>) -> bool {
        while let Some(frame) = staged.pop_front() {
            if let Err(frame) = self.offer_one(frame) {
                staged.push_front(frame);
                return false;
            }
        }
        true
    }

    fn offer_one(&mut self, frame: AnyFrame) -> Result<(), AnyFrame> {
        let shared = match self.partitioned.len() {
            0 => None,
            lanes => Some(&self.partitioned[partition(frame.head().key, lanes)]),
        };
        let targets = self.broadcast.len() + usize::from(shared.is_some());
        while self.reached < targets {
            let Some(edge) = self.broadcast.get(self.reached).or(shared) else {
                break;
            };
            if self.reached + 1 == targets {
                edge.push(frame)?;
                self.reached = 0;
                return Ok(());
            }
            if edge.push(frame.clone()).is_err() {
                return Err(frame);
            }
            self.reached += 1;
        }
        // Without an edge the frame ends here: a stage may leave its output unused.
        self.reached = 0;
        Ok(())
    }

    /// Drops staged frames, because the drain timeout has passed, in the books of each edge that they did not reach.
    pub(crate) fn abandon(&mut self, staged: &mut VecDeque<AnyFrame>) {
        for frame in staged.drain(..) {
            if let Some(ticket) = &frame.head.ticket {
                ticket.set(FrameOutcome::Dropped(DropCause::Shutdown));
            }
            let shared = self
                .partitioned
                .len()
                .checked_sub(1)
                .map(|last| &self.partitioned[partition(frame.head().key, last + 1)]);
            for edge in self
                .broadcast
                .iter()
                .chain(shared)
                .skip(std::mem::take(&mut self.reached))
            {
                edge.drop_unsent(1);
            }
        }
    }

    /// Ends the output of this actor. Further calls do nothing.
    pub(crate) fn end(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            for edge in self.broadcast.iter().chain(&self.partitioned) {
                edge.end_producer(ending);
            }
        }
    }
}
