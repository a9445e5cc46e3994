//! The lab's command line: a thin front of the library.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use heqis_lab::commands::Command;

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
    let cli = Cli::parse();
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
