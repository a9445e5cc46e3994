//! From tables of bars to a data set: read ▸ sort ▸ clean ▸ features and labels ▸ store ▸ fit the scaler.
//!
//! - [`inputs`]: which files, and their digests.
//! - [`reference`]: what is known beside the bars: ex-rights, special treatment, suspensions, trading days.
//! - [`runs`]: files in any arrangement → the rows of one symbol after another, in memory that does not grow with them.
//! - [`series`]: the rows of one symbol → bars, features, labels.
//! - [`findings`]: where what is known disagrees with the bars, `findings.csv`; [`contradictions`] finds it.
//! - `run`: one run, and what of the version before it can build on.
//! - `sink`: series after series into a draft, computed or copied.
//! - [`scale`]: the scaler, fitted on the training span of what was stored.
//! - [`report`]: every row that was turned down, `rejects.csv`; [`lines`]: such a file.
//!
//! Every number is computed by `heqis-quant` with the calls that the boards make. The number of threads changes no byte.
//! When the data set is there already, only series whose rows changed are computed; the others are copied, and the
//! result is what a full run would have written.

use std::path::PathBuf;
use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::{CleanConfig, Cleaner, FeatureSet};

use crate::bars::TableOptions;
use crate::error::DataError;
use crate::report::ImportReport;
use crate::store::Draft;
use crate::store::manifest::{Adjust, Manifest, Settings, TrainTo};

pub mod contradictions;
pub mod findings;
pub mod inputs;
pub mod lines;
pub mod reference;
pub mod report;
mod run;
pub mod runs;
pub mod scale;
pub mod series;
mod sink;

use reference::{ReferenceTables, Tables};
use run::{Made, Run};
use series::SeriesConfig;

/// What to prepare, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files, directories and patterns.
    pub inputs: Vec<PathBuf>,
    /// The data set's directory.
    pub out: PathBuf,
    /// The features.
    pub features: FeatureSet,
    /// Number of rows in the window of a model, kept with the scaler.
    pub window_bars: usize,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// Where the training span ends.
    pub train_to: TrainTo,
    /// What the cleaner is told.
    pub clean: CleanConfig,
    /// Whether features and labels follow known ex-rights, and which prices are shown.
    pub adjust: Adjust,
    /// How the scaler scales.
    pub scaler: ScalerKind,
    /// What the scaler does to live values outside the span's range.
    pub out_of_range: OutOfRange,
    /// Tables of what is known beside the bars; they have precedence over those of a fetched directory.
    pub tables: Tables,
    /// Number of working threads, at least 1.
    pub threads: usize,
    /// Whether to compute every series, whatever is there.
    pub full: bool,
    /// What is said of the tables beside what they show.
    pub reading: TableOptions,
    /// Share of rows that may be unreadable or rejected.
    pub max_bad_share: f64,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct PrepareOutcome {
    /// The manifest in force.
    pub manifest: Manifest,
    /// Series computed.
    pub computed: usize,
    /// Series copied from the version before.
    pub reused: usize,
    /// What became of the rows.
    pub report: ImportReport,
}

/// Prepares the data set.
///
/// # Errors
///
/// [`DataError`] when an input cannot be read or its header is refused, a setting is out of range, the training span has
/// no rows, or the data set cannot be written. The version before stays in force.
pub fn prepare(options: &Options) -> Result<PrepareOutcome, DataError> {
    let (files, tables) = inputs::resolve(&options.inputs, &options.tables)?;
    let mut clean = options.clean.clone();
    let reference = Arc::new(ReferenceTables::read(&tables, options.adjust, &mut clean)?);
    let mut cleaner = Cleaner::new(clean.clone())?;
    if options.adjust != Adjust::None {
        cleaner = cleaner.with_ex_rights(reference.ex_rights.clone());
    }
    if let Some(calendar) = &reference.calendar {
        cleaner = cleaner.with_calendar(calendar.clone());
    }
    let settings = Settings {
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        features: options.features.names().to_vec(),
        feature_set_id: options.features.id(),
        window_bars: options.window_bars,
        flat_band: options.flat_band,
        adjustment: options.adjust,
        scaler: options.scaler,
        out_of_range: options.out_of_range,
        train_to: options.train_to,
        reading: options.reading.clone(),
        clean,
    };
    let config = SeriesConfig {
        cleaner,
        features: options.features.clone(),
        flat_band: options.flat_band,
        prices: options.reading.prices,
        reference,
        markets: Markets::shipped()?,
    };
    let draft = Draft::begin(&options.out)?;
    let outcome = Run {
        options,
        files: &files,
        settings,
        config,
        draft: &draft,
    }
    .make();
    match outcome {
        Ok(Made::Same(outcome)) => {
            draft.discard()?;
            Ok(outcome)
        }
        Ok(Made::New(outcome)) => {
            let manifest = draft.publish(outcome.manifest)?;
            Ok(PrepareOutcome {
                manifest,
                ..outcome
            })
        }
        Err(error) => {
            // The fault that led here is the one to tell.
            let _ = draft.discard();
            Err(error)
        }
    }
}
