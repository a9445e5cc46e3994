//! Tests of the networks: gradients, shapes, exports and reference results.
#![allow(clippy::unwrap_used)]

mod common;
mod gradients;
mod memory;
mod official;
mod parity;
mod rope;
mod shapes;
mod student;
