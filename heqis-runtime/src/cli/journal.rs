//! `heqis-runtime journal`: lists, checks, exports and prunes the files of a journal.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use heqis_data::journal::check::{self, IndexState, Segment};
use heqis_data::journal::export::{self, Days, ExportError};
use heqis_data::journal::prune::{self, Keep};
use heqis_quant::Decision;
use heqis_quant::decision::journal::{EntryId, StreamName};
use heqis_quant::{Date, QuantError};

use super::stages::table;
use super::{FAILED, FAULTY, OK, World};

/// Arguments of `journal`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  heqis-runtime journal ls out/dual-board/decisions.jsonl
  heqis-runtime journal verify out/dual-board/decisions.jsonl
  heqis-runtime journal export out/dual-board/decisions.jsonl --csv --from 2024-01-01 --out decisions.csv
  heqis-runtime journal prune out/dual-board/decisions.jsonl --keep-segments 20 --yes")]
pub struct JournalArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with a journal.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// List the segments.
    Ls(PathArgs),
    /// Check every line, the numbers across segments, and the indexes.
    Verify(PathArgs),
    /// Write all segments as one stream, whose bytes do not depend on where segments end.
    Export(ExportArgs),
    /// Remove the oldest finished segments, after a check.
    Prune(PruneArgs),
}

/// Which journal.
#[derive(Clone, Debug, Args)]
pub struct PathArgs {
    /// Path of the journal, as in the topology.
    pub path: PathBuf,
}

/// Arguments of `journal export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Path of the journal, as in the topology.
    pub path: PathBuf,
    /// Write a table instead of a journal.
    #[arg(long)]
    pub csv: bool,
    /// Write to this file, which must not exist, instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Start at this trading day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub from: Option<Date>,
    /// End with this trading day.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub to: Option<Date>,
}

/// Arguments of `journal prune`.
#[derive(Clone, Debug, Args)]
pub struct PruneArgs {
    /// Path of the journal, as in the topology.
    pub path: PathBuf,
    /// Which segments stay.
    #[command(flatten)]
    pub keep: KeepArgs,
    /// Remove them instead of only listing them.
    #[arg(long)]
    pub yes: bool,
}

/// Which segments stay.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct KeepArgs {
    /// Keep the newest N finished segments.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub keep_segments: Option<u64>,
    /// Remove segments whose decisions are all of trading days before this one.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub before: Option<Date>,
}

fn day(text: &str) -> Result<Date, QuantError> {
    Date::parse(text)
}

/// Runs the action that `args` name. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written to.
pub fn journal(
    args: &JournalArgs,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    match &args.action {
        Action::Ls(args) => ls(&world.directory.join(&args.path), world, out, err),
        Action::Verify(args) => verify(&world.directory.join(&args.path), out, err),
        Action::Export(args) => exported(args, world, out, err),
        Action::Prune(args) => pruned(args, &world.directory.join(&args.path), out, err),
    }
}

fn ls(path: &Path, world: &World, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let segments = match check::list(path) {
        Ok(segments) => segments,
        Err(error) => return failed(&error, err),
    };
    let mut table = table(
        &["segment", "decisions", "days", "bytes", "index", "complete"],
        world.width,
    );
    for segment in &segments {
        table.add_row(row(segment));
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        writeln!(out, "{}", span(first.first, last.last))?;
    }
    Ok(OK)
}

fn row(segment: &Segment) -> [String; 6] {
    [
        segment.number.to_string(),
        match segment.first > segment.last {
            true => "none".to_owned(),
            false => format!("{}-{}", segment.first, segment.last),
        },
        segment
            .days
            .map_or_else(String::new, |(first, last)| format!("{first} to {last}")),
        segment.bytes.to_string(),
        match &segment.index {
            IndexState::Sound => "sound".to_owned(),
            IndexState::Missing => "missing".to_owned(),
            IndexState::Damaged(reason) => format!("damaged: {reason}"),
            IndexState::Active => "active".to_owned(),
        },
        match segment.closed {
            true => "yes".to_owned(),
            false => "no".to_owned(),
        },
    ]
}

/// The range of decisions in a journal.
fn span(first: u64, last: u64) -> String {
    let begins = match first {
        0 | 1 => String::new(),
        first => format!("; starts at decision {first}, those before it were removed"),
    };
    let held = last.saturating_add(1).saturating_sub(first);
    format!(
        "{held} decision{}{begins}",
        if held == 1 { "" } else { "s" }
    )
}

fn verify(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let report = match check::verify(path) {
        Ok(report) => report,
        Err(error) => return failed(&error, err),
    };
    for fault in &report.faults {
        writeln!(err, "heqis-runtime: {fault}")?;
    }
    if !report.faults.is_empty() {
        return Ok(FAILED);
    }
    if report.torn_bytes > 0 {
        let bytes = report.torn_bytes;
        writeln!(
            err,
            "the last line is torn: {bytes} bytes that the next start cuts off"
        )?;
    }
    let first = report.before.saturating_add(1);
    writeln!(
        out,
        "{}: no faults in {} segment{}, {}",
        path.display(),
        report.segments,
        if report.segments == 1 { "" } else { "s" },
        span(first, report.before + report.decisions)
    )?;
    Ok(OK)
}

fn exported(
    args: &ExportArgs,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let path = world.directory.join(&args.path);
    let Some(file) = &args.out else {
        return match export(args, &path, out) {
            Ok(_) => Ok(OK),
            // The caller handles a reader that has closed its end.
            Err(ExportError::Write(error)) => Err(error),
            Err(error) => failed(&error, err),
        };
    };
    let file = world.directory.join(file);
    let opened = OpenOptions::new().write(true).create_new(true).open(&file);
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return failed(&format!("{}: {error}", file.display()), err),
    };
    let mut to = BufWriter::new(opened);
    let written = export(args, &path, &mut to).and_then(|count| {
        to.flush()?;
        Ok(count)
    });
    match written {
        Ok(count) => {
            writeln!(err, "{}: {count} decisions", file.display())?;
            Ok(OK)
        }
        Err(error) => failed(&format!("{}: not complete: {error}", file.display()), err),
    }
}

fn export(args: &ExportArgs, path: &Path, out: &mut dyn Write) -> Result<u64, ExportError> {
    let days = Days {
        from: args.from,
        to: args.to,
    };
    if !args.csv {
        return export::journal(path, days, out);
    }
    let mut table = csv::Writer::from_writer(out);
    table.write_record(COLUMNS).map_err(io::Error::from)?;
    let count = export::decisions(path, days, |id, record, name| {
        table
            .write_record(cells(id, record, name))
            .map_err(io::Error::from)
    })?;
    table.flush()?;
    Ok(count)
}

const COLUMNS: [&str; 16] = [
    "n",
    "source",
    "stream",
    "position",
    "symbol",
    "date",
    "time_ns",
    "close",
    "side",
    "confidence",
    "reason",
    "stance",
    "predicted_return",
    "down",
    "flat",
    "up",
];

/// A number that is not finite is an empty cell.
fn cells(id: &EntryId, record: &Decision, name: Option<&StreamName>) -> [String; 16] {
    let number = |value: f64| match value.is_finite() {
        true => value.to_string(),
        false => String::new(),
    };
    let word = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    };
    let [down, flat, up] = record.probabilities;
    [
        id.n.to_string(),
        name.map_or_else(String::new, |name| name.source.clone()),
        format!("{:016x}", id.stream),
        id.position.to_string(),
        record.symbol.to_string(),
        record.date.to_string(),
        record.time_ns.to_string(),
        number(record.close),
        word(serde_json::to_value(record.side)),
        number(record.confidence),
        word(serde_json::to_value(record.reason)),
        word(serde_json::to_value(record.position)),
        number(record.predicted_return),
        number(down),
        number(flat),
        number(up),
    ]
}

fn pruned(
    args: &PruneArgs,
    path: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let keep = match (args.keep.keep_segments, args.keep.before) {
        (Some(count), _) => Keep::Segments(count),
        (None, Some(day)) => Keep::Since(day),
        // Clap rules it out.
        (None, None) => return Ok(FAULTY),
    };
    let old = match prune::plan(path, keep) {
        Ok(old) => old,
        Err(error) => return failed(&error, err),
    };
    for segment in &old {
        writeln!(
            out,
            "{}: decisions {}-{}, {} bytes",
            segment.path.display(),
            segment.decisions.0,
            segment.decisions.1,
            segment.bytes
        )?;
    }
    let Some(last) = old.last() else {
        writeln!(out, "nothing to remove")?;
        return Ok(OK);
    };
    if !args.yes {
        writeln!(err, "nothing is removed without --yes")?;
        return Ok(FAULTY);
    }
    if let Err(error) = prune::remove(path, &old) {
        return failed(&error, err);
    }
    writeln!(
        out,
        "removed; the journal starts at decision {}",
        last.decisions.1 + 1
    )?;
    Ok(OK)
}

fn failed(error: &dyn std::fmt::Display, err: &mut dyn Write) -> io::Result<u8> {
    writeln!(err, "heqis-runtime: {error}")?;
    Ok(FAILED)
}
