//! Stages as actors, edges with closed books, and the NNG bridge between nodes.
//!
//! A graph is made of **stages** (actors) and **edges** (bounded queues with a policy). Data enters through a
//! [`Source`], is processed by [`Stage`]s, and leaves through stages without output. An edge whose ends are on
//! different nodes is bridged by an NNG socket, and neither stage can tell.
//!
//! ```text
//! Source ▸ edge ▸ Stage ▸ edge ▸ RingBuffer ▸ edge ▸ Sender ══ NNG ══▶ Receiver ▸ edge ▸ Stage
//! ```
//!
//! What an author of stages reads:
//! - `stage`: the [`Stage`] and [`Source`] traits and what they are handed.
//! - `payload`, `frame`: what frames carry and where they come from.
//! - `graph`: [`GraphBuilder`], for programs that build graphs without a topology file.
//! - `registry`: stage kinds by name, for programs that read one. `terms`: what two stages must agree on.
//!   [`units`]: spans of time in parameters. [`renamed`]: parameters that have changed their names. [`Tap`]: a look at the frames that enter a stage.
//!
//! What makes it run:
//! - `actor`: the actix actors around stages. `edge`: queues, policies, books. `bridge`: the Transport actors.
//! - `wire`: the frame's bytes. `encoding`: tensors in fewer of them. [`sp`]: NNG's wire protocol. `clock`, `commit`, `control`, `events`, `metrics`.
//!
//! Not here: anything that knows a price, a tensor's meaning, a board, or a topology file.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod actor;
mod bridge;
mod clock;
mod commit;
mod context;
mod contract;
mod control;
mod doorbell;
mod edge;
mod emitter;
mod encoding;
mod error;
mod events;
mod file_lock;
mod frame;
mod graph;
mod log_limit;
mod metrics;
mod options;
mod outcome;
mod payload;
mod position_set;
mod recording;
mod registry;
pub mod renamed;
mod report;
mod restart;
mod small_file;
mod snapshot;
pub mod sp;
mod stage;
mod stats;
mod tap;
mod ticket;
pub mod units;
pub mod wire;

pub use actor::RingBufferConfig;
pub use clock::{Clock, ClockOffset, duration_ns};
pub use commit::{Committed, SourceStream};
pub use context::{BuildContext, RunIdentity};
pub use contract::{Mismatch, PortContract, PortSchema, Property, mismatch};
pub use doorbell::Waker;
pub use emitter::{Collector, Emitter};
pub use encoding::Encoding;
pub use error::StageError;
pub use events::{Event, subscribe};
pub use file_lock::lock_for_writing;
pub use frame::{AnyFrame, Frame, Head, MAX_STAMPS, Origin, PayloadType, Stamp};
pub use graph::{
    GraphBuilder, GraphError, GraphHandle, LivenessProbe, PIPELINE, Reporter, Running,
    termination_signal,
};
pub use log_limit::LogLimit;
pub use metrics::{
    Counter, Counters, Gauge, Gauges, LinkMetrics, Metrics, Note, StageCounters, Timer,
};
pub use options::{
    BatchOptions, BridgeOptions, Delivery, EdgeOptions, Exhausted, LinkPeer, Policy,
    RestartOptions, Scheduling, StageOptions,
};
pub use outcome::{DropCause, Ending};
pub use payload::{
    Key, MAX_META_BYTES, MAX_RANK, Nothing, Payload, PayloadError, Tensor, decode_meta,
    element_count, encode_meta, partition,
};
pub use recording::{RecordingError, RecordingOptions};
pub use registry::{ANY, ContentHash, Prepared, Registry, StageKind};
pub use report::{
    EdgeReport, EdgeSide, InDoubt, LinkState, NodeReport, Quantiles, StageReport, Waiting,
};
pub use small_file::read_small_file;
pub use snapshot::{Snapshot, StateOptions};
pub use stage::{Config, Next, Source, Stage};
pub use tap::Tap;
pub use ticket::{Deliveries, Ticket};
