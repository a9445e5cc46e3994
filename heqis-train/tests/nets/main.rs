//! What the networks promise.
#![allow(clippy::unwrap_used)]

mod common;
mod gradients;
mod memory;
mod official;
mod parity;
mod rope;
mod shapes;
mod student;
