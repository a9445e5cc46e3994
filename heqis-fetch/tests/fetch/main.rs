//! Tests of the Tushare client with a vendor that pages, limits, refuses, is late, disconnects and sends wrong rows. They
//! run without waiting, and check that the token never appears.
#![allow(clippy::unwrap_used, missing_docs)]

mod cache;
mod pace;
mod plan;
mod replies;
mod settings;
mod vendor;
mod wire;
mod world;
