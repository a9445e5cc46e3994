//! The lab's command line over the library.

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
    Renamed::Option {
        of: Some("select"),
        old: "--believe-from",
        new: "--min-deflated-sharpe",
    },
    Renamed::Option {
        of: Some("audit"),
        old: "--most-errors",
        new: "--max-errors",
    },
    Renamed::Option {
        of: Some("audit"),
        old: "--most-skill",
        new: "--max-correlation",
    },
];

/// Fit models on market data and write the bundles that the boards load.
#[derive(Debug, Parser)]
#[command(name = "heqis-lab", version)]
struct Cli {
    /// Exit at the end of standard input, which means that the parent process has ended.
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
            // A reader that stops early, such as `head`, is not a fault.
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
