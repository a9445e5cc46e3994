//! Readers of bars and of journals. Every program reads files of bars through this crate, so that layout, units, encoding,
//! times and codes are decided in one way.
//!
//! | module | what it is |
//! |---|---|
//! | [`bar_file`] | a path → [`BarFile`], an iterator of bars: **data enters here** |
//! | [`bars`] | text → bars: layouts, units, encodings and times of tables |
//! | [`import`] | files → series, with an [`ImportReport`]: **data leaves here** |
//! | [`report`] | what was read, rejected and missing, as text and JSON |
//! | [`prices`] | whether the prices of a series are adjusted |
//! | [`journal`] | the files of a journal of decisions: segments, indexes, all of them read as one |
//!
//! The Cargo feature `sets` adds data sets and predictions for the lab. The boards are built without it and without its
//! dependencies.
//!
//! | module | what it is |
//! |---|---|
//! | `import_args` | the options of a command that reads tables of bars |
//! | `prepare` | tables of bars, one symbol or a market → a data set of clean bars, features, labels and a scaler |
//! | `store` | the data set on disk, and its reader |
//! | `predictions` | tables of predictions: the one reader and the one writer |
//! | `digest` | digests of files |
//! | `renamed` | renamed keys of TOML files |
//! | `table` | a table written as CSV and as Parquet |
//! | `svg` | charts as SVG |
//! | `watch_list` | the watch list: sectors with their instruments |
//!
//! A file is surveyed as a whole before its first bar is returned: see [`bars`]. CSV may be compressed with gzip; Parquet is
//! read with the Cargo feature `parquet`.
//!
//! ```
//! use heqis_data::{TableOptions, open};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("600101.SH.csv");
//! std::fs::write(&path, "date,open,high,low,close,volume,amount\n2023-02-01,10,10.1,9.9,10,10000,10000000\n")?;
//! let file = open(&path, &TableOptions::default())?;
//! assert_eq!(file.detected().volume_unit.name(), "lots of 100 shares");
//! let bars: Vec<_> = file.collect::<Result<_, _>>()?;
//! assert_eq!(bars[0].volume_shares, 1_000_000.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: bars and their rules, cleaning, indicators, scaling and labels (`heqis-quant`), and models.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod bar_file;
pub mod bars;
#[cfg(feature = "sets")]
pub mod digest;
mod error;
pub mod import;
#[cfg(feature = "sets")]
pub mod import_args;
pub mod journal;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "sets")]
pub mod predictions;
#[cfg(feature = "sets")]
pub mod prepare;
pub mod prices;
#[cfg(feature = "sets")]
pub mod renamed;
pub mod report;
#[cfg(feature = "sets")]
pub mod store;
#[cfg(feature = "sets")]
pub mod svg;
#[cfg(feature = "sets")]
pub mod table;
#[cfg(feature = "sets")]
pub mod watch_list;

pub use bar_file::{BarFile, open};
pub use bars::{BarReader, Detected, Prices, TableOptions};
pub use error::{DataError, Rule};
pub use import::Import;
pub use report::ImportReport;
