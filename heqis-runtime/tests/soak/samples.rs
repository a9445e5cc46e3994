//! What the nodes take of the machine, sampled, and how it grows.

use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Names of the nodes, in the order of all pairs here.
const NODES: [&str; 2] = ["gateway", "compute"];
/// How much more each may be at the end of the second half than at its beginning, by the fitted line: resident memory in
/// KiB or as a share of what there is, descriptors, threads.
const RESIDENT_KIB: f64 = 4_096.0;
const RESIDENT_SHARE: f64 = 0.05;
const COUNTS: f64 = 2.0;

/// One look at both nodes.
#[derive(Clone, Debug)]
pub struct Sample {
    s: f64,
    sent: u64,
    resident_kib: [f64; 2],
    descriptors: [f64; 2],
    threads: [f64; 2],
    log_bytes: [f64; 2],
    journal_bytes: f64,
    recording_bytes: f64,
}

impl Sample {
    pub const HEADER: &str = "      s      bars   resident KiB   descriptors   threads     log bytes   journal bytes  recording bytes   (gateway, compute)";

    pub fn take(at: Duration, pids: [u32; 2], folder: &Path, sent: u64) -> Self {
        let entries = |pid: u32, what: &str| {
            std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count) as f64
        };
        let journal = |name: &str| name.starts_with("journal.") && !name.contains(".index.");
        Self {
            s: at.as_secs_f64(),
            sent,
            resident_kib: pids.map(resident_kib),
            descriptors: pids.map(|pid| entries(pid, "fd")),
            threads: pids.map(|pid| entries(pid, "task")),
            log_bytes: NODES.map(|node| bytes(folder, |name| name == format!("{node}.log"))),
            journal_bytes: bytes(folder, journal),
            recording_bytes: bytes(&folder.join("market"), |_| true),
        }
    }
}

fn resident_kib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0.0)
}

/// Bytes of the files in `folder` whose name is one that counts.
fn bytes(folder: &Path, counts: impl Fn(&str) -> bool) -> f64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0.0;
    };
    entries
        .flatten()
        .filter(|entry| counts(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|meta| meta.len() as f64)
        .sum()
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let two = |pair: [f64; 2]| format!("{}, {}", pair[0], pair[1]);
        write!(
            f,
            "{:7.1} {:9} {:>14} {:>13} {:>9} {:>13} {:>15} {:>16}",
            self.s,
            self.sent,
            two(self.resident_kib),
            two(self.descriptors),
            two(self.threads),
            two(self.log_bytes),
            self.journal_bytes,
            self.recording_bytes
        )
    }
}

/// Slope and height at the beginning of the line through points, by least squares.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut xy, mut xx) = (0.0, 0.0);
    for (px, py) in points {
        xy += (px - x) * (py - y);
        xx += (px - x) * (px - x);
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let first = points.first().map_or(0.0, |p| p.0);
    (slope, y + slope * (first - x))
}

/// Prints how everything grew in the second half, and says what grew too much.
pub fn verdict(samples: &[Sample]) -> Vec<String> {
    let half = &samples[samples.len() / 2..];
    let span_s = match half {
        [first, .., last] => last.s - first.s,
        _ => 0.0,
    };
    println!("second half, {span_s:.0} s, by least squares:");
    let mut faults = Vec::new();
    let mut look = |name: String, value: &dyn Fn(&Sample) -> f64, limit: Option<(f64, f64)>| {
        let points: Vec<(f64, f64)> = half
            .iter()
            .map(|sample| (sample.s, value(sample)))
            .collect();
        let (slope, start) = line(&points);
        let (growth, hour) = (slope * span_s, slope * 3_600.0);
        println!("  {name}: {start:.0}, {growth:+.0} in the half, {hour:+.0} an hour");
        if let Some((most, share)) = limit
            && growth > most.max(share * start)
        {
            faults.push(format!("{name} grew from {start:.0} by {growth:.0}"));
        }
    };
    for (at, node) in NODES.iter().enumerate() {
        let resident = Some((RESIDENT_KIB, RESIDENT_SHARE));
        look(
            format!("{node}: resident KiB"),
            &|s| s.resident_kib[at],
            resident,
        );
        let counts = Some((COUNTS, 0.0));
        look(
            format!("{node}: descriptors"),
            &|s| s.descriptors[at],
            counts,
        );
        look(format!("{node}: threads"), &|s| s.threads[at], counts);
        look(format!("{node}: log bytes"), &|s| s.log_bytes[at], None);
    }
    look("journal bytes".into(), &|s| s.journal_bytes, None);
    look("recording bytes".into(), &|s| s.recording_bytes, None);
    faults
}
