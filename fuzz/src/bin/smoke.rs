//! Random mutation of the inputs on the stable toolchain, for a given time and from a given seed.

use std::panic::{catch_unwind, set_hook};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use heqis_fuzz::{Mutator, TARGETS, Target, WRITTEN, inputs, seeds};

const USAGE: &str = "usage: smoke [--seconds N] [--seed N] [--target NAME] | smoke --write-corpus";

/// The message of the last panic. Readers may catch panics of crates they use, so only the last one counts.
static LAST: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--write-corpus"] {
        return write_corpus();
    }
    let (mut seconds, mut seed, mut only) = (10, 1, None);
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|value| value.parse().ok());
        match (pair[0].as_str(), number) {
            ("--seconds", Some(value)) => seconds = value,
            ("--seed", Some(value)) => seed = value,
            ("--target", _)
                if TARGETS
                    .iter()
                    .any(|target| pair.get(1).is_some_and(|name| name == target.name)) =>
            {
                only = pair.get(1);
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    set_hook(Box::new(|panic| {
        if let Ok(mut last) = LAST.lock() {
            *last = panic.to_string();
        }
    }));
    let targets = TARGETS
        .iter()
        .filter(|target| only.is_none_or(|only| only == target.name));
    let time = Duration::from_secs(seconds) / targets.clone().count() as u32;
    for Target { name, run, .. } in targets {
        let inputs = match inputs(name) {
            Ok(inputs) => inputs,
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        };
        let (mut mutator, start, mut runs) = (Mutator::new(seed), Instant::now(), 0u64);
        while start.elapsed() < time {
            let bytes = mutator.damaged(&inputs);
            if catch_unwind(|| run(&bytes)).is_err() {
                let why = LAST.lock().map(|last| last.clone()).unwrap_or_default();
                let text = bytes.escape_ascii();
                eprintln!("{name}: run {runs} of seed {seed} fails on b\"{text}\": {why}");
                return ExitCode::FAILURE;
            }
            runs += 1;
        }
        eprintln!("{name}: {runs} runs from seed {seed}, no promise broken");
    }
    ExitCode::SUCCESS
}

fn write_corpus() -> ExitCode {
    for target in WRITTEN {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        for (name, bytes) in seeds(target) {
            let written = std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(folder.join(name), bytes));
            if let Err(error) = written {
                eprintln!("{}: {error}", folder.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
