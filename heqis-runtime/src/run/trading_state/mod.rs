//! Trading states: of the stages of this node, read from their files and set by writing them, and of other nodes, by requests
//! over a bridged edge.
//!
//! ```text
//! page ▸ Requests (written to a file) ▸ RequestPort ══ edge ══▶ RequestPort ▸ Answers ▸ trading-state files
//!   ▲                                        ◀══ done or refused, with the state now ══         │
//!   └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - `switch`: the files of this node's stages. `links`: the ports and their threads. `answers`: what this node does when it is
//!   asked. `requests`: what it asks of other nodes.
//!
//! The node that decides says in `trading_state_from` whom it obeys. The edge is the one on which it sends to the other node
//! where there is one, since that one carries its decisions back, else the one on which it receives.

mod answers;
mod links;
mod requests;
mod switch;

pub(super) use links::Links;
pub(super) use requests::{Requests, Status};
pub(super) use switch::{TradingStateSwitch, switches};
