//! Where an actor's frames come from.

use std::sync::Arc;

use crate::edge::Edge;
use heqis_core::Ending;

/// One lane of an incoming edge.
pub(crate) struct Inlet {
    pub(crate) edge: Arc<Edge>,
    /// Index of the input port that it leads to.
    pub(crate) port: usize,
    pub(crate) lane: usize,
    pub(crate) ended: Option<Ending>,
}

impl Inlet {
    /// How all of `inlets` together have ended; `None` while one of them has not.
    pub(crate) fn ending(inlets: &[Self]) -> Option<Ending> {
        inlets
            .iter()
            .try_fold(Ending::Complete, |all, inlet| Some(all.and(inlet.ended?)))
    }
}
