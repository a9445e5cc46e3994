//! `heqis-lab baselines`: a table of the models that any model must beat.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use heqis_data::import_args::ImportArgs;
use heqis_train::baseline::table::TableCorpus;
use heqis_train::baselines::{Comparison, trained};
use heqis_train::corpus::FLAT_BAND;
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
/// As [`TableCorpus::read`] and [`Comparison::run`].
pub fn run(args: &BaselinesArgs) -> Result<CommandOutput, LabError> {
    let (table, warnings) = match &args.run {
        None => {
            let table = TableCorpus::read(&args.data, &args.import)?;
            let warning = table.corpus.flat_warning(FLAT_BAND);
            let comparison = Comparison::with_factors(&table.corpus, args.folds)?;
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
            let legend = match args.run {
                Some(_) => {
                    "\nalone: a generator after pre-training; game: after the adversarial phase\n"
                }
                None => "",
            };
            quoted.collect::<String>() + &table.markdown() + legend
        }
        Form::Csv => table.csv(),
        Form::Json => table.json()?,
    };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(lines.into())
}
