//! The lab's command line: a thin front of the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use heqis_lab::LabError;

/// The host's workbench: fits models on market data and writes the bundles that the boards load.
#[derive(Debug, Parser)]
#[command(name = "heqis-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fit the two linear baselines and write their bundles.
    Baseline {
        /// Daily bars of one instrument, named after it, such as 002032.SZ.csv.
        #[arg(long, value_name = "CSV", default_value = "data/ashare/002032.SZ.csv")]
        data: PathBuf,
        /// Directory to write the bundles into.
        #[arg(long, value_name = "DIR", default_value = "models")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(lines) => {
            #[allow(
                clippy::print_stdout,
                reason = "a command line program answers on standard output"
            )]
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and returns the lines to show.
fn run(command: &Command) -> Result<Vec<String>, LabError> {
    match command {
        Command::Baseline { data, out } => {
            let dirs = heqis_lab::baseline(data, out)?;
            Ok(dirs
                .iter()
                .map(|dir| format!("wrote {}", dir.display()))
                .collect())
        }
    }
}
