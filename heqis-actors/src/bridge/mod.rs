//! Bridged edges: the actors that carry frames between nodes over an NNG pair1 socket.
//!
//! ```text
//! stage ▸ edge ▸ Sender ══ Hello, Data, End or Leave, Goodbye ══▶ Receiver ▸ edge ▸ stage
//!                   ◀═════ Welcome or Refuse, Ack, Goodbye ══════
//!                   ◀═══════ Heartbeat, Request, Reply ════════▶
//! ```
//!
//! The sending half of an edge numbers its frames from 1 and retains them, on an at-least-once edge, until the receiver
//! reports that everything derived from them is done. An `Ack` is cumulative: the highest number up to which everything
//! has an outcome, the counts of the outcomes, and the number up to which the sender may send (the credit). A lost `Ack`
//! therefore loses nothing. A reconnect starts a new epoch with `Hello` and `Welcome`, after which the sender continues
//! after the last number that the receiver has.
//!
//! **Leaving is not ending.** `End` declares the stream complete: its sources have ended. The receiving half ends once
//! everything has an outcome, the sender has confirmed with `Goodbye` that it knows so, and the stages of the node have
//! finished; only then does it answer `Goodbye`. `Leave` announces that the sending node leaves in mid-stream: the
//! receiving half waits for it, or for its successor. A receiver that leaves says `Goodbye`; the sender retains frames
//! without an outcome and dials until a successor answers.
//!
//! Which of the two may send what is the table of `heqis_core::link::authority`; `setup` asks it for every message.
//!
//! - `sender`, `receiver`: the two actors. `phase`: what a receiver does. `setup`: what both are built from. What they exchange is in `heqis_core::link`.
//! - `send_window`, `receive_state`: the frames and numbers of each half. `window_watch`: reports an edge that stands still.
//! - `saving`: what both halves add to the saved state of the node.
//! - `conn`: one live connection, its flushing and its heartbeat. `link`: the phases of a sender's connection. `pending`, `greeting`, `admission`: connections that
//!   have not said hello, how they do, and which of them are accepted.

mod admission;
mod conn;
mod greeting;
mod link;
mod pending;
mod phase;
mod receive_state;
mod receiver;
mod saving;
mod send_window;
mod sender;
mod setup;
mod window_watch;

pub(crate) use receiver::BridgeReceiver;
pub(crate) use sender::BridgeSender;
pub(crate) use setup::BridgeSetup;
