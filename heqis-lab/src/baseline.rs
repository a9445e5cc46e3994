//! `heqis-lab baseline`: the two linear models as bundles.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::LabError;
use crate::output::CommandOutput;

/// The bars from which the shipped bundles are made, and the directory of these bundles.
const SHIPPED: (&str, &str) = ("data/ashare/002032.SZ.csv", "models");

/// Fit the two linear baselines and write their bundles.
#[derive(Args, Clone, Debug)]
pub struct BaselineArgs {
    /// Daily bars of one instrument, named after it [default: data/ashare/002032.SZ.csv, from which the shipped bundles
    /// are made].
    #[arg(long, value_name = "CSV", requires = "out")]
    pub data: Option<PathBuf>,
    /// Directory to write the bundles into [default: models, for the default data alone].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Fits and writes the bundles, and returns a line for each.
///
/// # Errors
///
/// [`LabError::Train`] when the bars cannot be read, are too few, or a bundle cannot be written.
pub fn run(args: &BaselineArgs) -> Result<CommandOutput, LabError> {
    let data = args.data.as_deref().unwrap_or(Path::new(SHIPPED.0));
    let out = args.out.as_deref().unwrap_or(Path::new(SHIPPED.1));
    let dirs = heqis_train::baseline(data, out)?;
    let lines: Vec<String> = dirs
        .iter()
        .map(|dir| format!("wrote {}", dir.display()))
        .collect();
    Ok(lines.into())
}
