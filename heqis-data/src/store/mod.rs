//! A data set on disk: one directory that is always either the last good version or the next one.
//!
//! - [`rows`]: what is stored, one row a bar: the bar, its features, its label.
//! - [`columns`]: rows ↔ the columns of a Parquet row group.
//! - [`writer`]: series after series → one Parquet file a year.
//! - [`dataset`]: the reader: one symbol, one day, or everything.
//! - [`manifest`]: what a version is made of.
//! - [`draft`]: a version in the making, and how it takes the place of the one before.
//!
//! ```text
//! DIR/manifest.json              names the version in force; renamed into place last
//! DIR/v-<digest>/bars/2015.parquet   rows of one year, sorted by symbol and time
//! DIR/v-<digest>/scaler_params.json  the scaler, fitted on the training span
//! DIR/v-<digest>/rejects.csv         every row that was turned down, and why
//! ```
//!
//! What is *not* here: how rows come about ([`crate::prepare`]).

pub mod columns;
pub mod dataset;
pub mod draft;
pub mod manifest;
pub mod rows;
pub mod writer;

pub use dataset::DataSet;
pub use draft::Draft;
pub use manifest::Manifest;
pub use rows::{NextBar, Rows};
pub use writer::BarsWriter;
