//! Tests that need something a machine may lack: a data folder, a vendor's library, network namespaces.
//!
//! Rust's own harness knows "ignored" at compile time only, so that a test which returns early counts as passed. A test
//! target with `harness = false` and this `main` decides at run time: a test whose need is missing counts as ignored, and
//! the reason is printed as a line that begins with `SKIPPED: `.
//!
//! ```no_run
//! use heqis_test_harness::{Group, run, tests, variable};
//!
//! fn reads_the_folder() {
//!     assert!(std::path::Path::new(&std::env::var("MY_FOLDER").expect("a folder")).is_dir());
//! }
//!
//! fn adds() {
//!     assert_eq!(1 + 1, 2);
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run([
//!         Group::always(tests![adds]),
//!         Group::needs(variable("MY_FOLDER", "the folder"), tests![reads_the_folder]),
//!     ])
//! }
//! ```
//!
//! The arguments are those of Rust's harness. `--include-ignored` runs the tests whose needs are missing too: they fail.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A test: its name and its function, which panics on failure.
pub type Test = (&'static str, fn());

/// Lists functions as tests under their own names.
#[macro_export]
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        vec![$((stringify!($test), $test as fn())),*]
    };
}

/// Tests with the same need.
#[derive(Debug)]
pub struct Group {
    /// What this machine lacks for the tests, as a sentence for the reader; `None` where they run.
    missing: Option<String>,
    tests: Vec<Test>,
}

impl Group {
    /// Tests that run everywhere.
    pub fn always(tests: Vec<Test>) -> Self {
        Self::needs(None, tests)
    }

    /// Tests that are ignored where something is `missing`.
    pub fn needs(missing: Option<String>, tests: Vec<Test>) -> Self {
        Self { missing, tests }
    }
}

/// Returns what is missing where the environment variable `name`, which names `what`, is not set.
pub fn variable(name: &str, what: &str) -> Option<String> {
    match std::env::var_os(name) {
        Some(_) => None,
        None => Some(format!("{name} does not name {what}")),
    }
}

/// Runs the tests of all groups, by the arguments of the process.
pub fn run(groups: impl IntoIterator<Item = Group>) -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for Group { missing, tests } in groups {
        for (name, test) in tests {
            if let Some(missing) = &missing
                && !arguments.list
            {
                eprintln!("SKIPPED: {name}: {missing}");
            }
            let run = move || {
                test();
                Ok(())
            };
            trials.push(Trial::test(name, run).with_ignored_flag(missing.is_some()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
