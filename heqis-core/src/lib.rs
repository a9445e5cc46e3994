//! What a dataflow graph is made of before anything runs: payloads and their bytes, the clock, metrics, options, contracts of ports,
//! the check of a graph and its report. No actor, no thread and no socket.
//!
//! Programs use it through `heqis-actors`, which re-exports it.
//!
//! - `payload`, `key`, `codec`: the content of frames. `encoding`, [`wire`]: their bytes between nodes.
//! - `origins`, `position_set`: which source items a frame derives from.
//! - `options`, [`units`], [`renamed`]: settings. `port`, `contract`: where edges meet stages, and what two stages must agree on. `check`: every rule that a graph must keep.
//! - `books`, `stats`, `tracker`: what is counted of edges and stages, and which frames are done. `clock_sync`: the clocks of two nodes.
//!   `thread`: name, cores and priority of a thread.
//! - `clock`, `log_limit`, `metrics`, `outcome`, `report`, `events`, `error`: what a running graph reads and reports.
//! - `window`, `open_windows`, `join`: which items belong together: by time, by count, by key.
//! - `snapshot`: the state of a node as a file. `moved_key`: the state of one key between nodes. `seal`: checksums of both. `recording`: the items of a source on disk. `restart`: how often a stage is rebuilt. `signals`: SIGTERM and ctrl-c.
//! - `file_lock`, `small_file`: files that are locked, or read as a whole. `blocking`: a future on a thread without executor.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod blocking;
mod books;
mod check;
mod clock;
mod clock_sync;
mod closure_result;
mod codec;
mod commit;
mod commit_log_file;
mod contain;
mod contract;
mod encoding;
mod error;
mod events;
mod file_lock;
mod frame;
mod held;
mod join;
mod key;
#[doc(hidden)]
pub mod link;
mod log_limit;
mod merge;
mod metrics;
mod moved_key;
mod open_windows;
mod options;
mod origins;
mod outcome;
mod payload;
mod port;
mod ports;
mod position_set;
mod recording;
pub mod renamed;
mod report;
mod restart;
mod seal;
mod signals;
mod small_file;
mod snapshot;
mod stats;
mod thread;
mod ticket;
mod timer;
mod tracker;
mod two_ways;
pub mod units;
mod window;
pub mod wire;

pub use blocking::{block_on, block_on_for};
pub use books::Books;
pub use check::{
    BridgeDescription, BudgetDescription, EdgeDescription, FaultKind, FaultPlace, FaultSubject,
    GraphDescription, GraphFault, KindDescription, NodeDescription, StageDescription, WINDOW,
    nearest_name, place,
};
pub use clock::{Clock, ClockOffset, duration_ns, use_runtime_timers};
pub use clock_sync::ClockSync;
pub use closure_result::ClosureResult;
pub use codec::{FieldReader, decode_meta, encode_meta};
pub use commit::{Committed, Recorded, SourceStream};
pub use commit_log_file::{CommitLogFile, CommitRecord, read_commit_log};
pub use contain::{Contained, caught, contained, take_dropped};
pub use contract::{ANY, Explain, Mismatch, PortContract, PortSchema, Property, mismatch};
pub use encoding::Encoding;
pub use error::StageError;
pub use events::{Event, EventBus, Events, EventsIter};
pub use file_lock::lock_for_writing;
pub use frame::{AnyFrame, Body, Frame, Head, MAX_STAMPS, PayloadType, Stamp, sound};
pub use held::{ClosedUpTo, HeldFrames, Kept, is_regained};
pub use join::{Held, Join};
pub use key::{AsKey, Key, partition};
pub use log_limit::LogLimit;
pub use merge::Merge;
pub use metrics::{
    Counter, Counters, Gauge, Gauges, LinkMetrics, Metrics, MetricsError, Note, StageCounters,
    Timer,
};
pub use moved_key::{Included, KeyState, MovedKey, Moves};
pub use open_windows::{OpenGroup, OpenWindows, WindowItem};
pub use options::{
    BatchOptions, BridgeOptions, Delivery, EdgeOptions, Exhausted, LinkPeer, PIPELINE, Policy,
    RestartOptions, Scheduling, StageOptions, limits,
};
pub use origins::{Coverage, MERGED_PART, Merged, Origin, OriginRun, Origins, Runs};
pub use outcome::{DropCause, Ending, FrameOutcome};
pub use payload::{
    MAX_META_BYTES, MAX_RANK, Nothing, Payload, PayloadError, Tensor, element_count,
};
pub use port::{Port, port_of, stage_of};
#[doc(hidden)]
pub use ports::{Arriving, Leaving, Outgoing};
pub use ports::{Inputs, Outputs};
pub use position_set::{Covered, PositionSet};
pub use recording::{Recording, RecordingOptions, Replay, meta_of};
pub use report::{
    EdgeReport, EdgeSide, InDoubt, LinkState, Loss, NodeReport, Quantiles, StageReport, Waiting,
};
pub use restart::RestartBudget;
pub use signals::TerminationSignals;
pub use small_file::read_small_file;
pub use snapshot::{ActorState, SavedFrames, SavedState, Snapshot, StateOptions};
pub use stats::{Budget, StageStats};
pub use thread::ThreadConfig;
pub use ticket::{Deliveries, NO_STAGE, Ticket, abandon};
pub use tracker::{Ring, SaveDemand, Tracker};
pub use two_ways::TwoWays;
pub use window::{Extent, Window, WindowSpan};
