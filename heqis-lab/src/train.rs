//! `heqis-lab train`: from a data set to a run directory.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use heqis_train::train::{DeviceKind, TrainConfig, configure_process, progress, train};

use crate::error::LabError;
use crate::output::CommandOutput;

/// Train generators against discriminators on a prepared data set.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Settings (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Run directory to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Resume from the last checkpoint of the run directory.
    #[arg(long)]
    pub resume: bool,
    /// Number of threads that train networks in parallel, instead of the settings'; 0 takes one for each core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Device, instead of the settings'.
    #[arg(long, value_enum)]
    pub device: Option<DeviceKind>,
    /// Print progress as lines of JSON instead of a bar.
    #[arg(long)]
    pub json: bool,
}

/// Trains, and returns the lines to print.
///
/// # Errors
///
/// As [`train`].
#[expect(
    clippy::disallowed_methods,
    reason = "measures a duration that is only printed"
)]
pub fn run(args: &TrainArgs) -> Result<CommandOutput, LabError> {
    let mut config = TrainConfig::read(&args.config)?;
    config.threads = args.threads.unwrap_or(config.threads);
    config.device = args.device.unwrap_or(config.device);
    configure_process(config.threads);
    let began = Instant::now();
    let elapsed = || began.elapsed();
    let mut stdout = std::io::stdout();
    let out = args
        .json
        .then_some(&mut stdout as &mut (dyn std::io::Write + Send));
    let mut reporter = progress::ProgressReporter::new(&args.out, !args.json, out, &elapsed);
    let manifest = train(&config, &args.out, args.resume, &mut reporter)?;
    for warning in &manifest.warnings {
        eprintln!("warning: {warning}");
    }
    let mut lines = vec![];
    if !args.json {
        lines.push(format!(
            "{}: {} training, {} validation, {} test samples, {:.0} s",
            args.out.display(),
            manifest.samples[0],
            manifest.samples[1],
            manifest.samples[2],
            began.elapsed().as_secs_f64()
        ));
        for (name, f) in &manifest.metrics {
            lines.push(format!(
                "{name}: best epoch {}, validation mse {:.4}, cross-entropy {:.4}, direction {:.1} %, class {:.1} %",
                f.best.epoch + 1,
                f.validation_mse,
                f.validation_cross_entropy,
                100.0 * f.validation_direction,
                100.0 * f.validation_class
            ));
        }
    }
    Ok(CommandOutput { lines, good: true })
}
