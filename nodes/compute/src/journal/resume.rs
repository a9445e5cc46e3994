//! Reads what a journal holds, from the newest sound index and the segments after it.

use std::fs::File;

use heqis_data::journal::check::{self, Scanned};
use heqis_data::journal::{JournalError, Names, SegmentReader};
use heqis_quant::decision::journal::{JournalLine, JournalState};

use super::files::write_index;

/// A journal as it was found.
pub(super) struct Found {
    /// Number of the active segment.
    pub(super) segment: u64,
    /// The state at its end.
    pub(super) state: JournalState,
    /// What the active segment holds.
    pub(super) active: Scanned,
}

/// Reads the state of the journal whose active segment is `file`. Besides that one, only segments are read after which
/// there is no sound index.
pub(super) fn read(names: &Names, file: &File) -> Result<Found, JournalError> {
    let path = names.active();
    let open = || {
        let file = file.try_clone().map_err(JournalError::io(path, "read"))?;
        SegmentReader::of(path, file, false)
    };
    let there = names.find()?;
    let last = there.segments.last().copied();
    let named = match open()?.next_line()? {
        Some(JournalLine::Header(header)) => Some(header.segment),
        _ => None,
    };
    let segment = named.unwrap_or_else(|| last.map_or(1, |last| last + 1));
    if let Some(last) = last
        && segment != last + 1
    {
        return Err(JournalError::Files {
            path: path.to_owned(),
            rule: format!("begins segment {segment}, but segment {last} is the last finished one"),
        });
    }
    let (base, mut state) = base(names, segment, &there.segments, &there.indexes)?;
    for number in base + 1..segment {
        let path = names.segment(number);
        let reader = SegmentReader::open(&path, true)?.expecting(number, state.decisions());
        let scanned = check::scan(reader, &mut state)?;
        // A damaged index is left for inspection.
        if !there.indexes.contains(&number)
            && let Some(index) = scanned.index(&state)
        {
            write_index(names, &index)?;
        }
    }
    let reader = open()?.expecting(segment, state.decisions());
    let active = check::scan(reader, &mut state)?;
    Ok(Found {
        segment,
        state,
        active,
    })
}

/// The newest sound index before `segment`, its number and its state; 0 where all segments are to be read.
fn base(
    names: &Names,
    segment: u64,
    segments: &[u64],
    indexes: &[u64],
) -> Result<(u64, JournalState), JournalError> {
    for number in (1..segment).rev() {
        let is_there = segments.binary_search(&number).is_ok();
        let path = names.segment(number);
        let trouble = match indexes.binary_search(&number) {
            Err(_) => "is missing".to_owned(),
            Ok(_) => match check::index(names, number) {
                Ok(index) => {
                    let bytes = match is_there {
                        true => std::fs::metadata(&path)
                            .map_err(JournalError::io(&path, "read"))?
                            .len(),
                        false => index.bytes,
                    };
                    if bytes != index.bytes {
                        let rule = format!("has {bytes} bytes, its index says {}", index.bytes);
                        return Err(JournalError::Files { path, rule });
                    }
                    return Ok((number, index.state));
                }
                Err(error) => error.to_string(),
            },
        };
        if !is_there {
            let rule =
                format!("is missing, and its index {trouble}: what was committed is not known");
            return Err(JournalError::Files { path, rule });
        }
        tracing::warn!(index = %names.index(number).display(), trouble, "segment {number} is read again, its index cannot be used");
    }
    Ok((0, JournalState::default()))
}
