//! The stand-ins for the vendors' libraries, compiled when a test needs them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where a library that is compiled for this test binary lies; test binaries run at the same time, each has its own.
fn place(name: &str) -> PathBuf {
    let file = format!("lib{name}_{}.so", env!("CARGO_CRATE_NAME"));
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)
}

/// The directory of `heqis-infer`, whichever crate's tests these are.
fn infer() -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above
        .find_map(|dir| Some(dir.join("heqis-infer")).filter(|found| found.is_dir()))
        .unwrap()
}

/// A file of this directory.
pub(crate) fn source(name: &str) -> PathBuf {
    infer().join("tests/stand_in").join(name)
}

/// Compiles a stand-in of C or C++ under a name of its own, with `-D` for each of `defines`.
pub(crate) fn compile_from(file: &str, name: &str, defines: &[&str]) -> PathBuf {
    let (variable, otherwise) = match file.ends_with(".cpp") {
        true => ("CXX", "c++"),
        false => ("CC", "cc"),
    };
    let library = place(name);
    let compiler = std::env::var_os(variable).unwrap_or_else(|| otherwise.into());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .args(defines.iter().map(|define| format!("-D{define}")))
        .arg(source(file))
        .arg("-lm")
        .status()
        .unwrap();
    assert!(status.success());
    library
}

/// Compiles the stand-in for Rockchip's runtime.
pub(crate) fn compile(name: &str, defines: &[&str]) -> PathBuf {
    compile_from("rknnrt.c", name, defines)
}

/// Compiles the shim over TensorRT against the headers of some directories, as on a board.
pub(crate) fn shim(name: &str, includes: &[PathBuf]) -> PathBuf {
    let library = place(name);
    let script = infer().join("tensorrt/build.sh");
    let output = Command::new(script)
        .arg(&library)
        .args(includes)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "{words}");
    library
}

/// The stand-in for Rockchip's runtime as it is, compiled once for all tests of a file.
pub(crate) fn stand_in() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| compile("rknnrt_stand_in", &[]))
}
