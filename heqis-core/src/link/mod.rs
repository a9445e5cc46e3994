//! What the two halves of a bridged edge say to each other and remember of it, for the bridge of heqis-actors.
//!
//! - `messages`: frames and control messages on the wire. `dedup_log`: which frames have arrived.
//! - `authority`: what a peer may do. `requests`: changes that a node asks of the node at the other end.

pub mod authority;
pub mod dedup_log;
pub mod messages;
pub mod requests;
