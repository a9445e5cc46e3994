//! The contents of each segment, and checks of segments and indexes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use heqis_quant::Date;
use heqis_quant::decision::journal::{JournalLine, JournalState, SegmentHeader, SegmentIndex};

use super::{JournalError, Names, SegmentReader};

/// A segment that was read to its end.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// Its header; `None` if it is empty or its first line is torn.
    pub header: Option<SegmentHeader>,
    /// First and last trading day of its decisions.
    pub days: Option<(Date, Date)>,
    /// Bytes of whole lines.
    pub bytes: u64,
    /// Bytes after the last whole line.
    pub torn_bytes: u64,
    /// CRC-32 of the whole lines, to be continued.
    pub crc: crc32fast::Hasher,
    /// The streams that it names.
    pub named: BTreeSet<u64>,
}

impl Scanned {
    /// The index of the segment, at whose end the journal is in `state`; `None` without a header.
    #[must_use]
    pub fn index(&self, state: &JournalState) -> Option<SegmentIndex> {
        let header = self.header.as_ref()?;
        Some(SegmentIndex {
            segment: header.segment,
            before: header.before,
            bytes: self.bytes,
            crc32: self.crc.clone().finalize(),
            days: self.days,
            state: state.clone(),
        })
    }
}

/// Reads a segment to its end, line by line, and updates `state` with each line.
///
/// # Errors
/// Those of [`SegmentReader::next_line`].
pub fn scan(mut reader: SegmentReader, state: &mut JournalState) -> Result<Scanned, JournalError> {
    let (mut header, mut days, mut named) = (None, None, BTreeSet::new());
    while let Some(line) = reader.next_line()? {
        state.take(&line);
        match line {
            JournalLine::Header(head) => header = Some(head),
            JournalLine::Stream(name) => {
                named.insert(name.stream);
            }
            JournalLine::Decision(_, record) => days = Some(spanned(days, record.date)),
            JournalLine::Closing { .. } => {}
        }
    }
    Ok(Scanned {
        header,
        days,
        bytes: reader.whole_bytes(),
        torn_bytes: reader.torn_bytes(),
        crc: reader.crc(),
        named,
    })
}

/// The span of `days` and `day`.
#[must_use]
pub fn spanned(days: Option<(Date, Date)>, day: Date) -> (Date, Date) {
    days.map_or((day, day), |(first, last)| (first.min(day), last.max(day)))
}

/// Reads the index of a segment and checks it by itself.
///
/// # Errors
/// [`JournalError::Io`] if it cannot be read, [`JournalError::Corrupt`] with the rule that it breaks.
pub fn index(names: &Names, number: u64) -> Result<SegmentIndex, JournalError> {
    let path = names.index(number);
    let text = std::fs::read(&path).map_err(JournalError::io(&path, "read"))?;
    let index = SegmentIndex::parse(&text, &path.display().to_string())?;
    match index.segment == number {
        true => Ok(index),
        false => Err(JournalError::files(
            &path,
            format!("is the index of segment {}", index.segment),
        )),
    }
}

/// The state of a segment's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// It exists, and its checksum is correct.
    Sound,
    /// It does not exist; the next start writes it.
    Missing,
    /// It cannot be used, for the given reason.
    Damaged(String),
    /// The active segment has none.
    Active,
}

/// One segment in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its number, from 1.
    pub number: u64,
    /// Its file.
    pub path: PathBuf,
    /// Number of its first decision; one more than `last` without decisions.
    pub first: u64,
    /// Number of its last decision.
    pub last: u64,
    /// First and last trading day of its decisions.
    pub days: Option<(Date, Date)>,
    /// Bytes of its file.
    pub bytes: u64,
    /// The state of its index.
    pub index: IndexState,
    /// Whether its last line is a closing one.
    pub closed: bool,
}

/// Lists the segments of a journal, the active one last. Segments with a valid index are not read.
///
/// # Errors
/// Those of [`super::read`].
pub fn list(path: &Path) -> Result<Vec<Segment>, JournalError> {
    let names = Names::of(path);
    let numbers = names.find()?.segments;
    if numbers.is_empty() && !path.exists() {
        return Err(JournalError::io(path, "read")(
            std::io::ErrorKind::NotFound.into(),
        ));
    }
    let mut segments = Vec::with_capacity(numbers.len() + 1);
    for &number in &numbers {
        let found = index(&names, number);
        let state = match &found {
            Ok(_) => IndexState::Sound,
            Err(JournalError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                IndexState::Missing
            }
            Err(error) => IndexState::Damaged(error.to_string()),
        };
        let path = names.segment(number);
        segments.push(match found {
            Ok(index) => listed(number, path, &index, state)?,
            Err(_) => read(number, path, true, state)?,
        });
    }
    if path.exists() {
        let next = numbers.last().map_or(1, |last| last + 1);
        let mut active = read(next, path.to_owned(), false, IndexState::Active)?;
        if let Some(last) = segments.last()
            && active.last == 0
        {
            // Without a header, which is being written.
            (active.first, active.last) = (last.last + 1, last.last);
        }
        segments.push(active);
    }
    Ok(segments)
}

fn listed(
    number: u64,
    path: PathBuf,
    index: &SegmentIndex,
    state: IndexState,
) -> Result<Segment, JournalError> {
    let meta = std::fs::metadata(&path).map_err(JournalError::io(&path, "read"))?;
    Ok(Segment {
        number,
        path,
        first: index.before.saturating_add(1),
        last: index.last(),
        days: index.days,
        bytes: meta.len(),
        index: state,
        closed: index.state.is_closed(),
    })
}

fn read(
    number: u64,
    path: PathBuf,
    finished: bool,
    index: IndexState,
) -> Result<Segment, JournalError> {
    let mut state = JournalState::default();
    let scanned = scan(SegmentReader::open(&path, finished)?, &mut state)?;
    let before = scanned.header.as_ref().map_or(0, |header| header.before);
    Ok(Segment {
        number: scanned
            .header
            .as_ref()
            .map_or(number, |header| header.segment),
        path,
        first: before.saturating_add(1),
        last: state.decisions().max(before),
        days: scanned.days,
        bytes: scanned.bytes + scanned.torn_bytes,
        index,
        closed: state.is_closed(),
    })
}

/// The result of [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The read segments, the active one included.
    pub segments: u64,
    /// The read decisions.
    pub decisions: u64,
    /// The decisions of pruned segments.
    pub before: u64,
    /// Bytes of a torn last line.
    pub torn_bytes: u64,
    /// The faults, each with file, line and rule.
    pub faults: Vec<String>,
}

/// Reads a whole journal again and checks every line, the numbers across segments, and each index against its segment.
///
/// # Errors
/// [`JournalError::Io`] if a file cannot be read. Faults of the journal are in the report.
pub fn verify(path: &Path) -> Result<Report, JournalError> {
    let names = Names::of(path);
    let mut report = Report::default();
    match verify_into(path, &names, &mut report) {
        Err(error @ JournalError::Io { .. }) => Err(error),
        Err(error) => {
            report.faults.push(error.to_string());
            Ok(report)
        }
        Ok(()) => Ok(report),
    }
}

fn verify_into(path: &Path, names: &Names, report: &mut Report) -> Result<(), JournalError> {
    let numbers = names.find()?.segments;
    if numbers.is_empty() && !path.exists() {
        return Err(JournalError::io(path, "read")(
            std::io::ErrorKind::NotFound.into(),
        ));
    }
    // Indexes include the state of pruned segments, which cannot be read.
    let mut known = true;
    let mut state = JournalState::default();
    let mut next: Option<(u64, u64)> = None;
    let files = numbers
        .iter()
        .map(|&number| (names.segment(number), Some(number)))
        .chain(path.exists().then(|| (path.to_owned(), None)));
    for (file, number) in files {
        let first = next.is_none();
        let mut reader = SegmentReader::open(&file, number.is_some())?;
        if first && let Some(head) = super::reader::header(&file, number.is_some())? {
            report.before = head.before;
            next = Some((number.unwrap_or(head.segment), head.before));
            // Segment 1 of an export may begin anywhere.
            known = head.before == 0 || head.segment > 1;
            if head.before > 0 && known {
                match index(names, head.segment - 1) {
                    Ok(base) => state = base.state,
                    Err(error) => {
                        known = false;
                        report.faults.push(format!(
                            "{error}; what segments before {} committed is not known",
                            head.segment
                        ));
                    }
                }
            }
        }
        if let Some((segment, before)) = next {
            reader = reader.expecting(segment, before);
        }
        let scanned = scan(reader, &mut state)?;
        report.segments += 1;
        report.torn_bytes = scanned.torn_bytes;
        let decisions = state.decisions().max(next.map_or(0, |(_, before)| before));
        report.decisions = decisions - report.before;
        next = next.map(|(segment, _)| (segment + 1, decisions));
        let Some(number) = number else { continue };
        match index(names, number) {
            Err(error) => report.faults.push(error.to_string()),
            Ok(found) => {
                let mut read = scanned.index(&state);
                if !known && let Some(read) = &mut read {
                    read.state = found.state.clone();
                }
                if read.is_none_or(|read| read.text() != found.text()) {
                    let rule = format!("does not say what {} holds", file.display());
                    report
                        .faults
                        .push(JournalError::files(&names.index(number), rule).to_string());
                }
            }
        }
    }
    Ok(())
}
