//! `heqis-lab export`: from a run directory to bundles.

use heqis_train::export::run::{self as export, ExportArgs};

use crate::error::LabError;
use crate::output::CommandOutput;

/// Writes the bundles, and returns a line for each.
///
/// # Errors
///
/// As [`export::run`].
pub fn run(args: &ExportArgs) -> Result<CommandOutput, LabError> {
    Ok(export::run(args)?.into())
}
