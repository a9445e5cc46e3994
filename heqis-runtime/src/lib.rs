//! The runtime: reads a topology, checks it completely, and runs the part of it that this machine is named for.
//!
//! ```text
//! topology file ▸ topology::load ▸ Plan ▸ run ▸ heqis_actors::GraphBuilder ▸ report
//! ```
//!
//! - [`topology`]: the file, its faults, and the plan that comes of it.
//! - [`mod@registry`]: the one list of stage kinds that a topology may name.
//! - [`run`]: one node, or a fleet of them. [`machine`]: the board under a node. [`watch`]: a node that looks after another.
//! - [`cli`]: the subcommands, as functions that write to what they are given. [`main_with`]: all of them as one program.
//!
//! Not here: any stage. A stage is written in `nodes/`, against `heqis-actors`, and becomes known here by one line in
//! [`mod@registry`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod cli;
pub mod machine;
pub mod registry;
pub mod run;
pub mod topology;
pub mod watch;

pub use cli::main_with;
pub use registry::registry;
