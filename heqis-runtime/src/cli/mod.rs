//! The subcommands, as functions whose inputs and output streams are parameters.
//!
//! Exit codes: 0 success, 1 a failure while running, 2 a faulty topology or command line.

pub mod certs;
pub mod check;
pub mod graph;
pub mod journal;
mod program;
pub mod schema;
pub mod stages;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand};
use heqis_actors::Registry;

pub use program::main_with;

use crate::topology::report::{self, Look};
use crate::topology::{Faults, Override, Plan, Request, load};

/// Exit code of a run without faults.
pub const OK: u8 = 0;
/// Exit code of a failure while running.
pub const FAILED: u8 = 1;
/// Exit code when the topology or the command line is faulty.
pub const FAULTY: u8 = 2;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Run, check and draw HEQIS topologies.
#[derive(Debug, Parser)]
#[command(name = "heqis-runtime", version, styles = STYLES, after_help = EXAMPLES)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do instead of running a topology.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  heqis-runtime --topology topologies/dual-board.toml                  every node, as processes of this machine
  heqis-runtime --topology topologies/dual-board.toml --node gateway   one node, in this process
  heqis-runtime --topology topologies/dual-board.toml --set stages.market.params.speed=86400.0
  heqis-runtime check topologies/dual-board.toml
  heqis-runtime certs issue topologies/dual-board.toml
  heqis-runtime graph topologies/dual-board.toml --format dot | dot -Tsvg > graph.svg
  heqis-runtime stages cleaner
  heqis-runtime journal ls out/dual-board/decisions.jsonl

Exit codes: 0 success, 1 a failure while running, 2 a faulty topology or command line.
RUST_LOG selects what is logged, such as info or heqis_actors=debug.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a topology completely and show every fault at once.
    Check(check::CheckArgs),
    /// Make, renew, revoke and list the certificates of the nodes.
    Certs(certs::CertsArgs),
    /// Draw a topology.
    Graph(graph::GraphArgs),
    /// List, check, export and prune the files of a journal.
    Journal(journal::JournalArgs),
    /// List the stage kinds, or the parameters of one.
    Stages(stages::StagesArgs),
    /// Print the JSON schema of topology files, for editors.
    Schema,
}

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Run this topology.
    #[arg(long, value_name = "FILE", required = true)]
    pub topology: Option<PathBuf>,
    /// Its overlay.
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// Run the stages of this node only, in this process. Without it every node runs on this machine, each as a
    /// process, with real sockets between them.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Select the format of log lines on standard error.
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub log: LogFormat,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write JSON lines for the parent process to standard output.
    #[arg(long, hide = true, requires = "node")]
    pub supervised: bool,
    /// Read the files that describe the machine below this root; a tree of files stands for a board.
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    pub machine: PathBuf,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text.
    Human,
    /// A JSON object per line.
    Json,
}

impl RunArgs {
    /// Returns the topology with its overlay; `None` when none was named, which clap rules out for a run.
    #[must_use]
    pub fn topology(&self) -> Option<TopologyArgs> {
        Some(TopologyArgs {
            file: self.topology.clone()?,
            overlay: self.overlay.clone(),
        })
    }

    /// Returns the arguments with which a child process reads the same plan and logs in the same format.
    #[must_use]
    pub fn for_child(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut pair = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        if let Some(file) = &self.topology {
            pair("--topology", file.into());
        }
        if let Some(profile) = &self.overlay.profile {
            pair("--profile", profile.into());
        }
        for change in &self.overlay.overrides {
            pair("--set", change.into());
        }
        pair("--machine", self.machine.clone().into());
        pair(
            "--log",
            if self.log == LogFormat::Json {
                "json"
            } else {
                "human"
            }
            .into(),
        );
        arguments
    }
}

/// A topology and its overlay.
#[derive(Clone, Debug, Args)]
pub struct TopologyArgs {
    /// The topology file.
    pub file: PathBuf,
    /// Its overlay.
    #[command(flatten)]
    pub overlay: OverlayArgs,
}

/// The overlay of a topology.
#[derive(Clone, Debug, Args)]
pub struct OverlayArgs {
    /// Apply this profile of the file.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Change one value, such as nodes.compute.address=10.0.0.2 or 'edges.ring->engine.max_age=20ms'. Repeatable; wins
    /// over the variable HEQIS_SET, which holds the same, separated by semicolons.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
}

/// The environment of the subcommands.
#[derive(Clone, Debug)]
pub struct World {
    /// Where relative paths start.
    pub directory: PathBuf,
    /// Value of `HEQIS_SET`.
    pub overrides: Option<String>,
    /// Style of drawn faults.
    pub look: Look,
    /// Columns of the terminal.
    pub width: usize,
}

impl TopologyArgs {
    /// Returns the request that these arguments describe.
    #[must_use]
    pub fn request(&self, world: &World) -> Request {
        let mut request = Request::new(&self.file, &world.directory);
        request.profile = self.overlay.profile.clone();
        request.overrides = Override::from_environment(world.overrides.as_deref().unwrap_or(""));
        request
            .overrides
            .extend(self.overlay.overrides.iter().map(Override::set));
        request
    }

    /// Loads the topology and draws its faults, if it has any, onto `err`.
    ///
    /// # Errors
    /// When `err` cannot be written to.
    pub fn load(
        &self,
        world: &World,
        registry: &Registry,
        err: &mut dyn Write,
    ) -> io::Result<Option<Plan>> {
        match load(&self.request(world), registry) {
            Ok(plan) => Ok(Some(plan)),
            Err(faults) => draw(&faults, world, err).map(|()| None),
        }
    }
}

/// Draws the warnings of a plan, if it has any.
fn draw_warnings(plan: &Plan, world: &World, err: &mut dyn Write) -> io::Result<()> {
    match plan.warnings.list.is_empty() {
        true => Ok(()),
        false => draw(&plan.warnings, world, err),
    }
}

/// Draws faults.
fn draw(faults: &Faults, world: &World, err: &mut dyn Write) -> io::Result<()> {
    err.write_all(report::render(faults, world.look, world.width).as_bytes())
}
