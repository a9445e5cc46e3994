//! Which state of a node is saved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::GraphError;
use super::saving::{Rest, Saving, StatefulActor, lock_file};
use super::wiring::Wiring;
use crate::actor::TakeSnapshot;
use heqis_core::{ActorState, EdgeSide, Event, Snapshot};

impl Wiring {
    /// How this node's state is saved, if it is.
    pub(super) async fn saving(&self) -> Result<Option<Arc<Saving>>, GraphError> {
        let Some(options) = self.graph.state.clone() else {
            return Ok(None);
        };
        let lock = lock_file(&options.path)?;
        let saves_fed = self.fed_state_is_saved().await;
        let mut stages = self.own.clone();
        if saves_fed {
            stages.extend(self.fed.iter().cloned());
        }
        let actors = self.started.iter().filter_map(|started| {
            let (take_snapshot, restore) = started.state.clone()?;
            let is_saved = match started.bridge {
                Some(_) => saves_fed,
                None => stages.contains(&started.name),
            };
            is_saved.then(|| StatefulActor {
                name: started.name.clone(),
                is_source: started.is_source,
                is_ring: started.is_ring,
                bridge: started.bridge.clone(),
                build: started.build.clone(),
                take_snapshot,
                restore,
            })
        });
        let actors: Vec<_> = actors.collect();
        if actors.is_empty() {
            let reason = "no state is saved: the node has no source of its own, and no stage with a state that it can save";
            self.control.publish(Event::StateLost {
                reason: reason.to_owned(),
                left_out: 0,
            });
            return Ok(None);
        }
        self.control.set_saves_received(saves_fed);
        self.saves_own.store(true, Ordering::Release);
        self.saves_fed.store(saves_fed, Ordering::Release);
        let edges = |sides: &[EdgeSide]| Saving::edges_of(&stages, &self.edges, sides);
        let (inner, outer) = (
            [EdgeSide::Local, EdgeSide::Ring, EdgeSide::Sender],
            [EdgeSide::Sender],
        );
        Ok(Some(Arc::new(Saving {
            _lock: lock,
            unidentified: self.unidentified.clone(),
            options,
            topology: self.graph.name.clone(),
            node: self.graph.node.clone(),
            control: self.control.clone(),
            actors,
            moves: Arc::default(),
            rest: Rest {
                control: self.control.clone(),
                lock: Arc::default(),
                // Frames on the way to the next nodes are part of the state where other nodes feed this one.
                edges: edges(&inner[..if saves_fed { 2 } else { 3 }]),
                inputs: match saves_fed {
                    true => edges(&[EdgeSide::Receiver]),
                    false => Vec::new(),
                },
                outputs: match saves_fed {
                    true => edges(&outer),
                    false => Vec::new(),
                },
            },
        })))
    }

    /// Whether the state of `stage` is saved; known once everything is built.
    pub(super) fn saves_state(&self, stage: &str) -> Arc<AtomicBool> {
        match self.fed.contains(stage) {
            true => self.saves_fed.clone(),
            false => self.saves_own.clone(),
        }
    }

    /// Whether the state of the stages that other nodes feed is saved: each of them supports it, and one has a state.
    pub(super) async fn fed_state_is_saved(&self) -> bool {
        let mut has_state = false;
        for started in &self.started {
            if let Some((take_snapshot, _)) = &started.state
                && self.fed.contains(&started.name)
                && started.bridge.is_none()
                && !started.is_ring
            {
                let states = take_snapshot.send(TakeSnapshot).await.unwrap_or_default();
                for state in states {
                    match state {
                        ActorState::State {
                            snapshot: Snapshot::Stateless,
                            ..
                        } => {}
                        ActorState::State {
                            snapshot: Snapshot::State(_),
                            ..
                        } => has_state = true,
                        _ => {
                            let stage = &started.name;
                            let reason = format!(
                                "the state of the stages that other nodes feed is not saved: stage '{stage}' supports no snapshots"
                            );
                            self.control.publish(Event::StateLost {
                                reason,
                                left_out: 0,
                            });
                            return false;
                        }
                    }
                }
            }
        }
        has_state
    }
}
