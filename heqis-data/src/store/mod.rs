//! A data set on disk: a directory whose current version is replaced atomically.
//!
//! - [`rows`]: the stored rows in memory: bars with features and labels.
//! - [`columns`]: rows ↔ the columns of a Parquet row group.
//! - [`writer`]: series → one Parquet file for each year.
//! - [`dataset`]: the reader: one symbol, one day, or everything.
//! - [`manifest`]: the settings, inputs and contents of a version.
//! - [`draft`]: a version under construction, and its publication.
//!
//! ```text
//! DIR/manifest.json              names the current version; replaced last, by renaming
//! DIR/v-<digest>/bars/2015.parquet   rows of one year, sorted by symbol and time
//! DIR/v-<digest>/scaler_params.json  the scaler, fitted on the training span
//! DIR/v-<digest>/rejects.csv         rejected rows with their reasons
//! DIR/v-<digest>/findings.csv        contradictions with the reference data
//! ```
//!
//! Not here: how rows are computed ([`crate::prepare`]).

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
