//! Removing the oldest segments of a journal.
//!
//! Only finished segments are removed, oldest first, each after it was read again and compared with its index. The newest
//! finished segment is kept, and so is the index before the first kept segment: the journal's state survives.

use std::path::{Path, PathBuf};

use heqis_quant::Date;
use heqis_quant::decision::journal::{JournalState, SegmentIndex};

use super::check::{index, scan};
use super::{JournalError, Names, SegmentReader};

/// The segments to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This number of the newest finished ones, at least one.
    Segments(u64),
    /// Those with a decision on this trading day or later, and all after them.
    Since(Date),
}

/// A segment to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its number.
    pub number: u64,
    /// Its file.
    pub path: PathBuf,
    /// Numbers of its first and last decision.
    pub decisions: (u64, u64),
    /// Bytes of its file.
    pub bytes: u64,
}

/// Chooses the segments to remove, and checks index and content of each. Removes nothing.
///
/// # Errors
/// [`JournalError`] with the first invalid segment; then no segment is to be removed.
pub fn plan(path: &Path, keep: Keep) -> Result<Vec<Old>, JournalError> {
    let names = Names::of(path);
    let numbers = names.find()?.segments;
    let Some((_, candidates)) = numbers.split_last() else {
        return Ok(Vec::new());
    };
    let mut old = Vec::new();
    for (at, &number) in candidates.iter().enumerate() {
        let found = match keep {
            Keep::Segments(count) => {
                if (numbers.len() - at) as u64 <= count {
                    break;
                }
                index(&names, number)?
            }
            Keep::Since(day) => {
                let found = index(&names, number)?;
                if found.days.is_some_and(|(_, last)| last >= day) {
                    break;
                }
                found
            }
        };
        old.push(checked(&names, &found)?);
    }
    Ok(old)
}

fn checked(names: &Names, found: &SegmentIndex) -> Result<Old, JournalError> {
    let path = names.segment(found.segment);
    let reader = SegmentReader::open(&path, true)?.expecting(found.segment, found.before);
    // The state before comes from the index: the segment alone does not have it.
    let mut state = JournalState::default();
    let scanned = scan(reader, &mut state)?;
    let read = scanned.index(&state);
    let same = read.is_some_and(|read| {
        (read.bytes, read.crc32, read.days) == (found.bytes, found.crc32, found.days)
            && state.decisions().max(found.before) == found.last()
    });
    if !same {
        return Err(JournalError::files(
            &names.index(found.segment),
            format!("does not say what {} holds", path.display()),
        ));
    }
    Ok(Old {
        number: found.segment,
        path,
        decisions: (found.before + 1, found.last()),
        bytes: found.bytes,
    })
}

/// Removes the segments of a [`plan`], oldest first, and all their indexes but the last. If it is interrupted, the journal is
/// complete from its first remaining segment.
///
/// # Errors
/// [`JournalError::Io`] with the file that cannot be removed.
pub fn remove(path: &Path, old: &[Old]) -> Result<(), JournalError> {
    let names = Names::of(path);
    for segment in old {
        std::fs::remove_file(&segment.path).map_err(JournalError::io(&segment.path, "remove"))?;
        // No start needs the index before that of the removed segment.
        let indexes = names.find()?.indexes;
        for &number in indexes.iter().filter(|&&number| number < segment.number) {
            let index = names.index(number);
            std::fs::remove_file(&index).map_err(JournalError::io(&index, "remove"))?;
        }
    }
    Ok(())
}
