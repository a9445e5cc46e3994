//! The files of a journal of decisions: segments, their indexes, and all of them read as one.
//!
//! The journal at `decisions.jsonl` is that file, its active segment, and the finished segments beside it:
//! `decisions.000001.jsonl`, `decisions.000002.jsonl` and so on, each with its index `decisions.000001.index.json`. What
//! stands in them is [`heqis_quant::decision::journal`]'s; the `journal` stage writes them. They are read here, because the
//! lab, the page and the runtime's commands all read them, and this is the crate of files that all three may use.
//!
//! | module | what it is |
//! |---|---|
//! | [`names`] | what the files are called, and which are there |
//! | [`reader`] | one segment, or the journal as one: [`Reader`] |
//! | [`check`] | what is in each segment, and whether it is sound |
//! | [`prune`] | removing old segments |
//! | [`export`] | the journal as one stream of text |
//!
//! Nothing here changes a journal but [`prune`].

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

use heqis_quant::QuantError;
use heqis_quant::decision::journal::{Contents, Line, Place, Record};

pub use names::Names;
pub use reader::{Reader, SegmentReader};

/// Why a journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused.
    #[error("journal {path}: {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A line that is not the torn last one breaks the format: the file was changed, or the disk lies.
    #[error(transparent)]
    Corrupt(#[from] QuantError),
    /// The files do not fit together.
    #[error("journal {path}: {rule}")]
    Files {
        /// The file.
        path: PathBuf,
        /// The rule that is broken.
        rule: String,
    },
    /// Another process, or another stage of this one, writes the journal.
    #[error("journal {path}: another process or stage is writing it")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The path names another file than the one that is being written.
    #[error(
        "journal {path}: now names another file, device {} inode {}, instead of device {} inode {}; \
         move it away to go on",
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
        /// Bytes that were written.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The journal is not finished and was made by something else than what starts now.
    #[error(
        "journal {path}: is not finished, and {differences}; choose with the parameter `mismatch`: \
         \"new\" keeps it under another name and begins a new one, \"append\" goes on in it"
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Each item that differs, with both values.
        differences: String,
    },
}

impl JournalError {
    /// Makes an error of the operating system one that says which file and what was attempted.
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

/// Reads a journal, all segments as one, and checks every line. A torn last line of the active segment is left out.
/// Decisions of segments that were pruned are not there: the first header says how many.
///
/// # Errors
/// [`JournalError::Corrupt`] naming file, line and rule, [`JournalError::Files`] when a segment is missing between others,
/// [`JournalError::Io`] when there is no journal or it cannot be read.
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
/// As [`read`]; the iterator ends behind the first error.
pub fn records_from(
    path: &Path,
    n: u64,
) -> Result<impl Iterator<Item = Result<(Place, Record), JournalError>> + use<>, JournalError> {
    let reader = Reader::open_at(path, n)?;
    Ok(reader.filter_map(move |line| match line {
        Ok(Line::Decision(place, record)) if place.n >= n => Some(Ok((place, record))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}

/// The last decisions of a journal, at most `count`, and whether its last line is a closing one. Reads the active segment
/// and those before it that hold `count` decisions.
///
/// # Errors
/// As [`read`].
pub fn last(path: &Path, count: usize) -> Result<(Vec<(Place, Record)>, bool), JournalError> {
    let wanted = u64::try_from(count).unwrap_or(u64::MAX);
    let before = Reader::open_at(path, u64::MAX)?.before();
    let reader = Reader::open_at(path, before.saturating_sub(wanted).saturating_add(1))?;
    let mut kept = VecDeque::with_capacity(count.min(1 << 16));
    let mut closed = false;
    for line in reader {
        match line? {
            Line::Header(_) => {}
            Line::Stream(_) => closed = false,
            Line::Closing { .. } => closed = true,
            Line::Decision(place, record) => {
                closed = false;
                if kept.len() == count {
                    kept.pop_front();
                }
                if count > 0 {
                    kept.push_back((place, record));
                }
            }
        }
    }
    Ok((kept.into(), closed))
}
