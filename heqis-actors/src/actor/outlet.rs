//! Where an actor's frames leave: the outgoing edges of its ports, by broadcast or by partition.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::edge::Edge;
use heqis_core::AnyFrame;
use heqis_core::{DropCause, Ending, FrameOutcome, partition};

/// The outgoing edges of one stage.
#[derive(Default)]
pub(crate) struct Outlet {
    first: Targets,
    /// Those of the ports after the first.
    others: Vec<Targets>,
    /// Number of targets that the front frame has already reached.
    reached: usize,
    ended: bool,
}

/// The edges of one port.
#[derive(Default)]
pub(crate) struct Targets {
    /// Edges that each get every frame.
    pub(crate) broadcast: Vec<Arc<Edge>>,
    /// Edges that share the frames by key.
    pub(crate) partitioned: Vec<Arc<Edge>>,
}

impl Targets {
    /// Those of the edges that share frames which the frame takes.
    fn shared(&self, frame: &AnyFrame) -> Option<&Arc<Edge>> {
        match self.partitioned.len() {
            0 => None,
            lanes => Some(&self.partitioned[partition(frame.head().key, lanes)]),
        }
    }
}

impl Outlet {
    /// The outlet of a stage whose ports have these edges.
    pub(crate) fn new(ports: impl IntoIterator<Item = Targets>) -> Self {
        let mut ports = ports.into_iter();
        Self {
            first: ports.next().unwrap_or_default(),
            others: ports.collect(),
            ..Self::default()
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
        let to = targets(&self.first, &self.others, &frame);
        let shared = to.shared(&frame);
        let targets = to.broadcast.len() + usize::from(shared.is_some());
        while self.reached < targets {
            let Some(edge) = to.broadcast.get(self.reached).or(shared) else {
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
            let to = targets(&self.first, &self.others, &frame);
            let edges = to.broadcast.iter().chain(to.shared(&frame));
            for edge in edges.skip(std::mem::take(&mut self.reached)) {
                edge.drop_unsent(1);
            }
        }
    }

    /// Ends the output of this actor. Further calls do nothing.
    pub(crate) fn end(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            for port in std::iter::once(&self.first).chain(&self.others) {
                for edge in port.broadcast.iter().chain(&port.partitioned) {
                    edge.end_producer(ending);
                }
            }
        }
    }
}

/// The edges of the port that the frame leaves by.
fn targets<'t>(first: &'t Targets, others: &'t [Targets], frame: &AnyFrame) -> &'t Targets {
    match frame.head.port {
        0 => first,
        port => others.get(usize::from(port) - 1).unwrap_or(first),
    }
}
