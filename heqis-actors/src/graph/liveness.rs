//! Whether the threads of a graph still work.

use std::time::{Duration, Instant};

use actix_rt::ArbiterHandle;

use crate::control::Progress;

/// Distinguishes a graph that works from one that hangs. An arbiter is alive while it processes frames, however many
/// wait, or while it answers a probe.
pub struct LivenessProbe(Vec<ProbedArbiter>);

struct ProbedArbiter {
    name: String,
    handle: ArbiterHandle,
    progress: Progress,
    /// The arbiter's progress at the last check.
    seen: u64,
    /// A probe that has not been answered yet.
    probe: Option<tokio::sync::oneshot::Receiver<()>>,
    alive: Instant,
}

impl LivenessProbe {
    #[expect(
        clippy::disallowed_methods,
        reason = "a watchdog measures real time, whatever the graph's clock is"
    )]
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

    /// Checks every arbiter, and returns the names of those that have neither worked nor answered for `timeout`.
    #[expect(
        clippy::disallowed_methods,
        reason = "a watchdog measures real time, whatever the graph's clock is"
    )]
    pub fn check(&mut self, timeout: Duration) -> Vec<String> {
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
            if now.duration_since(arbiter.alive) >= timeout {
                hung.push(arbiter.name.clone());
            }
        }
        hung
    }
}
