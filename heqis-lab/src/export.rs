//! `heqis-lab export`: from a run directory to bundles.

use heqis_train::export::run::{self as export, ExportArgs};

use crate::answer::Answer;
use crate::error::LabError;

/// Writes the bundles, and returns a line for each.
///
/// # Errors
///
/// As [`export::run`].
pub fn run(args: &ExportArgs) -> Result<Answer, LabError> {
    Ok(export::run(args)?.into())
}
