//! Ways into a graph and out of it for the rest of the program: threads, and tasks of any runtime.
//!
//! ```text
//! Sender ▸ queue of the channel ▸ source ▸ edge ▸ … ▸ edge ▸ Receiver
//! ```
//!
//! A channel into the graph has a queue with books of its own, in front of a source. A way out has no queue of its own: the
//! receiver takes frames from the edges of its output, so that a slow receiver slows the graph by the policy of the edge, and
//! a frame is delivered when it is taken.

mod input;
mod output;

pub use input::{ChannelSource, SendError, Sender, TrySendError, channel, channel_with};
pub(crate) use input::{InputEnd, InputQueue};
pub use output::{ChannelSink, IntoIter, Receiver, TryRecvError, channel_out};
pub(crate) use output::{OutputEnd, OutputLink};
