//! Looking into a data set: what is stored, one symbol's rows, and whether all of it holds.
//!
//! - [`ls`]: the series and their spans.
//! - [`show`]: the rows of one symbol as a table, CSV, JSON or a picture.
//! - [`check`]: every bar judged again by the cleaner, every feature and label computed again.
//! - [`plot`]: close and volume as SVG.

use clap::{Args, Subcommand};

use crate::answer::Answer;
use crate::error::LabError;

pub mod check;
pub mod ls;
pub mod plot;
pub mod show;

/// Look into a prepared data set.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DataAction,
}

/// What to do with a data set.
#[derive(Clone, Debug, Subcommand)]
pub enum DataAction {
    /// List the series with their spans, rows and gaps.
    Ls(ls::LsArgs),
    /// Show the rows of one symbol.
    Show(show::ShowArgs),
    /// Judge every stored row again; the exit code is 1 when one breaks a rule.
    Check(check::CheckArgs),
}

/// Runs one action.
///
/// # Errors
///
/// [`LabError`] when the data set cannot be read.
pub fn run(args: &DataArgs) -> Result<Answer, LabError> {
    match &args.action {
        DataAction::Ls(args) => ls::run(args),
        DataAction::Show(args) => show::run(args),
        DataAction::Check(args) => check::run(args),
    }
}
