//! The files of a run.
//!
//! - [`files`]: writes all of them; [`books`]: the tables.
//! - [`html`]: the page; [`plot`]: its charts.

pub mod books;
pub mod files;
pub mod html;
pub mod plot;
