//! Segments line by line in constant memory, alone and as one journal.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use heqis_quant::decision::journal::{JournalLine, MAX_LINE, Scanner, SegmentHeader};

use super::{JournalError, Names};

/// The rule against a pipe, a device or a directory.
pub const NOT_REGULAR: &str = "is not a regular file";

/// The bytes of one read.
const BUFFER: usize = 128 * 1024;

/// Reads one segment line by line and checks each line.
#[derive(Debug)]
pub struct SegmentReader {
    path: PathBuf,
    input: BufReader<File>,
    scanner: Scanner,
    finished: bool,
    crc: crc32fast::Hasher,
    whole_bytes: u64,
    torn_bytes: u64,
    line: Vec<u8>,
}

impl SegmentReader {
    /// Opens the segment at `path`. A finished one has no torn line.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn open(path: &Path, finished: bool) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(JournalError::io(path, "read"))?;
        Self::of(path, file, finished)
    }

    /// Reads the segment in `file`, from its beginning.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn of(path: &Path, mut file: File, finished: bool) -> Result<Self, JournalError> {
        let meta = file.metadata().map_err(JournalError::io(path, "read"))?;
        if !meta.is_file() {
            // A pipe or a device may never end.
            return Err(JournalError::io(path, "read")(io::Error::other(
                NOT_REGULAR,
            )));
        }
        file.rewind().map_err(JournalError::io(path, "read"))?;
        Ok(Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(BUFFER, file),
            scanner: Scanner::new(path.display().to_string()),
            finished,
            crc: crc32fast::Hasher::new(),
            whole_bytes: 0,
            torn_bytes: 0,
            line: Vec::new(),
        })
    }

    /// Accepts only segment number `segment` after `before` decisions.
    #[must_use]
    pub fn expecting(mut self, segment: u64, before: u64) -> Self {
        self.scanner = self.scanner.expecting(segment, before);
        self
    }

    /// The next line; `None` after the last whole one.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] with file, line and rule, [`JournalError::Io`].
    pub fn next_line(&mut self) -> Result<Option<JournalLine>, JournalError> {
        self.line.clear();
        let limit = MAX_LINE as u64 + 1;
        (&mut self.input)
            .take(limit)
            .read_until(b'\n', &mut self.line)
            .map_err(JournalError::io(&self.path, "read"))?;
        if let Some(whole) = self.line.strip_suffix(b"\n") {
            let line = self.scanner.take(whole)?;
            self.crc.update(&self.line);
            self.whole_bytes += self.line.len() as u64;
            return Ok(Some(line));
        }
        let fault = |rule: String| match self.scanner.fault(rule) {
            heqis_quant::QuantError::Journal {
                source_name,
                line,
                rule,
            } => heqis_quant::QuantError::Journal {
                source_name,
                line: line + 1,
                rule,
            },
            other => other,
        };
        if self.line.len() > MAX_LINE {
            return Err(fault(format!("is longer than {MAX_LINE} bytes")).into());
        }
        if self.finished && self.scanner.lines() == 0 {
            return Err(fault("is not the header of a journal".into()).into());
        }
        if self.finished && !self.line.is_empty() {
            return Err(fault("is torn, in a segment that is finished".into()).into());
        }
        self.torn_bytes = self.line.len() as u64;
        self.scanner.end(&self.line)?;
        Ok(None)
    }

    /// The error that the last line breaks `rule`.
    #[must_use]
    pub fn fault(&self, rule: String) -> JournalError {
        self.scanner.fault(rule).into()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decisions up to the last line, those of earlier segments included.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.scanner.decisions()
    }

    /// Bytes of the whole lines so far.
    #[must_use]
    pub fn whole_bytes(&self) -> u64 {
        self.whole_bytes
    }

    /// Bytes after the last whole line; known after [`SegmentReader::next_line`] returned `None`.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// CRC-32 of the whole lines so far, to be continued.
    #[must_use]
    pub fn crc(&self) -> crc32fast::Hasher {
        self.crc.clone()
    }
}

/// The header of the segment at `path`; `None` if its first line is torn or missing.
///
/// # Errors
/// As [`SegmentReader::next_line`].
pub fn header(path: &Path, finished: bool) -> Result<Option<SegmentHeader>, JournalError> {
    header_of(&mut SegmentReader::open(path, finished)?)
}

fn header_of(reader: &mut SegmentReader) -> Result<Option<SegmentHeader>, JournalError> {
    Ok(match reader.next_line()? {
        Some(JournalLine::Header(header)) => Some(header),
        _ => None,
    })
}

/// A journal as one: the lines of all its segments in order, each segment's header included.
///
/// Ends after the first error.
#[derive(Debug)]
pub struct Reader {
    names: Names,
    /// Finished segments to be read.
    finished: VecDeque<u64>,
    active: Option<File>,
    current: Option<SegmentReader>,
    /// Number of the next segment, and the decisions before it.
    next: Option<(u64, u64)>,
    first: Option<SegmentHeader>,
    read_bytes: u64,
    failed: bool,
}

impl Reader {
    /// Opens the journal at `path` at its first existing segment.
    ///
    /// # Errors
    /// As [`super::read`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_at(path, 0)
    }

    /// Opens the journal at the segment of decision `n`, or at the nearest one.
    ///
    /// # Errors
    /// As [`super::read`].
    pub(crate) fn open_at(path: &Path, n: u64) -> Result<Self, JournalError> {
        let names = Names::of(path);
        // The active segment is opened before the others are listed. If it is finished in between, it is listed too, and
        // the number in its header shows it.
        let active = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(JournalError::io(path, "read"))?),
        };
        let mut finished = names.find()?.segments;
        let Some(&last) = finished.last() else {
            return match active {
                Some(file) => Self::start(names, VecDeque::new(), Some(file)),
                None => Err(JournalError::io(path, "read")(
                    io::ErrorKind::NotFound.into(),
                )),
            };
        };
        let head = match &active {
            Some(file) => {
                let file = file.try_clone().map_err(JournalError::io(path, "read"))?;
                header_of(&mut SegmentReader::of(path, file, false)?)?
            }
            None => None,
        };
        if let Some(head) = &head {
            finished.retain(|&number| number < head.segment);
            if head.segment > last + 1 {
                let rule = format!(
                    "begins segment {}, but segment {last} is the last finished one",
                    head.segment
                );
                return Err(JournalError::files(path, rule));
            }
        }
        let mut finished: VecDeque<u64> = finished.into();
        // A header has the number of decisions before its segment; segments that end before `n` are skipped.
        let mut failed = None;
        let after = finished.make_contiguous().partition_point(|&number| {
            match header(&names.segment(number), true) {
                Ok(head) => head.is_some_and(|head| head.before < n),
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let in_active = head.is_some_and(|head| head.before < n);
        let skipped = match in_active {
            true => finished.len(),
            false => after.saturating_sub(1),
        };
        finished.drain(..skipped);
        Self::start(names, finished, active)
    }

    fn start(
        names: Names,
        finished: VecDeque<u64>,
        active: Option<File>,
    ) -> Result<Self, JournalError> {
        let mut reader = Self {
            names,
            finished,
            active,
            current: None,
            next: None,
            first: None,
            read_bytes: 0,
            failed: false,
        };
        let first = match reader.finished.front() {
            Some(&number) => header(&reader.names.segment(number), true)?,
            None => match &reader.active {
                Some(file) => {
                    let path = reader.names.active();
                    let file = file.try_clone().map_err(JournalError::io(path, "read"))?;
                    header_of(&mut SegmentReader::of(path, file, false)?)?
                }
                None => None,
            },
        };
        reader.first = first;
        Ok(reader)
    }

    /// The header of the first segment; `None` if its first line is torn.
    #[must_use]
    pub fn header(&self) -> Option<&SegmentHeader> {
        self.first.as_ref()
    }

    /// Decisions before the first one that is read: those of skipped or pruned segments.
    #[must_use]
    pub fn before(&self) -> u64 {
        self.first.as_ref().map_or(0, |header| header.before)
    }

    /// Bytes of the whole lines so far.
    #[must_use]
    pub fn whole_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, SegmentReader::whole_bytes);
        self.read_bytes + current
    }

    fn advance(&mut self) -> Result<Option<JournalLine>, JournalError> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(line) = current.next_line()? {
                    if let JournalLine::Header(header) = &line {
                        self.next = Some((header.segment + 1, 0));
                    }
                    return Ok(Some(line));
                }
                self.read_bytes += current.whole_bytes();
                let decisions = current.decisions();
                self.next = self.next.map(|(segment, _)| (segment, decisions));
                self.current = None;
            }
            let reader = if let Some(number) = self.finished.pop_front() {
                SegmentReader::open(&self.names.segment(number), true)?
            } else if let Some(file) = self.active.take() {
                SegmentReader::of(self.names.active(), file, false)?
            } else {
                return Ok(None);
            };
            self.current = Some(match self.next {
                Some((segment, before)) => reader.expecting(segment, before),
                None => reader,
            });
        }
    }
}

impl Iterator for Reader {
    type Item = Result<JournalLine, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.advance();
        self.failed = line.is_err();
        line.transpose()
    }
}
