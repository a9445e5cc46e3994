//! From tables of bars to a data set: read ▸ sort ▸ clean ▸ features and labels ▸ store ▸ fit the scaler.
//!
//! - [`inputs`]: the files with the rows.
//! - [`mod@reference`]: reference data: ex-rights, special treatment, suspensions, trading days.
//! - [`runs`]: files in any arrangement → the rows of each symbol, in memory that does not grow with their number.
//! - [`series`]: the rows of one symbol → bars, features, labels; [`labels`]: labels that compare the instruments of a day.
//! - [`contradictions`]: disagreements between bars and reference data; [`findings`]: `findings.csv`.
//! - `run`: one run, and the parts of the previous version that it reuses.
//! - `sink`: computed or copied series → a draft.
//! - [`scale`]: the scaler, fitted on the training span of the stored rows.
//! - [`report`]: rejected rows, `rejects.csv`; [`lines`]: the format of such files; [`flat`]: a warning about labels.
//!
//! Every number is computed by `heqis-quant` with the functions that the boards call. The bytes do not depend on the number
//! of threads. If the data set exists, only series whose rows changed are computed and the others are copied; the result
//! equals that of a full run.

use std::path::PathBuf;
use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::scaler::{OutOfRange, ScalerKind};
use heqis_quant::target::Target;
use heqis_quant::{CleanConfig, Cleaner, FeatureSet};

use crate::bars::TableOptions;
use crate::error::DataError;
use crate::report::ImportReport;
use crate::store::Draft;
use crate::store::manifest::{Adjust, Manifest, Settings, TrainTo};

pub mod contradictions;
pub mod findings;
pub mod flat;
pub mod inputs;
pub mod labels;
pub mod lines;
mod parallel;
pub mod reference;
pub mod report;
mod run;
pub mod runs;
pub mod scale;
pub mod series;
mod sink;

use reference::{ReferenceTables, Tables};
use run::{Run, RunResult};
use series::SeriesConfig;

/// The inputs and settings of a run.
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
    /// What the labels are.
    pub target: Target,
    /// Where the training span ends.
    pub train_to: TrainTo,
    /// Settings of the cleaner.
    pub clean: CleanConfig,
    /// Whether features and labels use known ex-rights, and the level of the prices to show.
    pub adjust: Adjust,
    /// How the scaler scales.
    pub scaler: ScalerKind,
    /// The treatment of live values outside the range of the training span.
    pub out_of_range: OutOfRange,
    /// Reference tables; they have precedence over those of a fetched directory.
    pub tables: Tables,
    /// Number of working threads, at least 1.
    pub threads: usize,
    /// Whether to compute every series, even if unchanged.
    pub full: bool,
    /// Options of the table reader, which override detected properties.
    pub reading: TableOptions,
    /// Largest share of unreadable or rejected rows.
    pub max_bad_share: f64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct PrepareOutcome {
    /// The manifest of the current version.
    pub manifest: Manifest,
    /// Series computed.
    pub computed: usize,
    /// Series copied from the previous version.
    pub reused: usize,
    /// The report on the rows.
    pub report: ImportReport,
}

/// Prepares the data set.
///
/// # Errors
///
/// [`DataError`] when an input cannot be read or its header is refused, a setting is out of range, the training span has
/// no rows, or the data set cannot be written. The previous version then remains current.
pub fn prepare(options: &Options) -> Result<PrepareOutcome, DataError> {
    options.target.check()?;
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
        target: options.target,
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
        target: options.target,
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
        Ok(RunResult::Unchanged(outcome)) => {
            draft.discard()?;
            Ok(outcome)
        }
        Ok(RunResult::New(outcome)) => {
            let manifest = draft.publish(outcome.manifest)?;
            Ok(PrepareOutcome {
                manifest,
                ..outcome
            })
        }
        Err(error) => {
            // The error of the run is returned, not one of the cleanup.
            let _ = draft.discard();
            Err(error)
        }
    }
}
