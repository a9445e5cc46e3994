//! A run as files.
//!
//! - [`table`]: one table as CSV and as Parquet.
//! - [`books`]: the tables of a run.

pub mod books;
pub mod table;

pub use table::{Table, Values};
