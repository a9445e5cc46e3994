//! A journal as one stream of text, whose bytes do not depend on its segments.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use heqis_quant::Date;
use heqis_quant::Decision;
use heqis_quant::decision::journal::{EntryId, Identity, JournalLine, SegmentHeader, StreamName};

use super::{JournalError, Reader};

/// The error that ended an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The text cannot be written.
    #[error("export: {0}")]
    Write(#[from] io::Error),
}

/// The decisions to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// The first trading day.
    pub from: Option<Date>,
    /// The last trading day, included.
    pub to: Option<Date>,
}

impl Days {
    fn contains(self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day <= to)
    }

    fn are_all(self) -> bool {
        self == Self::default()
    }
}

/// Calls `take` with each decision of `days` and the name of its stream, if the journal has it. Returns the number of
/// decisions.
///
/// # Errors
/// [`ExportError::Journal`], and those of `take`.
pub fn decisions(
    path: &Path,
    days: Days,
    mut take: impl FnMut(&EntryId, &Decision, Option<&StreamName>) -> io::Result<()>,
) -> Result<u64, ExportError> {
    let mut streams: BTreeMap<u64, StreamName> = BTreeMap::new();
    let mut count = 0;
    for line in Reader::open(path)? {
        match line? {
            JournalLine::Stream(name) => {
                streams.entry(name.stream).or_insert(name);
            }
            JournalLine::Decision(id, record) if days.contains(record.date) => {
                take(&id, &record, streams.get(&id.stream))?;
                count += 1;
            }
            _ => {}
        }
    }
    Ok(count)
}

/// Writes the decisions of `days` as one segment of the newest format: one header, each stream's name once, before its
/// first decision, the decisions with their numbers, and a closing line where the whole journal is written and ends with
/// one. Returns how many decisions were written.
///
/// # Errors
/// [`ExportError`].
pub fn journal(path: &Path, days: Days, out: &mut dyn Write) -> Result<u64, ExportError> {
    let reader = Reader::open(path)?;
    let (identity, before) = reader.header().map_or((Identity::default(), 0), |header| {
        (header.identity.clone(), header.before)
    });
    let mut streams: BTreeMap<u64, (StreamName, bool)> = BTreeMap::new();
    let (mut begun, mut closed, mut count, mut last) = (false, false, 0, before);
    let mut text = String::new();
    for line in reader {
        text.clear();
        match line? {
            JournalLine::Header(_) => {}
            JournalLine::Stream(name) => {
                closed = false;
                streams.entry(name.stream).or_insert((name, false));
            }
            JournalLine::Closing { .. } => closed = true,
            JournalLine::Decision(id, record) => {
                closed = false;
                if !days.contains(record.date) {
                    continue;
                }
                if !begun {
                    let before = id.n.saturating_sub(1);
                    JournalLine::Header(SegmentHeader::new(identity.clone(), 1, before))
                        .write(&mut text);
                    begun = true;
                }
                for stream in id.streams() {
                    if let Some((name, written)) = streams.get_mut(&stream)
                        && !*written
                    {
                        JournalLine::Stream(name.clone()).write(&mut text);
                        *written = true;
                    }
                }
                (count, last) = (count + 1, id.n);
                JournalLine::Decision(id, record).write(&mut text);
            }
        }
        out.write_all(text.as_bytes())?;
    }
    text.clear();
    if !begun {
        JournalLine::Header(SegmentHeader::new(identity, 1, before)).write(&mut text);
    }
    if closed && days.are_all() {
        JournalLine::Closing { decisions: last }.write(&mut text);
    }
    out.write_all(text.as_bytes())?;
    Ok(count)
}
