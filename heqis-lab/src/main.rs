//! The lab's command line: a thin front of the library.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use heqis_lab::LabError;
use heqis_lab::data::Answer;

/// The host's workbench: fits models on market data and writes the bundles that the boards load.
#[derive(Debug, Parser)]
#[command(name = "heqis-lab", version)]
struct Cli {
    /// End when standard input does: whoever started this command is no more.
    #[arg(long, hide = true)]
    attended: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fit the two linear baselines and write their bundles.
    Baseline {
        /// Daily bars of one instrument, named after it [default: data/ashare/002032.SZ.csv, from which the shipped bundles
        /// are made].
        #[arg(long, value_name = "CSV", requires = "out")]
        data: Option<PathBuf>,
        /// Directory to write the bundles into [default: models, for the default data alone].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    Fetch(heqis_data::fetch::FetchArgs),
    Prepare(heqis_lab::prepare::PrepareArgs),
    Data(heqis_lab::data::DataArgs),
    Train(heqis_lab::train::TrainArgs),
    Serve(heqis_lab::serve::ServeArgs),
    Yardsticks(heqis_lab::yardsticks::YardstickArgs),
    Export(heqis_train::export::run::ExportArgs),
    Convert(heqis_lab::convert::ConvertArgs),
    Verify(heqis_lab::verify::VerifyArgs),
    Predict(heqis_lab::predict::PredictArgs),
    Backtest(heqis_lab::backtest::BacktestArgs),
    Select(heqis_lab::select::SelectArgs),
    Audit(heqis_lab::audit::AuditArgs),
    Parity(heqis_lab::parity::ParityArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.attended
        && let Err(error) = heqis_lab::serve::end_with_parent()
    {
        eprintln!("error: thread 'parent-watch': {error}");
        return ExitCode::FAILURE;
    }
    match run(&cli.command) {
        Ok(answer) => {
            let mut out = std::io::stdout().lock();
            // A reader that has seen enough, such as `head`, is no fault.
            let _ = answer
                .lines
                .iter()
                .try_for_each(|line| writeln!(out, "{line}"));
            match answer.good {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and returns what it answers.
fn run(command: &Command) -> Result<Answer, LabError> {
    let lines = match command {
        Command::Baseline { data, out } => {
            let path =
                |given: &Option<PathBuf>, default| given.clone().unwrap_or(PathBuf::from(default));
            let data = path(data, "data/ashare/002032.SZ.csv");
            let dirs = heqis_train::baseline(&data, &path(out, "models"))?;
            dirs.iter()
                .map(|dir| format!("wrote {}", dir.display()))
                .collect()
        }
        Command::Fetch(args) => heqis_data::fetch::run(args)?,
        Command::Prepare(args) => heqis_lab::prepare::run(args)?,
        Command::Data(args) => return heqis_lab::data::run(args),
        Command::Train(args) => return heqis_lab::train::run(args),
        Command::Serve(args) => heqis_lab::serve::run(args)?,
        Command::Yardsticks(args) => heqis_lab::yardsticks::run(args)?,
        Command::Export(args) => heqis_train::export::run::run(args)?,
        Command::Convert(args) => heqis_lab::convert::run(args)?,
        Command::Verify(args) => return heqis_lab::verify::run(args),
        Command::Predict(args) => heqis_lab::predict::run(args)?,
        Command::Backtest(args) => heqis_lab::backtest::answer(args)?,
        Command::Select(args) => heqis_lab::select::run(args)?,
        Command::Audit(args) => return heqis_lab::audit::run(args),
        Command::Parity(args) => return heqis_lab::parity::run(args),
    };
    Ok(Answer { lines, good: true })
}
