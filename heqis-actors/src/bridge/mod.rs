//! Bridged edges: the Transport actors that carry frames between nodes over an NNG pair1 socket.
//!
//! ```text
//! stage ▸ edge ▸ Sender ══ Hello, Data, End or Leave, Goodbye ══▶ Receiver ▸ edge ▸ stage
//!                   ◀═════ Welcome or Refuse, Ack, Goodbye ══════
//!                   ◀═══════════════ Heartbeat ════════════════▶
//! ```
//!
//! The sending half of an edge numbers its frames from 1 and keeps them, on an at-least-once edge, until the receiver
//! says that everything derived from them is done. An `Ack` is cumulative: the highest number up to which everything
//! has an outcome, what the outcomes were, and up to which number the sender may send (the credit). Losing one
//! therefore loses nothing. A reconnect starts a new epoch with `Hello` and `Welcome`, after which the sender continues
//! where the receiver's memory ends.
//!
//! **Leaving is not ending.** `End` says that the stream is complete: its sources have ended, and the receiving half ends
//! once everything has an outcome, the sender has confirmed with `Goodbye` that it heard so, and the stages of the node
//! have had their last act; only then does it answer `Goodbye`. `Leave` says that the sending node goes away in
//! mid-stream: the receiving half waits for it, or for its successor. A receiver that leaves says `Goodbye`; the sender
//! keeps what has no outcome and dials until a successor answers.
//!
//! - `sender`, `receiver`: the two actors. What each knows of frames and numbers: `window`, `intake`.
//! - `ticket`: which numbers are done, by ownership: a frame holds a ticket, whatever is derived from it shares it.
//! - `memory`: which source positions a receiver has had, for senders that come back.
//! - `conn`: one live connection, its flushing and its heartbeat. `door`: connections that have not said hello.
//! - `offset`: the two clocks, compared by heartbeats.

mod clock_sync;
mod conn;
mod dedup_log;
mod messages;
mod pending;
mod receive_state;
mod receiver;
mod send_window;
mod sender;
mod setup;

pub(crate) use receiver::BridgeReceiver;
pub(crate) use sender::BridgeSender;
pub(crate) use setup::BridgeSetup;
