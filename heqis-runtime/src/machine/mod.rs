//! The machine under a node: which board it is, how warm, fast, loaded and full it is.
//!
//! - `identity`: the board, by the device tree. `sensors`: what there is to measure, found once. `gauges`: the samples
//!   that a scrape reads.
//!
//! All of it is read from files below a root directory, `/` on a machine, so that a tree of files stands for a board.
//!
//! Not here: what a board is assumed to have before anything runs on it (`topology::board`).

mod gauges;
mod identity;
mod sensors;

pub use gauges::MachineGauges;
pub use identity::Identity;
pub use sensors::{Quantity, Reading, Sensors};
