//! Yardsticks: what any model must beat, measured in the same way as the model.
//!
//! - [`forecast`]: what came ([`Truth`]) and what was said of it ([`Forecast`]), item by item, as plain arrays.
//! - [`metrics`]: errors, price errors, direction, cross-sections: one function for every model.
//! - [`naive`]: last value, training mean, training majority.
//! - [`boosting`]: gradient-boosted trees.
//! - [`mod@contest`]: fits the yardsticks on the training span, chooses their settings on the validation span, and measures
//!   them on every span.
//! - [`table`]: all models side by side, as Markdown, CSV and JSON.
//! - [`trained`]: the networks of a run in that table.
//!
//! A model of any kind enters the table with nothing but its forecasts, so that networks and yardsticks cannot be
//! measured differently.
//!
//! What is *not* here: how a network is trained, and money. A forecast's figures say nothing of costs, limits or lots.

pub mod boosting;
pub mod contest;
pub mod forecast;
pub mod metrics;
pub mod naive;
pub mod table;
pub mod trained;

pub use contest::{Contest, Rows, Span};
pub use forecast::{Forecast, Truth};
pub use metrics::Figures;
pub use table::{Entry, Table};

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::baseline::Baseline;
use crate::error::LabError;
use crate::figures::flat_warning;
use crate::import::ImportArgs;
use crate::samples::{CLASSES, FLAT_BAND, Prepared, prepare};

/// Fits the yardsticks on one instrument and measures them on the validation span and once on the test span.
#[derive(Debug, Args)]
pub struct YardstickArgs {
    /// Daily bars of one instrument, named after it.
    #[arg(long, value_name = "CSV", default_value = "data/ashare/002032.SZ.csv")]
    pub data: PathBuf,
    /// Run directory: its networks in one table with the yardsticks on its own samples, instead of `--data`.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub run: Option<PathBuf>,
    /// Other runs on the same samples, for the same table; may be given more than once.
    #[arg(long, value_name = "DIR", requires = "run")]
    pub beside: Vec<PathBuf>,
    /// Folds that the validation span is measured in.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub folds: usize,
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    pub format: Form,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// Form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Markdown,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// Runs the command and returns the lines of its table.
///
/// # Errors
///
/// As [`prepare`] and [`Contest::run`].
pub fn run(args: &YardstickArgs) -> Result<Vec<String>, LabError> {
    let (table, warnings) = match &args.run {
        None => {
            let contest = contest(&prepare(&args.data, &args.import)?, args.folds)?;
            let classes = &contest.training.truth.classes;
            let flat = classes.iter().filter(|class| CLASSES[**class] == "flat");
            let warning = flat_warning(flat.count() as u64, classes.len() as u64, FLAT_BAND);
            (contest.run()?, warning.into_iter().collect())
        }
        Some(dir) => {
            let run = crate::train::TrainedRun::open(dir)?;
            let beside = trained::open(&args.beside)?;
            let table = trained::table(&run, &run.corpus()?, args.folds, &beside)?;
            (table, run.manifest.warnings)
        }
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let text = match args.format {
        Form::Markdown => {
            let quoted = warnings.iter().map(|warning| format!("> {warning}\n\n"));
            quoted.collect::<String>() + &table.markdown()
        }
        Form::Csv => table.csv(),
        Form::Json => table.json()?,
    };
    Ok(text.lines().map(str::to_owned).collect())
}

/// Returns the contest over one instrument. A yardstick looks at what the shipped direction model looks at: the window's
/// principal components, then the last scaled row.
///
/// # Errors
///
/// [`LabError::Yardstick`] when there are no folds, or more than the validation span has items.
pub fn contest(prepared: &Prepared, folds: usize) -> Result<Contest, LabError> {
    let spans = &prepared.spans;
    if folds == 0 || folds > spans.validation.len() {
        return Err(LabError::Yardstick(format!(
            "the validation span of {} items must be cut into one fold or more, got {folds}",
            spans.validation.len()
        )));
    }
    let pca = Baseline::fit_factors(prepared);
    let width = prepared.feature_names().len();
    let rows = |range: std::ops::Range<usize>| {
        let samples = &prepared.samples[range];
        Rows {
            inputs: samples
                .iter()
                .map(|sample| crate::baseline::features(&pca, sample, width).1)
                .collect(),
            truth: Truth {
                times_ns: samples.iter().map(|sample| sample.time_ns).collect(),
                days: samples.iter().map(|sample| sample.date.days()).collect(),
                closes: samples.iter().map(|sample| sample.close).collect(),
                returns: samples.iter().map(|sample| sample.actual_return).collect(),
                classes: samples.iter().map(|sample| sample.class).collect(),
            },
        }
    };
    let validation = (0..folds).map(|fold| {
        let edge = |fold: usize| spans.validation.start + spans.validation.len() * fold / folds;
        Span {
            name: match folds {
                1 => "validation".to_owned(),
                _ => format!("validation {}", fold + 1),
            },
            rows: rows(edge(fold)..edge(fold + 1)),
        }
    });
    Ok(Contest {
        training: rows(spans.training.clone()),
        validation: validation.collect(),
        test: Some(Span {
            name: "test".to_owned(),
            rows: rows(spans.test.clone()),
        }),
    })
}
