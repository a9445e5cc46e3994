//! Time stamps of decisions, in a file next to the journal: diagnostics without a checksum.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use heqis_actors::Head;
use heqis_data::journal::{JournalError, Names};
use serde::Serialize;

use super::files::{move_new, open_regular};

/// Longest torn line that is looked for.
const TAIL: u64 = 1 << 16;

/// Opens the file of time stamps next to a journal, after its last whole line. The file of a journal that was set aside is
/// kept under the name of its run.
pub(super) fn open(names: &Names, resumed: bool) -> Result<File, JournalError> {
    let path = names.timings();
    let is_left = !resumed && path.metadata().is_ok_and(|meta| meta.len() > 0);
    if is_left {
        move_new(&path, &names.run(names.last_run()? + 1).timings())?;
    }
    let mut file = open_regular(&path, OpenOptions::new().create(true))?;
    cut_torn_line(&mut file).map_err(JournalError::io(&path, "cut off a torn line"))?;
    Ok(file)
}

fn cut_torn_line(file: &mut File) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|&byte| byte == b'\n');
    file.set_len(whole.map_or(from, |at| from + at as u64 + 1))
}

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
