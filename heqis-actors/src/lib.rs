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
//!   [`renamed`]: parameters that have changed their names. [`Tap`]: a look at the frames that enter a stage.
//!
//! What makes it run:
//! - `actor`: the actix actors around stages. `edge`: queues, policies, books. `bridge`: the Transport actors.
//! - `wire`: the frame's bytes. `encoding`: tensors in fewer of them. [`sp`]: NNG's wire protocol. `clock`, `commit`, `control`, `events`, `metrics`.
//!
//! Not here: anything that knows a price, a tensor's meaning, a board, or a topology file.

mod actor;
mod bridge;
mod clock;
mod commit;
mod control;
mod edge;
mod encoding;
mod events;
mod file_lock;
mod frame;
mod graph;
mod log_limit;
mod metrics;
mod options;
mod payload;
mod recording;
mod registry;
pub mod renamed;
mod restart;
mod small_file;
mod snapshot;
pub mod sp;
mod stage;
mod tap;
mod terms;
pub mod wire;

pub use actor::{RingBufferConfig, Waker};
pub use bridge::{ClockOffset, Deliveries, LinkPeer, PayloadType, Ticket};
pub use clock::{Clock, duration_ns};
pub use commit::{Committed, SourceStream};
pub use control::{Quantiles, StageReport};
pub use edge::{Cause, EdgeReport, InDoubt, Side};
pub use encoding::Encoding;
pub use events::{Event, listen};
pub use file_lock::lock_for_writing;
pub use frame::{AnyFrame, Frame, Head, MAX_STAMPS, Origin, Stamp};
pub use graph::{
    GraphBuilder, GraphError, GraphHandle, LinkState, LivenessProbe, NodeReport, PIPELINE,
    Reporter, Running, Waiting, terminated,
};
pub use log_limit::LogLimit;
pub use metrics::{
    Counter, Counters, Gauge, Gauges, LinkMetrics, Metrics, Note, StageCounters, Timer,
};
pub use options::{
    BatchOptions, BridgeOptions, Delivery, EdgeOptions, Exhausted, Policy, RestartOptions,
    Scheduling, StageOptions,
};
pub use payload::{
    Key, MAX_META_BYTES, MAX_RANK, Nothing, Payload, PayloadError, Tensor, element_count, meta,
    read_meta,
};
pub use recording::{RecordingError, RecordingOptions};
pub use registry::{ANY, ContentHash, Kind, Prepared, Registry};
pub use small_file::read_small_file;
pub use snapshot::StateOptions;
pub use stage::{
    BuildContext, Config, Emitter, Ending, Next, Probe, RunIdentity, Snapshot, Source, Stage,
    StageError, partition,
};
pub use tap::Tap;
pub use terms::{Disagreement, Fact, Facts, Terms, disagreement};
