//! The scalability protocols, wire-identical to NNG, on the runtime of the caller.
//!
//! A connection lives on whichever tokio runtime polls it, a current-thread one included: there is
//! no thread, no task and no static behind it, so a message goes from the socket to the caller
//! without a hand-over. NNG, nng-rs, pynng and nanomsg peers talk to it over tcp, tls+tcp and ipc.
//!
//! ```text
//! bytes in ▸ Stream ▸ Reader ▸ Bytes           Endpoint  where to listen or dial
//! bytes out ◂ Stream ◂ Writer ◂ parts, Bytes   Listener, connect ▸ Connection ▸ (Reader, Writer)
//! ```
//!
//! - `protocol`, `framing`: who may talk to whom, and the bytes around a message (pure functions).
//! - `endpoint`, `options`, `error`: what a caller configures, and the errors.
//! - `listener`, `connection`: accepting, dialing, the handshake. `stream`: tcp, Unix-domain
//!   sockets and pipes behind one type. `inproc`: the hub of in-process names.
//! - `secure`: what makes TLS streams is handed in; `heqis-tls` has it.
//! - `reader`, `writer`: the two hot paths. `backoff`: delays for the caller's redial loop.
//!
//! Not here: sequence numbers, acknowledgements, credit and reconnecting. As with NNG, a message
//! is delivered at most once, and those in flight are lost with the connection; the layer above
//! says what that means.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod backoff;
mod connection;
mod endpoint;
mod error;
mod framing;
mod inproc;
mod listener;
mod options;
mod protocol;
mod reader;
mod secure;
mod stream;
mod writer;

pub use backoff::Backoff;
pub use connection::{Connection, connect};
pub use endpoint::{Endpoint, is_loopback};
pub use error::SpError;
pub use inproc::Inproc;
pub use listener::Listener;
pub use options::SocketOptions;
pub use protocol::Protocol;
pub use reader::Reader;
pub use secure::{Duplex, PeerIdentity, Secure, SecureHandshake, SecureStream, Security};
pub use writer::Writer;
