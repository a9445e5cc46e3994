//! `heqis-lab trees`: boosted trees of a pool as a bundle.

use std::path::PathBuf;

use clap::Args;
use heqis_train::train::TrainConfig;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Fit boosted trees on the data of a training's settings, and write their bundle.
#[derive(Args, Clone, Debug)]
pub struct TreesArgs {
    /// Settings of a training (TOML), of which the data and the spans are used.
    #[arg(long, value_name = "TOML")]
    pub config: PathBuf,
    /// Directory to write the bundle into.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub out: PathBuf,
    /// Name of the bundle.
    #[arg(long, value_name = "NAME", default_value = "trees-direction")]
    pub name: String,
}

/// Fits and writes the bundle, and returns a line for it.
///
/// # Errors
///
/// As [`heqis_train::trees::bundle::write`].
pub fn run(args: &TreesArgs) -> Result<CommandOutput, LabError> {
    let config = TrainConfig::read(&args.config)?;
    let dir = heqis_train::trees::bundle::write(&config, &args.out, &args.name)?;
    Ok(vec![format!("wrote {}", dir.display())].into())
}
