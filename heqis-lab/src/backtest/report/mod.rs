//! A run as files.
//!
//! - [`table`]: one table as CSV and as Parquet.
//! - [`books`]: the tables of a run.
//! - [`html`]: one page; [`plot`]: its pictures.

pub mod books;
pub mod html;
pub mod plot;
pub mod table;

pub use table::{Table, Values};
