//! Building and running the part of a graph that one node owns.
//!
//! ```text
//! GraphBuilder ▸ Wiring (actors, edges, doorbells) ▸ GraphHandle ▸ NodeReport
//! ```
//!
//! - `builder`: [`GraphBuilder`] collects stages and edges. `ways`: channels and stages of closures. `check`: describes them
//!   for the check. `start`: starts the graph.
//! - `wiring`, `stages`: turn them into actors on arbiters and build every stage; only then frames flow. The only place
//!   where actors, edges and doorbells are connected.
//! - `supervisor`: the thread that owns the graph. `running`: its drain. `handle`: [`GraphHandle`] waits and stops.
//!   `reporter`: reports. `liveness`: finds hanging threads.
//! - `saved`: which state of a node is saved. `saving`: saves and restores the state of the stages. `moving`: moves the state of a key, as `keys` and
//!   `moves` ask for.
//!   `settling`: for tests.

mod builder;
mod check;
mod handle;
mod keys;
mod liveness;
mod moves;
mod moving;
mod reporter;
mod running;
mod saved;
mod saving;
mod settling;
mod stages;
mod start;
mod supervisor;
mod ways;
mod wiring;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use builder::GraphBuilder;
pub use handle::{GraphHandle, StopHandle};
pub use liveness::LivenessProbe;
pub use moves::MoveError;
pub use reporter::Reporter;

use heqis_core::{GraphFault, StageError};

/// Why a graph could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The graph breaks rules; all of its faults are listed, and nothing was started.
    #[error("{}", .0.iter().map(GraphFault::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<GraphFault>),
    /// Stages or listeners could not be built; every failure is listed.
    #[error("{}", .0.iter().map(|(stage, error)| format!("stage '{stage}': {error}")).collect::<Vec<_>>().join("; "))]
    Build(Vec<(String, StageError)>),
    /// The file for the node's state cannot be used: another graph has it, or it cannot be written.
    #[error("state {}: {reason}", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another graph counts in these metrics, so that its frames would be in the report of this one.
    #[error("the metrics are those of another graph: each graph needs metrics of its own")]
    MetricsInUse,
    /// A thread did not get its cores or its priority, which the graph requires.
    #[error("{}", .0.join("; "))]
    Scheduling(Vec<String>),
    /// The graph's threads could not be started: the process has no thread or descriptor left.
    #[error("actor system: {0}")]
    System(#[from] io::Error),
}
