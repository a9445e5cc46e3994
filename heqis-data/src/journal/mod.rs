//! The files of a journal of decisions: segments, their indexes, and all of them read as one.
//!
//! The journal at `decisions.jsonl` is that file, its active segment, and the finished segments next to it:
//! `decisions.000001.jsonl`, `decisions.000002.jsonl` and so on, each with its index `decisions.000001.index.json`. Their
//! format is [`heqis_quant::decision::journal`]; the `journal` stage writes them. They are read here, because the lab, the
//! dashboard and the runtime's commands all read them, and all three may depend on this crate.
//!
//! | module | what it is |
//! |---|---|
//! | [`names`] | the names of the files, and which exist |
//! | [`reader`] | one segment, or the journal as one: [`Reader`] |
//! | [`check`] | the contents of each segment, and whether it is valid |
//! | [`prune`] | removing old segments |
//! | [`export`] | the journal as one stream of text |
//!
//! Only [`prune`] changes a journal.

pub mod check;
pub mod export;
pub mod names;
pub mod prune;
pub mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use heqis_quant::Decision;
use heqis_quant::QuantError;
use heqis_quant::decision::journal::{Contents, EntryId, JournalLine};

pub use names::Names;
pub use reader::{Reader, SegmentReader};

/// Returns the reason of an error in words; the name of a missing file says the rest.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => error.to_string(),
    }
}

/// The reason for which a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system reported an error.
    #[error("journal {path}: {what}: {}", reason(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// The attempted operation.
        what: &'static str,
        /// The error.
        source: io::Error,
    },
    /// A line other than a torn last one breaks the format: the file was modified or damaged.
    #[error(transparent)]
    Corrupt(#[from] QuantError),
    /// The files contradict each other.
    #[error("journal {path}: {rule}")]
    Files {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        rule: String,
    },
    /// Another process, or another stage of this one, is writing the journal.
    #[error("journal {path}: another process or stage is writing it")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The path names a file other than the one that is being written.
    #[error(
        "journal {path}: now names another file, device {} inode {}, instead of device {} inode {}; \
         move it away to continue",
        theirs.0, theirs.1, ours.0, ours.1
    )]
    Replaced {
        /// The path.
        path: PathBuf,
        /// Device and inode of the file that is being written.
        ours: (u64, u64),
        /// Device and inode of the file that the path names.
        theirs: (u64, u64),
    },
    /// Another program changed the file that is being written.
    #[error(
        "journal {path}: was {} by another program, from {expected} to {found} bytes; \
         let the journal rotate itself, and no other program with `copytruncate`",
        if found < expected { "truncated" } else { "added to" }
    )]
    Truncated {
        /// The path.
        path: PathBuf,
        /// The written bytes.
        expected: u64,
        /// The bytes of the file.
        found: u64,
    },
    /// The journal is not finished, and its header differs from that of this start.
    #[error(
        "journal {path}: is not finished, and {differences}; choose with the parameter `mismatch`: \
         \"new\" keeps it under another name and begins a new one, \"append\" continues it"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Each item that differs, with both values.
        differences: String,
    },
}

impl JournalError {
    /// Adds the file and the attempted operation to an error of the operating system.
    pub fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }

    pub(crate) fn files(path: &Path, rule: impl Into<String>) -> Self {
        Self::Files {
            path: path.to_owned(),
            rule: rule.into(),
        }
    }
}

/// Reads a journal, all segments as one, and checks every line. A torn last line of the active segment is ignored.
/// The first header has the number of decisions in pruned segments.
///
/// # Errors
/// [`JournalError::Corrupt`] with file, line and rule, [`JournalError::Files`] if a segment is missing between others,
/// [`JournalError::Io`] if there is no journal or it cannot be read.
pub fn read(path: &Path) -> Result<Contents, JournalError> {
    let mut reader = Reader::open(path)?;
    let mut contents = Contents::default();
    for line in reader.by_ref() {
        contents.take(line?);
    }
    contents.whole_bytes = reader.whole_bytes();
    Ok(contents)
}

/// Reads the decisions from number `n` on, without reading the segments before it.
///
/// # Errors
/// Those of [`read`]; the iterator ends after the first error.
pub fn records_from(
    path: &Path,
    n: u64,
) -> Result<impl Iterator<Item = Result<(EntryId, Decision), JournalError>> + use<>, JournalError> {
    let reader = Reader::open_at(path, n)?;
    Ok(reader.filter_map(move |line| match line {
        Ok(JournalLine::Decision(id, record)) if id.n >= n => Some(Ok((id, record))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

/// The last decisions of a journal, at most `count`, and whether its last line is a closing one. Reads the active segment
/// and those before it that hold `count` decisions.
///
/// # Errors
/// Those of [`read`].
pub fn last(path: &Path, count: usize) -> Result<(Vec<(EntryId, Decision)>, bool), JournalError> {
    let wanted = u64::try_from(count).unwrap_or(u64::MAX);
    let before = Reader::open_at(path, u64::MAX)?.before();
    let reader = Reader::open_at(path, before.saturating_sub(wanted).saturating_add(1))?;
    let mut kept = VecDeque::with_capacity(count.min(1 << 16));
    let mut closed = false;
    for line in reader {
        match line? {
            JournalLine::Header(_) => {}
            JournalLine::Stream(_) => closed = false,
            JournalLine::Closing { .. } => closed = true,
            JournalLine::Decision(id, record) => {
                closed = false;
                if kept.len() == count {
                    kept.pop_front();
                }
                if count > 0 {
                    kept.push_back((id, record));
                }
            }
        }
    }
    Ok((kept.into(), closed))
}
