//! The command `fetch` as a process, and the use of its tables, with the vendor of `heqis-data`'s tests.
#![allow(clippy::unwrap_used, missing_docs)]

mod command;
mod messy;
#[path = "../../../heqis-fetch/tests/fetch/vendor.rs"]
mod vendor;
#[path = "../../../heqis-fetch/tests/fetch/world.rs"]
mod world;
