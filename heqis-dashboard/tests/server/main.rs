//! The server over real sockets: what it answers, whom it turns away, what it survives.

#![allow(clippy::unwrap_used)]

mod api;
mod client;
mod hostile;
mod scene;
mod security;
mod stream;
mod vendor;
