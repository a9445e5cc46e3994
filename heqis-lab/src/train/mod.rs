//! Training: from a data set to the weights of generators that played against discriminators.
//!
//! - [`config`] and [`spec`]: the settings, one TOML file.
//! - [`corpus`]: a data set as samples: scaled rows, windows, targets, spans.
//! - [`device`]: the processor, or a GPU.
//! - [`loss`]: the losses as plain functions on tensors.
//! - [`schedule`]: pair weights, learning rates, early stopping.
//! - [`optimiser`]: AdamW with one clip for a whole network.
//! - [`random`]: random numbers by purpose and epoch.
//! - `crew`: the threads.
//! - `passes`: a generator alone, a student with its teacher, the encoder.
//! - `game`: discriminators' turn and generators' turn, over what `candidate` puts before a discriminator.
//! - [`trainer`]: phases and epochs in their order.
//! - [`state`] and [`tensors`]: everything that an epoch hands to the next, and its file.
//! - [`mod@run`]: the run directory, written and read.
//! - [`predict`]: what a trained generator says, and how good it is.
//! - [`curves`], [`progress`] and `plots`: what is told on the way.
//!
//! ```text
//! prepared data set ▸ corpus ▸ encoder alone ▸ each generator alone ▸ the game ▸ run directory
//! ```
//!
//! What is *not* here: the networks ([`crate::nets`]), yardsticks, export, and anything that looks at the test span.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use crate::data::Answer;
use crate::error::LabError;

mod candidate;
pub mod config;
pub mod corpus;
mod crew;
pub mod curves;
pub mod device;
mod game;
pub mod loss;
pub mod optimiser;
mod passes;
mod plots;
pub mod predict;
pub mod progress;
pub mod random;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod state;
pub mod tensors;
pub mod trainer;

pub use config::TrainConfig;
pub use corpus::{Corpus, Part};
pub use device::DeviceKind;
pub use run::{Stage, TrainedGenerator, TrainedRun};
pub use trainer::train;

/// Train generators against discriminators on a prepared data set.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// Settings (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Run directory to write.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Go on behind the last checkpoint of the run directory.
    #[arg(long)]
    pub resume: bool,
    /// Threads on which networks learn side by side, instead of the settings' number; 0 takes one for each core.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// What computes, instead of the settings' device.
    #[arg(long, value_enum)]
    pub device: Option<DeviceKind>,
    /// Tell progress as lines of JSON instead of a bar.
    #[arg(long)]
    pub json: bool,
}

/// Settles how this process computes beside its trainings: with so many threads, 0 for one a core, and with memory that is
/// kept.
pub(crate) fn settle_process(threads: usize) {
    crate::nets::memory::keep_freed();
    // Fails only when a pool is there already, which then stays.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global();
}

/// Trains, and returns the lines to show.
///
/// # Errors
///
/// As [`train`].
pub fn run(args: &TrainArgs) -> Result<Answer, LabError> {
    let mut config = TrainConfig::read(&args.config)?;
    config.threads = args.threads.unwrap_or(config.threads);
    config.device = args.device.unwrap_or(config.device);
    settle_process(config.threads);
    let began = Instant::now();
    let elapsed = || began.elapsed();
    let mut stdout = std::io::stdout();
    let out = args
        .json
        .then_some(&mut stdout as &mut (dyn std::io::Write + Send));
    let mut reporter = progress::Reporter::new(&args.out, !args.json, out, &elapsed);
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
        for (name, f) in &manifest.figures {
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
    Ok(Answer { lines, good: true })
}
