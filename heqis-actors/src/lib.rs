//! Stages as actors, edges with closed books, and the NNG bridge between nodes.
//!
//! A graph consists of **stages** (actors) and **edges** (bounded queues with a policy). Data enters through a [`Source`],
//! is processed by [`Stage`]s, and leaves through stages without output. An edge between stages on different nodes is
//! bridged by an NNG socket, which is invisible to both stages.
//!
//! ```text
//! Source ▸ edge ▸ Stage ▸ edge ▸ RingBuffer ▸ edge ▸ Sender ══ NNG ══▶ Receiver ▸ edge ▸ Stage
//! ```
//!
//! For authors of stages:
//! - `stage`, `context`, `port`, `emitter`, `merge`: the [`Stage`] and [`Source`] traits, and what their functions get and return.
//! - `frame`: payloads with the source items that they derive from. `commit`: what a node has recorded.
//!
//! For programs that build graphs:
//! - `graph`: [`GraphBuilder`], running graphs, their handles and reports. `registry`: stage kinds by name.
//! - `channel`, `closure`, `window`, `join`: ways in and out, stages of closures, windows for any stage, pairs of frames. [`Tap`]:
//!   observes frames.
//! - [`testing`]: one stage without a graph.
//!
//! Internals, from top to bottom; a module uses only those below it:
//! - `actor`: the actix actors around stages. `bridge`: the actors of bridged edges. `edge`: queues, policies, books.
//!   `control`: the shared state of a running graph.
//! - `ticket`: which frames are done, and which ones a stage holds. `doorbell`: wakes an actor.
//!
//! What needs no actor is in the crate `heqis-core` and re-exported here: payloads and their bytes, options, contracts, the check of
//! a graph, the clock, metrics, events, snapshots. [`sp`] is the crate of NNG's wire protocol.
//!
//! Not here: prices, the meaning of a tensor, boards, and topology files.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod actor;
mod bridge;
mod channel;
mod closure;
mod commit_log;
mod context;
mod control;
mod doorbell;
mod edge;
mod emitter;
mod graph;
mod join;
mod registry;
mod stage;
mod tap;
pub mod testing;
mod window;

// What the code of the derives names, inside this crate too.
extern crate self as heqis_actors;

// Crates whose types and derives are a part of this one's interface, so that a program needs no second version of them.
pub use heqis_sp as sp;
pub use {actix_rt, schemars, serde, wincode};

pub use actor::RingBufferConfig;
pub use channel::{
    ChannelSink, ChannelSource, IntoIter, Receiver, SendError, Sender, TryRecvError, TrySendError,
    channel, channel_out, channel_with,
};
pub use context::{BuildContext, RunIdentity};
pub use doorbell::Waker;
pub use emitter::{Collector, Emitter};
pub use graph::{
    GraphBuilder, GraphError, GraphHandle, LivenessProbe, MoveError, Reporter, StopHandle,
};
pub use heqis_core::link::{authority, requests};
pub use heqis_core::{
    ANY, AnyFrame, AsKey, BatchOptions, BridgeDescription, BridgeOptions, BudgetDescription, Clock,
    ClockOffset, ClosureResult, Committed, Counter, Counters, Deliveries, Delivery, DropCause,
    EdgeDescription, EdgeOptions, EdgeReport, EdgeSide, Encoding, Ending, Event, Events,
    EventsIter, Exhausted, Explain, Extent, FaultKind, FaultPlace, FaultSubject, FieldReader,
    Frame, Gauge, Gauges, GraphDescription, GraphFault, Head, InDoubt, Join, Key, LinkMetrics,
    LinkPeer, LinkState, LogLimit, Loss, MAX_META_BYTES, MAX_RANK, MAX_STAMPS, Merge, Metrics,
    MetricsError, Mismatch, MovedKey, NodeDescription, NodeReport, Note, Nothing, Origin,
    OriginRun, Origins, PIPELINE, Payload, PayloadError, PayloadType, Policy, Port, PortContract,
    PortSchema, Property, Quantiles, RecordingOptions, RestartOptions, Scheduling, Snapshot,
    SourceStream, StageCounters, StageDescription, StageError, StageOptions, StageReport, Stamp,
    StateOptions, Tensor, TerminationSignals, Timer, Waiting, Window, WindowSpan, decode_meta,
    duration_ns, encode_meta, limits, lock_for_writing, mismatch, nearest_name, partition, port_of,
    read_commit_log, read_small_file, renamed, stage_of, units, wire,
};
#[doc(hidden)]
pub use heqis_core::{Arriving, Leaving, Outgoing};
pub use heqis_core::{Inputs, Outputs};
pub use heqis_derive::{Inputs, Outputs, Payload};
pub use registry::{ContentHash, Prepared, Registry, StageKind};
pub use stage::{Config, Next, Source, Stage};
pub use tap::Tap;
pub use window::{ClosedWindow, Windows};
