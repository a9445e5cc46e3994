//! Building and running the part of a graph that one node owns.
//!
//! ```text
//! GraphBuilder ▸ Wiring (actors, edges, doorbells) ▸ Running ▸ NodeReport
//! ```
//!
//! - `builder`: [`GraphBuilder`] collects stages and edges, and says what makes no sense.
//! - `wiring`: turns them into actors on arbiters and builds every stage; only then frames flow. The only place where
//!   actors, edges and doorbells are joined.
//! - `saving`: what the stages hold, saved and taken up again.
//! - `running`: [`Running`] stops, waits and reports. `thread`: names, pins and prioritises an arbiter's thread.

mod builder;
mod handle;
mod liveness;
mod reporter;
mod running;
mod saving;
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

use crate::error::StageError;

/// Name of the arbiter that stages share unless told otherwise.
pub const PIPELINE: &str = "pipeline";

/// Why a graph could not be started.
#[derive(Debug, Error)]
pub enum GraphError {
    /// The graph itself makes no sense.
    #[error("graph: {0}")]
    Wiring(String),
    /// Stages or listeners could not be built; every failure is listed.
    #[error("{}", .0.iter().map(|(stage, error)| format!("stage '{stage}': {error}")).collect::<Vec<_>>().join("; "))]
    Build(Vec<(String, StageError)>),
    /// A thread did not get its cores or its priority, and the graph insists on them.
    #[error("{}", .0.join("; "))]
    Scheduling(Vec<String>),
    /// The actix system could not run.
    #[error("actor system: {0}")]
    System(#[from] io::Error),
}

/// Completes at SIGTERM or ctrl-c. They are watched from the call on, whether or not the future is polled: from then on none
/// of them ends the process by itself.
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
