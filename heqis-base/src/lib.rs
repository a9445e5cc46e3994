//! What every crate may use and none of them owns. It depends on the standard library alone.
//!
//! - [`files`]: replaces a file as a whole, so that a reader finds the old contents or the new ones.
//! - [`secrets`]: compares a secret with what a peer has shown.
//! - [`text`]: shows what a peer has sent.
//! - [`arguments`]: accepts renamed commands and options for one version, with a warning.
//!
//! Not here: anything that knows of actors, markets or models.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod arguments;
pub mod files;
pub mod secrets;
pub mod text;
