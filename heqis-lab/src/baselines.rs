//! `heqis-lab baselines`: a table of the models that any model must beat.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use heqis_data::import_args::ImportArgs;
use heqis_data::metrics::flat_warning;
use heqis_data::samples::{CLASSES, FLAT_BAND, prepare};
use heqis_train::baselines::{comparison, trained};
use heqis_train::train::TrainedRun;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Fit the baselines on one instrument and measure them on the validation span and once on the test span.
#[derive(Debug, Args)]
pub struct BaselinesArgs {
    /// Daily bars of one instrument, named after it.
    #[arg(long, value_name = "CSV", default_value = "data/ashare/002032.SZ.csv")]
    pub data: PathBuf,
    /// Run directory: its networks in one table with the baselines on its own samples, instead of `--data`.
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub run: Option<PathBuf>,
    /// Other runs on the same samples, for the same table; may be given more than once.
    #[arg(long, value_name = "DIR", requires = "run")]
    pub compare: Vec<PathBuf>,
    /// Number of folds of the validation span.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub folds: usize,
    /// Form of the output.
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    pub format: Form,
    /// How tables of bars are read.
    #[command(flatten)]
    pub import: ImportArgs,
}

/// Form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Markdown.
    Markdown,
    /// CSV.
    Csv,
    /// JSON.
    Json,
}

/// Runs the command and returns the lines of its table.
///
/// # Errors
///
/// As [`prepare`] and [`heqis_train::baselines::Comparison::run`].
pub fn run(args: &BaselinesArgs) -> Result<CommandOutput, LabError> {
    let (table, warnings) = match &args.run {
        None => {
            let comparison = comparison(&prepare(&args.data, &args.import)?, args.folds)?;
            let classes = &comparison.training.truth.classes;
            let flat = classes.iter().filter(|class| CLASSES[**class] == "flat");
            let warning = flat_warning(flat.count() as u64, classes.len() as u64, FLAT_BAND);
            (comparison.run()?, warning.into_iter().collect())
        }
        Some(dir) => {
            let run = TrainedRun::open(dir)?;
            let others = trained::open(&args.compare)?;
            let table = trained::table(&run, &run.corpus()?, args.folds, &others)?;
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
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(lines.into())
}
