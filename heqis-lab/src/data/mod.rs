//! Inspection of a data set: its series, the rows of one symbol, and validation.
//!
//! - [`ls`]: the series and their spans.
//! - [`show`]: the rows of one symbol as a table, CSV, JSON or an SVG chart.
//! - [`check`]: every bar validated by the cleaner, every feature and label recomputed.
//! - [`plot`]: close and volume as SVG.

use clap::{Args, Subcommand};

use crate::error::LabError;
use crate::output::CommandOutput;

pub mod check;
pub mod ls;
pub mod plot;
pub mod show;

/// Inspect a prepared data set.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// The action.
    #[command(subcommand)]
    pub action: DataAction,
}

/// An action on a data set.
#[derive(Clone, Debug, Subcommand)]
pub enum DataAction {
    /// List the series with their spans, rows and gaps.
    Ls(ls::LsArgs),
    /// Show the rows of one symbol.
    Show(show::ShowArgs),
    /// Validate every stored row; the exit code is 1 when one breaks a rule.
    Check(check::CheckArgs),
}

/// Runs one action.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn run(args: &DataArgs) -> Result<CommandOutput, LabError> {
    match &args.action {
        DataAction::Ls(args) => ls::run(args),
        DataAction::Show(args) => show::run(args),
        DataAction::Check(args) => check::run(args),
    }
}
