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
mod running;
mod saving;
mod thread;
mod wiring;

use std::io;

use thiserror::Error;

pub use builder::GraphBuilder;
pub use running::{GraphHandle, LinkState, LivenessProbe, NodeReport, Reporter, Running, Waiting};

use crate::stage::StageError;

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

/// Completes at SIGTERM or ctrl-c.
pub async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be watched, ctrl-c can");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
