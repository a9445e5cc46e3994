//! A run as files.
//!
//! - [`books`]: the tables of a run.
//! - [`html`]: one page; [`plot`]: its pictures.

pub mod books;
pub mod html;
pub mod plot;
