//! Random mutation of the corpus on the stable toolchain, for a given time and from a given seed.

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use heqis_fuzz::{Mutator, TARGETS, seeds};

const USAGE: &str = "usage: smoke [--seconds N] [--seed N] | smoke --write-corpus";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--write-corpus"] {
        return write_corpus();
    }
    let (mut seconds, mut seed) = (10, 1);
    for pair in arguments.chunks(2) {
        let value = pair.get(1).and_then(|value| value.parse().ok());
        match (pair[0].as_str(), value) {
            ("--seconds", Some(value)) => seconds = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    for (name, target) in TARGETS {
        let inputs: Vec<_> = seeds(name).into_iter().map(|(_, bytes)| bytes).collect();
        let (mut mutator, start, mut runs) = (Mutator::new(seed), Instant::now(), 0u64);
        while start.elapsed() < Duration::from_secs(seconds) / TARGETS.len() as u32 {
            let bytes = mutator.damaged(&inputs);
            if catch_unwind(|| target(&bytes)).is_err() {
                eprintln!("{name}: run {runs} of seed {seed} fails on {bytes:02x?}");
                return ExitCode::FAILURE;
            }
            runs += 1;
        }
        eprintln!("{name}: {runs} runs from seed {seed}, no promise broken");
    }
    ExitCode::SUCCESS
}

fn write_corpus() -> ExitCode {
    for (target, _) in TARGETS {
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
