//! Time stamps of decisions, beside the journal: they are for looking at, and have no checksum.

use std::fmt::Write as _;
use std::sync::Arc;

use heqis_actors::Head;
use serde::Serialize;

#[derive(Serialize)]
struct Timings<'a> {
    n: u64,
    /// Microseconds since the bar was born at its source.
    stages: Vec<StageTiming<'a>>,
}

#[derive(Serialize)]
struct StageTiming<'a> {
    stage: &'a str,
    enter_us: f64,
    leave_us: f64,
}

/// Appends the time stamps of decision `n`.
pub(super) fn write_line(n: u64, head: &Head, names: &Arc<[String]>, out: &mut String) {
    // The birth time may come from another machine and be anything.
    let since_birth = |ns: i64| ns.saturating_sub(head.born_ns) as f64 / 1e3;
    let stages = head
        .stamps
        .iter()
        .map(|stamp| StageTiming {
            stage: names
                .get(usize::from(stamp.stage))
                .map_or("?", String::as_str),
            enter_us: since_birth(stamp.enter_ns),
            leave_us: since_birth(stamp.leave_ns),
        })
        .collect();
    let _ = writeln!(
        out,
        "{}",
        serde_json::to_string(&Timings { n, stages }).unwrap_or_default()
    );
}
