//! What the networks promise.
#![allow(clippy::unwrap_used)]

mod common;
mod shapes;
