//! All commands in one table. Each is a module with its arguments and a function `run(&Args) -> Result<CommandOutput, LabError>`.

use clap::Subcommand;
use heqis_fetch::FetchArgs;
use heqis_train::export::run::ExportArgs;

use crate::audit::{self, AuditArgs};
use crate::backtest::{self, BacktestArgs};
use crate::baseline::{self, BaselineArgs};
use crate::baselines::{self, BaselinesArgs};
use crate::convert::{self, ConvertArgs};
use crate::data::{self, DataArgs};
use crate::error::LabError;
use crate::export;
use crate::fetch;
use crate::output::CommandOutput;
use crate::parity::{self, ParityArgs};
use crate::predict::{self, PredictArgs};
use crate::prepare::{self, PrepareArgs};
use crate::search::{self, SearchArgs};
use crate::select::{self, SelectArgs};
use crate::serve::{self, ServeArgs};
use crate::tear_sheet::{self, TearSheetArgs};
use crate::train::{self, TrainArgs};
use crate::trees::{self, TreesArgs};
use crate::verify::{self, VerifyArgs};
use crate::walk_forward::{self, WalkForwardArgs};

/// A command with its arguments.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the arguments say what each command does")]
pub enum Command {
    Baseline(BaselineArgs),
    Fetch(FetchArgs),
    Prepare(PrepareArgs),
    Data(DataArgs),
    Train(TrainArgs),
    Serve(ServeArgs),
    Baselines(BaselinesArgs),
    Export(ExportArgs),
    Convert(ConvertArgs),
    Verify(VerifyArgs),
    Predict(PredictArgs),
    Backtest(BacktestArgs),
    TearSheet(TearSheetArgs),
    Select(SelectArgs),
    Search(SearchArgs),
    Audit(AuditArgs),
    Parity(ParityArgs),
    Trees(TreesArgs),
    WalkForward(WalkForwardArgs),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// The error of the command.
    pub fn run(&self) -> Result<CommandOutput, LabError> {
        match self {
            Self::Baseline(args) => baseline::run(args),
            Self::Fetch(args) => fetch::run(args),
            Self::Prepare(args) => prepare::run(args),
            Self::Data(args) => data::run(args),
            Self::Train(args) => train::run(args),
            Self::Serve(args) => serve::run(args),
            Self::Baselines(args) => baselines::run(args),
            Self::Export(args) => export::run(args),
            Self::Convert(args) => convert::run(args),
            Self::Verify(args) => verify::run(args),
            Self::Predict(args) => predict::run(args),
            Self::Backtest(args) => backtest::run(args),
            Self::TearSheet(args) => tear_sheet::run(args),
            Self::Select(args) => select::run(args),
            Self::Search(args) => search::run(args),
            Self::Audit(args) => audit::run(args),
            Self::Parity(args) => parity::run(args),
            Self::Trees(args) => trees::run(args),
            Self::WalkForward(args) => walk_forward::run(args),
        }
    }
}
