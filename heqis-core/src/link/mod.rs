//! What the two halves of a bridged edge say to each other and remember of it, for the bridge of heqis-actors.
//!
//! - `messages`: frames and control messages on the wire. `dedup_log`: which frames have arrived.

pub mod dedup_log;
pub mod messages;
