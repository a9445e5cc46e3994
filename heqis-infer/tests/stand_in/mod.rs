//! The stand-in for Rockchip's runtime, compiled when a test needs it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Compiles the stand-in under a name of its own, with `-D` for each of `defines`.
pub(crate) fn compile(name: &str, defines: &[&str]) -> PathBuf {
    // Test binaries run at the same time, so each has its own file.
    let file = format!("lib{name}_{}.so", env!("CARGO_CRATE_NAME"));
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_in/rknnrt.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(source)
        .arg("-lm")
        .status()
        .unwrap();
    assert!(status.success());
    library
}

/// The stand-in as it is, compiled once for all tests of a file.
pub(crate) fn stand_in() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| compile("rknnrt_stand_in", &[]))
}
