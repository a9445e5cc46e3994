//! The server over real sockets: responses, access control, malformed and hostile requests.

#![allow(clippy::unwrap_used)]

mod api;
mod client;
mod fixture;
mod hostile;
mod security;
mod stream;
mod vendor;
