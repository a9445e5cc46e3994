//! `heqis-runtime graph`: a topology as a drawing.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use heqis_actors::Registry;

use super::{FAULTY, OK, TopologyArgs, World};
use crate::topology::graph::{dot, mermaid};

/// Language of the drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Mermaid, which Markdown viewers draw.
    #[default]
    Mermaid,
    /// Dot, for Graphviz.
    Dot,
}

/// Arguments of `graph`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  heqis-runtime graph topologies/dual-board.toml
  heqis-runtime graph topologies/dual-board.toml --format dot | dot -Tsvg > graph.svg")]
pub struct GraphArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Select the language of the drawing.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Draws a topology onto `out`, or its faults onto `err`. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written to.
pub fn graph(
    args: &GraphArgs,
    world: &World,
    registry: &Registry,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Some(plan) = args.topology.load(world, registry, err)? else {
        return Ok(FAULTY);
    };
    let text = match args.format {
        Format::Mermaid => mermaid(&plan),
        Format::Dot => dot(&plan),
    };
    out.write_all(text.as_bytes()).map(|()| OK)
}
