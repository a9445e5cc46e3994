//! `heqis-lab fetch`: market data from the vendor into tables.

use heqis_data::fetch::{self, FetchArgs};

use crate::error::LabError;
use crate::output::CommandOutput;

/// Fetches, and returns the summary.
///
/// # Errors
///
/// As [`fetch::run`].
pub fn run(args: &FetchArgs) -> Result<CommandOutput, LabError> {
    Ok(fetch::run(args)?.into())
}
