//! `heqis-lab walk-forward`: a pool retrained for every fold, and who of its instruments does better.

use std::path::PathBuf;

use clap::Args;
use heqis_quant::Date;
use heqis_train::train::{TrainConfig, configure_process};
use heqis_train::walk_forward::{WalkForward, record};

use crate::error::LabError;
use crate::output::CommandOutput;

/// Retrain a pool for every fold on earlier days, and measure how its forecasts rank the instruments of a day.
#[derive(Args, Clone, Debug)]
pub struct WalkForwardArgs {
    /// Settings of a training (TOML); the folds replace its spans.
    #[arg(long, value_name = "TOML")]
    pub config: PathBuf,
    /// First day of the first fold.
    #[arg(long, value_name = "DATE")]
    pub from: Date,
    /// Last day of the last fold [default: the last day of the data set].
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// Number of folds.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub folds: usize,
    /// Number of trainings of each fold, from the seed of the settings on; 0 compares linear models and trees only.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: u64,
    /// Number of threads that train networks in parallel, instead of the settings'; 0 takes one for each core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Directory of trainings and results; an interrupted run is continued.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Runs over all folds, and returns the table.
///
/// # Errors
///
/// As [`WalkForward::run`].
pub fn run(args: &WalkForwardArgs) -> Result<CommandOutput, LabError> {
    let mut config = TrainConfig::read(&args.config)?;
    config.threads = args.threads.unwrap_or(config.threads);
    configure_process(config.threads);
    let settings = WalkForward {
        config,
        from: args.from,
        to: args.to,
        folds: args.folds,
        seeds: args.seeds,
        out: args.out.clone(),
    };
    let results = settings.run(&mut |line| eprintln!("{line}"))?;
    let text = record::markdown(&results.models, &results.target);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.push(format!("wrote {}", args.out.join(record::FILE).display()));
    Ok(lines.into())
}
