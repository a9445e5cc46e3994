//! Building and running the part of a graph that one node owns.
//!
//! ```text
//! GraphBuilder ▸ Wiring (actors, edges, doorbells) ▸ Running ▸ NodeReport
//! ```
//!
//! - `builder`: [`GraphBuilder`] collects stages and edges. `check`: describes them for the check. `start`: starts the graph.
//! - `wiring`, `stages`: turn them into actors on arbiters and build every stage; only then frames flow. The only place
//!   where actors, edges and doorbells are connected. `thread`: name, cores and priority of an arbiter's thread.
//! - `running`: [`Running`] waits for the end. `handle`: stops. `reporter`: reports. `liveness`: finds hanging threads.
//! - `saving`: saves and restores the state of the stages.

mod builder;
mod check;
mod handle;
mod liveness;
mod reporter;
mod running;
mod saving;
mod stages;
mod start;
mod thread;
mod wiring;

use std::io;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use builder::GraphBuilder;
pub use handle::GraphHandle;
pub use liveness::LivenessProbe;
pub use reporter::Reporter;
pub use running::Running;

use crate::check::GraphFault;
use crate::error::StageError;

/// Why a graph could not be started.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The graph breaks rules; all of its faults are listed, and nothing was started.
    #[error("{}", .0.iter().map(GraphFault::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<GraphFault>),
    /// Stages or listeners could not be built; every failure is listed.
    #[error("{}", .0.iter().map(|(stage, error)| format!("stage '{stage}': {error}")).collect::<Vec<_>>().join("; "))]
    Build(Vec<(String, StageError)>),
    /// A thread did not get its cores or its priority, which the graph requires.
    #[error("{}", .0.join("; "))]
    Scheduling(Vec<String>),
    /// The actix system could not run.
    #[error("actor system: {0}")]
    System(#[from] io::Error),
}

/// Completes at SIGTERM or ctrl-c. Both are watched from the call on, whether or not the future is polled: neither ends
/// the process by itself from then on.
pub fn termination_signal() -> impl Future<Output = ()> {
    let watched = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    async move {
        let [terminate, interrupt] = watched;
        tokio::select! {
            () = received(terminate) => {}
            () = received(interrupt) => {}
        }
    }
}

/// Completes at a signal; never, when it cannot be watched.
async fn received(watched: io::Result<Signal>) {
    match watched {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM or ctrl-c cannot be watched");
            std::future::pending().await
        }
    }
}
