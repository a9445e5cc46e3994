//! `heqis-lab fetch`: market data from the vendor into tables.

use heqis_data::fetch::{self, FetchArgs};

use crate::answer::Answer;
use crate::error::LabError;

/// Fetches, and returns the summary.
///
/// # Errors
///
/// As [`fetch::run`].
pub fn run(args: &FetchArgs) -> Result<Answer, LabError> {
    Ok(fetch::run(args)?.into())
}
