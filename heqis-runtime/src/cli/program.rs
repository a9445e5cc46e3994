//! The command line of the runtime: reads arguments and environment, and passes both to the library.

#![expect(
    clippy::disallowed_methods,
    reason = "the body of `main`: environment and working directory enter here"
)]

use std::io::{self, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::Parser;
use heqis_actors::{Registry, TerminationSignals};
use tracing_subscriber::EnvFilter;

use super::{Cli, Command, LogFormat, World};
use crate::cli;
use crate::run::{self, Options, RunError, Service};
use crate::topology::report::Look;

/// Columns of drawings when the terminal does not state its width.
const WIDTH: usize = 100;

/// Runs the command line of `heqis-runtime` with the stage kinds of `registry`, and returns the exit code. A program with kinds of
/// its own consists of one call:
///
/// ```no_run
/// # use heqis_actors::{BuildContext, Next, Nothing, Payload, Source, StageError};
/// # struct Mine;
/// # impl Source for Mine {
/// #     type Config = ();
/// #     type Out = Nothing;
/// #     const KIND: &'static str = "mine";
/// #     const ABOUT: &'static str = "nothing";
/// #     const REPLAYABLE: bool = true;
/// #     fn build(_: &(), _: &BuildContext) -> Result<Self, StageError> {
/// #         Ok(Self)
/// #     }
/// #     fn next(&mut self) -> Result<Next<Nothing>, StageError> {
/// #         Ok(Next::End)
/// #     }
/// # }
/// fn main() -> std::process::ExitCode {
///     heqis_runtime::main_with(heqis_runtime::registry().with_source::<Mine>())
/// }
/// ```
///
/// The program then has the commands `check`, `certs`, `graph`, `stages`, `schema` and `journal`, runs topologies, and starts itself again for
/// each node of a run without `--node`.
#[must_use]
pub fn main_with(registry: Registry) -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout();
    let mut err = io::stderr();
    match dispatch(&cli, &registry, &mut out, &mut err) {
        Ok(code) => ExitCode::from(code),
        // A reader such as `head` that closes its end is not a failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "heqis-runtime: {error}");
            ExitCode::from(cli::FAILED)
        }
    }
}

fn dispatch(
    cli: &Cli,
    registry: &Registry,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let world = world()?;
    let Some(command) = &cli.command else {
        return run(&cli.run, &world, registry, err);
    };
    match command {
        Command::Certs(args) => cli::certs::certs(args, &world, registry, out, err),
        Command::Check(args) => cli::check::check(args, &world, registry, out, err),
        Command::Graph(args) => cli::graph::graph(args, &world, registry, out, err),
        Command::Journal(args) => cli::journal::journal(args, &world, out, err),
        Command::Stages(args) => cli::stages::stages(args, &world, registry, out, err),
        Command::Schema => cli::schema::schema(registry, out),
    }
}

fn run(
    args: &cli::RunArgs,
    world: &World,
    registry: &Registry,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Some(topology) = args.topology() else {
        return Ok(cli::FAULTY);
    };
    let Some(plan) = topology.load(world, registry, err)? else {
        return Ok(cli::FAULTY);
    };
    log_to_stderr(args.log);
    // The parent of a child process has logged them.
    for warning in plan.warnings.list.iter().filter(|_| !args.supervised) {
        let (number, name) = (warning.code.number(), warning.code.name());
        let (line, column) = plan.warnings.sources.line_column(warning.place);
        let file = plan.warnings.sources.name(warning.place);
        tracing::warn!(code = number, name, at = %format_args!("{file}:{line}:{column}"), "{}", warning.message);
    }
    let options = Options {
        node: args.node.clone(),
        supervised: args.supervised,
        json: args.json,
        child_arguments: args.for_child(),
        machine: args.machine.clone(),
        service: Service::read(|name| std::env::var_os(name), std::process::id()),
    };
    // Held to the end of the process: a signal after the last report must not change its exit status.
    let signals = ManuallyDrop::new(TerminationSignals::watch()?);
    match run::run(&plan, &options, &signals) {
        Ok(true) => Ok(cli::OK),
        Ok(false) => Ok(cli::FAILED),
        Err(error) => {
            writeln!(err, "heqis-runtime: {error}")?;
            Ok(if matches!(error, RunError::UnknownNode { .. }) {
                cli::FAULTY
            } else {
                cli::FAILED
            })
        }
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    // A peer causes any number of their lines. What rustls says is in the reason of a refusal, at a limited rate.
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let mut filter = filter;
    for noisy in ["rustls", "actix_http"] {
        if !asked.contains(noisy)
            && let Ok(off) = format!("{noisy}=off").parse()
        {
            filter = filter.add_directive(off);
        }
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A node whose parent was killed logs to a broken pipe. An error message about that, on the same pipe, would
        // panic in the thread that is about to drain.
        .log_internal_errors(false);
    match format {
        LogFormat::Human => log
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn world() -> io::Result<World> {
    // https://no-color.org: any value that is not empty.
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let look = if io::stderr().is_terminal() && !no_colour {
        Look::Colour
    } else {
        Look::Plain
    };
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    Ok(World {
        directory: std::env::current_dir()?,
        overrides: std::env::var("HEQIS_SET").ok(),
        look,
        width: columns.unwrap_or(WIDTH).clamp(40, 400),
    })
}
