//! The subcommands, as functions that read the world they are handed and write to where they are told.
//!
//! Exit codes: 0 all is well, 1 something failed while working, 2 the topology or the command line is faulty.

pub mod check;
pub mod graph;
pub mod journal;
pub mod schema;
pub mod stages;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand};
use heqis_actors::Registry;

use crate::topology::report::{self, Look};
use crate::topology::{Faults, Override, Plan, Request, load};

/// Exit code of a run without faults.
pub const OK: u8 = 0;
/// Exit code when something failed while working.
pub const FAILED: u8 = 1;
/// Exit code when the topology or the command line is faulty.
pub const FAULTY: u8 = 2;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs, checks and draws HEQIS topologies.
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
  heqis-runtime graph topologies/dual-board.toml --format dot | dot -Tsvg > graph.svg
  heqis-runtime stages cleaner
  heqis-runtime journal ls out/dual-board/decisions.jsonl

Exit codes: 0 all is well, 1 something failed while working, 2 the topology or the command line is faulty.
RUST_LOG chooses what is logged, such as info or heqis_actors=debug.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks a topology completely and shows every fault at once.
    Check(check::CheckArgs),
    /// Draws a topology.
    Graph(graph::GraphArgs),
    /// Looks at a journal's files, checks, exports and prunes them.
    Journal(journal::JournalArgs),
    /// Lists the stage kinds, or the parameters of one.
    Stages(stages::StagesArgs),
    /// Prints the JSON schema of topology files, for editors.
    Schema,
}

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The topology to run.
    #[arg(long, value_name = "FILE", required = true)]
    pub topology: Option<PathBuf>,
    /// What is laid over it.
    #[command(flatten)]
    pub overlay: OverlayArgs,
    /// Runs the stages of this node only, in this process. Without it every node runs on this machine, as a process
    /// each, with real sockets between them.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// How log lines are written, on standard error.
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub log: LogFormat,
    /// Prints the summary as JSON.
    #[arg(long)]
    pub json: bool,
    /// Standard output is read by the process that started this one, as JSON lines.
    #[arg(long, hide = true, requires = "node")]
    pub supervised: bool,
    /// Root of the files in which the kernel shows the machine; a tree of files stands for a board.
    #[arg(long, hide = true, value_name = "DIR", default_value = "/")]
    pub machine: PathBuf,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Human,
    /// An object a line.
    Json,
}

impl RunArgs {
    /// The topology with what is laid over it; `None` when none was named, which clap rules out for a run.
    #[must_use]
    pub fn topology(&self) -> Option<TopologyArgs> {
        Some(TopologyArgs {
            file: self.topology.clone()?,
            overlay: self.overlay.clone(),
        })
    }

    /// Arguments with which a child process reads the same plan and logs the same way.
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

/// Which topology, and what is laid over it.
#[derive(Clone, Debug, Args)]
pub struct TopologyArgs {
    /// Topology file.
    pub file: PathBuf,
    /// What is laid over it.
    #[command(flatten)]
    pub overlay: OverlayArgs,
}

/// What is laid over a topology.
#[derive(Clone, Debug, Args)]
pub struct OverlayArgs {
    /// Lays a profile of the file over it.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Changes one value, such as nodes.compute.address=10.0.0.2 or 'edges.ring->engine.max_age=20ms'. Repeatable;
    /// the variable HEQIS_SET holds the same, separated by semicolons, and yields to this.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub overrides: Vec<String>,
}

/// The world as the subcommands see it.
#[derive(Clone, Debug)]
pub struct World {
    /// Where relative paths start.
    pub directory: PathBuf,
    /// Value of `HEQIS_SET`.
    pub overrides: Option<String>,
    /// How faults are drawn.
    pub look: Look,
    /// Columns of the terminal.
    pub width: usize,
}

impl TopologyArgs {
    /// The request that these arguments stand for.
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

/// Draws the warnings of a plan, if it has any, as `world` likes them.
fn draw_warnings(plan: &Plan, world: &World, err: &mut dyn Write) -> io::Result<()> {
    match plan.warnings.list.is_empty() {
        true => Ok(()),
        false => draw(&plan.warnings, world, err),
    }
}

/// Draws faults as `world` likes them.
fn draw(faults: &Faults, world: &World, err: &mut dyn Write) -> io::Result<()> {
    err.write_all(report::render(faults, world.look, world.width).as_bytes())
}
