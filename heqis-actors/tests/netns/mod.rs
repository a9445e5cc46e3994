//! Two network namespaces that only this program connects: every IP packet between them passes through it, where faults are applied.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod forward;
mod packet;
mod space;

pub use forward::{Forwarder, Line, Plan, Tally, Ways};
pub use space::{FAR, Pair, missing};
