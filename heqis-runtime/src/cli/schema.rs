//! `heqis-runtime schema`: the JSON schema of topology files.

use std::io::{self, Write};

use heqis_actors::Registry;

use super::OK;
use crate::topology::editor_schema;

/// The schema as it is printed and shipped.
#[must_use]
pub fn text(registry: &Registry) -> String {
    format!("{:#}\n", editor_schema(registry))
}

/// Prints the schema. Returns the exit code.
///
/// # Errors
/// When `out` cannot be written to.
pub fn schema(registry: &Registry, out: &mut dyn Write) -> io::Result<u8> {
    out.write_all(text(registry).as_bytes()).map(|()| OK)
}
