//! Lines one after another, with the rules between them.

use super::{EntryId, JournalLine, SegmentHeader, StreamName};
use crate::decision::Decision;
use crate::error::QuantError;

/// Longest line that is read, bytes with its line end.
pub const MAX_LINE: usize = 1 << 20;

/// The first bytes of a header of the format that is written, as far as all journals share them.
const HEADER_START: &[u8] = b"{\"heqis_journal\":2,\"";

/// Checks a segment line by line, in constant memory.
#[derive(Clone, Debug)]
pub struct Scanner {
    source_name: String,
    line: usize,
    format: u32,
    /// Number of the segment and of the decisions before it, where they are known beforehand.
    expected: Option<(u64, u64)>,
    decisions: u64,
    closed: bool,
}

impl Scanner {
    /// Makes a scanner for any segment. Errors name `source_name`.
    pub fn new(source_name: impl Into<String>) -> Self {
        Self {
            source_name: source_name.into(),
            line: 0,
            format: 0,
            expected: None,
            decisions: 0,
            closed: false,
        }
    }

    /// Accepts only segment number `segment` after `before` decisions.
    #[must_use]
    pub fn expecting(mut self, segment: u64, before: u64) -> Self {
        self.expected = Some((segment, before));
        self
    }

    /// Returns the number of decisions so far, including those of the segments before.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Returns whether the journal is closed after the last line.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the number of lines so far.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.line
    }

    /// Takes the next line, without its line end.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the line and the rule that it breaks.
    pub fn take(&mut self, line: &[u8]) -> Result<JournalLine, QuantError> {
        self.line += 1;
        self.check(line).map_err(|rule| self.fault(rule))
    }

    /// Ends a segment whose last whole line is followed by `torn`, the part of a line that a killed writer left.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] when there was no whole line and `torn` is not the beginning of a header: such a file
    /// is no journal and must not be emptied as a torn one.
    pub fn end(&mut self, torn: &[u8]) -> Result<(), QuantError> {
        if self.line > 0 {
            return Ok(());
        }
        let mut first = String::new();
        JournalLine::Header(SegmentHeader::first_format()).write(&mut first);
        let begins = first.as_bytes().starts_with(torn)
            || HEADER_START.starts_with(torn)
            || torn.starts_with(HEADER_START);
        if begins {
            return Ok(());
        }
        self.line = 1;
        Err(self.fault("is not the header of a journal".into()))
    }

    /// Returns the error that the line just taken breaks `rule`.
    #[must_use]
    pub fn fault(&self, rule: String) -> QuantError {
        QuantError::Journal {
            source_name: self.source_name.clone(),
            line: self.line,
            rule,
        }
    }

    fn check(&mut self, line: &[u8]) -> Result<JournalLine, String> {
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
        let first = self.line == 1;
        let held = self.decisions;
        let line = JournalLine::parse(text)?;
        match &line {
            JournalLine::Header(header) if first => self.begin(header)?,
            JournalLine::Header(_) => return Err("is a second header".into()),
            _ if first => return Err("is not the header of a journal".into()),
            JournalLine::Stream(_) if self.format == 1 => {
                return Err("names a stream, which format 1 does not".into());
            }
            JournalLine::Closing { decisions } if *decisions != held => {
                return Err(format!("closes {decisions} decisions, {held} are there"));
            }
            JournalLine::Decision(id, _) if Some(id.n) != held.checked_add(1) => {
                let expected = held.saturating_add(1);
                return Err(format!("decision {} stands at {expected}", id.n));
            }
            JournalLine::Decision(id, _) if self.format == 1 && id.made_from.is_some() => {
                return Err("is made from several frames, which format 1 does not say".into());
            }
            JournalLine::Decision(id, _) => self.decisions = id.n,
            JournalLine::Stream(_) | JournalLine::Closing { .. } => {}
        }
        self.closed = line.closes().unwrap_or(self.closed);
        Ok(line)
    }

    fn begin(&mut self, header: &SegmentHeader) -> Result<(), String> {
        let &SegmentHeader {
            format,
            segment,
            before,
            ..
        } = header;
        if let Some((number, held)) = self.expected
            && (segment, before) != (number, held)
        {
            return Err(format!(
                "begins segment {segment} after {before} decisions, expected is segment {number} after {held}"
            ));
        }
        (self.format, self.decisions) = (format, before);
        Ok(())
    }
}

/// The contents of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The first header; `None` for a file that is empty, or torn in its first line.
    pub header: Option<SegmentHeader>,
    /// Streams in the order in which they are named, each once.
    pub streams: Vec<StreamName>,
    /// Decisions in order.
    pub decisions: Vec<(EntryId, Decision)>,
    /// Whether the journal is closed; otherwise its writer was killed or still runs.
    pub closed: bool,
    /// Bytes of whole lines; the bytes after them are a torn write.
    pub whole_bytes: u64,
}

impl Contents {
    /// Reads the text of one segment and checks every line. A torn last line is left out. Errors name `source_name`.
    ///
    /// # Errors
    /// Returns [`QuantError::Journal`] naming the line and the rule.
    pub fn parse(text: &[u8], source_name: &str) -> Result<Self, QuantError> {
        let mut contents = Self::default();
        let mut scanner = Scanner::new(source_name);
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Some(whole) = line.strip_suffix(b"\n") else {
                scanner.end(line)?;
                break;
            };
            contents.take(scanner.take(whole)?);
            contents.whole_bytes += line.len() as u64;
        }
        Ok(contents)
    }

    /// Adds a line that was checked.
    pub fn take(&mut self, line: JournalLine) {
        self.closed = line.closes().unwrap_or(self.closed);
        match line {
            JournalLine::Header(header) => {
                self.header.get_or_insert(header);
            }
            JournalLine::Stream(name) => {
                if self.streams.iter().all(|known| known.stream != name.stream) {
                    self.streams.push(name);
                }
            }
            JournalLine::Decision(id, decision) => self.decisions.push((id, decision)),
            JournalLine::Closing { .. } => {}
        }
    }
}
