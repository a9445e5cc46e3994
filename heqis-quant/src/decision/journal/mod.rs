//! A journal of decisions as lines of text: the one place that knows its bytes.
//!
//! Each line is a JSON object whose last field `crc` is the CRC-32 (IEEE) of everything before `,"crc"`, as eight hex
//! digits. A journal is one segment or several; each begins with a [`SegmentHeader`]: the format, the writer's identity, and
//! the number of decisions in the segments before. The other lines name streams, hold decisions, or close the journal: a
//! closing line holds the number of decisions up to it, and decisions may follow it. A number that is not finite is null.
//! The text has no wall-clock time: the same bars give the same bytes.
//!
//! | module | what it is |
//! |---|---|
//! | `line` | one line: [`JournalLine`], [`EntryId`], [`SegmentHeader`], [`Identity`], [`StreamName`] |
//! | `made_from` | the source items of a decision that is made from several frames: [`MadeFrom`], [`ItemRun`] |
//! | `scan` | line after line, with the rules between them: [`Scanner`], [`Contents`] |
//! | `state` | the state from which a writer continues: [`JournalState`] |
//! | `index` | that state, stored next to a finished segment: [`SegmentIndex`] |
//!
//! ```
//! use heqis_quant::decision::journal::{Contents, Identity, JournalLine, SegmentHeader};
//!
//! let mut text = String::new();
//! JournalLine::Header(SegmentHeader::new(Identity::default(), 1, 0)).write(&mut text);
//! JournalLine::Closing { decisions: 0 }.write(&mut text);
//! assert!(text.starts_with(r#"{"heqis_journal":2,"segment":1,"before":0,"crc":""#));
//! assert!(Contents::parse(text.as_bytes(), "journal.jsonl")?.closed);
//! let changed = text.replace("\"before\":0", "\"before\":1");
//! assert!(Contents::parse(changed.as_bytes(), "journal.jsonl").is_err());
//! # Ok::<(), heqis_quant::QuantError>(())
//! ```
//!
//! Not here: files; `heqis_data::journal` reads and names them.

mod index;
mod line;
mod made_from;
mod scan;
mod state;

use serde::Serialize;

pub use index::SegmentIndex;
pub use line::{Difference, EntryId, Identity, JournalLine, SegmentHeader, StreamName};
pub use made_from::{ItemRun, MAX_RUNS, MadeFrom};
pub use scan::{Contents, MAX_LINE, Scanner};
pub use state::JournalState;

/// Version of the format that is written. Version 1, whose header has no other field, is read too.
pub const FORMAT: u32 = 2;

/// Serialises one of this module's structs; numbers, names and dates always serialise.
fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Replaces the last brace of the object that begins at `start` by its checksum and the end of the line.
fn seal(out: &mut String, start: usize) {
    out.pop();
    let crc = crc32fast::hash(&out.as_bytes()[start..]);
    out.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
}

/// Checks a line's checksum and returns the text that it covers: the object without its last brace.
fn checked(line: &str) -> Result<&str, String> {
    let (body, crc) = line
        .strip_suffix("\"}")
        .and_then(|line| line.rsplit_once(",\"crc\":\""))
        .ok_or_else(|| "no checksum at the end".to_owned())?;
    let got = format!("{:08x}", crc32fast::hash(body.as_bytes()));
    match got == crc {
        true => Ok(body),
        false => Err(format!("checksum is {got}, the line says {crc}")),
    }
}

#[cfg(test)]
mod tests;
