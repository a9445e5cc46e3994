//! The lab's command line: a thin front of the library.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use heqis_base::arguments::{self, Renamed};
use heqis_lab::commands::Command;

/// Former names, accepted for one version.
const RENAMED: &[Renamed] = &[
    Renamed::Command {
        old: "yardsticks",
        new: "baselines",
    },
    Renamed::Option {
        of: Some("baselines"),
        old: "--beside",
        new: "--compare",
    },
    Renamed::Option {
        of: Some("export"),
        old: "--beside",
        new: "--compare",
    },
];

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

fn main() -> ExitCode {
    let given = match arguments::rename(std::env::args_os(), RENAMED) {
        Ok(given) => given,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    for warning in &given.warnings {
        eprintln!("warning: {warning}");
    }
    let cli = Cli::parse_from(given.list);
    if cli.attended
        && let Err(error) = heqis_lab::serve::end_with_parent()
    {
        eprintln!("error: thread 'parent-watch': {error}");
        return ExitCode::FAILURE;
    }
    match cli.command.run() {
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
