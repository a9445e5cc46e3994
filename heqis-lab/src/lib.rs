//! The host's workbench: from market data to model bundles.
//!
//! - [`import`]: files of bars → series, with a report of what was lost, for every command.
//! - [`samples`]: bars → features, labels, scaler and windows, every one of them computed by `heqis-quant` with the same
//!   calls as on the boards, and cut into training, validation and test.
//! - [`mod@baseline`]: the two linear models, [`pca`], [`ridge`] and [`logistic`] over [`linalg`], with their [`figures`].
//! - [`export`]: the models as ONNX.
//! - [`bundles`]: the two bundle directories with golden windows, figures and model cards.
//! - [`nets`]: generators, discriminators and encoders.
//! - [`fetch`]: Tushare Pro → CSV tables, through a cache of raw replies.
//! - [`prepare`]: tables of bars, one symbol or a market → a data set of clean bars, features, labels and a scaler.
//! - [`store`]: the data set on disk, and its reader.
//! - [`serve`]: a page for the browser with the bars of a data set and a journal's decisions.
//! - [`data`]: looking into a data set.
//! - [`predictions`]: tables of predictions, read and written in one place.
//! - [`backtest`]: wanted sides → orders, fills and money under A-share rules.
//! - [`train`]: a data set → trained networks in a run directory.
//! - [`svg`]: pictures as text.
//! - [`yardsticks`]: what any model must beat, and one measure for all.
//! - [`verify`]: whether a bundle computes the same everywhere.
//! - [`select`]: many models → one choice, by validation spans, and one run on the test span.
//! - [`audit`]: any strategy → what is dishonest about it.
//! - [`parity`]: lab, one process, two nodes and a journal decide the same, to the byte.
//! - [`error`]: the crate's one error type.
//!
//! Data enters as CSV tables of daily bars; it leaves as data sets and bundle directories. The same files give the same
//! bytes.
//!
//! What is *not* here: indicators, scaling, labels and decisions (`heqis-quant`), the format of models and bundles
//! (`heqis-infer`), and anything that runs while the market is open.

use std::path::{Path, PathBuf};

pub mod audit;
pub mod backtest;
pub mod baseline;
pub mod bundles;
mod card;
pub mod convert;
pub mod data;
pub mod error;
pub mod export;
pub mod fetch;
pub mod figures;
pub mod import;
pub mod linalg;
pub mod logistic;
pub mod nets;
pub mod parity;
pub mod pca;
pub mod predictions;
pub mod prepare;
mod python;
pub mod ridge;
pub mod samples;
pub mod select;
pub mod serve;
mod standardiser;
pub mod store;
pub mod svg;
pub mod train;
pub mod verify;
pub mod yardsticks;

pub use error::LabError;

/// Fits the baselines on the bars in `data`, writes their bundles below `out`, and returns the bundles' directories:
/// factors first, direction second.
///
/// # Errors
///
/// [`LabError`] when the file cannot be read, holds too little, or the bundles cannot be written.
pub fn baseline(data: &Path, out: &Path) -> Result<[PathBuf; 2], LabError> {
    let prepared = samples::prepare(data, &import::ImportArgs::default())?;
    let fitted = baseline::Baseline::fit(&prepared)?;
    bundles::write(out, &prepared, &fitted)
}
