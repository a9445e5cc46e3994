//! Moving keys, for programs, and the ways of their frames.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::builder::{EdgeEntry, GraphBuilder, Span};
use super::handle::GraphHandle;
use super::moves::{MoveError, Request};
use heqis_core::{Key, MovedKey, TwoWays, block_on};

/// The stages at the ends of the edges within this node.
pub(super) fn local_edges(graph: &GraphBuilder) -> Vec<(String, String)> {
    let edges = graph.edges.iter();
    edges
        .filter(|edge| matches!(edge.span, Span::Local))
        .map(|edge| (edge.stages().0.to_owned(), edge.stages().1.to_owned()))
        .collect()
}

/// By stage in which a bridged edge ends that leads to a commit log of the node, where several do: one for each log.
pub(super) fn ways(graph: &GraphBuilder) -> HashMap<String, Arc<TwoWays>> {
    let local = local_edges(graph);
    let mut ways = HashMap::new();
    for log in graph.stages.iter().filter(|entry| entry.is_log()) {
        let mut before = BTreeSet::from([log.name.as_str()]);
        while let Some((from, _)) = (local.iter())
            .find(|(from, to)| before.contains(to.as_str()) && !before.contains(from.as_str()))
        {
            before.insert(from);
        }
        let leads = |edge: &&EdgeEntry| {
            matches!(edge.span, Span::In(..)) && before.contains(edge.stages().1)
        };
        if graph.edges.iter().filter(leads).count() > 1 {
            let shared = Arc::<TwoWays>::default();
            let ends = graph.edges.iter().filter(leads);
            ways.extend(ends.map(|edge| (edge.to.clone(), shared.clone())));
        }
    }
    ways
}

/// The commit log of the node by the stages or ports that feed it, where the log emits what it has recorded.
pub(super) fn relays(graph: &GraphBuilder) -> HashMap<String, String> {
    let is_log = |name: &str| {
        let mut logs = graph.stages.iter().filter(|entry| entry.relays());
        logs.any(|entry| entry.name == name)
    };
    graph
        .edges
        .iter()
        .filter(|edge| matches!(edge.span, Span::Local) && is_log(edge.stages().1))
        .map(|edge| (edge.from.clone(), edge.stages().1.to_owned()))
        .collect()
}

impl GraphHandle {
    /// Takes the state of `key` out of `stages`, with the items that it includes, for a node that continues with it: see
    /// [`GraphHandle::put_key`]. The stages are all those on the key's path that keep a state by key. The sources pause until
    /// everything that was sent before the call is processed; from then on frames of the key are refused here, and counted as
    /// the event `moved` of the stage. The node keeps a copy: the same call gives the same state again, also after a restart
    /// where the node saves its state. Cancelling the future does not undo the move.
    ///
    /// # Errors
    /// [`MoveError`]; the key is then still here.
    pub async fn take_key(&self, stages: &[&str], key: Key) -> Result<MovedKey, MoveError> {
        let stages = stages.iter().map(|&stage| stage.to_owned()).collect();
        self.request(|answer| Request::Take(stages, key, answer))
            .await
    }

    /// As [`GraphHandle::take_key`], blocking the calling thread.
    ///
    /// # Errors
    /// As [`GraphHandle::take_key`].
    pub fn take_key_blocking(&self, stages: &[&str], key: Key) -> Result<MovedKey, MoveError> {
        block_on(self.take_key(stages, key))
    }

    /// Puts the state of a key into the stages of the same names and parameters. Frames whose effect it includes count as
    /// duplicates here; every later one is processed. Where the node saves its state, that is on the disk before this returns.
    /// Putting the same state twice does nothing.
    ///
    /// # Errors
    /// [`MoveError`], also where a stage has a state of the key already.
    pub async fn put_key(&self, moved: &MovedKey) -> Result<(), MoveError> {
        let moved = Box::new(moved.clone());
        self.request(|answer| Request::Put(moved, answer)).await
    }

    /// As [`GraphHandle::put_key`], blocking the calling thread.
    ///
    /// # Errors
    /// As [`GraphHandle::put_key`].
    pub fn put_key_blocking(&self, moved: &MovedKey) -> Result<(), MoveError> {
        block_on(self.put_key(moved))
    }

    /// Saves the node's state now, for tests.
    pub(crate) async fn save_now(&self) -> Result<(), MoveError> {
        self.request(Request::Save).await
    }

    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, MoveError>>) -> Request,
    ) -> Result<T, MoveError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| MoveError::Ended)?;
        answered.await.unwrap_or(Err(MoveError::Ended))
    }
}

impl GraphBuilder {
    /// Takes the state of `key` out of `stages` before the first frame, as [`GraphHandle::take_key`] does while the graph
    /// runs: out of a node that was stopped. A node without a saved state forgets at a restart
    /// that a key has left, and needs this at each start.
    #[must_use]
    pub fn take_key(mut self, stages: &[&str], key: Key) -> Self {
        let stages = stages.iter().map(|&stage| stage.to_owned()).collect();
        self.first_moves.take.push((stages, key));
        self
    }

    /// Puts the state of a key into the stages before the first frame, as [`GraphHandle::put_key`] does while the graph runs.
    /// A node that does not save its state needs it at each start.
    #[must_use]
    pub fn put_key(mut self, moved: MovedKey) -> Self {
        self.first_moves.put.push(moved);
        self
    }
}
