//! `heqis-lab fetch`: market data from the vendor into tables.

use heqis_fetch::FetchArgs;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Fetches, and returns the summary.
///
/// # Errors
///
/// As [`heqis_fetch::run`].
pub fn run(args: &FetchArgs) -> Result<CommandOutput, LabError> {
    Ok(heqis_fetch::run(args)?.into())
}
