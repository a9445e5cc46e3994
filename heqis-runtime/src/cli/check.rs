//! `heqis-runtime check`: every fault of a topology, drawn or as JSON.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use heqis_actors::Registry;

use super::{FAULTY, OK, TopologyArgs, World, draw, draw_warnings};
use crate::topology::{Plan, load, report};

/// Format of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Drawings, on standard error.
    #[default]
    Text,
    /// A JSON array, on standard output; empty without faults and warnings.
    Json,
}

/// Arguments of `check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  heqis-runtime check topologies/dual-board.toml
  heqis-runtime check topologies/dual-board.toml --set nodes.compute.address=10.0.0.2
  heqis-runtime check topologies/dual-board.toml --node gateway --format json

Without --profile every profile of the file is checked too.
Exit codes: 0 no faults, with or without warnings, 2 faults.")]
pub struct CheckArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Check the files of this node only: those of other nodes may be on other machines.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Select the format of faults.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Checks a topology. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written to.
pub fn check(
    args: &CheckArgs,
    world: &World,
    registry: &Registry,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut request = args.topology.request(world);
    request.node.clone_from(&args.node);
    request.every_profile = true;
    match (load(&request, registry), args.format) {
        (Ok(plan), Format::Text) => {
            draw_warnings(&plan, world, err)?;
            writeln!(out, "{}", summary(&plan)).map(|()| OK)
        }
        (Ok(plan), Format::Json) => out
            .write_all(report::json(&plan.warnings).as_bytes())
            .map(|()| OK),
        (Err(faults), Format::Text) => draw(&faults, world, err).map(|()| FAULTY),
        (Err(faults), Format::Json) => out
            .write_all(report::json(&faults).as_bytes())
            .map(|()| FAULTY),
    }
}

fn summary(plan: &Plan) -> String {
    let (nodes, stages, edges) = (plan.nodes.len(), plan.stages.len(), plan.edges.len());
    let bridged = plan.bridged().count();
    let plural =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}: no faults in {}, {} and {} ({bridged} between nodes)",
        plan.name,
        plural(nodes, "node"),
        plural(stages, "stage"),
        plural(edges, "edge"),
    )
}
