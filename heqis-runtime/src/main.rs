//! The program `heqis-runtime`: the command line with the shipped stage kinds.

use std::process::ExitCode;

fn main() -> ExitCode {
    heqis_runtime::main_with(heqis_runtime::registry())
}
