//! One epoch of the game between the three default generators and their discriminators, here and in PyTorch:
//! `cargo bench -p heqis-lab --bench epoch -- --python PROGRAM [--threads 1] [--rounds 4] [--epochs 2]`, after
//! `heqis-lab prepare data/ashare/002032.SZ.csv --out target/data/002032.SZ`.
//!
//! Every pair plays (w = 1/N), the dearest kind of epoch. Rounds are interleaved; printed are the least wall time and the
//! least CPU time of an epoch's steps on each side, in milliseconds, and their ratios. Validation and checkpoints, of which
//! `benches/peers/epoch_bench.py` has none, are left out.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints its figures and stops at the first fault"
)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use heqis_lab::LabError;
use heqis_lab::train::progress::{Event, Listener};
use heqis_lab::train::{TrainConfig, train};

/// Wall and CPU milliseconds of an epoch's steps.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Times steps from the end of an epoch's first one to the end of its last.
#[derive(Default)]
struct Clock {
    first: Option<(Instant, f64)>,
    last: Option<(Instant, f64)>,
    steps: usize,
    epochs: Vec<Cost>,
}

impl Listener for Clock {
    fn step(&mut self) {
        let now = (Instant::now(), cpu_ms());
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.steps += 1;
    }

    fn hear(&mut self, event: &Event<'_>) -> Result<(), LabError> {
        if let (Event::Epoch { .. }, Some(first), Some(last)) = (event, self.first, self.last) {
            // The first step began before it was heard of.
            let all = self.steps as f64 / (self.steps - 1) as f64;
            self.epochs.push(Cost {
                wall: all * (last.0 - first.0).as_secs_f64() * 1e3,
                cpu: all * (last.1 - first.1),
            });
        }
        (self.first, self.last, self.steps) = (None, None, 0);
        Ok(())
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: &str| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1))
            .map_or(default, String::as_str)
            .to_owned()
    };
    let python = option("--python", "python3");
    let (threads, epochs) = (option("--threads", "1"), option("--epochs", "2"));
    let rounds: usize = option("--rounds", "4").parse().unwrap();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.parse().unwrap())
        .build_global()
        .unwrap();
    heqis_lab::nets::memory::keep_freed();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let set = root.join("target/data/002032.SZ");
    let text = format!(
        "[data]\nset = {set:?}\n[schedule]\nalone_epochs = 0\ngame_epochs = {epochs}\nidentity_epochs = 0\n\
         distil_every = 0\nfine_tune_epochs = 0\n"
    );
    let config = TrainConfig::parse(Path::new("epoch.toml"), &text).unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut samples = 0;
    for _ in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let mut clock = Clock::default();
        let manifest = train(&config, &dir.path().join("run"), false, &mut clock).unwrap();
        ours.extend(clock.epochs);
        samples = manifest.samples[0];
        let peer = Command::new(&python)
            .arg(root.join("heqis-lab/benches/peers/epoch_bench.py"))
            .args([&threads, &epochs, &samples.to_string()])
            .arg(manifest.features.len().to_string())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&peer.stdout);
        assert!(
            peer.status.success(),
            "{}",
            String::from_utf8_lossy(&peer.stderr)
        );
        for line in told.lines() {
            let numbers: Vec<f64> = line
                .split_whitespace()
                .map(|number| number.parse().unwrap())
                .collect();
            theirs.push(Cost {
                wall: numbers[0],
                cpu: numbers[1],
            });
        }
    }
    println!(
        "{samples} samples in batches of 64, {threads} thread(s), {} and {} epochs",
        ours.len(),
        theirs.len()
    );
    println!("| an epoch's steps | here | PyTorch | ratio |\n|---|---|---|---|");
    for (name, of) in [
        ("wall", (|cost| cost.wall) as fn(&Cost) -> f64),
        ("CPU", |cost| cost.cpu),
    ] {
        let least = |costs: &[Cost]| costs.iter().map(of).fold(f64::INFINITY, f64::min);
        let (ours, theirs) = (least(&ours), least(&theirs));
        println!(
            "| {name}, ms | {ours:.0} | {theirs:.0} | {:.2} |",
            ours / theirs
        );
    }
}

/// CPU milliseconds of all threads so far (Linux; elsewhere 0).
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets: state is field 3, user and system time are fields 14 and 15, in hundredths of seconds.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    10.0 * ticks
}
