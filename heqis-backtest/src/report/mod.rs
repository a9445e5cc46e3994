//! A run as files.
//!
//! - `files`: all files of a run. [`books`]: its tables.
//! - [`html`]: one page; [`plot`]: its pictures.

pub mod books;
mod files;
pub mod html;
pub mod plot;
