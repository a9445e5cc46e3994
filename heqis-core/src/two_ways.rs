//! Notices items that come to a commit log by two ways of which no node knows: each of them over an edge of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::frame::Head;
use crate::origins::Origin;

/// One of 16 positions is compared, and each of the first 16: ways that meet have almost all items in common.
const SAMPLED: u64 = 16;
/// Most positions that are remembered.
const MAX_SAMPLES: usize = 4_096;

/// By which edge sampled items came first, on a node where several bridged edges lead to the commit log.
#[derive(Debug, Default)]
pub struct TwoWays(Mutex<Samples>);

#[derive(Debug, Default)]
struct Samples {
    first: HashMap<Origin, Arc<str>>,
    order: VecDeque<Origin>,
}

impl TwoWays {
    /// Another edge over which the item of a new frame came before.
    pub fn other(&self, head: &Head, edge: &Arc<str>) -> Option<Arc<str>> {
        let origin = head.origin;
        if origin.position > SAMPLED && !origin.position.is_multiple_of(SAMPLED) {
            return None;
        }
        let samples = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = samples.first.get(&origin) {
            return (first != edge).then(|| first.clone());
        }
        if samples.order.len() >= MAX_SAMPLES
            && let Some(oldest) = samples.order.pop_front()
        {
            samples.first.remove(&oldest);
        }
        samples.first.insert(origin, edge.clone());
        samples.order.push_back(origin);
        None
    }
}
