//! The subcommands, as functions that read the world they are handed and write to where they are told.
//!
//! Exit codes: 0 all is well, 1 something failed while working, 2 the topology or the command line is faulty.

pub mod check;
pub mod graph;
pub mod schema;
pub mod stages;

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
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  heqis-runtime check topologies/dual-board.toml
  heqis-runtime run topologies/dual-board.toml --node gateway
  heqis-runtime graph topologies/dual-board.toml --format dot | dot -Tsvg > graph.svg
  heqis-runtime stages cleaner

Exit codes: 0 all is well, 1 something failed while working, 2 the topology or the command line is faulty.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the stages of a topology that belong to this machine.
    Run(RunArgs),
    /// Checks a topology completely and shows every fault at once.
    Check(check::CheckArgs),
    /// Draws a topology.
    Graph(graph::GraphArgs),
    /// Lists the stage kinds, or the parameters of one.
    Stages(stages::StagesArgs),
    /// Prints the JSON schema of topology files, for editors.
    Schema,
}

/// What to run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Runs the stages of this node only. Without it every node runs in this process.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}

/// Which topology, and what is laid over it.
#[derive(Clone, Debug, Args)]
pub struct TopologyArgs {
    /// Topology file.
    pub file: PathBuf,
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
        request.profile = self.profile.clone();
        request.overrides = Override::from_environment(world.overrides.as_deref().unwrap_or(""));
        request
            .overrides
            .extend(self.overrides.iter().map(Override::set));
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

/// Draws faults as `world` likes them.
fn draw(faults: &Faults, world: &World, err: &mut dyn Write) -> io::Result<()> {
    err.write_all(report::render(faults, world.look, world.width).as_bytes())
}
