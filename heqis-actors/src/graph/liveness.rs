//! Whether the threads of a graph still work.

use std::time::{Duration, Instant};

use actix_rt::ArbiterHandle;

use crate::control::Progress;

/// Tells a graph that works from one that hangs. An arbiter is alive when it gets on with its frames, however many wait,
/// or else when it answers a probe.
pub struct LivenessProbe(Vec<ProbedArbiter>);

struct ProbedArbiter {
    name: String,
    handle: ArbiterHandle,
    progress: Progress,
    /// What the arbiter had done when it was last looked at.
    seen: u64,
    /// A probe that has not been answered yet.
    probe: Option<tokio::sync::oneshot::Receiver<()>>,
    alive: Instant,
}

impl LivenessProbe {
    pub(super) fn new(arbiters: impl Iterator<Item = (String, ArbiterHandle, Progress)>) -> Self {
        let probed = |(name, handle, progress)| ProbedArbiter {
            name,
            handle,
            progress,
            seen: 0,
            probe: None,
            alive: Instant::now(),
        };
        Self(arbiters.map(probed).collect())
    }

    /// Looks at every arbiter, and returns the names of those that have neither worked nor answered for `patience`.
    pub fn check(&mut self, patience: Duration) -> Vec<String> {
        let now = Instant::now();
        let mut hung = Vec::new();
        for arbiter in &mut self.0 {
            let done = arbiter.progress.count();
            // A probe whose arbiter has ended is answered as well.
            let answered = match &mut arbiter.probe {
                Some(probe) => !matches!(
                    probe.try_recv(),
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty)
                ),
                None => true,
            };
            if answered {
                let (answer, probe) = tokio::sync::oneshot::channel();
                arbiter.handle.spawn_fn(move || {
                    let _ = answer.send(());
                });
                arbiter.probe = Some(probe);
            }
            if answered || done != arbiter.seen {
                arbiter.seen = done;
                arbiter.alive = now;
            }
            if now.duration_since(arbiter.alive) >= patience {
                hung.push(arbiter.name.clone());
            }
        }
        hung
    }
}
