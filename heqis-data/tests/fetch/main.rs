//! The Tushare client against a vendor that pages, limits, refuses, is late, breaks off and lies; without waiting, and
//! without the token showing up anywhere.
#![allow(clippy::unwrap_used, missing_docs)]

mod cache;
mod pace;
mod plan;
mod replies;
mod settings;
mod vendor;
mod wire;
mod world;
