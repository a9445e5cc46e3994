//! The one door for bars: whoever reads a file of them, in the lab, on a board or for the page, reads it here, so that
//! layout, units, encoding, times and codes are decided in one way.
//!
//! | module | what it is |
//! |---|---|
//! | [`door`] | a path → [`BarFile`], an iterator of bars: **data enters here** |
//! | [`import`] | files → series, with an [`ImportReport`]: **data leaves here** |
//! | [`report`] | what was read, rejected and missing, as text and JSON |
//! | [`prices`] | whether the prices of a series are adjusted |
//! | [`journal`] | the files of a journal of decisions: segments, indexes, all of them read as one |
//!
//! A file is surveyed as a whole before its first bar is handed out: see [`heqis_quant::table`]. CSV may be compressed by
//! gzip; Parquet is read with the Cargo feature `parquet`.
//!
//! ```
//! use heqis_data::door::{TableOptions, open};
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
//! Not here: what a bar is and which bars can be believed (`heqis-quant`), data sets, and anything that computes.

pub mod door;
mod error;
pub mod import;
pub mod journal;
#[cfg(feature = "parquet")]
mod parquet;
pub mod prices;
pub mod report;

pub use door::{BarFile, open};
pub use error::DataError;
pub use import::Import;
pub use report::ImportReport;
